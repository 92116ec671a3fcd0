"""The same picture twice: exactly, or changed a little (saved again, resized, brightened, mirrored).

Candidates come from a perceptual hash, the signs of the low frequencies of the cosine transform (Zauner 2010,
"Implementation and Benchmarking of Perceptual Image Hash Functions"), in all eight mirrored and turned
versions. Each is then verified by the correlation of the pictures' detail, at the shift where they fit best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn, irfft2, rfft2
from scipy.ndimage import gaussian_filter

HASH_SIDE = 8
NEAR_BITS = 14
"""Bits of 63 in which candidates may differ."""
ALIKE = 0.92
"""Correlation of the detail from which two pictures are called the same."""
ALIKE_COARSE = 0.94
"""The same where one of them has fewer pixels than the small picture, and so little detail."""
LARGEST_SHIFT = 4
"""Pixels of the small picture by which the two may be shifted."""
MOST_CANDIDATES = 2_000_000
"""Pairs that are verified at most, those with the nearest hashes first."""
WORTH_A_LOOK = 0.8
"""Correlation at half the size below which the full size is not tried."""
FLAT = 2.0
"""Grey levels of spread below which a picture has nothing to recognise."""
_BLOCK = 1000

TURNS = ("", "mirrored", "upside down", "turned by 180°", "transposed", "turned by 90°", "turned by 270°",
         "transposed and turned by 180°")  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two cases by their indices, first below second.

    Attributes:
        exact: Every value is the same.
        correlation: Of the detail; 1 when exact.
        turn: How the second must be turned to look like the first, "" for not at all.
    """

    first: int
    second: int
    exact: bool
    correlation: float
    turn: str = ""


def exact_groups(hashes: Sequence[str]) -> list[list[int]]:
    """Indices with the same hash, sets of two or more; "" belongs to none."""
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(hashes):
        if text:
            groups.setdefault(text, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(
    thumbs: np.ndarray, usable: np.ndarray, coarse: np.ndarray | None = None
) -> tuple[list[Pair], int]:
    """Pairs whose detail agrees, and how many candidates were left unverified for being too many.

    Args:
        thumbs: (n, side, side) grey.
        usable: (n,) bool; others are in no pair.
        coarse: (n,) bool, made from fewer pixels than it has; None: no one.
    """
    usable = usable & (thumbs.reshape(len(thumbs), -1).std(1) >= FLAT)
    index = np.flatnonzero(usable)
    if len(index) < 2:
        return [], 0
    grey = thumbs[index].astype(np.float32)
    first, second, turn, distance = _candidates(grey)
    left = max(0, len(first) - MOST_CANDIDATES)
    if left:
        nearest = np.argsort(distance, kind="stable")[:MOST_CANDIDATES]
        first, second, turn = first[nearest], second[nearest], turn[nearest]
    correlation = _verified(grey, first, second, turn)
    best: dict[tuple[int, int], Pair] = {}
    little = np.zeros(len(grey), bool) if coarse is None else coarse[index]
    bar = np.where(little[first] | little[second], ALIKE_COARSE, ALIKE)
    for place in np.flatnonzero(correlation >= bar):
        key = int(index[first[place]]), int(index[second[place]])
        pair = Pair(*key, False, float(correlation[place]), TURNS[turn[place]])
        if key not in best or best[key].correlation < pair.correlation:
            best[key] = pair
    return sorted(best.values(), key=lambda pair: (pair.first, pair.second)), left


# ---- the hash


def low_frequencies(grey: np.ndarray) -> np.ndarray:
    """(n, 8, 8) of the cosine transform, rows and columns of frequency."""
    small = grey.reshape(len(grey), grey.shape[1] // 2, 2, grey.shape[2] // 2, 2).mean((2, 4))
    return dctn(small, axes=(1, 2), norm="ortho")[:, :HASH_SIDE, :HASH_SIDE]


def turned(frequencies: np.ndarray, turn: int) -> np.ndarray:
    """The transform of the turned pictures: a mirror changes the sign of odd frequencies."""
    sign = (-1.0) ** np.arange(HASH_SIDE)
    if turn >= 4:
        frequencies = frequencies.transpose(0, 2, 1)
    if turn in (1, 3, 5, 7):
        frequencies = frequencies * sign
    if turn in (2, 3, 6, 7):
        frequencies = frequencies * sign[:, None]
    return frequencies


def turned_picture(picture: np.ndarray, turn: int) -> np.ndarray:
    """(..., rows, columns) as `turned` says: transposed, then mirrored, then upside down."""
    if turn >= 4:
        picture = np.swapaxes(picture, -1, -2)
    if turn in (1, 3, 5, 7):
        picture = picture[..., ::-1]
    if turn in (2, 3, 6, 7):
        picture = picture[..., ::-1, :]
    return picture


def hashes(frequencies: np.ndarray) -> np.ndarray:
    """uint64 (n,): which of the 63 frequencies above zero are above their median."""
    flat = frequencies.reshape(len(frequencies), -1)[:, 1:]
    bits = (flat > np.median(flat, axis=1, keepdims=True)).astype(np.uint64)
    return (bits << np.arange(63, dtype=np.uint64)).sum(1, dtype=np.uint64)


def _candidates(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    frequencies = low_frequencies(grey)
    own = hashes(frequencies)
    found = []
    for turn in range(len(TURNS)):
        other = own if turn == 0 else hashes(turned(frequencies, turn))
        size = max(1, 5_000_000 // len(own))
        for start in range(0, len(own), size):
            distance = np.bitwise_count(own[start : start + size, None] ^ other[None])
            rows, columns = np.nonzero(distance <= NEAR_BITS)
            keep = rows + start < columns
            rows, columns = rows[keep], columns[keep]
            found.append((rows + start, columns, np.full(len(rows), turn), distance[rows, columns]))
    first, second, turns, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, second, turns, distances


# ---- the verification


def detail(grey: np.ndarray) -> np.ndarray:
    """Pictures without their slow shading, of even contrast everywhere, smoothed a little, mean 0 and norm 1.

    Without the even contrast a dark frame or the edge of the body, which many pictures share, outweighs all
    that tells them apart.
    """
    grey = np.asarray(grey, np.float32)
    fine = gaussian_filter(grey, (0, 1, 1)) - gaussian_filter(grey, (0, 5, 5))
    fine /= np.sqrt(gaussian_filter(fine**2, (0, 5, 5)) + FLAT**2)
    edge = 4  # what the filters make of the edge
    window = np.zeros(fine.shape[1:], np.float32)
    window[edge:-edge, edge:-edge] = 1
    fine = fine * window
    fine -= fine.mean((1, 2), keepdims=True) * window
    norm = np.sqrt((fine**2).sum((1, 2), keepdims=True))
    return np.divide(fine, norm, out=np.zeros_like(fine), where=norm > 1e-6)


def _verified(grey: np.ndarray, first: np.ndarray, second: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Largest correlation over small shifts of every candidate; 0 for those that are far from alike."""
    fine = detail(grey)
    coarse = _coarse(fine)
    result = np.zeros(len(first), np.float32)
    straight = rfft2(coarse)
    for kind in range(len(TURNS)):
        places = np.flatnonzero(turn == kind)
        turned_coarse = straight if kind == 0 else rfft2(turned_picture(coarse, kind))
        for start in range(0, len(places), _BLOCK):
            chosen = places[start : start + _BLOCK]
            alike = _largest(straight[first[chosen]], turned_coarse[second[chosen]], LARGEST_SHIFT // 2)
            chosen = chosen[alike >= WORTH_A_LOOK]
            if len(chosen):
                other = rfft2(turned_picture(fine[second[chosen]], kind))
                result[chosen] = _largest(rfft2(fine[first[chosen]]), other, LARGEST_SHIFT)
    return result


def _largest(first: np.ndarray, second: np.ndarray, reach: int) -> np.ndarray:
    """(n,) largest correlation over shifts of up to `reach` pixels, from transforms of square pictures."""
    near = np.r_[0 : reach + 1, -reach:0]
    product = irfft2(first * second.conj(), s=(first.shape[1],) * 2)
    largest: np.ndarray = product[:, near][:, :, near].max((1, 2))
    return largest


def _coarse(fine: np.ndarray) -> np.ndarray:
    """Half the size, norm 1."""
    n, rows, columns = fine.shape
    small = fine.reshape(n, rows // 2, 2, columns // 2, 2).mean((2, 4))
    norm = np.sqrt((small**2).sum((1, 2), keepdims=True))
    return np.divide(small, norm, out=np.zeros_like(small), where=norm > 1e-6)
