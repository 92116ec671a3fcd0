"""`medcli train --folds`: the folds of a cross-validation, one after the other or each by itself, and their ensemble.

RUN/fold_0/ fold_1/ ...   each a run folder as any other
RUN/folds.csv             one line per fold: cases, epochs, seconds, its best validation
RUN/...                   the ensemble (`medcli.ensemble.assemble`), as soon as every fold is finished
"""

import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from medcli.config.schema import Config
from medcli.ensemble.assemble import LEARNED, assemble
from medcli.ensemble.cascade import train
from medcli.ensemble.held_out import FOLDER as HELD_OUT
from medcli.errors import MedcliError, UsageError
from medcli.files import write_csv
from medcli.preprocessing.folds import in_fold
from medcli.preprocessing.prepared import Prepared
from medcli.run import ENSEMBLE, Run
from medcli.training.result import Event, Result
from medcli.training.signals import Stopped
from medcli.training.train import settle

FILE = "folds.csv"
OF_THE_ENSEMBLE = (ENSEMBLE, FILE, *LEARNED, "config.yaml", "plan.yaml", "manifest.csv", "environment.json")


@dataclass(frozen=True)
class Folds:
    """What became of the folds.

    Attributes:
        folder: RUN.
        results: By fold, of those that are finished, now or before.
        skipped: Finished before.
        failed: Fold to reason.
        missing: Not trained yet, such as those that other machines train.
        spread: Measure of the best validations to mean, standard deviation, lowest and highest over the folds; once
            all are finished.
        seconds: Time spent training, all folds together.
    """

    folder: Path
    results: dict[int, Result]
    skipped: list[int]
    failed: dict[int, str]
    missing: list[int]
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return not self.failed and not self.missing


def fold_name(number: int) -> str:
    return f"fold_{number}"


def train_folds(
    config: Config,
    prepared_folder: Path,
    run_folder: Path,
    *,
    only: int | None = None,
    resume: bool = False,
    force: bool = False,
    smoke: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Folds:
    """Train the folds of `data.split.folds` from one prepared folder, and make an ensemble of them when all are there.

    Args:
        only: This fold alone, so that several machines can share the work.
        resume: Skip finished folds and continue one that was interrupted.
        force: Replace what is there.
        on_event: As of `train`, each event with its `fold` and the number of `folds`.

    Raises:
        UsageError: The folder holds something that is not to be replaced.
        RunError, DataError: Nothing can be trained. What goes wrong in one fold alone is in `Folds.failed`.
        Stopped: A signal asked for it; the state was saved.
    """
    count = config.data.split.folds
    wanted = range(count) if only is None else [only]
    _check(config, prepared_folder, smoke)
    _make_room(run_folder, wanted, count, resume=resume, force=force)
    failed: dict[int, str] = {}
    skipped = [number for number in wanted if resume and Result.load(run_folder / fold_name(number))]
    for number in wanted:
        folder = run_folder / fold_name(number)

        def tell(event: Event, number: int = number) -> None:
            on_event(event | {"fold": number, "folds": count})

        if number in skipped:
            tell({"event": "skipped"})
            continue
        keras.utils.clear_session()  # names of layers begin anew, so a fold is the same alone and after others
        try:
            train(
                _config_of(config, number, folder), prepared_folder, folder,
                resume=resume, force=force, smoke=smoke, on_event=tell,
            )  # fmt: skip
        except (Stopped, UsageError):
            raise
        except MedcliError as error:
            failed[number] = str(error)
            tell({"event": "failed", "reason": str(error)})
    return _finish(run_folder, count, skipped, failed)


def _check(config: Config, prepared_folder: Path, smoke: bool) -> None:
    """What is wrong for every fold is told once, before anything is written."""
    prepared = in_fold(Prepared.open(prepared_folder), config.data.split, config.seed)
    settle(config, prepared, smoke)


def _config_of(config: Config, number: int, folder: Path) -> Config:
    """With the fold's share of the time: all get the same, so that it does not matter who trains which."""
    split = config.data.split.model_copy(update={"fold": number})
    minutes = config.train.max_minutes
    each = None if minutes is None else minutes / config.data.split.folds
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"split": split}),
            "train": config.train.model_copy(update={"max_minutes": each}),
            "run": folder,
        }
    )


def _make_room(folder: Path, wanted: Sequence[int], count: int, *, resume: bool, force: bool) -> None:
    if (folder / "config.yaml").is_file() and not (folder / ENSEMBLE).is_file():
        raise UsageError(f"{folder}: holds a run that is no fold; choose another folder with --run.")
    there = [fold_name(number) for number in wanted if (folder / fold_name(number) / "config.yaml").is_file()]
    if there and not resume and not force:
        raise UsageError(
            f"{folder}: holds {', '.join(there)} already; --resume skips what is finished and continues what is not, "
            "--force replaces them."
        )
    if force:
        for name in OF_THE_ENSEMBLE:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / HELD_OUT, ignore_errors=True)
        if len(wanted) == count:
            for old in folder.glob("fold_*"):
                shutil.rmtree(old)


def _finish(folder: Path, count: int, skipped: list[int], failed: dict[int, str]) -> Folds:
    results = {
        number: result
        for number in range(count)
        if number not in failed and (result := Result.load(folder / fold_name(number))) is not None
    }
    missing = [number for number in range(count) if number not in results and number not in failed]
    seconds = sum(result.seconds for result in results.values())
    spread = {}
    if len(results) == count:
        run = assemble(folder, [fold_name(number) for number in range(count)], folds=True)
        write_csv(folder / FILE, _rows(run, results))
        spread = _spread(list(results.values()))
    return Folds(folder, results, skipped, failed, missing, spread, seconds)


def _rows(run: Run, results: dict[int, Result]) -> list[dict[str, Any]]:
    return [
        {
            "fold": number,
            "training_cases": sum(record.split == "train" for record in run.members[number].records),
            "validation_cases": sum(record.split == "val" for record in run.members[number].records),
            "epochs": result.epochs,
            "seconds": round(result.seconds, 1),
        }
        | {f"best_{name}": value for name, value in result.best.items()}
        for number, result in results.items()
    ]


def _spread(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Of every measure that all folds have; the standard deviation with n - 1."""
    names = [name for name in results[0].best if name != "epoch" and all(name in one.best for one in results)]
    values = {name: [float(one.best[name]) for one in results] for name in names}
    return {
        name: {
            "mean": statistics.fmean(found),
            "sd": statistics.stdev(found),
            "lowest": min(found),
            "highest": max(found),
        }
        for name, found in values.items()
    }
