"""Thresholds of groups as a table of the report: what they are, and what they do on validation and here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medcli.calibration import Calibration
from medcli.evaluation.answers import Answers
from medcli.evaluation.judge import Table
from medcli.metrics.known import only_known


def group_decisions(
    answers: Answers, calibration: Calibration, groups: Sequence[Mapping[str, str]]
) -> tuple[Table, dict[str, Any]]:
    """The table, and its numbers for metrics.json; the calibration must have thresholds of groups.

    Args:
        groups: Column to value, one mapping per case.
    """
    kept = calibration.groups
    assert kept is not None
    whose = np.array([kept.whose(one) for one in groups])
    named = [*kept.points, *sorted({text for text in whose if text not in kept.points})]
    rows = [
        _row(answers, calibration, name, who, np.flatnonzero(whose == who))
        for who in named
        for name in calibration.operating
    ]
    caption = (
        f"Thresholds by {kept.rule.title} ({_AIMS[calibration.asked.groups.aim]}); "  # type: ignore[union-attr]
        "learned on the validation part. Groups with too few cases there keep the threshold for all."
    )
    one_class = len(calibration.operating) == 1
    return Table([_shown(row, one_class=one_class) for row in rows], caption), {
        "common": kept.common,
        "rows": rows,
    }


_AIMS = {
    "own": "the aim of the common threshold, in every group by itself",
    "equal_opportunity": "the sensitivity of the common threshold in every group",
    "equalized_odds": "near the sensitivity and specificity of the common threshold in every group",
}


def _row(
    answers: Answers, calibration: Calibration, name: str, whose: str, cases: np.ndarray
) -> dict[str, Any]:
    kept = calibration.groups
    assert kept is not None
    point = kept.points.get(whose, {}).get(name)
    threshold = calibration.operating[name].threshold if point is None else point.threshold
    index = answers.classes.index(name)
    truth, chances = only_known(answers.truth[cases, index], answers.probabilities[cases, index])
    called = chances >= threshold
    return {
        "threshold_of": whose,
        "class": name,
        "threshold": threshold,
        "validation_patients": None if point is None else point.patients,
        "validation_sensitivity": None if point is None else point.sensitivity,
        "validation_specificity": None if point is None else point.specificity,
        "cases": len(truth),
        "sensitivity": _share(called[truth]),
        "specificity": _share(~called[~truth]),
    }


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _shown(row: Mapping[str, Any], *, one_class: bool) -> dict[str, Any]:
    return {
        "threshold of": row["threshold_of"],
        **({} if one_class else {"class": row["class"]}),
        "threshold": row["threshold"],
        "patients, validation": _number(row["validation_patients"], "{}"),
        "cases here": row["cases"],
        **{
            f"{name} here (validation)": f"{_number(row[name])} ({_number(row[f'validation_{name}'])})"
            for name in ("sensitivity", "specificity")
        },
    }


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)
