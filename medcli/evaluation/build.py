"""From stored predictions to everything that is said about them. No model and no image is needed.

`evaluate` predicts and stores; this is its second half, and the whole of `medcli report`. It writes

    metrics.json    overall and per class, 95 % intervals, numbers of cases and patients
    cases.csv       again, with the columns that follow from the settings
    robustness.csv  what noise, blur, motion, ... cost, at five strengths
    errors.csv      detection: every false box, missed object and wrong class
    score_curves.csv  detection: precision, recall and F1 by score
    groups.csv      every group (sex, age, site, ...), and the gaps between the groups; only with such columns
    *.png           plots
    report.html     all of it in one file
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from medcli.config.schema import Card
from medcli.errors import RunError, UsageError
from medcli.evaluation.choose import judge_for
from medcli.evaluation.findings import Findings
from medcli.evaluation.fold_spread import fold_note, fold_section, fold_spread
from medcli.evaluation.groups import Groups, measure_groups
from medcli.evaluation.groups_page import group_sections
from medcli.evaluation.judge import Judge, Judged, Measured, Support, supports
from medcli.evaluation.kept import CASES, Kept, cells, copy_kept, opened
from medcli.evaluation.page import write_page
from medcli.evaluation.referral import Cases, referral_section
from medcli.evaluation.robustness import Robustness
from medcli.evaluation.robustness_page import robustness_section
from medcli.evaluation.selection import OUT_OF_FOLD
from medcli.evaluation.sites import Sites, measure_sites
from medcli.evaluation.why import load_explanations, summary, why_section
from medcli.files import full_disk_names, sweep, sync_folder, write_csv, write_json
from medcli.metrics.bootstrap import LEVEL, RESAMPLES
from medcli.progress import Progress, ignore
from medcli.refusal.learned import Refusal
from medcli.run import Run

FOLDER = "evaluate"
FEW_PATIENTS = 10
"""With fewer the intervals are called rough."""


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
    group_measures: The same by flat name (`auroc/sex=F`), and those of the robustness (`robustness/noise`).
    support: What each measure rests on: cases, patients, prevalence.
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
    group_measures: dict[str, float] = field(default_factory=dict)
    support: dict[str, dict[str, Any]] = field(default_factory=dict)


def report(
    run: Path,
    *,
    evaluation: str | None = None,
    overrides: Sequence[str] = (),
    name: str | None = None,
    progress: Progress = ignore,
) -> Result:
    """Make everything of an evaluation again, under other settings if some are overridden.

    Args:
        run: The run folder.
        evaluation: Of those below RUN/evaluate; None: test, else val or out_of_fold, else the only one.
        overrides: `section.key=value`, see `FREE`; all others have shaped the predictions themselves.
        name: Write RUN/evaluate/name instead of replacing the folder.

    Raises:
        UsageError: No such evaluation, a setting needs the model or the images, or `name` is there already.
        RunError: Something is missing, damaged, or of other weights.
    """
    folder = _choose(run, evaluation)
    before, after = opened(folder), opened(folder, overrides)
    _check_free(before, after)
    target = folder.with_name(folder_name(name)) if name else folder
    if target != folder and target.exists():
        raise UsageError(f"{target}: there is a result already; give another name.")
    with whole_folder(target) as temporary:
        copy_kept(folder, temporary)
        result = build(temporary, after, progress=progress)
    return replace(result, folder=target)


def _choose(run: Path, evaluation: str | None) -> Path:
    Run.open(run, weights=False)
    known = sorted(path.parent.name for path in (run / FOLDER).glob(f"*/{CASES}"))
    if not known:
        raise RunError(f"{run}: this run was not evaluated; run `medcli evaluate {run}` first.")
    usual = ["test", "val", OUT_OF_FOLD, *(known if len(known) == 1 else [])]
    wanted = [evaluation] if evaluation else usual
    for one in wanted:
        if one in known:
            return run / FOLDER / one
    raise UsageError(f"--evaluation: expected one of {', '.join(known)}, got {evaluation or 'none'}.")


def folder_name(name: str) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name).strip(". ")
        or "data"
    )


FREE = {
    "evaluate": {
        "positive", "threshold", "prevalence", "coverage", "sets", "sets_per_class", "group_patients",
        "iou_threshold", "group_thresholds",
    },
    "predict": {"calibrate", "score_threshold"},
    "card": set(Card.model_fields),
}  # fmt: skip
"""Settings that ask another question of the same predictions."""


def _check_free(before: Run, after: Run) -> None:
    old, new = before.config.model_dump(), after.config.model_dump()
    for section, values in new.items():
        if section == "name" or values == old[section]:
            continue
        keys = [key for key in values if values[key] != old[section][key]] if isinstance(values, dict) else []
        bound = [key for key in keys if key not in FREE.get(section, set())]
        if bound or not keys:
            key = f"{section}.{bound[0]}" if bound else section
            known = ", ".join(
                f"{part}.{one}" for part in ("evaluate", "predict") for one in sorted(FREE[part])
            )
            raise UsageError(
                f"--set {key}: the stored predictions were made under this setting; give it to `medcli evaluate`, "
                f"or change only {known}, card.*."
            )


def build(folder: Path, run: Run, *, progress: Progress = ignore) -> Result:
    """Measure the stored predictions of a folder and write the rest of it.

    Args:
        folder: As `medcli.evaluation.kept` describes it.
        run: With the settings to judge by.

    Raises:
        RunError: Something stored is missing or damaged.
        ConfigError: A setting names an unknown class.
    """
    start = perf_counter()
    kept = Kept.load(folder)
    settings = run.config.evaluate
    judge = judge_for(run.plan, settings, run, own=kept.own)
    judged = judge.restore(kept.judged, folder)
    kept = kept.with_judged(judged)
    notes = list(kept.notes)
    if len(set(kept.patients)) < FEW_PATIENTS:
        notes.append(f"Patients: {len(set(kept.patients))}; with so few the intervals are rough.")
    progress("measure", 0, 1)
    measured = judge.measure(kept.patients)
    progress("measure", 1, 1)
    notes += measured.notes
    measured, more = _with_referral(measured, kept, judged, run)
    notes += more
    sample = judge.sample()
    groups = measure_groups(
        sample, kept.group_values, kept.patients, fewest=settings.group_patients, progress=progress
    )
    notes += groups.warnings() if groups else []
    sites = None
    if groups:
        sites = measure_sites(
            groups,
            sample,
            kept.group_values,
            kept.patients,
            judge.robust_names[0],
            run.records,
            fewest=settings.group_patients,
        )
    notes += sites.notes if sites else []
    folds = fold_spread(run, kept, sample, judge.robust_names)
    notes += [fold_note(folds)] if folds else []
    robustness = Robustness.load(folder)
    notes += robustness.notes if robustness else []
    support = supports(judge, sample, kept.patients)
    seconds = kept.seconds + perf_counter() - start
    content = _content(run, kept, measured, support, groups, sites, robustness, notes, seconds)
    why = load_explanations(folder)
    if why:
        content["explanations"] = summary(why)
    if folds:
        content["folds"] = folds
        measured = replace(measured, sections=[fold_section(folds), *measured.sections])
    captions = {row["case"]: one.caption for row, one in zip(kept.judged, judged, strict=True)}
    kept.save(folder, run)
    _write(folder, run, kept, judge, measured, support, groups, sites, robustness, why, content, captions)
    return Result(
        measured.flat,
        measured.intervals,
        content["cases"],
        content["patients"],
        kept.failed,
        notes,
        folder,
        seconds,
        groups.as_json() if groups else None,
        (groups.flat if groups else {}) | (robustness.flat if robustness else {}),
        content["support"],
    )


def _with_referral(
    measured: Measured, kept: Kept, judged: Sequence[Judged], run: Run
) -> tuple[Measured, list[str]]:
    """With the section on referred cases, when the run learned to refer some; and its warnings."""
    refusal = Refusal.of(run)
    if refusal is None:
        return measured, []
    if run.plan.target is not None:
        right = [abs(one.row["error"]) for one in judged]
    else:
        right = [
            one.quality if refusal.record.quality else float(str(one.row["correct"]).lower() in ("true", "1"))
            for one in judged
        ]
    found = referral_section(Cases(kept.judged, np.array(right), kept.patients, refusal), own=kept.own)
    if found is None:
        return measured, []
    section, content, notes = found
    extra = measured.extra | {"referral": content}
    return replace(measured, extra=extra, sections=[*measured.sections, section]), notes


def _content(
    run: Run,
    kept: Kept,
    measured: Measured,
    support: dict[str, Support],
    groups: Groups | None,
    sites: Sites | None,
    robustness: Robustness | None,
    notes: list[str],
    seconds: float,
) -> dict[str, Any]:
    """Of metrics.json."""
    return {
        "task": run.plan.task,
        "data": kept.name,
        "split": kept.part,
        "cases": len(kept.judged),
        "patients": len(set(kept.patients)),
        "failed": len(kept.failed),
        "overall": measured.overall,
        "per_class": measured.per_class,
        "intervals": measured.intervals,
        "support": {name: one._asdict() for name, one in support.items()},
        "interval_level": LEVEL,
        "interval_method": f"percentile bootstrap over patients, {RESAMPLES} resamples",
        "notes": notes,
        "seconds": round(seconds, 2),
        **measured.extra,
        **({"groups": groups.as_json()} if groups else {}),
        **({"sites": sites.content} if sites else {}),
        **({"robustness": robustness.content} if robustness else {}),
    }


def _write(
    folder: Path,
    run: Run,
    kept: Kept,
    judge: Judge,
    measured: Measured,
    support: dict[str, Support],
    groups: Groups | None,
    sites: Sites | None,
    robustness: Robustness | None,
    why: dict[str, Any] | None,
    content: dict[str, Any],
    captions: dict[str, str],
) -> None:
    write_json(folder / "metrics.json", content)
    sections = list(measured.sections)
    for name, rows in judge.lists(kept.cases).items():
        write_csv(folder / name, [cells(row) for row in rows])
    if groups:
        write_csv(folder / "groups.csv", [cells(row) for row in groups.rows()])
        sections += ([sites.section] if sites else []) + group_sections(groups, judge.headline)
    if robustness:
        if rows := robustness.rows():
            write_csv(folder / "robustness.csv", [cells(row) for row in rows])
        sections.append(robustness_section(robustness.content))
    plots = judge.plots()
    for plot in plots + [plot for section in sections for plot in section.plots]:
        plot.figure.savefig(folder / f"{plot.name}.png", dpi=150, bbox_inches="tight")
    pictures = [(one, one.caption or captions[one.case]) for one in kept.pictures]
    write_page(
        folder,
        Findings(
            run,
            kept,
            judge,
            measured,
            support,
            content,
            plots,
            sections,
            pictures,
            why_section(why) if why else None,
        ),
    )


_FORGOTTEN = 3600.0
"""Seconds after which a half-written result belongs to a process that was killed."""


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the target's place at the end, or is removed on a fault."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, age=_FORGOTTEN)
    temporary = Path(tempfile.mkdtemp(prefix=f".partial-{target.name}-", dir=target.parent))
    old = temporary.with_name(temporary.name + "-old")
    try:
        with full_disk_names(target):
            yield temporary
        temporary.chmod(0o755)
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
