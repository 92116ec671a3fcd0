"""From a rough place of text to the box that holds all its strokes and little else."""

import numpy as np
from scipy import ndimage

from medcli.deidentify.pixels.boxes import (
    Box,
    area,
    cut,
    enclose,
    grow,
    intersection,
    overlaps,
    shift,
    sides,
    transposed,
)

_EIGHT = np.ones((3, 3), int)


def fit(display: np.ndarray, rough: Box, core: Box) -> Box:
    """The box of all strokes of the text at `rough`, one pixel larger for the soft edges.

    Args:
        display: (row, column[, 3]) uint8.
        rough: Where the text is, about; strokes that begin there are followed a little beyond it, and on along
            the line.
        core: What surely is text; the result holds it.
    """
    width, height = sides(rough)
    if height > 1.5 * width:
        turned = display.swapaxes(0, 1)
        return transposed(fit(turned, transposed(rough), transposed(core)))
    margin = int(np.clip(0.4 * height, 3, 24))
    window = grow((rough[0] - height, rough[1], rough[2] + height, rough[3]), margin, display.shape)
    dx, dy = -window[0], -window[1]
    rough, core = shift(rough, dx, dy), shift(core, dx, dy)
    strokes = stroke_mask(_clearest(cut(display, window), rough), rough, core)
    found = _parts(strokes, rough, core, _cut_sides(window, display.shape))
    return grow(shift(_follow(*found, rough), -dx, -dy), 1, display.shape)


def _parts(strokes: np.ndarray, rough: Box, core: Box, cut_sides: list[bool]) -> tuple[Box, list[Box]]:
    """The box of what belongs to the text, and the boxes of other whole strokes in the window."""
    labels, _ = ndimage.label(strokes, _EIGHT)
    ends = [end for end, is_cut in zip(_border(labels), cut_sides, strict=True) if is_cut]
    unbounded = set(np.unique(np.concatenate(ends)).tolist()) if ends else set()
    inner = _between(core, rough)
    own, other = [core], []
    for number, part in enumerate(ndimage.find_objects(labels), 1):
        box = (part[1].start, part[0].start, part[1].stop, part[0].stop)
        if number in unbounded:  # runs into something larger, as text over anatomy does
            if overlaps(box, inner):
                own.append(intersection(box, inner))
        elif overlaps(box, rough) and area(intersection(box, rough)) >= 0.4 * area(box):
            own.append(box)
        else:
            other.append(box)
    return enclose(own), other


def _follow(text: Box, others: list[Box], rough: Box) -> Box:
    """Take in strokes that go on along the line, as of letters that the network passed over."""
    height = rough[3] - rough[1]
    top, bottom = rough[1] - 0.15 * height, rough[3] + 0.15 * height
    likely = [
        box
        for box in others
        if box[1] >= top
        and box[3] <= bottom
        and 0.3 * height <= box[3] - box[1]
        and sides(box)[0] <= 2 * height
    ]
    grew = True
    while grew:
        near = [
            box
            for box in likely
            if max(text[0], box[0]) - min(text[2], box[2]) <= 0.5 * height and box != text
        ]
        larger = enclose([text, *near])
        grew, text = larger != text, larger
    return text


def stroke_mask(grey: np.ndarray, place: Box, core: Box) -> np.ndarray:
    """Which pixels are strokes of the text at `place`.

    Strokes are on the side of the threshold that is rare along the border of `place`. Text is drawn with one
    value, so the threshold then moves half way to the median of the strokes, past most of the anatomy.
    """
    threshold = otsu(cut(grey, place))
    bright = grey > threshold
    border = np.concatenate([row.ravel() for row in _border(cut(bright, place))])
    strokes = ~bright if border.mean() > 0.5 else bright
    drawn = cut(grey, core)[cut(strokes, core)]
    if not drawn.size:
        return strokes
    level = (threshold + float(np.median(drawn))) / 2
    return grey > level if level > threshold else grey < level


def otsu(values: np.ndarray) -> float:
    """The threshold that parts uint8 values best in two classes; values above it are the bright ones."""
    counts = np.bincount(values.ravel(), minlength=256).astype(float)
    below = np.cumsum(counts)
    mass = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (mass[-1] * below / below[-1] - mass) ** 2 / (below * above)
    spread = np.nan_to_num(spread, nan=0.0, posinf=0.0)
    return float(np.flatnonzero(spread >= spread.max() * (1 - 1e-9)).mean())


def _clearest(window: np.ndarray, text: Box) -> np.ndarray:
    """(row, column) of the channel in which the text stands out most."""
    if window.ndim == 2:
        return window
    return window[..., int(np.argmax([cut(window, text)[..., channel].std() for channel in range(3)]))]


def _border(values: np.ndarray) -> list[np.ndarray]:
    return [values[0], values[-1], values[:, 0], values[:, -1]]


def _cut_sides(window: Box, shape: tuple[int, ...]) -> list[bool]:
    """For each side, in the order of `_border`, whether the picture goes on beyond it."""
    return [window[1] > 0, window[3] < shape[0], window[0] > 0, window[2] < shape[1]]


def _between(inner: Box, outer: Box) -> Box:
    """The box that is two thirds of the way from the inner to the outer one."""
    x0, y0, x1, y1 = (round(a + (b - a) * 0.7) for a, b in zip(inner, outer, strict=True))
    return x0, y0, x1, y1
