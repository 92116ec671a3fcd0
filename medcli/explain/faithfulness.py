"""Tests of whether a map shows what the network uses: deletion and insertion, randomised weights, pointing.

Deletion and insertion (Petsiuk et al. 2018, "RISE", section 4.1): evidence is taken away, or brought to the
baseline, the places that the map calls most important first. A good map makes the probability fall fast and rise
fast. Here this is done by cells, a grid over the image, and a map is compared with itself moved to wrong places:
rolled by random steps and mirrored, so that only the place differs, not the texture.

Randomised weights (Adebayo et al. 2018, "Sanity Checks for Saliency Maps"): a map that stays alike when the
network has lost what it learned shows the image, not the network.

Pointing game (Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop"): does the strongest place lie
within the truth? It tells whether network and map together find the object, not whether the map is faithful.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medcli.preprocessing.geometry import resize

CELLS = {2: 20, 3: 10}
"""Cells along an axis, by the number of axes."""
FRACTIONS = (0.0, 0.03, 0.1, 0.25, 0.5, 1.0)
"""Shares of the cells that are deleted or inserted; small ones are dense, as what counts is often small."""

Probabilities = Callable[[np.ndarray], np.ndarray]
"""(n, spatial, channel) to (n,) in 0..1."""


# ---- deletion and insertion


@dataclass(frozen=True, eq=False)
class Curves:
    """Attributes:
    deletion, insertion: Probability at every one of `FRACTIONS`.
    deletion_auc, insertion_auc: Areas below them, 0..1; a faithful map has a small one and a large one.
    gain: insertion_auc - deletion_auc.
    random: Gains of the misplaced maps.
    centre: Gain of a map that points to the middle of the image.
    spread: Largest minus smallest probability on any of these curves: what there was to win.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_auc: float
    insertion_auc: float
    gain: float
    random: np.ndarray
    centre: float
    spread: float

    @property
    def p(self) -> float:
        """How often a misplaced map would do as well (the map itself counted in, so at least 1 / (n + 1))."""
        return float((1 + (self.random >= self.gain).sum()) / (1 + len(self.random)))


def deletion_insertion(
    probabilities: Probabilities,
    image: np.ndarray,
    baseline: np.ndarray,
    heat: np.ndarray,
    *,
    random_maps: int = 19,
    seed: int = 0,
) -> Curves:
    """Curves of a map, and the gains of misplaced ones and of a centred Gaussian.

    Args:
        image, baseline: (spatial, channel) float32.
        heat: (spatial) float, larger is more important; equal values are put in random order.
    """
    random = np.random.default_rng(seed)
    cells = in_cells(heat)
    maps = [cells, centred(cells.shape), *(misplaced(cells, random) for _ in range(random_maps))]
    first, last = (float(value) for value in probabilities(np.stack([image, baseline])))
    curves = [_curves(probabilities, image, baseline, _ranks(one, random), first, last) for one in maps]
    areas = [(area(deletion), area(insertion)) for deletion, insertion in curves]
    gains = np.array([inserted - deleted for deleted, inserted in areas])
    return Curves(
        deletion=curves[0][0],
        insertion=curves[0][1],
        deletion_auc=areas[0][0],
        insertion_auc=areas[0][1],
        gain=float(gains[0]),
        random=gains[2:],
        centre=float(gains[1]),
        spread=float(np.ptp(np.array(curves))),
    )


def area(values: np.ndarray) -> float:
    """Below the curve over `FRACTIONS`, by trapezoids.

    >>> area([1.0] * 6), area([1 - share for share in FRACTIONS])
    (1.0, 0.5)
    """
    return float(np.trapezoid(values, FRACTIONS))


def in_cells(heat: np.ndarray) -> np.ndarray:
    """Means over the cells, float32."""
    shape = [min(side, CELLS[heat.ndim]) for side in heat.shape]
    return resize(np.asarray(heat, np.float32)[..., None], shape)[..., 0]


def misplaced(cells: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The map rolled by random steps along every axis, and mirrored along some."""
    axes = tuple(range(cells.ndim))
    flipped = np.flip(cells, tuple(axis for axis in axes if random.random() < 0.5))
    return np.roll(flipped, [int(random.integers(side)) for side in cells.shape], axes)


def centred(shape: Sequence[int]) -> np.ndarray:
    """A Gaussian in the middle, a quarter of every side wide."""
    grids = np.meshgrid(*[(np.arange(side) + 0.5) / side - 0.5 for side in shape], indexing="ij")
    return np.exp(-sum(grid**2 for grid in grids) / (2 * 0.25**2)).astype(np.float32)


def _ranks(cells: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """0 for the most important cell, counted on."""
    order = np.lexsort((random.random(cells.size), -cells.ravel()))
    ranks = np.empty(cells.size, int)
    ranks[order] = np.arange(cells.size)
    return ranks.reshape(cells.shape)


def _curves(probabilities, image, baseline, ranks, first: float, last: float):
    """Deletion and insertion, (fractions,) each; both ends are known."""
    places = tuple(
        np.arange(side) * number // side for side, number in zip(image.shape, ranks.shape, strict=False)
    )
    voxels = ranks[np.ix_(*places)][..., None]
    chosen = [voxels < round(share * ranks.size) for share in FRACTIONS[1:-1]]
    inner = [
        probabilities(np.stack([np.where(part, inside, outside) for part in chosen]))
        for inside, outside in ((baseline, image), (image, baseline))
    ]
    return np.array([first, *inner[0], last]), np.array([last, *inner[1], first])


# ---- randomised weights


def similarity(heat: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Spearman's rank correlation and structural similarity (Wang et al. 2004) of two maps, by cells.

    A map that is the same everywhere is like no other: 0, 0.
    """
    from scipy.stats import spearmanr
    from skimage.metrics import structural_similarity

    a, b = (_unit(in_cells(one)) for one in (heat, other))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0, 0.0
    correlation = float(spearmanr(a.ravel(), b.ravel()).statistic)
    side = min(7, min(a.shape) - 1 + min(a.shape) % 2)
    if side < 3:
        return correlation, float("nan")
    return correlation, float(structural_similarity(a, b, win_size=side, data_range=1.0))


def _unit(cells: np.ndarray) -> np.ndarray:
    low, high = float(cells.min()), float(cells.max())
    return (cells - low) / (high - low) if high > low else np.zeros_like(cells)


# ---- pointing game


@dataclass(frozen=True)
class Pointing:
    """Attributes:
    hit: The strongest place lies within the truth.
    inside: Share of the positive evidence within the truth.
    chance: Share of the places that are true: how often a random place would hit.
    """

    hit: bool
    inside: float
    chance: float


def pointing(heat: np.ndarray, truth: np.ndarray, covered: np.ndarray | None = None) -> Pointing | None:
    """None when the truth or the map is empty.

    Args:
        heat: (spatial) float, 0 or less where nothing speaks for the answer.
        truth: (spatial) bool.
        covered: (spatial) bool, where the map says something; None: everywhere.
    """
    covered = np.ones(heat.shape, bool) if covered is None else covered
    positive = np.where(covered, np.maximum(heat, 0), 0)
    if not (truth & covered).any() or not positive.any():
        return None
    best = np.unravel_index(int(positive.argmax()), heat.shape)
    return Pointing(
        hit=bool(truth[best]),
        inside=float(positive[truth].sum(dtype=np.float64) / positive.sum(dtype=np.float64)),
        chance=float(truth[covered].mean()),
    )
