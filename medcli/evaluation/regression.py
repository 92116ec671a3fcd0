"""Judging predicted numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.errors import DataError, RunError
from medcli.evaluation.groups_page import interval_text
from medcli.evaluation.judge import (
    Detail,
    Judged,
    Measured,
    Plot,
    Section,
    Table,
    drawn_whole,
    with_intervals,
)
from medcli.evaluation.kept import number
from medcli.evaluation.plots_numbers import agreement_figure, scatter_figure
from medcli.image import Image
from medcli.metrics import regression as metrics
from medcli.metrics.bootstrap import intervals
from medcli.metrics.samples import Sample
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.targets import spread
from medcli.report import number_text


class RegressionJudge:
    """See `Judge`."""

    overall_names = metrics.OVERALL
    class_names: tuple[str, ...] = ()
    headline = ("mae", "rmse", "r2", "pearson", "bias", "mae_of_mean")
    robust_names = ("mae",)
    group_names, gaps = metrics.GROUP_NAMES, metrics.GAPS
    wide = False

    def __init__(self, plan: Plan, settings: Evaluate) -> None:
        assert plan.target is not None
        self.plan, self.settings, self.target = plan, settings, plan.target
        self._true: list[float] = []
        self._said: list[float] = []

    @property
    def _truth(self) -> np.ndarray:
        return np.array(self._true, float)

    @property
    def _predicted(self) -> np.ndarray:
        return np.array(self._said, float)

    def add(self, case: Case, image: Image, prediction: Prediction) -> Judged:
        assert prediction.number is not None
        if case.target is None:
            raise DataError(
                f"Expected the true number ({self.target.name}), found none; add it to the table."
            )
        judged = self._judged(case.name, case.target, prediction.number, prediction.spread)
        return replace(judged, draw=lambda: drawn_whole(image, self.plan))

    def restore(self, rows: Sequence[Mapping[str, str]], folder: Path) -> list[Judged]:
        try:
            table = [
                (float(row["truth"]), float(row["predicted"]), number(row.get("spread"))) for row in rows
            ]
        except (KeyError, ValueError):
            raise RunError(
                f"{folder / 'cases.csv'}: not a table of predicted numbers; run `medcli evaluate --force` again."
            ) from None
        return [self._judged(row["case"], *numbers) for row, numbers in zip(rows, table, strict=True)]

    def _judged(self, case: str, truth: float, predicted: float, spread: float) -> Judged:
        """Add one case."""
        self._true.append(truth)
        self._said.append(predicted)
        error = predicted - truth
        row: dict[str, Any] = {"truth": truth, "predicted": predicted, "error": error}
        if isfinite(spread):
            row["spread"] = spread
        caption = f"{case}: {number_text(truth)}, predicted {number_text(predicted)} ({error:+.3g})"
        return Judged(row, -abs(error), caption)

    def measure(self, patients: Sequence[str]) -> Measured:
        truth, predicted = self._truth, self._predicted

        def values(weights: np.ndarray | None):
            return metrics.measures(truth, predicted, weights, usual=self.target.mean), {}

        extra = {
            "target": {"name": self.target.name} | spread(truth.tolist()),
            "training": self.target.model_dump(),
        }
        measured = with_intervals(values, self.plan.classes, patients, extra=extra)
        section, by_part = self._by_size(patients)
        measured.extra["by_size"] = by_part
        return replace(measured, sections=[section], notes=self._notes(measured))

    def _notes(self, measured: Measured) -> list[str]:
        notes, name = [], self.target.name
        low, high = measured.intervals["skill"]
        if isfinite(low) and low <= 0:
            notes.append(
                "Not shown to be better than always saying the mean of the training part "
                f"({number_text(self.target.mean)}): skill {interval_text(measured.overall['skill'], low, high)}."
            )
        outside = int(((self._truth < self.target.low) | (self._truth > self.target.high)).sum())
        if outside:
            notes.append(
                f"{outside} of {len(self._true)} cases lie outside of what was trained on "
                f"({name} {number_text(self.target.low)} to {number_text(self.target.high)})."
            )
        return notes

    def _by_size(self, patients: Sequence[str]) -> tuple[Section, list[dict[str, Any]]]:
        """The error by fifth of the truth: networks tend to say too much of the small and too little of the large."""
        truth, predicted, names = self._truth, self._predicted, np.asarray(patients, str)
        parts = metrics.parts_by_size(truth)
        rows, content = [], []
        for part in range(parts.shape[1]):
            inside = parts[:, part]
            t, p, who = truth[inside], predicted[inside], names[inside].tolist()
            found = _mae_and_bias(t, p)
            bounds = intervals(partial(_mae_and_bias, t, p), who)
            told = {name: interval_text(float(found[name]), *bounds[name]) for name in found}
            among = {"from": float(t.min()), "to": float(t.max()), "cases": len(t), "patients": len(set(who))}
            rows.append(among | {"MAE": told["mae"], "bias": told["bias"]})
            content.append(
                among | {name: {"value": float(found[name]), "interval": bounds[name]} for name in found}
            )
        caption = (
            f"By true {self.target.name}, in parts of like size. A bias above 0 for small and below 0 for large values "
            "means that answers keep too near to the middle."
        )
        return Section("Error by size", [Table(rows, caption)], []), content

    def sample(self) -> Sample:
        return metrics.regression_sample(self._truth, self._predicted)

    def details(self) -> list[Detail]:
        return []

    def lists(self, cases: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        return {}

    def stored(self, cases: Sequence[str]) -> dict[str, Any]:
        return {}

    def plots(self) -> list[Plot]:
        truth, predicted, name = self._truth, self._predicted, self.target.name
        found = {key: float(value) for key, value in metrics.measures(truth, predicted).items()}
        limits = found["limit_low"], found["limit_high"]
        told = [number_text(value) for value in (found["bias"], *limits)]
        return [
            Plot(
                "scatter",
                scatter_figure(truth, predicted, name),
                f"Predicted against true {name}; dashed: where both are equal.",
                f"Scatter plot of predicted against true {name}: Pearson correlation {found['pearson']:.2f}, mean "
                f"absolute error {number_text(found['mae'])}",
            ),
            Plot(
                "bland_altman",
                agreement_figure(truth, predicted, name, found["bias"], limits),
                f"Bland and Altman: predicted minus true {name} against the mean of both. Line: the bias ({told[0]}); "
                f"dashed: 95 % limits of agreement ({told[1]} to {told[2]}).",
                f"Bland-Altman plot: bias {told[0]}, limits of agreement {told[1]} to {told[2]}",
            ),
        ]


def _mae_and_bias(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None):
    return metrics.measures(truth, predicted, weights, names=("mae", "bias"))
