"""Text found by how it is drawn: strokes of one value and hard edges, alike in height, on one line.

Needs no network. A row of strokes is described by a few numbers, and a logistic regression tells text from anatomy;
its weights were fitted by `benchmarks/burned_in.py` on made-up text over real images.
"""

from dataclasses import dataclass

import numpy as np

from medcli.deidentify.pixels.boxes import (
    Box,
    area,
    grow,
    in_line,
    intersection,
    overlaps,
    transposed,
)
from medcli.deidentify.pixels.glyphs import Glyphs, relief, rows_of, strokes
from medcli.deidentify.pixels.resampling import resize
from medcli.deidentify.pixels.strokes import fit

_THRESHOLDS = (18, 60)
_SMALL = 288
_SURE, _SURE_TURNED, _SUSPECT, _NEAR = 3.0, 5.0, 0.0, -1.0


@dataclass(frozen=True)
class Row:
    """A row of strokes: its box, the log odds that it is text, and whether it runs down the picture."""

    box: Box
    score: float
    turned: bool


def find(display: np.ndarray, *, anatomy: list[Box] | None = None) -> list[Box]:
    """The boxes of the lines of text in a (row, column[, 3]) uint8 picture; `anatomy` as in `pixels.find_in`."""
    rows = score_rows(display)
    sure = [row for row in rows if row.score >= _needed(row, anatomy)]
    near = [row for row in rows if row.score >= _NEAR and _joins(row, sure)]
    return [fit(display, grow(row.box, 2, display.shape), row.box) for row in _best(sure + near)]


def _needed(row: Row, anatomy: list[Box] | None) -> float:
    if anatomy is not None and not any(overlaps(row.box, box) for box in anatomy):
        return _SUSPECT
    return _SURE_TURNED if row.turned else _SURE


def _joins(row: Row, others: list[Row]) -> bool:
    if row.turned:
        return any(o.turned and in_line(transposed(row.box), transposed(o.box)) for o in others)
    return any(not o.turned and in_line(row.box, o.box) for o in others)


def score_rows(display: np.ndarray) -> list[Row]:
    """Every row of strokes, level or upright, that could be text."""
    grey = display if display.ndim == 2 else display[..., 1]
    scale = 2 if max(grey.shape) <= _SMALL else 1
    if scale > 1:
        grey = resize(grey, (grey.shape[0] * scale, grey.shape[1] * scale)).round().astype(np.uint8)
    rows = []
    for raised in relief(grey):
        for threshold in _THRESHOLDS:
            found = strokes(grey, raised, threshold)
            for turned in (False, True):
                for row in rows_of(found.turned() if turned else found):
                    numbers = describe(row, turned=turned, scale=scale)
                    if _possible(row, numbers, turned=turned):
                        rows.append(Row(_unscaled(row.box, turned, scale), score(numbers), turned))
    return rows


def _unscaled(box: Box, turned: bool, scale: int) -> Box:
    x0, y0, x1, y1 = transposed(box) if turned else box
    return x0 // scale, y0 // scale, -(-x1 // scale), -(-y1 // scale)


def _best(rows: list[Row]) -> list[Row]:
    """The likeliest rows, without those that lie mostly in a likelier one."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: row.score, reverse=True):
        if not any(_mostly_in(row.box, other.box) for other in kept):
            kept.append(row)
    return kept


def _mostly_in(box: Box, other: Box) -> bool:
    return overlaps(box, other) and area(intersection(box, other)) >= 0.75 * area(box)


def describe(row: Glyphs, *, turned: bool, scale: int) -> dict[str, float]:
    """The numbers that a row is judged by; heights and gaps are measured in its median height."""
    height = float(np.median(row.height))
    contrast = float(np.median(row.contrast))
    thickness = float(np.median(row.thickness))
    letters = np.maximum(1, row.width / (0.65 * row.height))
    gaps = row.x0[1:] - np.maximum.accumulate(row.x1)[:-1]
    x0, y0, x1, y1 = row.box
    numbers = {
        "strokes, log": np.log(len(row)),
        "letters, log": np.log(letters.sum()),
        "heights differ": row.height.std() / height,
        "line is wavy": min(row.y1.std(), row.y0.std()) / height,
        "greys differ": row.level.std() / max(contrast, 1),
        "uneven": row.unevenness.mean(),
        "hard edges": row.core.mean(),
        "thickness": thickness,
        "thicknesses differ": row.thickness.std() / thickness,
        "strokes fill their boxes": (row.area / (row.width * row.height)).mean(),
        "gaps differ": gaps.std() / height,
        "gap": np.median(gaps) / height,
        "contrast, log": np.log(contrast),
        "height, log": np.log(height),
        "ink": row.area.sum() / ((x1 - x0) * (y1 - y0)),
        "thickness by height": row.thickness.mean() / height,
        "height of the row": (y1 - y0) / height,
        "turned": turned,
        "enlarged": scale > 1,
    }
    return {name: float(number) for name, number in numbers.items()}


def _possible(row: Glyphs, numbers: dict[str, float], *, turned: bool) -> bool:
    """Not the bars and stripes of test patterns; few strokes only on a straight line, and not above each other."""
    stripes = numbers["strokes fill their boxes"] >= 0.9 or numbers["thickness by height"] <= 0.04
    enough = len(row) >= 4 or (not turned and numbers["line is wavy"] <= 0.15)
    return enough and not stripes and numbers["height of the row"] < 2.2


def score(numbers: dict[str, float]) -> float:
    """Log odds that a row with these numbers is text."""
    total = _CONSTANT
    for name, (mean, spread, weight, weight_of_square) in _TABLE.items():
        scaled = (numbers[name] - mean) / spread
        total += weight * scaled + weight_of_square * scaled**2
    return total


_CONSTANT = -0.3027
_TABLE = {  # mean and spread of each number that `describe` gives, its weight and that of its square
    "strokes, log": (1.62, 0.4923, 2.533, -0.1824),
    "letters, log": (2.014, 0.5175, -0.09612, -0.1126),
    "heights differ": (0.2007, 0.1206, 0.003857, 0.1683),
    "line is wavy": (0.1304, 0.1074, -0.9844, 0.2217),
    "greys differ": (0.0724, 0.06219, -1.078, 0.2756),
    "uneven": (0.08051, 0.03321, -1.243, 0.14),
    "hard edges": (0.6216, 0.2344, 0.8055, 0.1857),
    "thickness": (1.604, 0.6259, -0.1928, 0.2158),
    "thicknesses differ": (0.1342, 0.09019, 0.06101, 0.07194),
    "strokes fill their boxes": (0.5399, 0.1315, 1.294, -0.144),
    "gaps differ": (0.2386, 0.2468, -0.07809, 0.0143),
    "gap": (0.138, 0.4295, 0.5092, 0.03445),
    "contrast, log": (4.644, 0.6468, 1.635, 0.2511),
    "height, log": (2.432, 0.4726, 0.4371, -0.2465),
    "ink": (0.3365, 0.1325, 2.001, 0.06593),
    "thickness by height": (0.1428, 0.04657, -1.085, 0.02288),
    "height of the row": (1.472, 0.3406, 0.04699, -0.2117),
    "turned": (0.2342, 0.4235, -1.726, 0),
    "enlarged": (0.359, 0.4797, 0.776, 0),
}
