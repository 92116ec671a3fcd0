"""Corrupted images through the same predictor into judges, one per corruption and strength."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from medcli.case import Case
from medcli.errors import MedcliError
from medcli.evaluation.corruptions import Clean, Corruption, generator
from medcli.evaluation.judge import Judge
from medcli.evaluation.rotation import Rotation
from medcli.image import Image
from medcli.prediction.result import Prediction
from medcli.preprocessing.objects import with_boxes
from medcli.preprocessing.plan import Plan
from medcli.progress import Progress

CHUNK_CASES, CHUNK_BYTES = 64, 256 * 2**20
"""Cases whose clean images are held in memory together."""

Condition = tuple[str, int]
"""Corruption and strength."""


@runtime_checkable
class Rereads(Protocol):
    """A predictor that can be given images in place of files."""

    def reading(self, read: Callable[[Case], Image]) -> "Rereads": ...

    def predict_cases(
        self, cases: Iterable[Case]
    ) -> Iterator[tuple[Case, Image | None, Prediction | MedcliError]]: ...


@dataclass
class CorruptedPasses:
    """Judges per condition, filled piece by piece.

    Attributes:
        names: By condition the cases in its judge, in order.
        failed: Cases that could not be predicted or judged once; they are left out everywhere.
    """

    predictor: Rereads
    new_judge: Callable[[], Judge]
    plan: Plan
    corruptions: Sequence[Corruption]
    seed: int
    progress: Progress
    judges: dict[Condition, Judge] = field(default_factory=dict)
    names: dict[Condition, list[str]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def run(self, cases: Sequence[Case], strengths: Sequence[int]) -> None:
        total, done = len(cases) * len(self.corruptions) * len(strengths), 0
        start = 0
        while start < len(cases) and strengths:
            size = self._chunk(cases[start])
            chunk = cases[start : start + size]
            clean = _CleanImages(self.predictor, self.plan)
            for corruption in self.corruptions:
                for strength in strengths:
                    self._condition(chunk, clean, corruption, strength)
                    done += len(chunk)
                    self.progress("robustness", done, total)
            start += size

    def _chunk(self, case: Case) -> int:
        """As many cases as this one fit into the memory."""
        try:
            size = _CleanImages(self.predictor, self.plan).of(case).scaled.nbytes
        except MedcliError:
            return CHUNK_CASES
        return int(np.clip(CHUNK_BYTES // max(1, 2 * size), 1, CHUNK_CASES))

    def _condition(
        self, cases: Sequence[Case], clean: "_CleanImages", corruption: Corruption, strength: int
    ) -> None:
        condition = corruption.name, strength
        judge = self.judges.setdefault(condition, self.new_judge())
        names = self.names.setdefault(condition, [])
        turns: dict[str, Rotation] = {}

        def corrupted(case: Case) -> Image:
            one, random = clean.of(case), generator(self.seed, case.name, corruption.name)
            if corruption.apply is not None:
                return one.corrupted(corruption, strength, random)
            degrees = corruption.level(strength) * random.choice([-1, 1])
            turn = Rotation.of(
                one.image.shape,
                degrees,
                spacing=one.image.spacing,
                grow=not self.plan.whole_images,
            )
            turns[case.name] = turn
            return one.with_scaled(turn.image(one.scaled))

        for case, _, outcome in self.predictor.reading(corrupted).predict_cases(cases):
            try:
                if isinstance(outcome, MedcliError):
                    raise outcome
                turn = turns.get(case.name)
                case = with_boxes(case, clean.of(case).image, self.plan)
                judge.add(
                    case if turn is None else _truth_turned(case, turn),
                    clean.of(case).image,
                    outcome if turn is None else _turned_back(outcome, turn),
                )
                names.append(case.name)
            except MedcliError:
                self.failed.add(case.name)


class _CleanImages:
    """The clean images of a few cases, each read once."""

    def __init__(self, predictor: Any, plan: Plan) -> None:
        self._read, self._plan = predictor.read, plan
        self._kept: dict[str, Clean] = {}

    def of(self, case: Case) -> Clean:
        if case.name not in self._kept:
            self._kept[case.name] = Clean.of(self._read(case), self._plan)
        return self._kept[case.name]


def _truth_turned(case: Case, turn: Rotation) -> Case:
    return case if case.boxes is None else replace(case, boxes=turn.boxes(case.boxes))


def _turned_back(prediction: Prediction, turn: Rotation) -> Prediction:
    if prediction.labels is None:
        return prediction
    if prediction.objects is not None:
        objects = replace(prediction.objects, ids=turn.numbers_back(prediction.objects.ids))
        return replace(prediction, labels=objects.labels, label_probabilities=None, objects=objects)
    return replace(prediction, labels=turn.rotated_back(prediction.labels), label_probabilities=None)
