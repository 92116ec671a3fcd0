"""Can a tiny model tell the answer from what should not know it: the border, the corners, the file?

A linear model (ridge regression on the class, which for two classes is Fisher's discriminant) is fitted on four
fifths of the patients and asked about the rest. It is refitted on shuffled answers to see what chance gives;
being linear in the answers, all shuffles are fitted at once.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from medcli.audit.look import Look
from medcli.metrics.bootstrap import intervals
from medcli.metrics.classification import auroc

FOLDS = 5
RIDGE = 0.2
"""Weight of the penalty, as a share of the number of training cases (features have spread 1)."""
FEWEST = 5
"""Patients that every class needs."""


@dataclass(frozen=True)
class Probe:
    """Attributes:
    auroc: Out of fold; of more than two classes the mean over them, each against the rest.
    low, high: 95 % interval by resampling patients.
    chance: The range that holds 95 % of the models on shuffled answers.
    p: By those shuffles.
    """

    auroc: float
    low: float
    high: float
    chance: tuple[float, float]
    p: float


# ---- what the model sees


def stacked(looks: Sequence[Look]) -> np.ndarray:
    """(n, side, side, channels) small pictures, grey ones among colours repeated."""
    most = max(look.thumb.shape[-1] for look in looks)
    return np.stack([np.repeat(look.thumb, most // look.thumb.shape[-1], axis=-1) for look in looks])


def border(thumbs: np.ndarray) -> np.ndarray:
    """(n, features) of (n, 64, 64, channels): the outer sixteenth on every side, coarsely."""
    small = halved(thumbs)
    ring = np.ones(small.shape[1:3], bool)
    ring[2:-2, 2:-2] = False
    return small[:, ring].reshape(len(small), -1)


def corners(thumbs: np.ndarray) -> np.ndarray:
    """The four corners, an eighth of each side, coarsely."""
    small = halved(thumbs)
    near = np.zeros(small.shape[1], bool)
    near[:4] = near[-4:] = True
    return small[:, near][:, :, near].reshape(len(small), -1)


def whole(thumbs: np.ndarray) -> np.ndarray:
    """The whole picture, 16 x 16."""
    return halved(halved(thumbs)).reshape(len(thumbs), -1)


def halved(thumbs: np.ndarray) -> np.ndarray:
    n, rows, columns, channels = thumbs.shape
    return thumbs.reshape(n, rows // 2, 2, columns // 2, 2, channels).astype(np.float32).mean((2, 4))


def file_facts(looks: Sequence[Look]) -> np.ndarray:
    """Size, shape, depth, channels, JPEG quality, kind of file."""
    names = sorted({name for look in looks for name in look.facts})
    return np.array([[look.facts.get(name, 0.0) for name in names] for look in looks])


def brightness(looks: Sequence[Look]) -> np.ndarray:
    return np.array([look.brightness for look in looks])


def one_hot(codes: np.ndarray) -> np.ndarray:
    return (codes[:, None] == np.arange(codes.max() + 1)).astype(float)


# ---- the model


def folds_of(label: np.ndarray, patients: Sequence[str], seed: int = 0) -> np.ndarray | None:
    """(n,) fold of every case, patients kept together; None when a class has too few patients."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    cluster = np.unique(np.asarray(patients, str), return_inverse=True)[1]
    if len(np.unique(label)) < 2:
        return None
    if min(len(np.unique(cluster[label == kind])) for kind in np.unique(label)) < FEWEST:
        return None
    fold = np.empty(len(label), int)
    single = len(np.unique(cluster)) == len(cluster)  # then the plain splitter does the same, much faster
    splitter = (StratifiedKFold if single else StratifiedGroupKFold)(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, chosen) in enumerate(splitter.split(label[:, None], label, cluster)):
            fold[chosen] = number
    return fold


def probe(
    features: np.ndarray,
    label: np.ndarray,
    patients: Sequence[str],
    shuffles: np.ndarray,
    fold: np.ndarray,
) -> Probe | None:
    """How well the features tell the label; None when they are all the same.

    Args:
        features: (n, d).
        label: (n,) codes.
        shuffles: From `association.permutations`.
        fold: From `folds_of`.
    """
    features = np.asarray(features, np.float64)
    features = features[:, features.std(0) > 1e-9]
    if not features.shape[1]:
        return None
    kinds = np.unique(label)
    kinds = kinds[1:] if len(kinds) == 2 else kinds
    orders = np.concatenate([np.arange(len(label))[None], shuffles])
    areas, own = [], []
    for kind in kinds:
        answers = (label == kind).astype(float)[orders].T  # (n, 1 + shuffles)
        scores = _out_of_fold(features, answers, fold)
        areas.append(_areas(answers > 0, scores))
        own.append((answers[:, 0] > 0, scores[:, 0]))
    mean = np.mean(areas, 0)

    def resampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"auroc": np.mean([auroc(truth, score, weights) for truth, score in own], 0)}

    low, high = intervals(resampled, patients, resamples=500)["auroc"]
    drawn = mean[1:]
    p = (1 + int((drawn >= mean[0] - 1e-12).sum())) / (1 + len(drawn))
    chance = np.nanquantile(drawn, [0.025, 0.975])
    return Probe(float(mean[0]), low, high, (float(chance[0]), float(chance[1])), p)


def _out_of_fold(features: np.ndarray, answers: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Scores (n, m) for answers (n, m), as ranks within the fold, since folds have different means."""
    scores = np.empty(answers.shape)
    for number in np.unique(fold):
        here = fold == number
        known, asked = _scaled(features[~here], features[here])
        centred = answers[~here] - answers[~here].mean(0)
        if known.shape[1] <= known.shape[0]:
            gram = known.T @ known + RIDGE * len(known) * np.eye(known.shape[1])
            found = asked @ np.linalg.solve(gram, known.T @ centred)
        else:
            gram = known @ known.T + RIDGE * len(known) * np.eye(len(known))
            found = asked @ (known.T @ np.linalg.solve(gram, centred))
        scores[here] = (rankdata(found, axis=0) - 0.5) / here.sum()
    return scores


def _scaled(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = known.mean(0), known.std(0)
    kept = spread > 1e-9
    return (known[:, kept] - mean[kept]) / spread[kept], (asked[:, kept] - mean[kept]) / spread[kept]


def _areas(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC of every column, from ranks (Mann-Whitney)."""
    ranks = rankdata(scores, axis=0)
    m = positive.sum(0)
    n = len(positive) - m
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((ranks * positive).sum(0) - m * (m + 1) / 2) / (m * n)
