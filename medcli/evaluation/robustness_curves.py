"""Robustness curves: measures by corruption and strength with paired intervals, and the areas under them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.errors import DataError
from medcli.evaluation.corruptions import LEFT_OUT
from medcli.evaluation.robustness_passes import Condition, CorruptedPasses
from medcli.metrics.bootstrap import LEVEL, divide, mean_of_known, patient_weights, percentile_interval
from medcli.metrics.samples import Sample

RESAMPLES = 1000


def curves_content(
    passes: CorruptedPasses,
    kind: str,
    order: np.ndarray,
    cases: Sequence[Case],
    patients: Sequence[str],
    clean: Sample,
    strengths: Sequence[int],
) -> dict[str, Any]:
    """What metrics.json holds under `robustness`.

    cases, patients, failed: how many; kind: of image; left_out: corruption to reason; strengths: that were
    measured; measures: names, the first is the one that gates and the summary mean; clean: measure to value,
    low, high; corruptions: name to title, strengths (strength, level, measures: value, low, high, difference,
    difference_low, difference_high) and area; mean: area over the corruptions.
    """
    kept = np.array([number for number in order if cases[number].name not in passes.failed], int)
    if not len(kept):
        raise DataError("No corrupted image could be predicted; leave it out with evaluate.robustness: off.")
    names = [cases[number].name for number in kept]
    rows: dict[Condition, np.ndarray] = {}
    samples: dict[Condition, Sample] = {}
    for condition, judge in passes.judges.items():
        place = {name: row for row, name in enumerate(passes.names[condition])}
        rows[condition], samples[condition] = np.array([place[name] for name in names]), judge.sample()
    measures = next(iter(passes.judges.values())).robust_names

    def values(weights: np.ndarray) -> dict[Condition, dict[str, np.ndarray]]:
        found = {("clean", 0): clean.values(kept, weights, measures)}
        for condition, sample in samples.items():
            found[condition] = sample.values(rows[condition], weights, measures)
        return found

    people = [patients[number] for number in kept]
    exact = values(np.ones((1, len(kept))))
    parts = [values(weights) for weights in patient_weights(people, resamples=RESAMPLES)]
    drawn = {
        condition: {name: np.concatenate([part[condition][name] for part in parts]) for name in measures}
        for condition in exact
    }
    enough = len(set(people)) > 1
    curves = _Curves(exact, drawn, enough)
    wanted = tuple(one.name for one in passes.corruptions)
    return {
        "cases": len(kept),
        "patients": len(set(people)),
        "failed": len(passes.failed),
        "kind": kind,
        "left_out": {name: why for name, why in LEFT_OUT[kind].items() if name not in wanted},
        "strengths": list(strengths),
        "measures": list(measures),
        "resamples": RESAMPLES,
        "clean": {name: curves.value(("clean", 0), name) for name in measures},
        "corruptions": {
            one.name: {
                "title": one.title,
                "strengths": [
                    {
                        "strength": strength,
                        "level": one.words(strength),
                        "measures": {
                            name: curves.value((one.name, strength), name)
                            | curves.difference((one.name, strength), name)
                            for name in measures
                        },
                    }
                    for strength in strengths
                ],
                "area": {name: curves.area([one.name], strengths, name) for name in measures},
            }
            for one in passes.corruptions
        },
        "mean": {name: curves.area(wanted, strengths, name) for name in measures},
    }


@dataclass(frozen=True)
class _Curves:
    """Attributes:
    exact: Condition to measure to (1,).
    drawn: Condition to measure to (resamples,), all from the same resamples.
    enough: There are several patients.
    """

    exact: Mapping[Condition, Mapping[str, np.ndarray]]
    drawn: Mapping[Condition, Mapping[str, np.ndarray]]
    enough: bool

    def _told(self, value: np.ndarray, drawn: np.ndarray, prefix: str = "") -> dict[str, float]:
        low, high = percentile_interval(drawn, LEVEL) if self.enough else (math.nan, math.nan)
        first = prefix or "value"
        return {first: float(value[0]), f"{prefix}_low".lstrip("_"): low, f"{prefix}_high".lstrip("_"): high}

    def value(self, condition: Condition, name: str) -> dict[str, float]:
        return self._told(self.exact[condition][name], self.drawn[condition][name])

    def difference(self, condition: Condition, name: str) -> dict[str, float]:
        """Corrupted minus clean."""
        exact, drawn = (of[condition][name] - of["clean", 0][name] for of in (self.exact, self.drawn))
        return self._told(exact, drawn, "difference")

    def area(self, corruptions: Sequence[str], strengths: Sequence[int], name: str) -> dict[str, float]:
        """See `area`; the mean of several corruptions is the mean of their areas."""
        exact, drawn = (
            mean_of_known(
                np.stack(
                    [
                        area(of["clean", 0][name], [of[one, strength][name] for strength in strengths])
                        for one in corruptions
                    ],
                    -1,
                )
            )
            for of in (self.exact, self.drawn)
        )
        return self._told(exact, drawn)


def area(clean: np.ndarray, corrupted: Sequence[np.ndarray]) -> np.ndarray:
    """Area under the robustness curve: mean over the strengths, divided by the clean value.

    Strengths where the measure is undefined (NaN) are left out; NaN when all are or the clean value is 0.

    Example:
        >>> float(area(np.array(0.8), [np.array(0.8), np.array(0.6), np.array(0.4)]))
        0.75
    """
    return divide(mean_of_known(np.stack(list(corrupted), -1)), clean)
