"""Cases referred to a person, and promises of what is missed, as a section of the report; for every task."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcli.evaluation.answers import Interval, interval_text
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.kept import number
from medcli.evaluation.plots import risk_coverage_figure, unlikeness_figure
from medcli.metrics import decision as metrics
from medcli.metrics.bootstrap import intervals, weighted_mean
from medcli.metrics.classification import auroc
from medcli.metrics.risk import by_patient
from medcli.prediction.result import Prediction
from medcli.refusal.codes import REASONS
from medcli.refusal.learned import Refusal

COLUMNS = ("refused", "p_unlike", "unlikeness", "expected_quality")
MEASURES = {"dice": "Dice", "f1": "F1", "": "accuracy"}
FAR = 0.5
"""Of the cases that may be called unlike the training cases by chance this many more are told."""


def referral_row(prediction: Prediction) -> dict[str, Any]:
    """Columns of cases.csv, COLUMNS; none when the run did not learn to tell."""
    answer = prediction.answer
    if answer is None:
        return {}
    return {
        "refused": "|".join(answer.reasons),
        "p_unlike": answer.p,
        "unlikeness": answer.unlikeness,
        "expected_quality": answer.quality,
    }


@dataclass(frozen=True, eq=False)
class Cases:
    """Attributes:
    rows: Lines of cases.csv of the cases measured.
    quality: (n,) how good each answer is: Dice, F1, or whether it is right; regression: its absolute error.
    patients: One per case.
    refusal: Of the run.
    """

    rows: Sequence[Mapping[str, Any]]
    quality: np.ndarray
    patients: Sequence[str]
    refusal: Refusal

    def column(self, name: str) -> np.ndarray:
        """(n,) numbers; NaN where there is none."""
        return np.array([number(str(row.get(name, ""))) for row in self.rows])

    @property
    def reasons(self) -> list[list[str]]:
        """Codes of every case, those of the label sets included."""
        texts = [f"{row.get('refer') or ''}|{row.get('refused') or ''}" for row in self.rows]
        return [list(dict.fromkeys(code for code in text.split("|") if code)) for text in texts]

    @property
    def measure(self) -> str:
        if self.refusal.record.task == "regression":
            return "absolute error"
        return MEASURES[self.refusal.record.quality]

    def mean(self, values: np.ndarray, chosen: np.ndarray | None = None) -> dict[str, Any]:
        """Mean over (some of) the cases with its interval."""
        kept = np.isfinite(values) & (True if chosen is None else chosen)
        if not kept.any():
            return {"value": np.nan, "interval": (np.nan, np.nan), "cases": 0}
        patients = np.asarray(self.patients, str)[kept]
        return {
            "value": float(values[kept].mean()),
            "interval": intervals(lambda w: {"": weighted_mean(values[kept], w)}, patients)[""],
            "cases": int(kept.sum()),
        }


def referral_section(cases: Cases, *, own: bool) -> tuple[Section, dict[str, Any], list[str]] | None:
    """The section, its numbers for metrics.json, and warnings; None when the cases were predicted without.

    Args:
        own: The cases are from the data that the run was made with.
    """
    if not any("p_unlike" in row for row in cases.rows):
        return None
    names = {str(row["case"]) for row in cases.rows}
    learned = len(names & set(cases.refusal.learned.cases.tolist())) if own else 0
    content: dict[str, Any] = {
        "learned_from": cases.refusal.record.model_dump(
            mode="json", include={"training_cases", "validation_cases", "validation_patients"}
        ),
        "of_these_cases": learned,
        "referred": _referred(cases),
        "unlikeness": _unlikeness(cases),
    }
    tables, plots, notes = _reason_tables(content["referred"], cases.measure), [], []
    promises = _promises(cases)
    if promises:
        content["promises"] = promises
        tables = [_promise_table(promises, cases), *tables]
        notes += _promise_notes(promises, cases)
    quality = _quality(cases)
    if quality:
        content["quality"] = quality
        tables.append(_share_table(quality, cases.measure))
        plots.append(_coverage_plot(quality, cases.measure))
    tables.append(_unlikeness_table(content["unlikeness"], cases))
    plots.append(_unlikeness_plot(cases, content["unlikeness"]))
    if learned:
        notes.append(
            f"What is referred, and how much may be missed, was learned from {learned} of these {len(names)} cases, so "
            "what is said of it here is a little too good."
        )
    else:
        notes += _far_note(content["unlikeness"])
    return Section("Referral", tables, plots), content, notes


# ---- referred cases


def _referred(cases: Cases) -> dict[str, Any]:
    reasons = cases.reasons
    referred = np.array([bool(codes) for codes in reasons])
    counts = Counter(code for codes in reasons for code in codes)
    return {
        "share": cases.mean(referred.astype(float)),
        "by_reason": {code: counts[code] for code in REASONS if counts[code]},
        "quality_answered": cases.mean(cases.quality, ~referred),
        "quality_referred": cases.mean(cases.quality, referred),
    }


def _reason_tables(referred: dict[str, Any], measure: str) -> list[Table]:
    rows = [
        {
            "": title,
            "value": found["value"],
            "95 %": interval_text(found["interval"]),
            "cases": found["cases"],
        }
        for title, found in (
            ("share referred", referred["share"]),
            (f"{measure} of the cases answered", referred["quality_answered"]),
            (f"{measure} of the cases referred", referred["quality_referred"]),
        )
    ]
    found = [Table(rows, "Cases answered, and referred to a person for any reason.")]
    by_reason = [
        {"refer": code, "cases": count, "says": REASONS[code]}
        for code, count in referred["by_reason"].items()
    ]
    return [*found, Table(by_reason, "By reason; a case may have several.")] if by_reason else found


# ---- what is missed


def _promises(cases: Cases) -> dict[str, dict[str, Any]]:
    """By class; only where masks or boxes were controlled."""
    found = {}
    refusal = cases.refusal
    for index, name in enumerate(refusal.record.classes[: len(refusal.limits)]):
        losses = cases.column(f"missed/{name}")
        known = np.isfinite(losses)
        if not known.any():
            continue
        by = by_patient(losses[:, None], cases.patients)[:, 0]
        cost = "outer_size" if refusal.record.quality == "dice" else "boxes"
        limit = float(refusal.limits[index])
        found[name] = {
            "asked": refusal.miss_rate,
            "promised": np.isfinite(limit),
            "threshold": limit,
            "validation_patients": int(refusal.patients_per_class[index]),
            "missed": float(by.mean()),
            "interval": _interval(by),
            "cases": int(known.sum()),
            "patients": len(by),
            cost: float(np.nanmedian(cases.column(f"{cost}/{name}")[known])),
        }
    return found


def _interval(losses: np.ndarray) -> Interval:
    """Of the mean over patients; when none of n missed anything, what a binomial share of 0 allows."""
    if len(losses) > 1 and not losses.any():
        return 0.0, float(1 - 0.025 ** (1 / len(losses)))
    units = [str(place) for place in range(len(losses))]
    return intervals(lambda weights: {"": weighted_mean(losses, weights)}, units)[""]


def _promise_table(promises: dict[str, dict[str, Any]], cases: Cases) -> Table:
    masks = cases.refusal.record.quality == "dice"
    cost = ("outer_size", "outer mask / truth, median") if masks else ("boxes", "boxes per image, median")
    rows = [
        {
            "class": name,
            "missed at most": found["asked"] if found["promised"] else "no_promise",
            "from" if masks else "from score": found["threshold"],
            "missed here": found["missed"],
            "95 %": interval_text(found["interval"]),
            "cases": found["cases"],
            "patients": found["patients"],
            cost[1]: found[cost[0]],
            "learned from patients": found["validation_patients"],
        }
        for name, found in promises.items()
    ]
    what = (
        "Outer masks: share of the true voxels that they miss, mean over patients with the label."
        if masks
        else f"Recall-controlled boxes: share of the objects of an image that none of them hits at IoU "
        f"{cases.refusal.record.made.iou_threshold:g}, mean over patients with such an object."
    )
    return Table(rows, f"{what} Conformal risk control on the validation part.")


def _promise_notes(promises: dict[str, dict[str, Any]], cases: Cases) -> list[str]:
    broken = [name for name, one in promises.items() if one["promised"] and one["interval"][0] > one["asked"]]
    empty = [name for name, one in promises.items() if not one["promised"]]
    notes = [
        f"More is missed of {name} than the {promises[name]['asked']:g} asked for: {promises[name]['missed']:.3f} "
        f"({interval_text(promises[name]['interval'])}). These cases are not like those of the validation part."
        for name in broken
    ]
    if empty:
        notes.append(
            f"No threshold keeps evaluate.miss_rate {cases.refusal.miss_rate:g} for {', '.join(empty)} (no_promise): "
            "too few validation patients, or the model misses more even at the lowest score."
        )
    return notes


# ---- expected quality


def _quality(cases: Cases) -> dict[str, Any] | None:
    """Segmentation and detection; classification has its own curve by its probabilities."""
    expected, known = cases.column("expected_quality"), np.isfinite(cases.quality)
    known &= np.isfinite(expected)
    if not cases.refusal.record.quality or known.sum() < 2:
        return None
    expected, true = expected[known], cases.quality[known]
    patients = np.asarray(cases.patients, str)[known]

    def when_answering(weights: np.ndarray | None) -> np.ndarray:
        return metrics.accuracy_when_answering(true, expected, weights=weights)

    bounds = intervals(
        lambda w: {str(j): column for j, column in enumerate(np.moveaxis(when_answering(w), -1, 0))}, patients
    )
    error = np.abs(expected - true)
    curve = metrics.risk_coverage(true, expected)
    return {
        "of": cases.refusal.record.quality,
        "mean_expected": float(expected.mean()),
        "mean_true": float(true.mean()),
        "absolute_error": float(error.mean()),
        "absolute_error_interval": intervals(lambda w: {"": weighted_mean(error, w)}, patients)[""],
        "correlation": _rank_correlation(expected, true),
        "cases": int(known.sum()),
        "curve": {"share": curve.share, "quality": curve.accuracy, "area": curve.area},
        "when_answering": [
            {
                "share": float(share),
                "expected": float(cut),
                "accuracy": float(value),
                "interval": bounds[str(j)],
            }
            for j, (share, cut, value) in enumerate(
                zip(
                    metrics.SHARES,
                    metrics.least_confidence(expected),
                    when_answering(None),
                    strict=True,
                )
            )
        ],
    }


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy import stats

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def _share_table(quality: dict[str, Any], measure: str) -> Table:
    rows = [
        {"answered": one["share"], f"expected {measure} at least": one["expected"]}
        | {measure: one["accuracy"], "95 %": interval_text(one["interval"])}
        for one in quality["when_answering"]
    ]
    return Table(
        rows,
        f"{measure} when only the cases with the highest expected {measure} are answered. Expected and true {measure}: "
        f"rank correlation {quality['correlation']:.2f}, mean absolute difference {quality['absolute_error']:.3f} "
        f"({interval_text(quality['absolute_error_interval'])}), {quality['cases']} cases.",
    )


def _coverage_plot(quality: dict[str, Any], measure: str) -> Plot:
    curve, shares = quality["curve"], quality["when_answering"]
    caption = (
        f"Mean {measure} when only the cases with the highest expected {measure} are answered. Bars: 95 % intervals. "
        f"Mean of 1 - {measure} over all shares: {curve['area']:.4f}."
    )
    alt = (
        f"Risk-coverage curve: {measure} {shares[0]['accuracy']:.3f} when all are answered, "
        f"{shares[-1]['accuracy']:.3f} when half are"
    )
    figure = risk_coverage_figure(curve["share"], curve["quality"], shares, measure)
    return Plot("quality_coverage", figure, caption, alt)


# ---- unlike the training cases


def _unlikeness(cases: Cases) -> dict[str, Any]:
    here, p = cases.column("unlikeness"), cases.column("p_unlike")
    here = here[np.isfinite(here)]
    then = cases.refusal.learned.scores
    truth = np.r_[np.zeros(len(then), bool), np.ones(len(here), bool)]
    limit = cases.refusal.unusual
    return {
        "validation_median": float(np.median(then)),
        "median": float(np.median(here)),
        "auroc_against_validation": float(auroc(truth, np.r_[then, here])),
        "told_from_p": limit,
        "told": cases.mean(np.where(np.isfinite(p), (p <= limit).astype(float), np.nan)),
        "smallest_possible_p": 1 / (1 + cases.refusal.record.validation_patients),
    }


def _unlikeness_table(found: dict[str, Any], cases: Cases) -> Table:
    told = found["told"]
    row = {
        "median on validation": found["validation_median"],
        "median here": found["median"],
        "AUROC, here against validation": found["auroc_against_validation"],
        f"share with p up to {found['told_from_p']:g}": told["value"],
        "95 %": interval_text(told["interval"]),
        "cases": told["cases"],
    }
    few = ""
    if found["smallest_possible_p"] > found["told_from_p"]:
        few = (
            f" With {cases.refusal.record.validation_patients} validation patients no p-value is that small, so no "
            "case is referred for it."
        )
    return Table(
        [row],
        f"Distance of the features to those of {cases.refusal.record.training_cases} training cases; AUROC 0.5: like "
        f"the validation part.{few}",
    )


def _unlikeness_plot(cases: Cases, found: dict[str, Any]) -> Plot:
    here, p = cases.column("unlikeness"), cases.column("p_unlike")
    then = cases.refusal.learned.scores
    told = here[p <= found["told_from_p"]]
    figure = unlikeness_figure(then, here[np.isfinite(here)], float(told.min()) if len(told) else None)
    return Plot(
        "unlikeness",
        figure,
        "Distance to the training cases in the network's features. Right of the line cases are referred.",
        f"Distributions of unlikeness on validation (median {found['validation_median']:.3g}) and here "
        f"(median {found['median']:.3g})",
    )


def _far_note(found: dict[str, Any]) -> list[str]:
    told, limit = found["told"], found["told_from_p"]
    if not told["interval"][0] > limit * (1 + FAR):
        return []
    return [
        f"Shift: {told['value']:.2f} of the cases ({interval_text(told['interval'], 2)}) are unlike the training cases "
        f"(not_like_training), where {limit:g} would be by chance."
    ]
