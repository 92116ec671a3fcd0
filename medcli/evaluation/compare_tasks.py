"""What two results of each task are compared by: measures to resample, and further tests."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medcli.boxes import Boxes
from medcli.errors import DataError, RunError
from medcli.evaluation.compare_stored import CASES, DETECTIONS, Stored
from medcli.evaluation.kept import UNKNOWN, told
from medcli.metrics import classification, detection, regression, segmentation
from medcli.metrics.bootstrap import Measure
from medcli.metrics.comparison import delong, mcnemar, signed_rank
from medcli.metrics.known import is_known, only_known


@dataclass(frozen=True)
class Test:
    """One further test; `found` says what it rests on."""

    test: str
    about: str
    found: str
    p: float
    cases: int
    patients: int


@dataclass(frozen=True, eq=False)
class Pair:
    """What the task makes of both results: measures to resample, the cases each is about, further tests."""

    measures: tuple[Measure, Measure]
    about: Mapping[str, np.ndarray]
    tests: list[Test]
    prevalence: Mapping[str, float]


# ---- classification


def classified(a: Stored, b: Stored, names: Sequence[str], patients: Sequence[str]) -> Pair:
    classes, multi_label = a.plan.classes, a.plan.multi_label
    truth = _truth(a, names, classes)
    other = _truth(b, names, classes)
    _different_truth(names, ((truth == other) | (np.isnan(truth) & np.isnan(other))).all(1))
    truth = truth if np.isnan(truth).any() else truth.astype(bool)
    scores = [_table(stored, names, [f"p:{label}" for label in classes]) for stored in (a, b)]
    decided = [_chosen(stored, names, "predicted", classes) for stored in (a, b)]
    positive = classes.index(a.metrics["positive"]) if "positive" in a.metrics else -1
    binary = len(classes) == 2 and not multi_label

    def measure_of(probabilities: np.ndarray, predicted: np.ndarray) -> Measure:
        def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
            return _headline(
                truth, probabilities, predicted, weights, positive if binary else None, multi_label
            )

        return measure

    everybody = np.ones(len(names), bool)
    about = dict.fromkeys(("auroc", "accuracy", "balanced_accuracy", "mcc"), everybody) | {
        "sensitivity": truth[:, positive] if binary else everybody,
        "specificity": ~truth[:, positive] if binary else everybody,
    }
    tests = []
    for index in [positive] if binary else range(len(classes)):
        first, second = (one[:, index] for one in scores)
        shown, first, second, who = only_known(truth[:, index], first, second, patients)
        found = delong(shown, first, second, list(who))
        text = f"A - B {found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        tests.append(Test("DeLong", f"AUROC of {classes[index]}", text, found.p, len(shown), len(set(who))))
    right = [((one == truth) | ~is_known(truth)).all(1) for one in decided]
    chosen = {"all decisions": everybody}
    if binary:
        chosen |= {"sensitivity": truth[:, positive], "specificity": ~truth[:, positive]}
    for label, cases in chosen.items():
        tests += _mcnemar(label, right[0][cases], right[1][cases], np.asarray(patients)[cases])
    shares = dict(zip(classes, np.nanmean(truth, axis=0).tolist(), strict=True))
    return Pair((measure_of(scores[0], decided[0]), measure_of(scores[1], decided[1])), about, tests, shares)


def _headline(
    truth: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    weights: np.ndarray,
    positive: int | None,
    multi_label: bool,
) -> dict[str, np.ndarray]:
    """The headline of classification, the decisions as they were stored; `positive` None: mean over classes."""
    of_class = classification.counts(truth, predicted, weights)

    def overall(values: np.ndarray) -> np.ndarray:
        return values[..., positive] if positive is not None else classification.mean_of_known(values)

    if multi_label:
        tables = classification.as_confusion(of_class)
        rates = [classification.mean_of_known(rate(tables)) for rate in _RATES]
    else:
        table = classification.confusion_matrix(truth.argmax(1), predicted.argmax(1), truth.shape[1], weights)
        rates = [rate(table) for rate in _RATES]
    areas = [
        classification.auroc(truth[:, index], probabilities[:, index], weights)
        for index in range(truth.shape[1])
    ]
    return {
        "auroc": overall(np.stack(areas, -1)),
        "accuracy": rates[0],
        "balanced_accuracy": rates[1],
        "sensitivity": overall(classification.sensitivity(of_class)),
        "specificity": overall(classification.specificity(of_class)),
        "mcc": rates[2],
    }


_RATES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    classification.accuracy,
    classification.balanced_accuracy,
    classification.matthews,
)


def _mcnemar(about: str, first: np.ndarray, second: np.ndarray, patients: np.ndarray) -> list[Test]:
    found = mcnemar(first, second, patients.tolist())
    text = f"right in A only {found.only_first}, in B only {found.only_second}"
    return [
        Test(f"McNemar, {kind}", about, text, p, len(first), len(set(patients.tolist())))
        for kind, p in (("exact", found.p_exact), ("mid-p", found.p_mid))
    ]


# ---- regression

NUMBERS = ("mae", "rmse", "median_ae", "r2", "pearson", "spearman", "bias")


def regressed(a: Stored, b: Stored, names: Sequence[str], patients: Sequence[str]) -> Pair:
    truth, other = (_table(stored, names, ["truth"])[:, 0] for stored in (a, b))
    _different_truth(names, np.isclose(truth, other, rtol=1e-9))
    said = [_table(stored, names, ["predicted"])[:, 0] for stored in (a, b)]
    first, second = (
        (lambda weights, one=one: regression.measures(truth, one, weights, names=NUMBERS)) for one in said
    )
    off = np.abs(said[0] - truth) - np.abs(said[1] - truth)
    p, count = signed_rank(off, np.zeros(len(off)), patients)
    text = f"median A - B {np.median(off):+.4g}, A larger in {(off > 0).sum()}, B in {(off < 0).sum()}"
    tests = [Test("Wilcoxon", "absolute error", text, p, len(off), count)]
    return Pair((first, second), dict.fromkeys(NUMBERS, np.ones(len(names), bool)), tests, {})


# ---- segmentation


def segmented(a: Stored, b: Stored, names: Sequence[str], patients: Sequence[str]) -> Pair:
    classes = a.plan.classes
    sizes = [column for column in next(iter(a.rows.values())) if column.startswith("true_")]
    truth = _table(a, names, sizes)
    _different_truth(names, np.isclose(truth, _table(b, names, sizes), rtol=1e-4, equal_nan=True).all(1))
    cases = [
        {
            measure: _table(
                stored, names, [f"{measure}/{label}" for label in classes] if len(classes) > 1 else [measure]
            )
            for measure in segmentation.PER_CLASS
        }
        for stored in (a, b)
    ]
    known = {
        measure: np.isfinite(cases[0][measure]).any(1) & np.isfinite(cases[1][measure]).any(1)
        for measure in segmentation.PER_CLASS
    }
    tests = []
    for measure in segmentation.PER_CLASS:
        for index, label in enumerate(classes):
            one, other = (part[measure][:, index] for part in cases)
            p, count = signed_rank(one, other, patients)
            off = one - other
            off = off[np.isfinite(off)]
            text = (
                f"median A - B {np.median(off):+.4g}, A larger in {(off > 0).sum()}, B in {(off < 0).sum()}"
            )
            about = f"{measure} of {label}"
            tests.append(Test("Wilcoxon", about, text if len(off) else "no value", p, len(off), count))
    present = {
        label: float(np.mean([truth[row, sizes.index(column)] > 0 for row in range(len(names))]))
        for label in classes
        for column in sizes
        if column.partition("/")[2] == label
    }
    first, second = ((lambda weights, part=part: segmentation.summarise(part, weights)[0]) for part in cases)
    return Pair((first, second), known, tests, present)


# ---- detection


def detected(a: Stored, b: Stored, names: Sequence[str], patients: Sequence[str]) -> Pair:
    classes = a.plan.classes
    overlap = (a.metrics.get("confusion") or {}).get("iou_threshold", 0.5)
    found, truth = zip(*(_boxes(stored, names, classes) for stored in (a, b)), strict=True)
    _different_truth(names, np.array([_same(one, other) for one, other in zip(*truth, strict=True)]))

    def measure_of(boxes: Sequence[Boxes]) -> Measure:
        def matches(thresholds: np.ndarray) -> list[detection.Matches]:
            return [
                detection.match_images(boxes, truth[0], kind, thresholds=thresholds)
                for kind in range(len(classes))
            ]

        precision, froc = matches(detection.THRESHOLDS), matches(np.array([overlap]))
        return lambda weights: detection.measures(precision, froc, weights)[0]

    everybody = np.ones(len(names), bool)
    kinds = np.concatenate([boxes.classes[~boxes.crowd] for boxes in truth[0]])
    objects = {label: int((kinds == index).sum()) for index, label in enumerate(classes)}
    pair = measure_of(found[0]), measure_of(found[1])
    return Pair(pair, dict.fromkeys(detection.OVERALL, everybody), [], objects)


def _boxes(stored: Stored, names: Sequence[str], classes: Sequence[str]) -> tuple[list[Boxes], list[Boxes]]:
    """The boxes found and the true ones, classes as indices into `classes`."""
    path = stored.folder / DETECTIONS
    if not path.is_file():
        raise RunError(
            f"{path} is missing: the result is older than `medcli compare`; run `medcli evaluate --force` again."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        index = np.array([classes.index(label) for label in content["classes"]], np.int32)
        found, true = ([_read(content["cases"][case][kind]) for case in names] for kind in ("found", "true"))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({type(error).__name__}); run `medcli evaluate --force` again."
        ) from None
    boxes = [Boxes.of(rows[:, :4], index[rows[:, 4].astype(int)], rows[:, 5]) for rows in found]
    truth = [Boxes.of(rows[:, :4], index[rows[:, 4].astype(int)], None, rows[:, 5] > 0) for rows in true]
    return boxes, truth


def _read(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, float).reshape(-1, 6)


def _same(one: Boxes, other: Boxes) -> bool:
    return (
        len(one) == len(other)
        and bool(np.allclose(one.corners, other.corners, atol=0.01))
        and bool((one.classes == other.classes).all())
    )


# ---- the table of cases


def _different_truth(names: Sequence[str], same: np.ndarray) -> None:
    if not same.all():
        example = names[int(np.argmin(same))]
        raise DataError(
            f"{int((~same).sum())} of {len(names)} shared cases have another truth in the two results (such as "
            f"{example}); they are other data with the same names, or their labels have changed: evaluate again."
        )


def _chosen(stored: Stored, names: Sequence[str], column: str, classes: Sequence[str]) -> np.ndarray:
    """(n, k) bool from a column with class names joined by |."""
    lists = [_cell(stored, case, column).split("|") for case in names]
    return np.array([[label in entry for label in classes] for entry in lists])


def _truth(stored: Stored, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """(n, k) float of 1, 0 and NaN for unknown."""
    cells = [(_cell(stored, case, "truth"), stored.rows[case].get(UNKNOWN)) for case in names]
    return np.array([told(truth, unknown, classes) for truth, unknown in cells])


def _table(stored: Stored, names: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """(n, columns) float; an empty cell is NaN."""
    return np.array(
        [[float(_cell(stored, case, column) or "nan") for column in columns] for case in names]
    ).reshape(len(names), len(columns))


def _cell(stored: Stored, case: str, column: str) -> str:
    value = stored.rows[case].get(column)
    if value is None:
        raise RunError(
            f"{stored.folder / CASES}: the column '{column}' is missing; run `medcli evaluate --force` again."
        )
    return value
