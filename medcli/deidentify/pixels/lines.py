"""Lines of text where the detecting network sees them: their places, angles and scores."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medcli.deidentify.pixels import networks
from medcli.deidentify.pixels.boxes import Box, grow, shift, sides
from medcli.deidentify.pixels.resampling import resize

_SEEN = 0.3
_SMALL, _LARGE = 288, 1024
_FEWEST_PIXELS = 10
_UNCLIP = (
    1.6  # the network is trained on lines shrunk by this share of area over perimeter (DB, arXiv:1911.08947)
)
_STEEP, _SLIM, _SPARSE = np.deg2rad(8), 3.0, 0.62


@dataclass(frozen=True)
class Line:
    """A place that may hold a line of text.

    Attributes:
        core: What the network marked.
        rough: About the whole line.
        score: Mean of the network's marks, 0 to 1.
        fill: Share of the core's box that is marked.
        angle: Of the line against the nearest axis in radians, where it is clearly oblique; else 0.
        extent: Length and thickness of an oblique line.
        tiles: Boxes that cover an oblique line more closely than its one box.
    """

    core: Box
    rough: Box
    score: float
    fill: float
    angle: float = 0.0
    extent: tuple[float, float] = (0.0, 0.0)
    tiles: tuple[Box, ...] = ()

    @property
    def height(self) -> float:
        return self.extent[1] if self.angle else min(sides(self.rough))

    @property
    def length(self) -> float:
        return self.extent[0] if self.angle else max(sides(self.rough))

    @property
    def upright(self) -> bool:
        """Whether it runs along the rows."""
        width, height = sides(self.rough)
        return height <= 1.5 * width


def detect(display: np.ndarray) -> list[Line]:
    """Every place where the network sees text at all, in no order; display is (row, column[, 3]) uint8."""
    area = _busy(display)
    if area is None:
        return []
    x0, y0, x1, y1 = area
    part = display[y0:y1, x0:x1]
    lines = _at_scale(part, 2.0 if max(part.shape[:2]) <= _SMALL else 1.0)
    if max(part.shape[:2]) > _LARGE:
        lines += _at_scale(part, 0.5)
    return [_moved(line, x0, y0) for line in lines]


def _busy(display: np.ndarray) -> Box | None:
    """What is left without constant rows and columns at the edges, a little larger; None for a constant picture."""
    flat = display if display.ndim == 2 else display.reshape(display.shape[0], -1)
    rows = np.flatnonzero(np.ptp(flat, axis=1))
    across = np.ptp(display, axis=0)
    columns = np.flatnonzero(across if across.ndim == 1 else across.any(1))
    if not len(rows) and not len(columns):
        return None
    rows = rows if len(rows) else np.array([0, display.shape[0] - 1])
    columns = columns if len(columns) else np.array([0, display.shape[1] - 1])
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return grow(box, 16, display.shape)


def _at_scale(display: np.ndarray, scale: float) -> list[Line]:
    rows, columns = display.shape[:2]
    if scale != 1:
        shape = (round(rows * scale), round(columns * scale))
        seen = networks.likelihood(resize(display, shape).round().astype(np.uint8))
    else:
        seen = networks.likelihood(display)
    labels, _ = ndimage.label(seen > _SEEN)
    lines = []
    for number, part in enumerate(ndimage.find_objects(labels), 1):
        marked = labels[part] == number
        if marked.sum() >= _FEWEST_PIXELS:
            lines.append(_line(marked, part, float(seen[part][marked].mean()), scale, display.shape))
    return lines


def _line(
    marked: np.ndarray, part: tuple[slice, slice], score: float, scale: float, shape: tuple[int, ...]
) -> Line:
    """What one connected mark of the network stands for, in pixels of the picture before it was scaled."""
    left, top = part[1].start, part[0].start
    rows, columns = marked.shape
    fill = float(marked.mean())
    angle = _angle(marked) if fill < _SPARSE and marked.sum() > 60 else 0.0
    (length, thickness), pieces = _oblique(marked, angle) if angle else ((columns, rows), [])
    spread = _UNCLIP * float(marked.sum()) / (2 * (length + thickness))

    def scaled(box: tuple[float, ...], margin: float) -> Box:
        x0, y0, x1, y1 = ((side + start) / scale for side, start in zip(box, (left, top) * 2, strict=True))
        return grow((x0, y0, x1, y1), margin / scale, shape)

    whole = (0, 0, columns, rows)
    tiles = tuple(scaled(piece, spread) for piece in pieces)
    extent = ((length + 2 * spread) / scale, (thickness + 2 * spread) / scale)
    return Line(scaled(whole, 0), scaled(whole, spread), score, fill, angle, extent, tiles)


def _angle(marked: np.ndarray) -> float:
    """Of the long axis against the rows, radians, in a picture with rows downwards; 0 where there is none."""
    y, x = np.nonzero(marked)
    values, vectors = np.linalg.eigh(np.cov(x, y))
    if values[1] < _SLIM**2 * max(values[0], 1e-6):
        return 0.0
    angle = float(np.arctan(vectors[1, 1] / vectors[0, 1])) if vectors[0, 1] else np.pi / 2
    return angle if _STEEP < abs(angle) < np.pi / 2 - _STEEP else 0.0


def _oblique(marked: np.ndarray, angle: float) -> tuple[tuple[float, float], list[Box]]:
    """How long and thick an oblique line is, and boxes that follow it, in pixels of `marked`."""
    y, x = np.nonzero(marked)
    along = x * np.cos(angle) + y * np.sin(angle)
    thickness = float(np.ptp(y * np.cos(angle) - x * np.sin(angle))) + 1
    steps = ((along - along.min()) / max(thickness / 2, 2.0)).astype(int)
    pieces = []
    for step in np.unique(steps):
        column, row = x[steps == step], y[steps == step]
        pieces.append((int(column.min()), int(row.min()), int(column.max()) + 1, int(row.max()) + 1))
    return (float(np.ptp(along)) + 1, thickness), pieces


def _moved(line: Line, dx: int, dy: int) -> Line:
    return Line(
        shift(line.core, dx, dy),
        shift(line.rough, dx, dy),
        line.score,
        line.fill,
        line.angle,
        line.extent,
        tuple(shift(tile, dx, dy) for tile in line.tiles),
    )
