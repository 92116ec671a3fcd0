"""Decisions of a classifier as a section of the report: thresholds, predictive values, decision curve."""

from typing import Any

import numpy as np

from medcli.calibration import Calibration
from medcli.config.schema import Evaluate
from medcli.errors import ConfigError
from medcli.evaluation.answers import Answers, interval_text
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.plots import decision_curve_figure
from medcli.metrics import classification as rates
from medcli.metrics import decision as metrics
from medcli.metrics.bootstrap import rates_at_the_bounds
from medcli.metrics.known import is_known

TOLD = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Thresholds of the decision curve that are put into the table."""
MOST_CURVES = 7


def prevalences(settings: Evaluate, answers_classes: list[str], positive: int | None) -> dict[str, float]:
    """Class to the share that the user expects. Raises ConfigError when a class is unknown or none can be meant."""
    given = settings.prevalence
    if given is None:
        return {}
    if isinstance(given, dict):
        unknown = sorted(set(given) - set(answers_classes))
        if unknown:
            known = ", ".join(answers_classes)
            raise ConfigError(
                f"evaluate.prevalence: '{unknown[0]}' is no class of this run; use some of {known}."
            )
        if positive is not None and answers_classes[positive] not in given:
            share = next(iter(given.values()))
            return {answers_classes[positive]: 1 - share}
        return dict(given)
    if positive is None:
        raise ConfigError(
            "evaluate.prevalence: expected a mapping {class: share}, since the run has several classes, got one number."
        )
    return {answers_classes[positive]: given}


def decision_section(
    answers: Answers, calibration: Calibration | None, settings: Evaluate
) -> tuple[Section, dict[str, Any]]:
    """The section and its numbers for metrics.json."""
    expected = prevalences(settings, answers.classes, answers.positive if answers.binary else None)
    points = {} if calibration is None else calibration.operating
    thresholds = {name: found.threshold for name, found in points.items()}
    for index in answers.shown:
        thresholds.setdefault(answers.classes[index], 0.5)
    aim = "0.5: the run has no calibration" if calibration is None else _aim(calibration.asked.threshold)
    measured = {
        name: _at(answers, answers.classes.index(name), value, expected.get(name))
        for name, value in thresholds.items()
    }
    curves = {answers.classes[index]: _curve(answers, index) for index in answers.shown}
    content: dict[str, Any] = {
        "aim": aim,
        "thresholds": {
            name: {
                "threshold": value,
                "on_validation": points[name].model_dump(exclude={"threshold"}) if name in points else None,
                **measured[name],
            }
            for name, value in thresholds.items()
        },
        "curve": {"thresholds": metrics.THRESHOLDS} | curves,
    }
    tables = [_operating_table(content), _benefit_table(content)]
    return Section("Decisions", tables, [_plot(content)]), content


def _aim(aim: float | str | dict[str, float]) -> str:
    if isinstance(aim, dict):
        (name, value), *_ = aim.items()
        if name == "cost_fn":
            return f"least cost, a missed case counting as {value:g} false alarms"
        return f"{name} at least {value:g}"
    return "largest sensitivity + specificity (Youden)" if aim == "youden" else f"{aim:g}, as given"


def _at(answers: Answers, index: int, threshold: float, prevalence: float | None) -> dict[str, Any]:
    """Rates at one threshold with their intervals."""
    truth, scores = answers.truth[:, index], answers.probabilities[:, index]

    def measure(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        c = metrics.counts_at(truth, scores, np.array([threshold]), weights)
        c = rates.Counts(*(part[..., 0] for part in c))
        found = {
            "sensitivity": rates.sensitivity(c),
            "specificity": rates.specificity(c),
            "ppv": rates.ppv(c),
            "npv": rates.npv(c),
            "called": (c.tp + c.fp) / (c.tp + c.fp + c.fn + c.tn),
        }
        if prevalence is not None:
            both = found["sensitivity"], found["specificity"]
            found["ppv_at_prevalence"] = metrics.ppv_at(*both, prevalence)
            found["npv_at_prevalence"] = metrics.npv_at(*both, prevalence)
        return found

    values = {name: float(value) for name, value in measure(None).items()}
    called = scores >= threshold
    shares = {"sensitivity": truth == 1, "specificity": truth == 0}
    shares |= {"ppv": is_known(truth) & called, "npv": is_known(truth) & ~called}
    return {
        "positives": int((truth == 1).sum()),
        "negatives": int((truth == 0).sum()),
        "prevalence": float(np.nanmean(truth)),
        "expected_prevalence": prevalence,
        **values,
        "intervals": rates_at_the_bounds(values, answers.intervals(measure), answers.patients, shares),
    }


def _curve(answers: Answers, index: int) -> dict[str, Any]:
    truth, scores = answers.truth[:, index], answers.probabilities[:, index]

    def both(weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        model = metrics.net_benefit(truth, scores, metrics.THRESHOLDS, weights)
        return model, metrics.net_benefit_of_all(truth, metrics.THRESHOLDS, weights)

    def resampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        model, everybody = both(weights)
        gain = model - np.maximum(everybody, 0)
        return {f"model {j}": model[..., j] for j in range(len(metrics.THRESHOLDS))} | {
            f"gain {j}": gain[..., j] for j in range(len(metrics.THRESHOLDS))
        }

    model, everybody = both(None)
    found = answers.intervals(resampled)
    count = range(len(metrics.THRESHOLDS))
    return {
        "model": model,
        "model_interval": [found[f"model {j}"] for j in count],
        "all": everybody,
        "gain": model - np.maximum(everybody, 0),
        "gain_interval": [found[f"gain {j}"] for j in count],
    }


def _operating_table(content: dict[str, Any]) -> Table:
    rows = []
    for name, found in content["thresholds"].items():
        rows.append(
            {
                "class": name,
                "measure": "threshold",
                "on validation": None,
                "here": found["threshold"],
                "95 %": "",
            }
        )
        titles = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
        if found["expected_prevalence"] is not None:
            where = f"where {found['expected_prevalence']:g} are positive"
            titles |= {"ppv_at_prevalence": f"PPV {where}", "npv_at_prevalence": f"NPV {where}"}
        titles["called"] = "share called positive"
        then = found["on_validation"] or {}
        rows += [
            {"class": name, "measure": title, "on validation": then.get(key), "here": found[key]}
            | {"95 %": interval_text(found["intervals"][key])}
            for key, title in titles.items()
        ]
    counted = "; ".join(
        f"{name} {found['positives']} of {found['positives'] + found['negatives']} cases"
        for name, found in content["thresholds"].items()
    )
    return Table(
        rows,
        f"At the threshold chosen on the validation part for: {content['aim']}. PPV and NPV hold at the prevalence "
        f"of these cases ({counted}) where no other is named.",
    )


def _benefit_table(content: dict[str, Any]) -> Table:
    places = [int(np.argmin(np.abs(metrics.THRESHOLDS - told))) for told in TOLD]
    rows = [
        {
            "class": name,
            "act from probability": float(metrics.THRESHOLDS[place]),
            "net benefit": float(curve["model"][place]),
            "95 %": interval_text(curve["model_interval"][place]),
            "acting on all": float(curve["all"][place]),
            "gain over the better of all and none": float(curve["gain"][place]),
            "gain, 95 %": interval_text(curve["gain_interval"][place]),
        }
        for name, curve in content["curve"].items()
        if name != "thresholds"
        for place in places
    ]
    return Table(rows, "Net benefit per case, in true positives; acting on none has 0.")


def _plot(content: dict[str, Any]) -> Plot:
    curves = {name: curve for name, curve in content["curve"].items() if name != "thresholds"}
    shown = dict(list(curves.items())[:MOST_CURVES])
    useful = {name: metrics.THRESHOLDS[np.array(curve["gain"]) > 0] for name, curve in curves.items()}
    alt = "Decision curve. " + "; ".join(
        f"{name}: better than all and none at thresholds from {part.min():g} to {part.max():g}"
        if len(part)
        else f"{name}: never better than all or none"
        for name, part in useful.items()
    )
    caption = (
        "Decision curve: what acting on the model gains against acting on all and on none, by the probability "
        "from which one would act (low when missing a case is worse than a false alarm). Band: 95 % interval."
    )
    return Plot("decision_curve", decision_curve_figure(metrics.THRESHOLDS, shown), caption, alt)
