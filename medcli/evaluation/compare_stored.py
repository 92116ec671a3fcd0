"""What `evaluate` has stored of two runs: found, opened, and checked to be alike."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcli.errors import DataError, RunError, UsageError
from medcli.evaluation.evaluate import FOLDER
from medcli.evaluation.selection import OUT_OF_FOLD
from medcli.files import read_csv
from medcli.preprocessing.plan import Plan, load_plan

METRICS, CASES, DETECTIONS = "metrics.json", "cases.csv", "detections.json"


@dataclass(frozen=True, eq=False)
class Stored:
    """What `evaluate` has written of one run.

    Attributes:
        folder: RUN/evaluate/NAME.
        plan: Of the run.
        metrics: Content of metrics.json.
        rows: Lines of cases.csv by case, judged ones only.
        failed: How many cases could not be judged.
    """

    folder: Path
    plan: Plan
    metrics: dict[str, Any]
    rows: dict[str, dict[str, str]]
    failed: int


def result_folders(first: Path, second: Path, split: str | None, name: str | None) -> list[Path]:
    given = [folder if (folder / METRICS).is_file() else None for folder in (first, second)]
    runs = [folder for folder, result in zip((first, second), given, strict=True) if result is None]
    known = [_results(run) for run in runs]
    chosen = _choose(runs, known, split, name) if runs else ""
    return [result or folder / FOLDER / chosen for folder, result in zip((first, second), given, strict=True)]


def _results(run: Path) -> list[str]:
    if not (run / "plan.yaml").is_file():
        raise RunError(f"{run}: expected a run folder or a result of `medcli evaluate`, found neither.")
    found = sorted(path.parent.name for path in (run / FOLDER).glob(f"*/{METRICS}"))
    if not found:
        raise RunError(f"{run}: this run was not evaluated; run `medcli evaluate {run}` first.")
    return found


def _choose(runs: Sequence[Path], known: Sequence[list[str]], split: str | None, name: str | None) -> str:
    common = [result for result in known[0] if all(result in others for others in known)]
    wanted = [name] if name else [split, "all"] if split else ["test", "val", OUT_OF_FOLD, *common[:1]]
    for choice in wanted:
        if choice in common:
            return str(choice)
    listed = "; ".join(f"{run}: {', '.join(names)}" for run, names in zip(runs, known, strict=True))
    if name or split:
        lacking = next(run for run, names in zip(runs, known, strict=True) if wanted[0] not in names)
        option = f"--name {name}" if name else f"--split {split}"
        raise UsageError(
            f"--{'name' if name else 'split'}: {lacking} has no result '{wanted[0]}' (there are: {listed}); run "
            f"`medcli evaluate {lacking} {option}` first."
        )
    raise UsageError(
        f"The runs have no result of the same name ({listed}); evaluate both alike, or give the folders of two "
        "results."
    )


def open_result(folder: Path) -> Stored:
    run = folder.parent.parent
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        lines = read_csv(folder / CASES)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder}: the result cannot be read ({type(error).__name__}); run `medcli evaluate --force` again."
        ) from None
    judged = {line["case"]: line for line in lines if line.get("status") == "ok"}
    return Stored(folder, load_plan(run / "plan.yaml"), metrics, judged, len(lines) - len(judged))


def check_alike(a: Stored, b: Stored) -> None:
    if a.plan.task != b.plan.task:
        raise DataError(
            f"A is a run for {a.plan.task}, B for {b.plan.task}; only runs for the same task can be compared."
        )
    if set(a.plan.classes) != set(b.plan.classes) or a.plan.multi_label != b.plan.multi_label:
        raise DataError(
            f"A knows the classes {', '.join(a.plan.classes)}, B {', '.join(b.plan.classes)}"
            f"{'' if a.plan.multi_label == b.plan.multi_label else ', and only one is multi-label'}; "
            "only runs with the same classes can be compared."
        )
    for key in ("positive", "tolerance"):
        if a.metrics.get(key) != b.metrics.get(key):
            raise DataError(
                f"The results were measured differently ({key}: {a.metrics.get(key)} and "
                f"{b.metrics.get(key)}); evaluate both with the same settings."
            )
