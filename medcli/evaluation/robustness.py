"""How much of the result is left when images are noisy, blurred, moved, turned, ...: the robustness curve.

A part of the judged cases, the same for every corruption and strength, is corrupted as it was read, goes through
the same predictor and is judged by the task's own judge. Everything is paired: differences to the clean images
are between the same cases, and every interval comes from the same resamples of their patients.

The area of a corruption is the mean of the measure over the strengths divided by the measure on the clean images
of the same cases: 1 when nothing is lost. (AUROC keeps 0.5 by chance, so its area hardly falls below 0.5.) The
mean of the areas over the corruptions is the last line.

How many cases (`evaluate.robustness: auto`): as many as fit into 30 s, or 30 % of the time that the prediction
of all cases took if that is more, by the time that the first cases took at the middle strength. When the smallest
number worth looking at does not fit at all five strengths, three strengths (1, 3, 5) or one (3) are taken; when even
that would take more than twice the time, it is left out, with a note. The cases are a prefix of one order that is
drawn from the seed and keeps the classes in proportion, so more cases include the fewer.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.errors import MedcliError
from medcli.evaluation.corruptions import LEFT_OUT, STRENGTHS, corruptions_for, kind_of
from medcli.evaluation.judge import Judge
from medcli.evaluation.kept import Kept
from medcli.evaluation.robustness_curves import curves_content
from medcli.evaluation.robustness_passes import CorruptedPasses, Rereads
from medcli.files import write_json
from medcli.metrics.samples import Sample
from medcli.progress import Progress, ignore

SECONDS, SHARE = 30.0, 0.3
"""What `auto` may take: so many seconds, or this share of the time of the prediction if that is more."""
PATIENCE = 2.0
"""Nothing is started that is expected to take longer than so many times that."""
FEWEST, FEWEST_RANKED = 6, 40
"""Smallest number of cases that `auto` takes; where cases with and without a class are told apart."""
STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
"""Numbers of cases are these times a power of ten, so that a second run takes as many."""
MILD, MUCH = 2, 0.05
"""A loss of more than MUCH at a strength up to MILD is told at the head of the report."""

FILE = "robustness.json"
COLUMNS = ("value", "low", "high", "difference", "difference_low", "difference_high")


@dataclass(frozen=True)
class Robustness:
    """Attributes:
    content: As in metrics.json, see `robustness_curves.curves_content`; everything that the report shows is made of it.
    """

    content: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Robustness | None":
        """What `measure_robustness` left in the folder of an evaluation; None: nothing."""
        path = folder / FILE
        return cls(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    @property
    def notes(self) -> list[str]:
        """What a reader must know at once."""
        return self.content["notes"]

    @property
    def flat(self) -> dict[str, float]:
        """Areas as gates name them: `robustness/noise` (of the first measure), `robustness/noise/auroc`."""
        areas = {name: one["area"] for name, one in self.content.get("corruptions", {}).items()}
        if areas:
            areas["mean"] = self.content["mean"]
        found: dict[str, float] = {}
        for name, measures in areas.items():
            for number, (measure, area) in enumerate(measures.items()):
                value = math.nan if area["value"] is None else area["value"]
                found[f"robustness/{name}/{measure}"] = value
                if number == 0:
                    found[f"robustness/{name}"] = value
        return found

    def rows(self) -> list[dict[str, Any]]:
        """For robustness.csv: one line per corruption, strength (0: clean) and measure, then the areas."""
        lines: list[dict[str, Any]] = []
        content = self.content
        if not content["corruptions"]:
            return lines
        counts = {"cases": content["cases"], "patients": content["patients"]}

        def add(
            corruption: str, strength: Any, level: str, measures: Mapping[str, Mapping[str, Any]]
        ) -> None:
            for measure, found in measures.items():
                line = {"corruption": corruption, "strength": strength, "level": level, "measure": measure}
                lines.append(line | {key: found.get(key) for key in COLUMNS} | counts)

        add("clean", 0, "", content["clean"])
        for name, one in content["corruptions"].items():
            for entry in one["strengths"]:
                add(name, entry["strength"], entry["level"], entry["measures"])
            add(name, "area", "", one["area"])
        add("mean", "area", "", content["mean"])
        return lines


def gate_names(judge: Judge, settings: Evaluate) -> set[str]:
    """The names in `Robustness.flat` that may come, before anything is measured; none when it is off."""
    if settings.robustness == "off":
        return set()
    wanted = None if settings.corruptions == "auto" else settings.corruptions
    kinds = [
        corruptions_for(kind, wanted) for kind in LEFT_OUT
    ]  # the modality is known when an image is read
    names = {one.name for kind in kinds for one in kind} | {"mean"}
    return {f"robustness/{name}" for name in names} | {
        f"robustness/{name}/{measure}" for name in names for measure in judge.robust_names
    }


def measure_robustness(
    folder: Path,
    predictor: Any,
    new_judge: Callable[[], Judge],
    judge: Judge,
    cases: Sequence[Case],
    kept: Kept,
    *,
    asked: bool = False,
    seed: int = 0,
    progress: Progress = ignore,
) -> None:
    """Corrupt, predict, judge and compare, and leave it in the folder; nothing when it is off.

    Args:
        folder: Of the evaluation.
        predictor: See `Rereads`; one that cannot be given images measures nothing.
        new_judge: Gives an empty judge of the task.
        judge: Of the clean images, with all cases of `kept.judged`.
        cases: All cases, judged or not.
        kept: The clean predictions.
        asked: A gate needs it: the smallest number of cases is taken however long it takes.
    """
    settings = judge.settings
    if settings.robustness == "off" or not isinstance(predictor, Rereads):
        return
    by_name, clean = {case.name: case for case in cases}, judge.sample()
    judged = [by_name[name] for name in kept.cases]
    order = stratified(clean, seed=seed)
    kind = kind_of(judge.plan, _modality(predictor, judged[order[0]]))
    corruptions = corruptions_for(kind, None if settings.corruptions == "auto" else settings.corruptions)
    passes = CorruptedPasses(predictor, new_judge, judge.plan, corruptions, seed, progress)
    strengths: tuple[int, ...] = STRENGTHS
    if settings.robustness == "auto":
        fewest = min(len(order), FEWEST_RANKED if clean.told_apart else FEWEST)
        budget = max(SECONDS, SHARE * kept.seconds)
        median = float(np.median([row["seconds"] for row in kept.judged]))
        expected = fewest * len(corruptions) * median
        if expected > PATIENCE * budget and not asked:
            write_json(folder / FILE, _left_out(expected, fewest, kind))
            return
        start = perf_counter()
        passes.run([judged[number] for number in order[:fewest]], STRENGTHS[2:3])
        each = (perf_counter() - start) / (fewest * len(corruptions))
        count, strengths = affordable(budget / (each * len(corruptions)), fewest, len(order))
        order = order[:count]
        more = [strength for strength in strengths if strength != STRENGTHS[2]]
        passes.run([judged[number] for number in order[:fewest]], more)
        passes.run([judged[number] for number in order[fewest:]], strengths)
    else:
        order = order[: None if settings.robustness == "full" else settings.robustness]
        passes.run([judged[number] for number in order], strengths)
    content = curves_content(passes, kind, order, judged, kept.patients, clean, strengths)
    write_json(folder / FILE, content | {"notes": _notes(content, len(judged))})


def stratified(sample: Sample, *, seed: int) -> np.ndarray:
    """An order of the cases by chance in which every beginning has the classes in proportion, rounded.

    Cases are alike when they show the same classes. Within each kind the i-th of m stands at (i + u) / m,
    with u drawn once per kind.
    """
    random = np.random.default_rng([seed, 6])
    kinds = np.unique(sample.truth, axis=0, return_inverse=True)[1].ravel()
    place = np.empty(len(kinds))
    for kind in range(kinds.max() + 1):
        members = random.permutation(np.flatnonzero(kinds == kind))
        place[members] = (np.arange(len(members)) + random.random()) / len(members)
    return np.argsort(place, kind="stable")


def affordable(passes: float, fewest: int, most: int) -> tuple[int, tuple[int, ...]]:
    """(cases, strengths) for so many predictions per corruption; a number of `STEPS`, or all.

    Example:
        >>> affordable(600, 40, 10_000)
        (100, (1, 2, 3, 4, 5))
        >>> affordable(130, 40, 10_000)
        (40, (1, 3, 5))
    """
    for strengths in (STRENGTHS, STRENGTHS[::2], STRENGTHS[2:3]):
        count = passes / len(strengths)
        if count >= fewest or len(strengths) == 1:
            break
    if count >= most:
        return most, strengths
    power = 10 ** math.floor(math.log10(max(count, 1)))
    rounded = max(int(step * power) for step in STEPS if step * power <= max(count, 1))
    return min(most, max(fewest, rounded)), strengths


def _modality(predictor: Any, case: Case) -> str:
    read = getattr(predictor, "read", None)
    try:
        return read(case).modality if read else ""
    except MedcliError:
        return ""


def _left_out(expected: float, fewest: int, kind: str) -> dict[str, Any]:
    note = (
        f"Robustness was not measured: {fewest} cases at one strength would take about {expected:.0f} s. "
        f"Ask for it with --set evaluate.robustness={fewest} (cases), or full."
    )
    return {"notes": [note], "kind": kind, "cases": 0, "corruptions": {}}


def _notes(content: Mapping[str, Any], cases: int) -> list[str]:
    """One sentence when mild corruptions cost much, beyond chance: of each the mildest, and what it costs most."""
    from medcli.evaluation.measures import SMALLER_IS_BETTER, TITLES

    told = []
    if content["measures"][0] in SMALLER_IS_BETTER:
        return _costly(content, cases)
    for one in content["corruptions"].values():
        losses = [
            (found["difference"], entry["level"], measure, found)
            for entry in one["strengths"]
            if entry["strength"] <= MILD
            for measure, found in entry["measures"].items()
            if found["difference"] < -MUCH and found["difference_high"] < 0
        ]
        if losses:
            mildest = [loss for loss in losses if loss[1] == losses[0][1]]
            lost, level, measure, found = min(mildest, key=lambda loss: loss[0])
            low, high = -found["difference_high"], -found["difference_low"]
            what = f"{one['title'].lower()} ({level}) costs {-lost:.2f} ({low:.2f} to {high:.2f})"
            told.append((lost, f"{what} of {TITLES[measure][0]}"))
    if not told:
        return []
    texts = "; ".join(text for _, text in sorted(told))
    return [f"Sensitive to mild changes of the image, on {content['cases']} of {cases} cases: {texts}."]


def _costly(content: Mapping[str, Any], cases: int) -> list[str]:
    """The same of an error, which has a unit: what adds more than the share MUCH of that on clean images."""
    from medcli.evaluation.measures import TITLES

    measure, told = content["measures"][0], []
    clean = content["clean"][measure]["value"]
    for one in content["corruptions"].values():
        for entry in one["strengths"]:
            found = entry["measures"][measure]
            if (
                entry["strength"] <= MILD
                and found["difference_low"] > 0
                and found["difference"] > MUCH * clean
            ):
                low, high = found["difference_low"], found["difference_high"]
                added = f"{found['difference']:.3g} ({low:.3g} to {high:.3g})"
                told.append((-found["difference"], f"{one['title'].lower()} ({entry['level']}) adds {added}"))
                break
    if not told:
        return []
    texts = "; ".join(text for _, text in sorted(told))
    return [
        f"Sensitive to mild changes of the image, on {content['cases']} of {cases} cases: to the "
        f"{TITLES[measure][0]} of {clean:.3g} {texts}."
    ]
