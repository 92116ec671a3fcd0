"""Measures of groups of patients, the gaps between the groups, and whether a gap is more than chance.

Axes: n cases, k classes, g groups. A partition of the cases is (n,) int codes, 0 to g - 1, -1 for cases that
are left out. Intervals come from resampling patients, so that groups that share patients are compared rightly.

Chance is what remains when the labels of the groups are permuted. What is moved is all cases of one patient in
one group, so images of one patient never count as independent; for columns that vary within a patient (view,
age at follow-up) this errs on the side of chance. Labels are only exchanged where the question allows it:

- Rates, ranking and overlap ask whether the result depends on the group *given the truth* (separation, Hardt et
  al. 2016, arXiv 1610.02413): exchanged among patients who show the same classes, so that groups that differ in
  prevalence alone show no gap.
- Calibration asks whether the truth depends on the group *given the score* (sufficiency, Chouldechova 2017,
  arXiv 1703.00056): exchanged among patients of like scores.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medcli.metrics.bootstrap import RESAMPLES, patient_weights
from medcli.metrics.samples import Gap, Sample

PERMUTATIONS = 2000
ENOUGH = 100
"""A gap that meaningless labels reached so often is chance, p about 0.05 or more; see `chance`."""
RARE = 10
"""Sets of classes that fewer patients show are exchanged with one another."""
SCORE_BINS = 10
"""Patients of like scores: tenths, fewer when a tenth would hold less than 20 patients."""
_CHUNK = 2_000_000
"""Most labels held at once (permutations times cases)."""

# ---- values and their resamples


def group_values(
    sample: Sample, codes: np.ndarray, groups: int, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """(groups,) by name; NaN for a group without cases."""
    parts = [np.flatnonzero(codes == group) for group in range(groups)]
    wanted = sample.names if names is None else names
    found = [sample.values(part, np.ones(len(part)), wanted) for part in parts]
    return {name: np.array([float(values[name]) for values in found]) for name in wanted}


def resampled_values(
    sample: Sample,
    partitions: Sequence[tuple[np.ndarray, int]],
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, np.ndarray]]:
    """For every partition (codes, groups) the values (resamples, groups) by name, from common resamples."""
    parts = [[np.flatnonzero(codes == group) for group in range(groups)] for codes, groups in partitions]
    drawn: list[dict[str, list[np.ndarray]]] = [{name: [] for name in sample.names} for _ in partitions]
    for weights in patient_weights(patients, resamples=resamples, seed=seed):
        by_case = np.ascontiguousarray(weights.T)
        for groups, kept in zip(parts, drawn, strict=True):
            found = [sample.values(part, by_case[part].T, sample.names) for part in groups]
            for name in sample.names if found else ():
                kept[name].append(np.stack([values[name] for values in found], -1))
    return [
        {name: np.concatenate(kept) if kept else np.empty((resamples, 0)) for name, kept in one.items()}
        for one in drawn
    ]


# ---- gaps


def gap_value(gap: Gap, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """(...,) the largest range over the groups (..., g) of any of its measures; NaN without two groups.

    `equalized_odds` is that of fairlearn: the larger of the differences in true and in false positive rate.
    """
    return np.max([_range(values[name]) for name in gap.measures], axis=0)


def _range(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    highest = np.where(known, values, -np.inf).max(-1, initial=-np.inf)
    lowest = np.where(known, values, np.inf).min(-1, initial=np.inf)
    return np.where(known.sum(-1) > 1, highest - lowest, np.nan)


class Ends(NamedTuple):
    """The two groups that make the gap, and the measure that differs most between them."""

    measure: str
    worst: int
    best: int


def ends(gap: Gap, values: Mapping[str, np.ndarray]) -> Ends:
    """Worst: the end of the range that is farther from `gap.target`. Needs two groups with a value."""
    measure = max(gap.measures, key=lambda name: np.nan_to_num(_range(values[name]), nan=-1.0))
    low, high = int(np.nanargmin(values[measure])), int(np.nanargmax(values[measure]))
    of_low, of_high = (abs(values[measure][place] - gap.target) for place in (low, high))
    return Ends(measure, low, high) if of_low >= of_high else Ends(measure, high, low)


def difference(
    found: Ends, values: Mapping[str, np.ndarray], resamples: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(resamples,) between the two groups, signed so that the gap found is positive.

    The range itself is never below 0 and grows with noise, so its resamples would miss a gap of 0; the
    difference between the two groups that were farthest apart does not.
    """
    sign = np.sign(values[found.measure][found.best] - values[found.measure][found.worst])
    drawn = resamples[found.measure]
    return sign * (drawn[..., found.best] - drawn[..., found.worst])


# ---- chance


def chance(
    sample: Sample,
    codes: np.ndarray,
    groups: int,
    patients: Sequence[str],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, float]:
    """p by gap: how often labels that mean nothing give a gap as large as the one found.

    (b + 1) / (m + 1) of Phipson and Smyth 2010 (Stat. Appl. Genet. Mol. Biol. 9:39). Gaps that are plainly
    chance need few permutations: no more are drawn when all gaps were reached `ENOUGH` times (Besag and Clifford
    1991, Biometrika 78:301-304). NaN where there is no gap to test.
    """
    result: dict[str, float] = {}
    for given in dict.fromkeys(gap.given for gap in sample.gaps):
        gaps = [gap for gap in sample.gaps if gap.given == given]
        names = list(dict.fromkeys(name for gap in gaps for name in gap.measures))
        observed = group_values(sample, codes, groups, names)
        found = np.array([gap_value(gap, observed) for gap in gaps])
        if not np.isfinite(found).any():
            result |= {gap.name: float("nan") for gap in gaps}
            continue
        reached, drawn = np.zeros(len(gaps), int), 0
        for stacked in _shuffled(sample, given, names, codes, groups, patients, permutations, seed):
            values = np.stack([gap_value(gap, stacked) for gap in gaps])
            drawn += values.shape[1]
            # An undefined gap counts as reached, which errs on the side of chance.
            reached += (~(values < found[:, None] - 1e-12)).sum(1)
            if (reached >= ENOUGH).all():
                break
        p = np.where(np.isfinite(found), (reached + 1) / (drawn + 1), np.nan)
        result |= {gap.name: float(value) for gap, value in zip(gaps, p, strict=True)}
    return result


def _shuffled(
    sample: Sample,
    given: str,
    names: Collection[str],
    codes: np.ndarray,
    groups: int,
    patients: Sequence[str],
    permutations: int,
    seed: int,
) -> Iterator[dict[str, np.ndarray]]:
    """Values (some permutations, groups) by name under shuffled labels, until there were `permutations`."""
    cases = np.flatnonzero(codes >= 0)
    units, unit_of_case, unit_codes = _units(codes[cases], np.asarray(patients, dtype=str)[cases])
    strata = _strata(sample, given, cases, unit_of_case, units)
    random = np.random.default_rng(seed)
    size = max(1, _CHUNK // len(cases))
    for start in range(0, permutations, size):
        moved = _permuted(unit_codes, strata, min(size, permutations - start), random)
        yield sample.by_label(cases, moved[:, unit_of_case], groups, names)


def _units(codes: np.ndarray, patients: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """What is moved: the cases of one patient in one group. Their number, the unit of each case, its code."""
    _, patient = np.unique(patients, return_inverse=True)
    width = int(codes.max(initial=0)) + 1
    pairs, unit_of_case = np.unique(patient * width + codes, return_inverse=True)
    small = np.int8 if width < 128 else np.int32
    return len(pairs), unit_of_case, (pairs % width).astype(small)


def _strata(
    sample: Sample, given: str, cases: np.ndarray, unit_of_case: np.ndarray, units: int
) -> np.ndarray:
    """(units,) int: labels are exchanged among equals."""
    if given == "truth":
        return _same_classes(sample.truth[cases], unit_of_case, units)
    assert sample.score is not None
    total = np.bincount(unit_of_case, weights=sample.score[cases], minlength=units)
    mean = total / np.bincount(unit_of_case, minlength=units)
    bins = int(np.clip(units // 20, 1, SCORE_BINS))
    return np.argsort(np.argsort(mean, kind="stable"), kind="stable") * bins // max(units, 1)


def _same_classes(truth: np.ndarray, unit_of_case: np.ndarray, units: int) -> np.ndarray:
    """Units by the classes that any of their cases shows, and lacks; rare sets stand together."""
    shown = np.zeros((units, 2 * truth.shape[1]), bool)
    np.logical_or.at(shown, unit_of_case, np.concatenate([truth, ~truth], axis=1))
    _, pattern, count = np.unique(shown, axis=0, return_inverse=True, return_counts=True)
    pattern = pattern.reshape(-1)
    any_class = shown[:, : truth.shape[1]].any(1)
    return np.where(count[pattern] < RARE, -1 - any_class.astype(int), pattern)


def _permuted(
    codes: np.ndarray, strata: np.ndarray, permutations: int, random: np.random.Generator
) -> np.ndarray:
    """(permutations, units) codes, shuffled within the strata."""
    moved = np.empty((permutations, len(codes)), codes.dtype)
    for stratum in np.unique(strata):
        where = np.flatnonzero(strata == stratum)
        moved[:, where] = random.permuted(np.tile(codes[where], (permutations, 1)), axis=1)
    return moved


def holm(p: Sequence[float]) -> np.ndarray:
    """p values corrected for their number (Holm 1979, Scand. J. Stat. 6:65-70); NaN is no test and stays NaN."""
    values = np.asarray(p, float)
    result = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else []
    return result
