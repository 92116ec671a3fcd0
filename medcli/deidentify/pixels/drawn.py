"""Text found by how it is drawn: strokes of one value and hard edges, alike in height, on one line.

Needs no network. A row of strokes is described by a few numbers, and a logistic regression tells text from anatomy;
its weights were fitted by `benchmarks/burned_in.py` on made-up text over real images.
"""

from dataclasses import dataclass

import numpy as np

from medcli.deidentify.pixels.boxes import Box, grow, overlaps, transposed
from medcli.deidentify.pixels.glyphs import Glyphs, relief, rows_of, strokes
from medcli.deidentify.pixels.resampling import resize
from medcli.deidentify.pixels.strokes import fit

_THRESHOLDS = (18, 60)
_SMALL = 288
_SURE, _SURE_TURNED, _SUSPECT = 3.0, 5.0, 0.0


@dataclass(frozen=True)
class Row:
    """A row of strokes: its box, the log odds that it is text, and whether it runs down the picture."""

    box: Box
    score: float
    turned: bool


def find(display: np.ndarray, *, anatomy: list[Box] | None = None) -> list[Box]:
    """The boxes of the lines of text in a (row, column[, 3]) uint8 picture; `anatomy` as in `pixels.find_in`."""
    boxes = []
    for row in score_rows(display):
        suspect = anatomy is not None and not any(overlaps(row.box, box) for box in anatomy)
        if row.score >= (_SUSPECT if suspect else _SURE_TURNED if row.turned else _SURE):
            boxes.append(fit(display, grow(row.box, 2, display.shape), row.box))
    return _largest(boxes)


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


def _largest(boxes: list[Box]) -> list[Box]:
    """Without boxes that lie within another."""
    ordered = sorted(set(boxes), key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
    kept: list[Box] = []
    for box in ordered:
        if not any(o[0] <= box[0] and o[1] <= box[1] and o[2] >= box[2] and o[3] >= box[3] for o in kept):
            kept.append(box)
    return kept


def describe(row: Glyphs, *, turned: bool, scale: int) -> np.ndarray:
    """The numbers that a row is judged by; heights and gaps are measured in its median height."""
    height = float(np.median(row.height))
    x0, y0, x1, y1 = row.box
    letters = np.maximum(1, row.width / (0.65 * row.height))
    gaps = row.x0[1:] - np.maximum.accumulate(row.x1)[:-1]
    thickness = float(np.median(row.thickness))
    return np.array(
        [
            np.log(len(row)),
            np.log(letters.sum()),
            row.height.std() / height,
            min(row.y1.std(), row.y0.std()) / height,
            row.level.std() / max(float(np.median(row.contrast)), 1.0),
            row.unevenness.mean(),
            row.core.mean(),
            thickness,
            row.thickness.std() / thickness,
            (row.area / (row.width * row.height)).mean(),
            gaps.std() / height,
            np.median(gaps) / height,
            np.log(np.median(row.contrast)),
            np.log(height),
            row.area.sum() / ((x1 - x0) * (y1 - y0)),
            row.thickness.mean() / height,
            (y1 - y0) / height,
            float(turned),
            float(scale > 1),
        ]
    )


def _possible(row: Glyphs, numbers: np.ndarray, *, turned: bool) -> bool:
    """Not the bars and stripes of test patterns, and enough strokes where they stand above each other."""
    fill, slender, tall = numbers[9], numbers[15], numbers[16]
    return len(row) >= 3 + turned and bool(fill < 0.9 and slender > 0.04 and tall < 2.2)


def score(numbers: np.ndarray) -> float:
    """Log odds that a row with these numbers is text."""
    scaled = (numbers - _MEAN) / _SPREAD
    return float(_CONSTANT + scaled @ _WEIGHTS + scaled[:-2] ** 2 @ _SQUARES)


_CONSTANT = -0.3027
_MEAN = np.array(
    [
        1.62,
        2.014,
        0.2007,
        0.1304,
        0.0724,
        0.08051,
        0.6216,
        1.604,
        0.1342,
        0.5399,
        0.2386,
        0.138,
        4.644,
        2.432,
        0.3365,
        0.1428,
        1.472,
        0.2342,
        0.359,
    ]
)
_SPREAD = np.array(
    [
        0.4923,
        0.5175,
        0.1206,
        0.1074,
        0.06219,
        0.03321,
        0.2344,
        0.6259,
        0.09019,
        0.1315,
        0.2468,
        0.4295,
        0.6468,
        0.4726,
        0.1325,
        0.04657,
        0.3406,
        0.4235,
        0.4797,
    ]
)
_WEIGHTS = np.array(
    [
        2.533,
        -0.09612,
        0.003857,
        -0.9844,
        -1.078,
        -1.243,
        0.8055,
        -0.1928,
        0.06101,
        1.294,
        -0.07809,
        0.5092,
        1.635,
        0.4371,
        2.001,
        -1.085,
        0.04699,
        -1.726,
        0.776,
    ]
)
_SQUARES = np.array(
    [
        -0.1824,
        -0.1126,
        0.1683,
        0.2217,
        0.2756,
        0.14,
        0.1857,
        0.2158,
        0.07194,
        -0.144,
        0.0143,
        0.03445,
        0.2511,
        -0.2465,
        0.06593,
        0.02288,
        -0.2117,
    ]
)
