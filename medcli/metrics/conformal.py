"""Conformal prediction: sets of labels that hold the true one with a stated probability.

Split conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002; Lei et al. 2018): a score says how
ill a label fits a case; on cases that the model did not learn from, the score of the true label stays
below the quantile for the stated share of the cases, and so it does for new cases of the same kind. The
promise is on average over such cases; it says nothing about data of another kind.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from medcli.metrics.known import only_known

Method = Literal["lac", "aps", "raps"]
PENALTY, FREE = 0.1, 1
"""raps: what every label beyond the `FREE` most probable ones costs."""


def label_scores(probabilities: np.ndarray, method: Method) -> np.ndarray:
    """(n, k): how ill each label fits, small is good.

    lac: 1 - p, which gives the smallest sets (Sadinle, Lei and Wasserman 2019, J. Am. Stat. Assoc.
    114:223-234). aps: the probability of this label and all more probable ones (Romano, Sesia and Candes
    2020, NeurIPS), without randomisation. raps: with a penalty for improbable labels (Angelopoulos et al.
    2021, ICLR).

    Args:
        probabilities: (n, k), rows that sum to 1.
    """
    probabilities = np.asarray(probabilities, float)
    if method == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    mass = np.take_along_axis(probabilities, order, 1).cumsum(1)
    if method == "raps":
        mass = mass + PENALTY * np.maximum(np.arange(1, mass.shape[1] + 1) - FREE, 0)
    scores = np.empty_like(mass)
    np.put_along_axis(scores, order, mass, 1)
    return scores


def conformal_quantile(scores: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) * coverage)-th smallest score; infinite when there are too few cases to promise that."""
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return math.inf if rank > len(scores) else float(np.sort(scores)[max(rank, 1) - 1])


def fit_quantiles(
    truth: np.ndarray, scores: np.ndarray, coverage: float, *, per_class: bool = False
) -> np.ndarray:
    """(k,) largest score with which each label stays in the set.

    Args:
        truth: (n, k) bool, exactly one true per row.
        scores: (n, k) of `label_scores`.
        per_class: Every class keeps the promise by itself (Vovk 2012, ACML; Mondrian), with larger sets;
            else all classes together.
    """
    truth = np.asarray(truth, bool)
    if per_class:
        return np.array([conformal_quantile(scores[column, j], coverage) for j, column in enumerate(truth.T)])
    return np.full(truth.shape[1], conformal_quantile(scores[truth], coverage))


def label_sets(scores: np.ndarray, quantiles: np.ndarray, *, keep_best: bool = False) -> np.ndarray:
    """(n, k) bool: the labels that fit.

    With lac a set may be empty: no label fits as well as is usual. `keep_best` puts the best label into
    every set, as aps and raps need it, whose scores are high where one label is all but certain; then more
    cases are covered than promised.
    """
    inside = scores <= quantiles
    if keep_best:
        inside[np.arange(len(scores)), scores.argmin(1)] = True
    return inside


# ---- several labels per case: each is a question of its own


def fit_quantiles_multi(
    truth: np.ndarray, probabilities: np.ndarray, coverage: float, *, per_class: bool = False
) -> np.ndarray:
    """(k, 2) largest lac score with which "no" and "yes" stay possible for each label.

    Args:
        truth: (n, k) bool, or 0, 1 and NaN for unknown.
        per_class: "no" and "yes" keep the promise each by itself, else the two together.
    """
    found = []
    for column, chance in zip(np.asarray(truth).T, np.asarray(probabilities, float).T, strict=True):
        column, chance = only_known(column, chance)
        scores = np.where(column, 1 - chance, chance)
        parts: Sequence[np.ndarray] = (scores[~column], scores[column]) if per_class else (scores, scores)
        found.append([conformal_quantile(part, coverage) for part in parts])
    return np.array(found)


def possible_labels(probabilities: np.ndarray, quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) bool each: the label may be absent; the label may be present."""
    probabilities = np.asarray(probabilities, float)
    return probabilities <= quantiles[:, 0], 1 - probabilities <= quantiles[:, 1]


def covered(truth: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """(n,) bool: whether the true label is in the set; one true label per row."""
    return (np.asarray(truth, bool) & sets).any(1)
