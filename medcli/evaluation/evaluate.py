"""Measure a run on raw images: read, prepare, predict, and compare with the truth on the original grid.

RUN/evaluate/NAME/
    metrics.json    overall and per class, 95 % intervals, numbers of cases and patients
    cases.csv       one line per case
    detections.json     detection: the boxes found and the true ones, for `medcli compare`
    groups.csv      every group (sex, age, site, ...), and the gaps between the groups; only with such columns
    *.png           plots
    report.html     all of it in one file, with the worst and the best cases
"""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from medcli.calibration import with_rules
from medcli.case import Case
from medcli.config.schema import Config, Evaluate
from medcli.errors import DataError, GateNotMet, MedcliError, UsageError
from medcli.evaluation.choose import judge_for
from medcli.evaluation.gates import check_known, parse_gate, unmet
from medcli.evaluation.groups import Groups, group_names, measure_groups
from medcli.evaluation.groups_page import group_sections
from medcli.evaluation.judge import Extremes, Judge, Judgement, Measured, Support, flat_names, supports
from medcli.evaluation.page import write_page
from medcli.evaluation.selection import Selection, patients_of, select_cases
from medcli.files import plain, sync_folder, write_csv, write_json, write_text
from medcli.grouping import group_cases
from medcli.image import Image
from medcli.metrics.bootstrap import LEVEL, RESAMPLES
from medcli.prediction.result import Prediction
from medcli.progress import Progress, ignore
from medcli.run import Run

FOLDER = "evaluate"
FEW_PATIENTS = 10
"""With fewer the intervals are called rough."""


class Predicts(Protocol):
    """What of the predictor is needed."""

    def predict_cases(
        self, cases: Iterable[Case]
    ) -> Iterator[tuple[Case, Image | None, Prediction | MedcliError]]: ...


@dataclass(frozen=True)
class Result:
    """Attributes:
    measures: By flat name (`dice`, `dice/left lung`), the names that gates use; NaN where undefined.
    intervals: (low, high) by flat name, 95 %, by resampling patients.
    cases, patients: How many were judged.
    failed: Case to reason, of those that could not be.
    notes: What a reader must know.
    folder: Where the files are.
    seconds: The whole work.
    groups: Measures of groups and the gaps between them, as in metrics.json; None: no columns to group by.
    """

    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    cases: int
    patients: int
    failed: dict[str, str]
    notes: list[str]
    folder: Path
    seconds: float
    groups: dict[str, Any] | None = None


def evaluate(
    run: Run | Path,
    *,
    data: Config | Path | None = None,
    split: str | None = None,
    gates: Sequence[str] = (),
    name: str | None = None,
    settings: Evaluate | None = None,
    force: bool = False,
    predictor: Predicts | None = None,
    progress: Progress = ignore,
) -> Result:
    """Predict the cases, measure, and write the folder whole or not at all.

    A case that cannot be read, predicted or judged does not stop the others; it is listed in
    `Result.failed`, and the caller decides whether that is an error.

    Args:
        run: A run, or its folder.
        data: A config (or its file) of other data; None: the run's own.
        split: "train", "val", "test", "all"; default: the setting `evaluate.split`, of other data all.
        gates: Such as `dice>=0.85` or `dice/left lung>0.8`.
        name: Of the folder below RUN/evaluate; default: the part, or the name of the other data.
        settings: In place of the `evaluate` section of the run's config (or of `data`).
        force: Replace a result of this name.
        predictor: In place of the run's own model.

    Raises:
        UsageError: A gate or the part is unknown, or a result of this name is there already.
        DataError: No case could be judged.
        GateNotMet: After everything was written; carries the result.
    """
    start = perf_counter()
    run = run if isinstance(run, Run) else Run.open(run)
    if isinstance(data, Path):
        from medcli.config.loading import load_config

        data = load_config(data)
    settings = settings or (data or run.config).evaluate
    bars = [parse_gate(text) for text in gates]
    selection = select_cases(run, data=data, split=split or (None if data else settings.split))
    run = with_rules(run, settings, own=data is None)
    judge = judge_for(selection.plan, settings, run, own=data is None)
    by_group = _group_names(selection, judge, settings) if bars else set()
    check_known([bar for bar in bars if bar.measure not in by_group], flat_names(judge))
    target = run.folder / FOLDER / _folder_name(name or selection.name)
    if target.exists() and not force:
        raise UsageError(f"{target}: there is a result already; replace it with --force.")
    if predictor is None:
        from medcli.evaluation.learn import with_calibration
        from medcli.prediction.predictor import Predictor

        predictor = with_calibration(Predictor.load(run), progress)
    done = _judge_all(selection, judge, predictor, settings, progress)
    if not done.judged:
        raise DataError(_nothing_judged(done.failed))
    patients = len(set(patients_of(done.judged)))
    if patients < FEW_PATIENTS:
        selection.notes.append(f"Patients: {patients}; with so few the intervals are rough.")
    progress("measure", 0, 1)
    measured = judge.measure(patients_of(done.judged))
    progress("measure", 1, 1)
    selection.notes.extend(measured.notes)
    sample = judge.sample()
    groups = measure_groups(
        sample,
        [case.groups for case in done.judged],
        patients_of(done.judged),
        fewest=settings.group_patients,
        progress=progress,
    )
    selection.notes.extend(groups.warnings() if groups else [])
    support = supports(judge, sample, patients_of(done.judged))
    seconds = perf_counter() - start
    with _whole_folder(target) as folder:
        _write(folder, run, selection, judge, measured, done, support, groups, seconds)
    result = Result(
        measured.flat,
        measured.intervals,
        len(done.judged),
        patients,
        done.failed,
        selection.notes,
        target,
        seconds,
        groups.as_json() if groups else None,
    )
    undefined = dict.fromkeys(by_group, math.nan)
    missed = unmet(bars, undefined | (groups.flat if groups else {}) | result.measures)
    if missed:
        raise GateNotMet(f"Not met: {'; '.join(missed)}. The result is in {target}.", result)
    return result


def _judge_all(
    selection: Selection, judge: Judge, predictor: Predicts, settings: Evaluate, progress: Progress
) -> Judgement:
    done = Judgement(pictures=Extremes(settings.pictures), failed=dict(selection.failed))
    total = len(selection.cases)
    progress("evaluate", 0, total)
    for number, (case, image, outcome) in enumerate(predictor.predict_cases(selection.cases), start=1):
        row: dict[str, Any] = {"case": case.name, "patient": case.patient, **case.groups}
        row["split"] = selection.split.get(case.name, "")
        try:
            if isinstance(outcome, MedcliError):
                raise outcome
            assert image is not None
            judged = judge.add(case, image, outcome)
            done.pictures.add(judged)
            done.rows.append(row | {"status": "ok", "seconds": round(outcome.seconds, 4)} | judged.row)
            done.judged.append(case)
        except MedcliError as error:
            done.failed[case.name] = str(error)
            done.rows.append(row | {"status": str(error)})
        progress("evaluate", number, total)
    done.rows += [{"case": name, "status": reason} for name, reason in selection.failed.items()]
    return done


def _nothing_judged(failed: dict[str, str]) -> str:
    case, reason = next(iter(failed.items()))
    return f"None of the {len(failed)} cases could be judged. The first, {case}: {reason}"


def _folder_name(name: str) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name).strip(". ")
        or "data"
    )


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the target's place at the end, or is removed on a fault."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".partial-{target.name}-", dir=target.parent))
    old = temporary.with_name(temporary.name + "-old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write(
    folder: Path,
    run: Run,
    selection: Selection,
    judge: Judge,
    measured: Measured,
    done: Judgement,
    support: Mapping[str, Support],
    groups: Groups | None,
    seconds: float,
) -> None:
    patients = len(set(patients_of(done.judged)))
    plots = judge.plots()
    write_json(
        folder / "metrics.json",
        {
            "task": run.plan.task,
            "data": selection.name,
            "split": selection.part,
            "cases": len(done.judged),
            "patients": patients,
            "failed": len(done.failed),
            "overall": measured.overall,
            "per_class": measured.per_class,
            "intervals": measured.intervals,
            "support": {name: one._asdict() for name, one in support.items()},
            "interval_level": LEVEL,
            "interval_method": f"percentile bootstrap over patients, {RESAMPLES} resamples",
            "notes": selection.notes,
            "seconds": round(seconds, 2),
            **measured.extra,
            **({"groups": groups.as_json()} if groups else {}),
        },
    )
    write_csv(folder / "cases.csv", [_cells(row) for row in done.rows])
    for file, content in judge.stored([case.name for case in done.judged]).items():
        write_text(folder / file, json.dumps(plain(content), separators=(",", ":"), allow_nan=False) + "\n")
    sections = list(measured.sections)
    if groups:
        write_csv(folder / "groups.csv", [_cells(row) for row in groups.rows()])
        sections += group_sections(groups, judge.headline)
    for plot in plots + [plot for section in sections for plot in section.plots]:
        plot.figure.savefig(folder / f"{plot.name}.png", dpi=150, bbox_inches="tight")
    write_page(folder / "report.html", run, selection, judge, measured, done, plots, support, sections)


def _group_names(selection: Selection, judge: Judge, settings: Evaluate) -> set[str]:
    """What a gate may name beside the measures: `auroc/sex=F`, `equalized_odds_gap/sex`."""
    groupings = group_cases(
        [case.groups for case in selection.cases],
        patients_of(selection.cases),
        fewest=settings.group_patients,
    )
    return group_names(judge.group_names, judge.gaps, groupings)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _cell(value) for key, value in row.items()}


def _cell(value: Any) -> Any:
    """NaN is an empty cell; numbers keep six digits that matter."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
