"""Judging classifications."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medcli.calibration import FILE, Calibration, Validation, positive_index, truth_of
from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.errors import DataError, RunError
from medcli.evaluation.answers import Answers
from medcli.evaluation.calibrated import calibration_section, shift_section
from medcli.evaluation.decisions import decision_section, prevalences
from medcli.evaluation.group_decisions import group_decisions
from medcli.evaluation.judge import Detail, Judged, Measured, Plot, Values, drawn_whole, with_intervals
from medcli.evaluation.kept import UNKNOWN, column_of, told
from medcli.evaluation.plots import confusion_figure, precision_recall_figure, roc_figure, spread_figure
from medcli.evaluation.refusal import NAMES, refusal_section, set_measures
from medcli.image import Image
from medcli.metrics import classification as metrics
from medcli.metrics.bootstrap import rates_at_the_bounds
from medcli.metrics.calibration import brier, calibration_error, overall_brier, overall_error, unbiased
from medcli.metrics.grades import steps_off, weighted_kappa
from medcli.metrics.known import is_known, only_known
from medcli.metrics.samples import CLASSIFICATION_GAPS, CLASSIFICATION_NAMES, Sample, classification_sample
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import Plan
from medcli.run import Run

GRADES = ("weighted_kappa", "steps_off")
"""Measured when the classes are grades (`train.loss: ordinal`)."""


class ClassificationJudge:
    """See `Judge`."""

    overall_names: tuple[str, ...] = (*metrics.OVERALL, "ece", "brier", *NAMES)
    class_names = (*metrics.PER_CLASS, "ece", "brier", "set_coverage")
    headline: tuple[str, ...] = (
        "auroc",
        "accuracy",
        "balanced_accuracy",
        "sensitivity",
        "specificity",
        "mcc",
    )
    robust_names = ("auroc", "balanced_accuracy")
    group_names, gaps = CLASSIFICATION_NAMES, CLASSIFICATION_GAPS
    wide = False

    def __init__(self, plan: Plan, settings: Evaluate, run: Run | None = None, *, own: bool = True) -> None:
        self.plan, self.settings, self.run, self.own = plan, settings, run, own
        self._cases: list[str] = []
        self._truth: list[np.ndarray] = []
        self._probabilities: list[np.ndarray] = []
        self._raw: list[np.ndarray] = []
        self._groups: list[Mapping[str, str]] = []
        if plan.multi_label:
            self.overall_names = (*metrics.OVERALL, *metrics.MICRO, "ece", "brier", *NAMES)
        self._graded = run is not None and run.config.train.loss == "ordinal"
        if self._graded:
            self.overall_names = (*metrics.OVERALL, *GRADES, "ece", "brier", *NAMES)
            self.headline = (*self.headline, *GRADES)
        self._positive = positive_index(plan, settings.positive)
        prevalences(
            settings, plan.classes, self._positive if self._binary else None
        )  # wrong names are told now

    @property
    def _binary(self) -> bool:
        return self.plan.num_classes == 2 and not self.plan.multi_label

    @cached_property
    def calibration(self) -> Calibration | None:
        """Read when the first case comes: by then a run that had none may have got one."""
        return None if self.run is None else Calibration.of(self.run)

    def add(self, case: Case, image: Image, prediction: Prediction) -> Judged:
        assert prediction.probabilities is not None
        truth = truth_of([case.shows(self.plan.classes)])[0]
        self._check(case, truth)
        probabilities = np.asarray(prediction.probabilities, float)
        raw = prediction.raw_probabilities
        judged = self._judged(
            case.name,
            truth,
            probabilities,
            probabilities if raw is None else np.asarray(raw, float),
            case.groups,
        )
        return replace(judged, draw=lambda: drawn_whole(image, self.plan))

    def restore(self, rows: Sequence[Mapping[str, str]], folder: Path) -> list[Judged]:
        classes = self.plan.classes
        try:
            truth = truth_of([told(row["truth"], row.get(UNKNOWN), classes) for row in rows])
            given = [[float(row[f"p:{name}"]) for name in classes] for row in rows]
            raw = [[float(row.get(f"raw:{name}") or row[f"p:{name}"]) for name in classes] for row in rows]
        except (KeyError, ValueError):
            raise RunError(
                f"{folder / 'cases.csv'}: not a table of this run's classes ({', '.join(classes)}); run "
                "`medcli evaluate --force` again."
            ) from None
        before = np.asarray(
            raw, np.float32
        )  # as the network gave them: cases.csv has all digits of a float32
        scaled = (
            np.asarray(given, np.float32) if self.calibration is None else self.calibration.scaled(before)
        )
        return [
            self._judged(row["case"], true, chances, unscaled, self._groups_of(row))
            for row, true, chances, unscaled in zip(
                rows, truth, scaled.astype(float), before.astype(float), strict=True
            )
        ]

    def _groups_of(self, row: Mapping[str, str]) -> dict[str, str]:
        """Column to value, of the columns that have thresholds of their own."""
        columns = {name: column_of(name) for name in self.settings.group_thresholds.columns}
        return {name: row[column] for name, column in columns.items() if column in row}

    def _judged(
        self,
        case: str,
        truth: np.ndarray,
        probabilities: np.ndarray,
        raw: np.ndarray,
        groups: Mapping[str, str],
    ) -> Judged:
        """Add one case: truth, calibrated and unscaled probabilities (classes,), its values of the group columns."""
        self._cases.append(case)
        self._groups.append(groups)
        self._truth.append(truth)
        self._probabilities.append(probabilities)
        self._raw.append(raw)
        known = is_known(truth)
        decided = self._called(probabilities[None], [groups])[0]
        chances = {
            f"p:{name}": float(value) for name, value in zip(self.plan.classes, probabilities, strict=True)
        }
        true, predicted = self._named(truth == 1), self._named(decided)
        right = bool((truth == decided)[known].all())
        row: dict[str, Any] = {"truth": true, "predicted": predicted, "correct": right} | chances
        if self.plan.multi_label:
            row[UNKNOWN] = self._named(~known)
        row |= self._decided(probabilities, raw, groups)
        # The probability given to the truth; multi-label: its mean over the classes, yes and no alike.
        given = np.where(truth == 1, probabilities, 1 - probabilities)[known]
        quality = float(given.mean()) if known.any() else math.nan
        if not self.plan.multi_label:
            quality = float(probabilities[truth.argmax()])
        best = "" if self.plan.multi_label else f" ({probabilities.max():.2f})"
        caption = f"{case}: {true or 'none'}, predicted {predicted or 'none'}{best}"
        return Judged(row, quality, caption)

    def measure(self, patients: Sequence[str]) -> Measured:
        truth, probabilities = np.stack(self._truth), np.stack(self._probabilities)
        called = self._called(probabilities, self._groups)
        answers = Answers(
            self.plan.classes,
            self.plan.multi_label,
            self._positive,
            truth,
            probabilities,
            np.stack(self._raw),
            patients,
        )

        def values(weights: np.ndarray | None) -> Values:
            overall, by_class = metrics.measures(
                truth,
                probabilities,
                multi_label=self.plan.multi_label,
                positive=self._positive,
                weights=weights,
                decided=called,
            )
            if self._graded:
                table = metrics.confusion_matrix(
                    truth.argmax(1), probabilities.argmax(1), self.plan.num_classes, weights
                )
                overall |= {"weighted_kappa": weighted_kappa(table), "steps_off": steps_off(table)}
            more, more_by_class = self._more(answers, weights)
            return overall | more, by_class | more_by_class

        present, known = metrics.known_counts(truth)
        extra: dict[str, Any] = {"counts": dict(zip(self.plan.classes, present.tolist(), strict=True))}
        if self.plan.multi_label:
            extra["known"] = dict(zip(self.plan.classes, known.tolist(), strict=True))
        else:
            extra["confusion"] = {"classes": self.plan.classes, "rows_are_truth": self._confusion().tolist()}
        if truth.shape[1] == 2 and not self.plan.multi_label:
            extra["positive"] = self.plan.classes[self._positive]
        measured = with_intervals(values, self.plan.classes, patients, extra=extra)
        found = rates_at_the_bounds(measured.flat, measured.intervals, patients, self._shares(truth))
        return self._with_sections(replace(measured, intervals=found), answers)

    def _shares(self, truth: np.ndarray) -> dict[str, np.ndarray]:
        """For each rate the cases that it is a share of."""
        yes, no = np.nan_to_num(truth) > 0, truth == 0
        shares = {"accuracy": np.ones(len(truth), bool)}
        if truth.shape[1] == 2 and not self.plan.multi_label:
            shares |= {"sensitivity": yes[:, self._positive], "specificity": no[:, self._positive]}
        for index, label in enumerate(self.plan.classes):
            shares |= {f"sensitivity/{label}": yes[:, index], f"specificity/{label}": no[:, index]}
        return shares

    def _more(self, answers: Answers, weights: np.ndarray | None) -> Values:
        """How well calibrated, and what the label sets do."""
        truth, chances, multi_label = answers.truth, answers.probabilities, answers.multi_label
        errors = [calibration_error(t, p, weights) for t, p in zip(truth.T, chances.T, strict=True)]
        briers = [brier(t, p, weights) for t, p in zip(truth.T, chances.T, strict=True)]
        sets, coverage = set_measures(answers, self.calibration, weights)
        error = overall_error(truth, chances, weights, multi_label=multi_label, positive=answers.positive)
        overall = {"ece": error, "brier": overall_brier(truth, chances, weights, multi_label=multi_label)}
        by_class = {"ece": np.stack(errors, -1), "brier": np.stack(briers, -1), "set_coverage": coverage}
        if weights is not None:
            plain, plain_by_class = self._more(answers, None)
            overall["ece"] = unbiased(overall["ece"], plain["ece"])
            by_class["ece"] = unbiased(by_class["ece"], plain_by_class["ece"])
        return overall | sets, by_class

    def _with_sections(self, measured: Measured, answers: Answers) -> Measured:
        calibration = self.calibration
        quality, content, notes = calibration_section(answers, calibration, measured.intervals)
        decisions, decided = decision_section(answers, calibration, self.settings)
        if calibration is not None and calibration.groups is not None:
            table, decided["groups"] = group_decisions(answers, calibration, self._groups)
            decisions.tables.append(table)
        refusal, refused, more = refusal_section(answers, calibration, measured.overall, measured.intervals)
        sections, notes = [quality, decisions, refusal], notes + more
        extra = measured.extra | {"calibration": content, "decisions": decided, "refusal": refused}
        if calibration is not None and self.run is not None:
            validation = Validation.load(self.run.folder, self.plan.classes)
            fitted = len(set(validation.cases) & set(self._cases)) if self.own else 0
            if fitted:
                notes = [
                    f"Scaling, thresholds and label sets were learned from {fitted} of these {len(self._cases)} cases, "
                    "so what is said of them here is a little too good; the cross-validated numbers are fairer.",
                    *notes,
                ]
            elif (
                not self.run.folds
            ):  # single networks are more extreme than their mean, which is no shift of the data
                shift, extra["shift"], shifted = shift_section(answers, calibration, validation)
                sections, notes = [quality, shift, decisions, refusal], shifted + notes
            here = self.run.config.predict
            if (calibration.flips, calibration.views) != (here.flips, here.views):
                notes.append(
                    f"The calibration was learned with predict.flips: {str(calibration.flips).lower()} and "
                    f"predict.views: {calibration.views}, unlike here; remove {FILE} from the run and evaluate "
                    "again, which learns it anew."
                )
        return replace(measured, extra=extra, sections=sections, notes=notes)

    def _decided(
        self, probabilities: np.ndarray, raw: np.ndarray, groups: Mapping[str, str]
    ) -> dict[str, Any]:
        """Columns of cases.csv that a calibration adds: those of decisions.csv, and the unscaled probabilities."""
        if self.calibration is None:
            return {}
        inside, reasons = self.calibration.sets(probabilities[None])
        decision = self._named(self.calibration.decided(probabilities[None], [groups])[0])
        before = {f"raw:{name}": float(value) for name, value in zip(self.plan.classes, raw, strict=True)}
        return {"decision": decision, "set": self._named(inside[0]), "refer": reasons[0]} | before

    def sample(self) -> Sample:
        truth, probabilities = np.stack(self._truth), np.stack(self._probabilities)
        multi_label, calibration = self.plan.multi_label, self.calibration
        note = ""
        decided = self._called(probabilities, self._groups)
        if calibration is not None and (multi_label or len(self.plan.classes) == 2):
            decided = calibration.decided(probabilities, self._groups)
            note = "Decisions at the run's own thresholds. "
            if calibration.groups is not None:
                note = f"Decisions at the run's own thresholds, by {calibration.groups.rule.title}. "
        return classification_sample(
            truth, probabilities, decided, multi_label=multi_label, positive=self._positive, note=note
        )

    def details(self) -> list[Detail]:
        return []

    def lists(self, cases: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        return {}

    def plots(self) -> list[Plot]:
        truth, probabilities = np.stack(self._truth), np.stack(self._probabilities)
        shown = list(range(len(self.plan.classes)))
        if truth.shape[1] == 2 and not self.plan.multi_label:
            shown = [self._positive]
        roc, recall = {}, {}
        for index in shown:
            name = self.plan.classes[index]
            true, score = only_known(truth[:, index], probabilities[:, index])
            area, average = metrics.auroc(true, score), metrics.average_precision(true, score)
            if np.isfinite(area):
                roc[f"{name} ({area:.3f})"] = metrics.roc_curve(true, score)
            if np.isfinite(average):
                recall[f"{name} ({average:.3f})"] = metrics.precision_recall_curve(true, score)[::-1]
        drawn = [
            Plot("roc", roc_figure(roc), "ROC with the area under it.", "ROC curves: " + ", ".join(roc)),
            Plot(
                "precision_recall",
                precision_recall_figure(recall),
                "Precision and recall with the average precision.",
                "Precision-recall curves: " + ", ".join(recall),
            ),
        ]
        if truth.shape[1] == 2 and not self.plan.multi_label:
            drawn.append(self._spread(truth[:, self._positive] == 1, probabilities[:, self._positive]))
        if not self.plan.multi_label:
            table, names = self._confusion(), self.plan.classes
            right = int(np.trace(table))
            alt = f"Confusion matrix: {right} of {int(table.sum())} cases on the diagonal"
            figure = confusion_figure(table, names, names)
            drawn.append(Plot("confusion", figure, "Cases by true and predicted class.", alt))
        return drawn

    def _spread(self, positive: np.ndarray, probabilities: np.ndarray) -> Plot:
        names = (self.plan.classes[self._positive], self.plan.classes[1 - self._positive])
        threshold = None
        if self.calibration is not None and self.calibration.groups is None:
            threshold = self.calibration.operating[names[0]].threshold
        medians = [
            f"{np.median(some):.2f}" if len(some) else "none"
            for some in (probabilities[positive], probabilities[~positive])
        ]
        return Plot(
            "spread",
            spread_figure(probabilities[positive], probabilities[~positive], names, threshold),
            f"Probability of {names[0]} by the true class.",
            f"Histograms; median probability of {names[0]}: {medians[0]} where it is true, {medians[1]} where not",
        )

    def stored(self, cases: Sequence[str]) -> dict[str, Any]:
        return {}

    def _check(self, case: Case, truth: np.ndarray) -> None:
        unknown = sorted(set(case.classes) - set(self.plan.classes))
        if unknown:
            raise DataError(
                f"Expected classes that the run knows ({', '.join(self.plan.classes)}), "
                f"found {', '.join(unknown)}."
            )
        if self.plan.multi_label and not is_known(truth).any():
            raise DataError("Expected the truth of at least one label, found none.")
        if not self.plan.multi_label and truth.sum() != 1:
            raise DataError(
                f"Expected exactly one class as the truth, found {int(truth.sum())}; label the case."
            )

    def _called(self, probabilities: np.ndarray, groups: Sequence[Mapping[str, str]]) -> np.ndarray:
        """(n, k) bool: the most probable class; of several labels those that reach the run's thresholds."""
        if self.plan.multi_label and self.calibration is not None:
            return self.calibration.decided(probabilities, groups)
        return metrics.decide(probabilities, multi_label=self.plan.multi_label)

    def _confusion(self) -> np.ndarray:
        truth, predicted = np.stack(self._truth).argmax(1), np.stack(self._probabilities).argmax(1)
        return metrics.confusion_matrix(truth, predicted, self.plan.num_classes).astype(int)

    def _named(self, chosen: np.ndarray) -> str:
        return "|".join(name for name, yes in zip(self.plan.classes, chosen, strict=True) if yes)
