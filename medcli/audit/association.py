"""Does a label go with a column? Cramér's V, mutual information, and a permutation test by patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERMUTATIONS = 999


@dataclass(frozen=True)
class Association:
    """Attributes:
    v: Cramér's V, 0 for independent to 1 for determined, corrected for its bias.
    information: Mutual information in bits.
    p: By permutation.
    table: (levels, classes) counts.
    """

    v: float
    information: float
    p: float
    table: np.ndarray


def permutations(patients: Sequence[str], count: int = PERMUTATIONS, seed: int = 0) -> np.ndarray:
    """Whose value a case gets when values are shuffled among patients, int32 (count, n).

    Cases of one patient are alike in much, so shuffling cases would find everything significant. Here every
    patient gets the values of another one, in a random order, again from the start when they are too few.
    With one case per patient this is a plain permutation. Numbers of patients per value vary a little between
    shuffles when patients have different numbers of cases.
    """
    names, cluster = np.unique(np.asarray(patients, str), return_inverse=True)
    random = np.random.default_rng(seed)
    sizes = np.bincount(cluster)
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    by_patient = np.argsort(cluster, kind="stable")
    within = np.empty(len(cluster), int)
    within[by_patient] = np.arange(len(cluster)) - np.repeat(starts, sizes)
    result = np.empty((count, len(cluster)), np.int32)
    for row in range(count):
        giver = random.permutation(len(names))[cluster]
        shuffled = by_patient[np.lexsort((random.random(len(cluster)), cluster[by_patient]))]
        result[row] = shuffled[starts[giver] + within % sizes[giver]]
    return result


def associate(
    column: np.ndarray, label: np.ndarray, shuffles: np.ndarray, *, shape: tuple[int, int] | None = None
) -> Association:
    """Test whether two codes are independent, by patient.

    Args:
        column, label: (n,) codes from 0.
        shuffles: From `permutations`.
    """
    rows, columns = shape or (int(column.max()) + 1, int(label.max()) + 1)
    table = contingency(column, label, rows, columns)
    observed = _squares(table)
    drawn = np.array([_squares(contingency(column[order], label, rows, columns)) for order in shuffles])
    p = (1 + int((drawn >= observed - 1e-12).sum())) / (1 + len(drawn))
    return Association(cramers_v(table), mutual_information(table), p, table)


def contingency(column: np.ndarray, label: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return np.bincount(column * columns + label, minlength=rows * columns).reshape(rows, columns)


def _squares(table: np.ndarray) -> float:
    """Pearson's chi squared over n and over its largest value: V squared without correction."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    least = min(table.shape) - 1
    if least < 1:
        return 0.0
    total = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0) / total
    return float(((table - expected) ** 2 / expected).sum() / total / least)


def cramers_v(table: np.ndarray) -> float:
    """Cramér 1946, with the bias correction of Bergsma 2013 (J. Korean Stat. Soc. 42:323-328)."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    (rows, columns), total = table.shape, table.sum()
    if min(rows, columns) < 2 or total < 2:
        return 0.0
    phi = _squares(table) * (min(rows, columns) - 1)
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (total - 1))
    least = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    return float(np.sqrt(min(1.0, phi / least))) if least > 0 else 0.0


def mutual_information(table: np.ndarray) -> float:
    """Of two codes in bits (Shannon 1948), from counts, not corrected."""
    joint = table / table.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / independent[there])).sum())
