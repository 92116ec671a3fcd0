"""What a task must offer to be evaluated. `evaluate` asks these questions and never asks which task it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.drawing import beside, views
from medcli.image import Image
from medcli.metrics.bootstrap import LEVEL, RESAMPLES, intervals
from medcli.metrics.samples import Gap, Sample
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
"""Overall measures (...) and measures per class (..., k) by name."""


class Plot(NamedTuple):
    """One figure; `name` is its file without the suffix."""

    name: str
    figure: "Figure"
    caption: str
    alt: str


class Table(NamedTuple):
    """A table of the report."""

    rows: list[dict[str, Any]]
    caption: str = ""


class Detail(NamedTuple):
    """A picture of something within a case, uint8 RGB; `kind` says what, see `medcli.evaluation.page.DETAILS`."""

    kind: str
    case: str
    picture: np.ndarray
    caption: str


class Section(NamedTuple):
    """A part of the report by itself, between the plots and the pictures."""

    title: str
    tables: list[Table]
    plots: list[Plot]


@dataclass(frozen=True, eq=False)
class Judged:
    """One case measured.

    Attributes:
        row: Its line in cases.csv.
        quality: What the worst and the best cases are chosen by, larger is better; NaN: not to be shown.
        shown_by: What the worst and the best cases are chosen by instead of the quality; None: the quality.
        caption: One line for its picture.
        draw: Gives its picture, uint8 RGB; None: the image is not at hand.
    """

    row: dict[str, Any]
    quality: float
    caption: str
    draw: Callable[[], np.ndarray] | None = None
    shown_by: float | None = None

    @property
    def rank(self) -> float:
        return self.quality if self.shown_by is None else self.shown_by


@dataclass(frozen=True, eq=False)
class Measured:
    """Attributes:
    overall: Measure to value; NaN where undefined.
    per_class: Class to measure to value.
    intervals: (low, high) by flat name (see `flat`).
    extra: What else belongs into metrics.json (confusion, counts).
    sections: Parts of the report that only this task has.
    notes: What a reader must know.
    """

    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    extra: dict[str, Any] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def flat(self) -> dict[str, float]:
        """Overall measures by name, then those of the classes as `name/class`: the names that gates use."""
        return self.overall | {
            f"{name}/{label}": value
            for label, values in self.per_class.items()
            for name, value in values.items()
        }


class Judge(Protocol):
    """Built as `SomeJudge(plan, settings)`; cases are added one by one or restored, the rest is asked afterwards."""

    plan: Plan
    settings: Evaluate

    @property
    def overall_names(self) -> Sequence[str]: ...

    @property
    def class_names(self) -> Sequence[str]: ...

    @property
    def headline(self) -> Sequence[str]:
        """The few measures that head the report."""

    @property
    def wide(self) -> bool:
        """Its pictures show truth and prediction side by side."""

    @property
    def group_names(self) -> Sequence[str]:
        """The measures of groups."""

    @property
    def robust_names(self) -> Sequence[str]:
        """The measures of the robustness curve, of `group_names`, the most important first; larger is better but for
        `medcli.evaluation.measures.SMALLER_IS_BETTER`."""

    @property
    def gaps(self) -> Sequence[Gap]:
        """What is compared between groups."""

    def add(self, case: Case, image: Image, prediction: Prediction) -> Judged:
        """Raises DataError or FormatError when the case has no usable truth; then nothing was added."""

    def restore(self, rows: Sequence[Mapping[str, str]], folder: Path) -> list[Judged]:
        """Add all cases from the lines of cases.csv and from what `stored` gave, which lies in the folder.

        Settings that need no image (thresholds, overlaps) are applied anew. Raises RunError when something is
        missing or is not of this run.
        """

    def measure(self, patients: Sequence[str]) -> Measured:
        """Over all cases added; `patients` has one entry for each."""

    def sample(self) -> Sample:
        """All cases added, for measures of parts of them."""

    def plots(self) -> list[Plot]: ...

    def details(self) -> list[Detail]:
        """Pictures of what was seen in the cases added; none of cases restored."""

    def lists(self, cases: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Tables that are too long for the page, file name to rows; `cases` names each case added."""

    def stored(self, cases: Sequence[str]) -> dict[str, Any]:
        """What the folder keeps besides cases.csv, file name to JSON; `cases` names each case added."""


class Support(NamedTuple):
    """What a number rests on; `prevalence` is the share with the class (classification), else None."""

    cases: int
    patients: int
    prevalence: float | None


def supports(judge: Judge, sample: Sample, patients: Sequence[str]) -> dict[str, Support]:
    """By flat name, for every measure."""
    names = np.asarray(patients, dtype=str)

    def of(counted: np.ndarray, column: int | None) -> Support:
        prevalence = None
        if column is not None and sample.told_apart:
            prevalence = float(sample.truth[counted, column].mean())
        return Support(int(counted.sum()), len(set(names[counted])), prevalence)

    overall = of(np.any(sample.counted, axis=1), sample.positive)
    found = dict.fromkeys(judge.overall_names, overall)
    for index, label in enumerate(judge.plan.classes):
        one = of(sample.counted[:, index], index)
        found |= dict.fromkeys((f"{name}/{label}" for name in judge.class_names), one)
    return found


def flat_names(judge: Judge) -> list[str]:
    """Every measure that will be there, before anything is measured."""
    per_class = [f"{name}/{label}" for label in judge.plan.classes for name in judge.class_names]
    return [*judge.overall_names, *per_class]


def with_intervals(
    measure: Callable[[np.ndarray | None], Values],
    classes: Sequence[str],
    patients: Sequence[str],
    *,
    extra: Mapping[str, Any],
) -> Measured:
    """Measure once as it is and once for every resample of patients."""
    overall, by_class = measure(None)

    def resampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        drawn, drawn_by_class = measure(weights)
        return drawn | {
            f"{name}/{label}": values[..., index]
            for name, values in drawn_by_class.items()
            for index, label in enumerate(classes)
        }

    return Measured(
        {name: float(value) for name, value in overall.items()},
        {
            label: {name: float(values[index]) for name, values in by_class.items()}
            for index, label in enumerate(classes)
        },
        intervals(resampled, patients, resamples=RESAMPLES, level=LEVEL),
        dict(extra),
    )


def shown_window(plan: Plan) -> tuple[float, float] | None:
    """The values between which the network saw the image, so that people see the same; None: not clipped."""
    low, high = plan.intensity[0].low, plan.intensity[0].high
    return None if low is None or high is None else (low, high)


class Extremes:
    """Keeps the pictures of the worst and the best cases while cases stream by; others are never drawn."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._worst: list[tuple[float, int, str, np.ndarray]] = []
        self._best: list[tuple[float, int, str, np.ndarray]] = []
        self._seen = 0

    def add(self, judged: Judged, case: str) -> None:
        if np.isnan(judged.rank) or self.most == 0 or judged.draw is None:
            return
        self._seen += 1
        drawn = None
        for kept, key in ((self._worst, judged.rank), (self._best, -judged.rank)):
            if len(kept) == self.most and key >= kept[-1][0]:
                continue
            drawn = judged.draw() if drawn is None else drawn
            kept.append((key, self._seen, case, drawn))
            kept.sort(key=lambda entry: entry[:2])
            del kept[self.most :]

    @property
    def worst(self) -> list[tuple[np.ndarray, str]]:
        """Pictures with the names of their cases, the worst first."""
        return [(picture, case) for _, _, case, picture in self._worst]

    @property
    def best(self) -> list[tuple[np.ndarray, str]]:
        """The best first, without those that are among the worst."""
        shown = {number for _, number, _, _ in self._worst}
        return [(picture, case) for _, number, case, picture in self._best if number not in shown]


def drawn_whole(image: Image, plan: Plan) -> np.ndarray:
    """(rows, columns, 3) uint8: the picture, or the views of a volume beside one another."""
    longest = 320 if image.ndim == 2 else 220
    return beside([view.rgb for view in views(image, window=shown_window(plan), longest=longest)])
