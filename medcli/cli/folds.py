"""`medcli train --folds`: what becomes of the folds, told."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medcli.cli import show
from medcli.errors import DataError, MedcliError, RunError

if TYPE_CHECKING:
    from medcli.cli.display import TrainingDisplay
    from medcli.config.schema import Config
    from medcli.ensemble.folds import Folds


def train_and_show(
    settings: "Config",
    prepared: Path,
    run: Path,
    display: "TrainingDisplay",
    *,
    only: int | None,
    json: bool,
    resume: bool,
    force: bool,
    smoke: bool,
) -> None:
    """Train, keep the out-of-fold predictions, show; raises RunError when a fold failed."""
    from medcli.ensemble.folds import train_folds

    found = train_folds(
        settings, prepared, run, only=only, resume=resume, force=force, smoke=smoke, on_event=display
    )
    kept = _held_out(found, display) if found.complete else ""
    display.stop()
    if json:
        show.as_json(asdict(found) | {"out_of_fold": kept})
    else:
        _show(found, kept, settings.data.split.folds)
    if found.failed:
        reasons = "\n".join(f"fold_{number}: {reason}" for number, reason in found.failed.items())
        raise RunError(
            f"{run}: {len(found.failed)} of {settings.data.split.folds} folds failed; the others are kept, and "
            f"--resume tries these again.\n{reasons}"
        )


def _held_out(found: "Folds", display: "TrainingDisplay") -> str:
    """Where the out-of-fold predictions are, or why there are none."""
    from medcli.ensemble.held_out import predict_held_out
    from medcli.run import Run

    def progress(stage: str, done: int, total: int) -> None:
        display({"event": "stage", "stage": "predict out of fold", "done": done, "total": total})

    try:
        made = predict_held_out(Run.open(found.folder), progress=progress)
    except MedcliError as error:
        if not isinstance(error, DataError):
            raise
        return f"none: {error}"
    failed = f", without the {len(made.failed)} that status.csv names" if made.failed else ""
    return f"{made.folder}{failed}"


def _show(found: "Folds", kept: str, count: int) -> None:
    rows: list[dict[str, Any]] = [
        {"fold": number, "epochs": result.epochs, "time": show.duration(result.seconds)}
        | {name: value for name, value in result.best.items() if name != "epoch"}
        for number, result in found.results.items()
    ]
    if found.spread:
        for key, title in (("mean", "mean"), ("sd", "standard deviation")):
            rows.append({"fold": title} | {name: values[key] for name, values in found.spread.items()})
    show.table("Folds, each at its best validation", rows)
    if found.complete:
        facts = {"ensemble": found.folder, "out of fold": kept, "time": show.duration(found.seconds)}
        show.facts("Trained", facts)
        return
    if found.missing:
        listed = ", ".join(map(str, found.missing))
        print(f"Not trained yet, of {count} folds: {listed}. The last one to finish makes the ensemble.")
