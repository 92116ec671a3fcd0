"""Labels that are probably wrong: against a model (confident learning), or against another column."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.audit.probe import halved

COMPONENTS = 50
"""Of the features that are kept for the model (principal components)."""


@dataclass(frozen=True, eq=False)
class Suspects:
    """Attributes:
    indices: Cases, the most suspicious first.
    margins: For each: probability of its label minus that of the likeliest other class.
    given, likely: Class indices.
    estimated: Share of labels that the confident joint estimates to be wrong.
    """

    indices: list[int]
    margins: list[float]
    given: list[int]
    likely: list[int]
    estimated: float


def confident_suspects(label: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Northcutt et al. 2021, J. Artif. Intell. Res. 70:1373-1411.

    A class is confident for a case when its probability is at least the mean it has among cases of that label.
    Cases whose likeliest confident class is not their label are the suspects (the off-diagonal of the
    confident joint), sorted by the normalised margin. The joint, scaled to the number of cases per label, gives
    the share of wrong labels.

    Args:
        label: (n,) codes; every class occurs.
        probabilities: (n, k) from a model that has not seen the case.
    """
    k = probabilities.shape[1]
    bars = np.array([probabilities[label == kind, kind].mean() for kind in range(k)])
    confident = np.where(probabilities >= bars - 1e-12, probabilities, -1.0)
    likely = confident.argmax(1)
    sure = confident.max(1) >= 0
    joint = np.zeros((k, k))
    np.add.at(joint, (label[sure], likely[sure]), 1)
    counts = np.bincount(label, minlength=k)
    rows = joint.sum(1, keepdims=True)
    scaled = np.divide(joint * counts[:, None], rows, out=np.diag(counts).astype(float), where=rows > 0)
    rival = probabilities.copy()
    rival[np.arange(len(label)), label] = -np.inf
    margin = probabilities[np.arange(len(label)), label] - rival.max(1)
    chosen = np.flatnonzero(sure & (likely != label))
    chosen = chosen[np.argsort(margin[chosen], kind="stable")]
    return Suspects(
        chosen.tolist(),
        margin[chosen].tolist(),
        label[chosen].tolist(),
        likely[chosen].tolist(),
        float(1 - np.trace(scaled) / counts.sum()),
    )


def features_of(thumbs: np.ndarray) -> np.ndarray:
    """(n, d): the picture at 16 x 16 and histograms of oriented gradients."""
    small = halved(thumbs)
    return np.concatenate([halved(small).reshape(len(thumbs), -1) / 64, gradients(small.mean(-1))], axis=1)


def gradients(grey: np.ndarray, *, cells: int = 8, bins: int = 8) -> np.ndarray:
    """Histograms of gradient directions per cell, each of norm 1 (Dalal and Triggs 2005, CVPR, 886-893).

    Args:
        grey: (n, rows, columns), sides divisible by `cells`.

    Returns:
        (n, cells * cells * bins).
    """
    n, rows, columns = grey.shape
    down, right = np.gradient(grey, axis=(1, 2))
    size = np.hypot(down, right)
    direction = (np.arctan2(down, right) % np.pi) * (bins / np.pi)
    direction = np.minimum(direction.astype(int), bins - 1)
    found = np.empty((n, cells, cells, bins), np.float32)
    for one in range(bins):
        there = np.where(direction == one, size, 0)
        found[..., one] = there.reshape(n, cells, rows // cells, cells, columns // cells).sum((2, 4))
    norm = np.linalg.norm(found, axis=-1, keepdims=True) + rows * columns / cells**2
    return (found / norm).reshape(n, -1)


def out_of_fold(features: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n, k) probabilities of a logistic regression that has not seen the case's patient."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probabilities = np.zeros((len(label), int(label.max()) + 1))
    for number in np.unique(fold):
        here = fold == number
        components = min(COMPONENTS, features.shape[1], int((~here).sum()) - 1)
        model = make_pipeline(
            PCA(components, svd_solver="randomized", random_state=0),
            StandardScaler(),
            LogisticRegression(C=0.1, max_iter=1000),
        )
        model.fit(features[~here], label[~here])
        columns = model.classes_
        probabilities[np.ix_(here, columns)] = model.predict_proba(features[here])
    return probabilities


# ---- against a column


@dataclass(frozen=True)
class Contradiction:
    """A column that tells the label, and the cases where it tells another.

    Attributes:
        right: Share of cases whose label the column tells.
        indices: The others, where it is at least nine tenths sure.
    """

    right: float
    indices: list[int]


SURE = 0.9
TELLS = 0.95


def against_column(texts: Sequence[str], label: np.ndarray) -> Contradiction | None:
    """Whether the column's words tell the label; None when they do not in 95 of 100 cases.

    Words are separated by `|`, `;` or `,`. Every case is asked of the others (naive Bayes on the words it has,
    Laplace-smoothed by a half).
    """
    words = [tuple(dict.fromkeys(_words(text))) for text in texts]
    known = [index for index, entry in enumerate(words) if entry]
    kinds = int(label.max()) + 1
    of_class = np.bincount(label[known], minlength=kinds).astype(float)
    counts: dict[str, Counter[int]] = {}
    for index in known:
        for word in words[index]:
            counts.setdefault(word, Counter())[int(label[index])] += 1
    if len(known) < 20 or len(counts) > len(known) / 2:
        return None
    right, against = 0, []
    for index in known:
        score = np.log(_without(of_class, label[index]) + 0.5)
        for word in words[index]:
            seen = np.array([counts[word][kind] for kind in range(kinds)], float)
            score += np.log((_without(seen, label[index]) + 0.5) / (_without(of_class, label[index]) + 1))
        share = np.exp(score - score.max())
        share /= share.sum()
        told = int(share.argmax())
        right += told == label[index]
        if told != label[index] and share[told] >= SURE:
            against.append(index)
    if right < TELLS * len(known):
        return None
    return Contradiction(right / len(known), against)


def _words(text: str) -> list[str]:
    for sign in ";,":
        text = text.replace(sign, "|")
    return [part.strip() for part in text.split("|") if part.strip()]


def _without(counts: np.ndarray, kind: int) -> np.ndarray:
    rest = counts.copy()
    rest[kind] -= 1
    return rest
