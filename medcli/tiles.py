"""Large pictures in overlapping tiles: where they lie, which boxes each holds, and how those of all become one set."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from medcli.boxes import Boxes, area
from medcli.sliding import window_starts

LEAST_AREA = 0.1
"""A true box belongs to a tile when at least this share of its area lies in it ..."""
LEAST_SIDE = 2.0
"""... and both sides there have so many pixels; it is clipped. (The rule of `medcli.datasets.box_moves`.)"""
AT_EDGE = 2.0
"""Pixels: a found box that comes so near to an inner edge of its tile is taken for a part of a larger object ..."""
COVERED = 0.5
"""... and dropped where a whole box from another tile covers this share of it ..."""
LEAST_SCORE = 0.5
"""... with at least this share of its score."""


def tile_starts(shape: Sequence[int], tile: Sequence[int], overlap: int) -> list[tuple[int, int]]:
    """Row and column where tiles begin, evenly from edge to edge, neighbours sharing at least `overlap` pixels.

    A picture smaller than the tile has one, from (0, 0) on.

    >>> tile_starts((100, 64), (64, 64), 16)
    [(0, 0), (36, 0)]
    """
    rows, columns = (
        window_starts(size, length, overlap / length) for size, length in zip(shape, tile, strict=True)
    )
    return list(product(rows, columns))


def boxes_in_tile(label: np.ndarray, start: Sequence[int], tile: Sequence[int]) -> np.ndarray:
    """Of true boxes (n, 5: corners, class) those that belong to the tile, clipped, in its pixels."""
    shift = np.array([start[1], start[0], start[1], start[0], 0], np.float32)
    moved = label.reshape(-1, 5) - shift
    whole = area(moved[:, :4])
    moved[:, :4] = np.clip(moved[:, :4], 0, np.array([tile[1], tile[0]] * 2, np.float32))
    sides = np.minimum(moved[:, 2] - moved[:, 0], moved[:, 3] - moved[:, 1])
    return moved[(area(moved[:, :4]) >= LEAST_AREA * whole) & (sides >= LEAST_SIDE)]


def merged(
    found: Sequence[Boxes],
    starts: Sequence[Sequence[int]],
    tile: Sequence[int],
    shape: Sequence[int],
    *,
    by_class: bool = True,
) -> Boxes:
    """All boxes of the tiles in pixels of the picture, without those that are only a tile's part of an object.

    Boxes that several tiles see whole are still there several times: suppression follows. An object longer than the
    tiles overlap may be seen whole by none; its parts then stay.
    """
    parts, cut, source = [], [], []
    for number, (boxes, (row, column)) in enumerate(zip(found, starts, strict=True)):
        x0, y0, x1, y1 = boxes.corners.T
        cut.append(
            ((x0 <= AT_EDGE) & (column > 0))
            | ((y0 <= AT_EDGE) & (row > 0))
            | ((x1 >= tile[1] - AT_EDGE) & (column + tile[1] < shape[1]))
            | ((y1 >= tile[0] - AT_EDGE) & (row + tile[0] < shape[0]))
        )
        parts.append(boxes.scaled(1, 1, column, row))
        source.append(np.full(len(boxes), number))
    every = Boxes(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Boxes.__dataclass_fields__)
    )
    every = every.clipped(*shape)
    at_edge, tiles = np.flatnonzero(np.concatenate(cut)), np.concatenate(source)
    whole = np.flatnonzero(~np.concatenate(cut))
    keep = np.ones(len(every), bool)
    for one in at_edge:
        others = whole[tiles[whole] != tiles[one]]
        others = others[every.scores[others] >= LEAST_SCORE * every.scores[one]]
        if by_class:
            others = others[every.classes[others] == every.classes[one]]
        keep[one] = not (_shares(every.corners[one], every.corners[others]) >= COVERED).any()
    return every.take(keep & (every.areas > 0))


def _shares(part: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) how much of the box (4,) each of the others (n, 4) covers."""
    sides = np.minimum(part[2:], others[:, 2:]) - np.maximum(part[:2], others[:, :2])
    return np.clip(sides, 0, None).prod(axis=1) / max(area(part[None])[0], 1e-9)


def nearest_tile(box: np.ndarray, starts: Sequence[Sequence[int]], tile: Sequence[int]) -> int:
    """The tile whose middle is nearest to that of the box (4,)."""
    centre = np.array([box[1] + box[3], box[0] + box[2]]) / 2
    middles = np.array(starts) + np.array(tile) / 2
    return int(np.abs(middles - centre).max(axis=1).argmin())
