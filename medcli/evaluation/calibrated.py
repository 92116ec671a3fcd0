"""Calibration of a classifier as a section of the report: errors, diagram, and whether the data have shifted."""

from typing import Any

import numpy as np

from medcli.calibration import Calibration, Validation
from medcli.evaluation.answers import Answers, Interval, by_patient, interval_text
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.plots import reliability_figure
from medcli.metrics import calibration as metrics
from medcli.metrics.bootstrap import weighted_mean
from medcli.metrics.decision import confidence

SHIFTED, SURE = 0.1, 0.01
"""Score distributions that are this far apart, with a p-value below this, are called shifted."""
IN_THE_LARGE = 0.03
"""Mean prediction and truth that are this far apart are told, when the interval leaves out 0."""
MOST_CURVES = 7


def calibration_section(
    answers: Answers, calibration: Calibration | None, bounds: dict[str, Interval]
) -> tuple[Section, dict[str, Any], list[str]]:
    """The section, its numbers for metrics.json, and warnings.

    Args:
        bounds: Intervals of `ece/CLASS` and `brier/CLASS`, measured already.
    """
    before = {name: _class_quality(answers, index, answers.raw) for name, index in _shown(answers)}
    after = {name: _class_quality(answers, index, answers.probabilities) for name, index in _shown(answers)}
    for name, found in after.items():
        found |= {f"{key}_interval": bounds[f"{key}/{name}"] for key in ("ece", "brier")}
    content: dict[str, Any] = {
        "bins": f"{metrics.BINS} of equal mass",
        "method": "none" if calibration is None else calibration.scaling.method,
        "why": "the run has no calibration" if calibration is None else calibration.why,
        "here_before": before,
        "here": after,
        "curve": {
            name: _curve(answers, index, answers.probabilities)._asdict() for name, index in _shown(answers)
        },
    }
    tables = [_here(content, scaled=calibration is not None)]
    if calibration is not None:
        content["validation"] = calibration.model_dump(mode="json")["cross_validation"]
        content |= {"validation_cases": calibration.cases, "validation_patients": calibration.patients}
        tables.insert(0, _on_validation(calibration))
    return Section("Calibration", tables, [_diagram(answers, after)]), content, _warnings(after)


def _shown(answers: Answers) -> list[tuple[str, int]]:
    return [(answers.classes[index], index) for index in answers.shown]


def _class_quality(answers: Answers, index: int, probabilities: np.ndarray) -> dict[str, Any]:
    truth, chances, patients = answers.of_class(index, probabilities)
    mean, most = metrics.chance_error(chances)
    line = metrics.calibration_line(truth, chances, patients)
    return {
        "ece": float(metrics.calibration_error(truth, chances)),
        "ece_of_a_perfect_model": mean,
        "ece_of_a_perfect_model_at_most": most,
        **metrics.brier_parts(truth, chances)._asdict(),
        **line._asdict(),
        "mean_probability": float(chances.mean()),
        "share": float(truth.mean()),
    }


def _curve(answers: Answers, index: int, probabilities: np.ndarray) -> metrics.ReliabilityCurve:
    return metrics.reliability_curve(*answers.of_class(index, probabilities))


def _on_validation(calibration: Calibration) -> Table:
    rows = [
        {"scaling": name + (" (in use)" if name == calibration.scaling.method else "")}
        | {"calibration error": found.ece, "Brier": found.brier}
        | {"log loss": found.log_loss, "accuracy": found.accuracy}
        for name, found in calibration.cross_validation.items()
    ]
    size = f"{calibration.cases} cases of {calibration.patients} patients"
    return Table(rows, f"On the validation part ({size}), cross-validated. Chosen: {calibration.why}.")


HERE = {
    "ece": "calibration error",
    "ece_of_a_perfect_model": "... that chance gives a perfect model",
    "ece_of_a_perfect_model_at_most": "... and at most (95 %)",
    "brier": "Brier score",
    "reliability": "... reliability (0 is best)",
    "resolution": "... resolution (more is better)",
    "uncertainty": "... uncertainty (of the truth)",
    "slope": "slope (1 is best)",
    "intercept": "intercept (0 is best)",
}
"""What the table tells, in this order."""


def _here(content: dict[str, Any], *, scaled: bool) -> Table:
    stages = {"before scaling": content["here_before"]} if scaled else {}
    stages["as predicted" if scaled else "as the network gives them"] = content["here"]
    rows = []
    for name in content["here"]:
        for key, title in HERE.items():
            row: dict[str, Any] = {"class": name, "measure": title}
            for stage, classes in stages.items():
                row[stage] = classes[name][key]
            bounds = content["here"][name].get(f"{key}_interval")
            rows.append(row | {"95 %": interval_text(bounds) if bounds else ""})
    return Table(
        rows,
        f"On these cases; {content['bins']} bins. Brier = reliability - resolution + uncertainty, up to "
        "differences within bins. A slope below 1 means too extreme, an intercept below 0 too high probabilities.",
    )


def _diagram(answers: Answers, quality: dict[str, dict[str, Any]]) -> Plot:
    shown = _shown(answers)[:MOST_CURVES]
    curves = {name: _curve(answers, index, answers.probabilities) for name, index in shown}
    raw = None
    if len(shown) == 1 and not np.array_equal(answers.raw, answers.probabilities):
        raw = _curve(answers, shown[0][1], answers.raw)
    errors = ", ".join(f"{name} {quality[name]['ece']:.3f}" for name, _ in shown)
    left = len(answers.shown) - len(shown)
    caption = (
        "How often the class is there among cases of like probability; on the dotted line it is as often as "
        f"said. Bars: 95 % intervals. Calibration error: {errors}."
        + (f" {left} more classes are in metrics.json." if left else "")
    )
    return Plot(
        "reliability", reliability_figure(curves, raw), caption, f"Reliability diagram; errors: {errors}"
    )


def _warnings(quality: dict[str, dict[str, Any]]) -> list[str]:
    off = [
        (name, found)
        for name, found in quality.items()
        if found["ece"] > max(IN_THE_LARGE, found["ece_of_a_perfect_model_at_most"])
    ]
    if not off:
        return []
    name, found = max(off, key=lambda entry: entry[1]["ece"])
    way = "too high" if found["mean_probability"] > found["share"] else "too low"
    return [
        f"The probabilities cannot be taken at their word here: for {name} they are off by {found['ece']:.3f} on "
        f"average (chance explains up to {found['ece_of_a_perfect_model_at_most']:.3f}) and on the whole {way} "
        f"(mean {found['mean_probability']:.2f}, true share {found['share']:.2f})."
    ]


def shift_section(
    answers: Answers, calibration: Calibration, validation: Validation
) -> tuple[Section, dict[str, Any], list[str]]:
    """These cases against the validation part: scores, and mean prediction against truth.

    Scores are averaged by patient first, so that the tests' values are independent of one another.
    """
    then = calibration.scaled(validation.probabilities)
    scores: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "confidence": (confidence(then, multi_label=answers.multi_label), answers.confidence)
    }
    for name, index in _shown(answers):
        scores[f"probability of {name}"] = then[:, index], answers.probabilities[:, index]
    distances = {
        name: metrics.distance_of_distributions(
            by_patient(before, validation.patients), answers.by_patient(now)
        )
        for name, (before, now) in scores.items()
    }
    gaps = answers.intervals(
        lambda weights: {
            name: weighted_mean(answers.probabilities[:, index] - answers.truth[:, index], weights)
            for name, index in _shown(answers)
        }
    )
    content: dict[str, Any] = {
        "scores": {
            name: {
                "distance": distance,
                "p": min(1.0, p * len(distances)),
                "validation_mean": float(a.mean()),
            }
            | {"mean": float(b.mean())}
            for (name, (distance, p)), (a, b) in zip(distances.items(), scores.values(), strict=True)
        },
        "classes": {
            name: {
                "validation_share": float(np.nanmean(validation.truth[:, index])),
                "share": float(np.mean(answers.of_class(index)[0])),
                "mean_probability": float(np.mean(answers.of_class(index)[1])),
                "gap": float(np.nanmean(answers.probabilities[:, index] - answers.truth[:, index])),
                "gap_interval": gaps[name],
            }
            for name, index in _shown(answers)
        },
    }
    return Section("Shift", _shift_tables(content), []), content, _shift_warnings(content)


def _shift_tables(content: dict[str, Any]) -> list[Table]:
    scores = [
        {"score": name, "mean on validation": found["validation_mean"], "mean here": found["mean"]}
        | {"distance": found["distance"], "p": _p_text(found["p"])}
        for name, found in content["scores"].items()
    ]
    classes = [
        {"class": name, "share on validation": found["validation_share"], "share here": found["share"]}
        | {"mean probability here": found["mean_probability"], "gap": found["gap"]}
        | {"gap, 95 %": interval_text(found["gap_interval"])}
        for name, found in content["classes"].items()
    ]
    return [
        Table(
            scores,
            "Scores here against those of the validation part, by patient: largest gap between the distributions "
            "(Kolmogorov-Smirnov), p-value corrected for the number of rows. It needs no labels.",
        ),
        Table(classes, "Predicted against true share."),
    ]


def _shift_warnings(content: dict[str, Any]) -> list[str]:
    texts = []
    name, worst = max(content["scores"].items(), key=lambda entry: entry[1]["distance"])
    if worst["distance"] >= SHIFTED and worst["p"] < SURE:
        texts.append(
            f"Shift: the {name} is distributed otherwise than on the validation part (distance "
            f"{worst['distance']:.2f}, p {_p_text(worst['p'])}). These cases are of another kind or another mix: "
            "thresholds, probabilities and label sets may not hold here."
        )
    for name, found in content["classes"].items():
        low, high = found["gap_interval"]
        if abs(found["gap"]) >= IN_THE_LARGE and (low > 0 or high < 0):
            texts.append(
                f"Shift: {name} is predicted for a share of {found['mean_probability']:.2f} and true for "
                f"{found['share']:.2f} (difference {low:+.3f} to {high:+.3f}; on the validation part the share was "
                f"{found['validation_share']:.2f})."
            )
    return texts[:4]


def _p_text(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"
