"""When a classifier should not answer, as a section of the report: label sets and the risk-coverage curve."""

from collections import Counter
from typing import Any

import numpy as np

from medcli.calibration import REASONS, Calibration
from medcli.evaluation.answers import Answers, interval_text
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.plots import risk_coverage_figure
from medcli.metrics import decision as metrics
from medcli.metrics.bootstrap import divide, mean_of_known, weighted_mean
from medcli.metrics.classification import decide
from medcli.metrics.known import is_known

NAMES = ("set_coverage", "set_size", "answered", "accuracy_answered")


def set_measures(
    answers: Answers, calibration: Calibration | None, weights: np.ndarray | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The measures of NAMES (...), and the coverage per class (..., k); NaN without a calibration."""
    cases, k = answers.truth.shape
    weights = np.ones(cases) if weights is None else weights
    if calibration is None:
        nothing = np.full(weights.shape[:-1], np.nan)
        return dict.fromkeys(NAMES, nothing), np.full((*weights.shape[:-1], k), np.nan)
    inside, reasons = calibration.sets(answers.probabilities)
    covered = calibration.covered(answers.truth, answers.probabilities)
    answered = np.array([reason == "" for reason in reasons])
    if answers.multi_label:
        right = np.nan_to_num(_right(answers, inside))
        answered &= is_known(answers.truth).any(1)
    else:
        right = (inside & answers.truth).any(1)
    found = {
        "set_coverage": weighted_mean(mean_of_known(covered), weights),
        "set_size": weighted_mean(inside.sum(1).astype(float), weights),
        "answered": weighted_mean(answered.astype(float), weights),
        "accuracy_answered": divide(weights @ (answered * right), weights @ answered.astype(float)),
    }
    return found, weighted_mean(covered, weights)


def refusal_section(
    answers: Answers, calibration: Calibration | None, overall: dict[str, float], bounds: dict[str, Any]
) -> tuple[Section, dict[str, Any], list[str]]:
    """The section, its numbers for metrics.json, and warnings.

    Args:
        overall, bounds: Values and intervals of NAMES, measured already.
    """
    decided = decide(answers.probabilities, multi_label=answers.multi_label)
    if answers.multi_label:
        correct = _right(answers, decided)
    else:
        correct = (decided == answers.truth).all(1).astype(float)
    curve = metrics.risk_coverage(correct, answers.confidence)
    shares = _shares(answers, correct)
    content: dict[str, Any] = {
        "risk_coverage": {"share": curve.share, "accuracy": curve.accuracy, "area": curve.area},
        "accuracy_when_answering": shares,
    }
    tables, notes = [_share_table(shares)], []
    if calibration is not None:
        reasons = Counter(calibration.sets(answers.probabilities)[1])
        content["sets"] = {
            "asked_coverage": calibration.asked.coverage,
            "score": calibration.asked.sets,
            "per_class": calibration.asked.sets_per_class,
            "promised": calibration.promises,
            "validation_coverage": calibration.expected_coverage,
            "validation_size": calibration.expected_size,
            **{name: overall[name] for name in NAMES},
            "intervals": {name: bounds[name] for name in NAMES},
            "referred": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
        }
        tables = [_set_table(content["sets"]), *_reason_table(content["sets"]), *tables]
        notes = _warnings(content["sets"])
    return Section("Refusal", tables, [_plot(curve, shares)]), content, notes


def _right(answers: Answers, decided: np.ndarray) -> np.ndarray:
    """(n,) share of the known labels that are called rightly."""
    return mean_of_known(np.where(is_known(answers.truth), decided == answers.truth, np.nan))


def _shares(answers: Answers, correct: np.ndarray) -> list[dict[str, Any]]:
    def measure(weights: np.ndarray | None) -> np.ndarray:
        return metrics.accuracy_when_answering(correct, answers.confidence, weights=weights)

    bounds = answers.intervals(
        lambda weights: {str(j): column for j, column in enumerate(np.moveaxis(measure(weights), -1, 0))}
    )
    cuts = metrics.least_confidence(answers.confidence)
    return [
        {
            "share": float(share),
            "confidence": float(cut),
            "accuracy": float(value),
            "interval": bounds[str(j)],
        }
        for j, (share, cut, value) in enumerate(zip(metrics.SHARES, cuts, measure(None), strict=True))
    ]


def _share_table(shares: list[dict[str, Any]]) -> Table:
    rows = [
        {"answered": found["share"], "confidence at least": found["confidence"]}
        | {"accuracy": found["accuracy"], "95 %": interval_text(found["interval"])}
        for found in shares
    ]
    return Table(rows, "Accuracy when only the surest cases are answered.")


def _set_table(sets: dict[str, Any]) -> Table:
    names = {
        "set_coverage": ("coverage", "validation_coverage"),
        "set_size": ("labels per set", "validation_size"),
        "answered": ("share with exactly one label", None),
        "accuracy_answered": ("accuracy of these", None),
    }
    rows = [
        {
            "of the label sets": title,
            "asked": sets["asked_coverage"] if name == "set_coverage" else None,
            "on validation (cross-validated)": sets[before] if before else None,
            "here": sets[name],
            "95 %": interval_text(sets["intervals"][name]),
        }
        for name, (title, before) in names.items()
    ]
    how = ", every class by itself" if sets["per_class"] else ""
    return Table(
        rows,
        f"Conformal label sets (score {sets['score']}{how}). The coverage is kept on average over cases like "
        "those of the validation part. Where the accuracy is above the coverage asked for, some sets are empty.",
    )


def _reason_table(sets: dict[str, Any]) -> list[Table]:
    rows = [
        {"refer": reason, "cases": count, "says": REASONS[reason]}
        for reason, count in sets["referred"].items()
    ]
    return [Table(rows, "Cases referred to a person, by reason.")] if rows else []


def _warnings(sets: dict[str, Any]) -> list[str]:
    if not sets["promised"]:
        return [
            "Too few validation cases to promise the coverage that evaluate.coverage asks for: labels cannot "
            "be excluded and cases are referred (no_promise)."
        ]
    _, high = sets["intervals"]["set_coverage"]
    if high < sets["asked_coverage"]:
        return [
            f"The label sets hold the truth for {sets['set_coverage']:.3f} of the cases "
            f"({interval_text(sets['intervals']['set_coverage'])}), less than the {sets['asked_coverage']:g} asked "
            "for: these cases are not like those of the validation part."
        ]
    return []


def _plot(curve: metrics.RiskCoverage, shares: list[dict[str, Any]]) -> Plot:
    half = shares[-1]
    caption = (
        "Accuracy when only the surest cases are answered, against their share. Bars: 95 % intervals. Mean error "
        f"over all shares: {curve.area:.4f}."
    )
    alt = (
        f"Risk-coverage curve: accuracy {shares[0]['accuracy']:.3f} when all are answered, "
        f"{half['accuracy']:.3f} when half are"
    )
    return Plot("risk_coverage", risk_coverage_figure(curve.share, curve.accuracy, shares), caption, alt)
