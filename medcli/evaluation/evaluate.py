"""Measure a run on raw images: read, prepare, predict, keep what was predicted, and build the result from that.

RUN/evaluate/NAME/ holds what `medcli.evaluation.kept` keeps and what `medcli.evaluation.build` makes of it.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Protocol

from medcli.calibration import RULES, with_rules
from medcli.case import Case
from medcli.config.schema import Config, Evaluate
from medcli.errors import DataError, GateNotMet, MedcliError, UsageError
from medcli.evaluation.build import FEW_PATIENTS, FOLDER, Result, build, folder_name, whole_folder
from medcli.evaluation.choose import judge_for
from medcli.evaluation.gates import check_known, parse_gate, unmet
from medcli.evaluation.groups import group_names
from medcli.evaluation.judge import Extremes, Judge, flat_names
from medcli.evaluation.kept import OK, Kept, column_of, save_details, save_pictures, who
from medcli.evaluation.referral import referral_row
from medcli.evaluation.robustness import gate_names, measure_robustness
from medcli.evaluation.selection import Selection, patients_of, select_cases
from medcli.evaluation.why import explain_worst
from medcli.files import plain, write_text
from medcli.grouping import group_cases
from medcli.image import Image
from medcli.prediction.result import Prediction
from medcli.progress import Progress, ignore
from medcli.run import Run

__all__ = ["FEW_PATIENTS", "FOLDER", "Result", "evaluate"]


class Predicts(Protocol):
    """What of the predictor is needed."""

    def predict_cases(
        self, cases: Iterable[Case]
    ) -> Iterator[tuple[Case, Image | None, Prediction | MedcliError]]: ...


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
    run.check_answers()
    if isinstance(data, Path):
        from medcli.config.loading import load_config

        data = load_config(data)
    settings = settings or (data or run.config).evaluate
    bars = [parse_gate(text) for text in gates]
    selection = select_cases(run, data=data, split=split or (None if data else settings.split))
    run = _under(run, settings, own=data is None)
    settings = run.config.evaluate
    judge = judge_for(selection.plan, settings, run, own=data is None)
    by_group = _group_names(selection, judge, settings) | gate_names(judge, settings) if bars else set()
    check_known([bar for bar in bars if bar.measure not in by_group], flat_names(judge))
    target = run.folder / FOLDER / folder_name(name or selection.name)
    if target.exists() and not force:
        raise UsageError(f"{target}: there is a result already; replace it with --force.")
    plain_predictor = predictor
    if predictor is None:
        from medcli.evaluation.learn import with_calibration, with_operating
        from medcli.evaluation.learn_refusal import with_refusal
        from medcli.prediction.predictor import Predictor

        loaded = Predictor.load(run)
        loaded = with_calibration(loaded.held_out() if data is None else loaded, progress)
        loaded = with_operating(loaded, progress)
        predictor, plain_predictor = with_refusal(loaded, progress).with_outer_masks(), loaded.referring(None)
    with whole_folder(target) as folder:
        kept = _keep(folder, selection, judge, predictor, settings, progress)
        kept = replace(kept, own=data is None, model=run.weights_digest, seconds=perf_counter() - start)
        measure_robustness(
            folder,
            plain_predictor,
            lambda: judge_for(selection.plan, settings, run, own=data is None),
            judge,
            selection.cases,
            kept,
            asked=any(bar.measure.startswith("robustness/") for bar in bars),
            seed=run.config.seed,
            progress=progress,
        )
        kept = _explained(folder, predictor, selection, kept, settings.explained, progress)
        replace(kept, seconds=perf_counter() - start).save(folder, run)
        result = build(folder, run, progress=progress)
    result = replace(result, folder=target, seconds=perf_counter() - start)
    undefined = dict.fromkeys(by_group, math.nan)
    missed = unmet(bars, undefined | result.group_measures | result.measures)
    if missed:
        raise GateNotMet(f"Not met: {'; '.join(missed)}. The result is in {target}.", result)
    return result


def _under(run: Run, settings: Evaluate, *, own: bool) -> Run:
    """The run under these settings, of other data's settings with the rules of the run where they name none."""
    rules = with_rules(run, settings, own=own).config.evaluate
    whole = settings.model_copy(update={name: getattr(rules, name) for name in RULES})
    return replace(run, config=run.config.model_copy(update={"evaluate": whole}))


def _keep(
    folder: Path,
    selection: Selection,
    judge: Judge,
    predictor: Predicts,
    settings: Evaluate,
    progress: Progress,
) -> Kept:
    """Predict and judge case after case, and write what only this folder holds: pictures and the judge's files.

    Raises DataError when no case could be judged.
    """
    extremes, rows = Extremes(settings.pictures), []
    modalities: Counter[str] = Counter()
    total = len(selection.cases)
    progress("evaluate", 0, total)
    for number, (case, image, outcome) in enumerate(predictor.predict_cases(selection.cases), start=1):
        row = who(case, selection.split.get(case.name, ""))
        try:
            if isinstance(outcome, MedcliError):
                raise outcome
            assert image is not None
            judged = judge.add(case, image, outcome)
            extremes.add(judged, case.name)
            modalities.update([image.modality] if image.modality else [])
            rows.append(
                row
                | {"status": OK, "seconds": round(outcome.seconds, 4)}
                | judged.row
                | referral_row(outcome)
            )
        except MedcliError as error:
            rows.append(row | {"status": str(error)})
        progress("evaluate", number, total)
    rows += [{"case": name, "patient": "", "status": reason} for name, reason in selection.failed.items()]
    groups = {name: column_of(name) for case in selection.cases for name in case.groups}
    kept = Kept(selection.name, selection.part, True, groups, selection.notes, dict(modalities), rows=rows)
    if not kept.judged:
        raise DataError(_nothing_judged(kept.failed))
    for file, content in judge.stored(kept.cases).items():
        write_text(folder / file, json.dumps(plain(content), separators=(",", ":"), allow_nan=False) + "\n")
    drawn = {"worst": extremes.worst, "best": extremes.best}
    pictures = [one for kind, found in drawn.items() for one in save_pictures(folder, kind, found)]
    pictures += save_details(folder, judge.details())
    return replace(kept, pictures=pictures)


def _explained(
    folder: Path, predictor: Predicts, selection: Selection, kept: Kept, most: int, progress: Progress
) -> Kept:
    """With maps of the worst cases."""
    by_name = {case.name: case for case in selection.cases}
    worst = [by_name[one.case] for one in kept.pictures if one.kind == "worst"][:most]
    maps = explain_worst(folder, predictor, worst, selection.plan, progress)
    return replace(kept, pictures=[*kept.pictures, *maps])


def _nothing_judged(failed: dict[str, str]) -> str:
    case, reason = next(iter(failed.items()))
    return f"None of the {len(failed)} cases could be judged. The first, {case}: {reason}"


def _group_names(selection: Selection, judge: Judge, settings: Evaluate) -> set[str]:
    """What a gate may name beside the measures: `auroc/sex=F`, `equalized_odds_gap/sex`."""
    groupings = group_cases(
        [case.groups for case in selection.cases],
        patients_of(selection.cases),
        fewest=settings.group_patients,
    )
    return group_names(judge.group_names, judge.gaps, groupings)
