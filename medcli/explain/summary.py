"""What all maps of one method say together: verdicts, gain over chance, hits; with intervals by patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcli.explain.maps import TITLES
from medcli.explain.result import Explained, Explanation
from medcli.metrics.bootstrap import LEVEL, intervals, weighted_mean


@dataclass(frozen=True)
class Kept:
    """An explanation without its arrays.

    Attributes:
        content: See `Explanation.as_json`.
    """

    case: str
    patient: str
    label: str
    probability: float
    sentence: str
    content: dict[str, Any]

    @classmethod
    def of(cls, found: Explained, explanation: Explanation) -> "Kept":
        answer = explanation.answer
        patient = found.case.patient or found.case.name
        return cls(
            found.case.name,
            patient,
            answer.said or answer.label,
            answer.probability,
            explanation.sentence,
            explanation.as_json(),
        )


def by_method(kept: Sequence[Kept]) -> list[dict[str, Any]]:
    """One row per method.

    `over_misplaced` and `over_centre`: mean gain (insertion minus deletion area) minus that of the same map in wrong
    places and of a map that points to the middle; above 0 is better. Pairs are 95 % intervals: of means by
    resampling patients (none with a single one), of hits Wilson's.
    """
    names = dict.fromkeys(one.content["method"] for one in kept)
    return [_row(name, [one for one in kept if one.content["method"] == name]) for name in names]


def _row(name: str, kept: Sequence[Kept]) -> dict[str, Any]:
    row: dict[str, Any] = {"method": name, "title": TITLES[name], "maps": len(kept)}
    row["cases"] = len({one.case for one in kept})
    checked = [one for one in kept if "verdict" in one.content]
    if checked:
        words = [one.content["verdict"] for one in checked]
        row |= {word.replace(" ", "_"): words.count(word) for word in ("passed", "failed", "cannot be told")}
        row["over_misplaced"], row["over_misplaced_interval"] = _difference(checked, "gain_misplaced")
        row["over_centre"], row["over_centre_interval"] = _difference(checked, "gain_centre")
        row["deletion_auc"] = float(np.mean([one.content["deletion_auc"] for one in checked]))
        row["insertion_auc"] = float(np.mean([one.content["insertion_auc"] for one in checked]))
        row["correlation_randomised"] = float(
            np.mean([one.content["correlation_randomised"] for one in checked])
        )
    pointed = [one.content["pointing"] for one in kept if "pointing" in one.content]
    if pointed:
        hits = sum(one["hit"] for one in pointed)
        row |= {"pointed": len(pointed), "hits": hits, "hit_rate": hits / len(pointed)}
        row["hit_rate_interval"] = wilson(hits, len(pointed))
        row["hit_rate_by_chance"] = float(np.mean([one["chance"] for one in pointed]))
        row["evidence_inside"] = float(np.mean([one["inside"] for one in pointed]))
    return row


def _difference(kept: Sequence[Kept], other: str) -> tuple[float, tuple[float, float]]:
    values = np.array([one.content["gain"] - one.content[other] for one in kept])
    found = intervals(
        lambda weights: {"difference": weighted_mean(values, weights)}, [one.patient for one in kept]
    )
    return float(values.mean()), found["difference"]


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson 1927, J. Am. Stat. Assoc. 22:209-212."""
    from scipy.stats import binomtest

    interval = binomtest(hits, of).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)
