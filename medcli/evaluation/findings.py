"""Everything that the report and the model card speak of, gathered once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medcli.evaluation.judge import Judge, Measured, Plot, Section, Support
from medcli.evaluation.kept import Kept, Picture
from medcli.evaluation.measures import TITLES
from medcli.report import number_text
from medcli.run import Run

NO_BREAK = "\u00a0"
DISTANCES = ("hd95", "asd")
PARTS = {
    "train": "the training part",
    "val": "the validation part",
    "test": "the test part",
    "all": "all cases",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """Attributes:
    run, kept, judge: What was judged, and by what.
    measured, support: The numbers, and what each rests on.
    content: Of metrics.json.
    plots: Of the judge; those of the sections are with them.
    sections: In the order to show them.
    pictures: With a caption each.
    why: On the maps of the worst cases, where there are any.
    """

    run: Run
    kept: Kept
    judge: Judge
    measured: Measured
    support: Mapping[str, Support]
    content: Mapping[str, Any]
    plots: Sequence[Plot]
    sections: Sequence[Section]
    pictures: Sequence[tuple[Picture, str]]
    why: Section | None = None

    @property
    def name(self) -> str:
        return self.run.config.name or self.run.folder.name

    @property
    def where(self) -> str:
        """The data, as part of a sentence."""
        if self.kept.own and self.kept.part == "val" and self.run.folds:
            return "all cases out of fold"
        return PARTS[self.kept.part] if self.kept.own else f"other data ({self.kept.name})"

    @property
    def size(self) -> str:
        return of_patients(self.content["cases"], self.content["patients"])

    def title(self, name: str) -> str:
        """Of a measure by flat name, with the unit of distances."""
        measure = name.partition("/")[0]
        unit = self.content.get("distances_in", "").partition(" ")[0] if measure in DISTANCES else ""
        return TITLES[measure][0] + (f" ({unit})" if unit else "")

    def value(self, name: str) -> str:
        """`AUROC 0.720 (0.501 to 0.801)` by flat name."""
        return f"{self.title(name)} {with_interval(self.measured.flat[name], self.measured.intervals[name])}"

    def based_on(self, name: str) -> str:
        """`161 cases of 37 patients, prevalence 0.52`."""
        support = self.support[name]
        text = of_patients(support.cases, support.patients)
        return text if support.prevalence is None else f"{text}, prevalence {number_text(support.prevalence)}"


def with_interval(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    if value is None or not math.isfinite(value):
        return "undefined"
    if not (math.isfinite(low) and math.isfinite(high)):
        return number_text(value)
    return f"{number_text(value)} ({number_text(low)} to {number_text(high)})"


def percent(share: float) -> str:
    """One digit after the point where that matters: below 10 and above 90 percent."""
    value = 100 * share
    digits = 1 if 0 < value < 9.95 or 90.05 < value < 100 else 0
    return f"{value:.{digits}f}{NO_BREAK}%"


def percents(value: float, interval: Sequence[float]) -> str:
    """`61 % (8.3 % to 77 %)`."""
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return percent(value)
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def of_patients(cases: int, patients: int) -> str:
    return f"{plural(cases, 'case')} of {plural(patients, 'patient')}"


def listed(words: Sequence[str], last: str = "and", most: int = 12) -> str:
    """`a, b and c`; of very many the first."""
    if len(words) > most:
        return f"{', '.join(words[:most])} {last} {len(words) - most} more"
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
