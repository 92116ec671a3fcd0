"""Text found by the detecting network and believed where the reading network can read it."""

import numpy as np
from scipy import ndimage

from medcli.deidentify.pixels import networks
from medcli.deidentify.pixels.boxes import Box, cut, grow, in_line, overlaps, sides, transposed
from medcli.deidentify.pixels.drawn import Row, score_rows
from medcli.deidentify.pixels.lines import Line, detect
from medcli.deidentify.pixels.networks import Reading
from medcli.deidentify.pixels.strokes import fit

_TALLEST, _LARGE = 160, 32
_WIDEST_READ = 6
_WORTH_READING = 0.45
_READS_PER_TILE = 10
_MOST_ROWS, _LIKELY_ROW, _SURE_ROW, _ROW_SCORE = 12, 0.0, 2.0, 0.8
_SURE_SCORE, _SURE_SHAPE, _SURE_AFTER = 0.88, 3.0, 1


def find(display: np.ndarray, *, anatomy: list[Box] | None = None) -> list[Box]:
    """The boxes of the lines of text in a (row, column[, 3]) uint8 picture; `anatomy` as in `pixels.find_in`."""
    candidates = sorted(
        (line for line in detect(display) if line.height <= _TALLEST and line.length >= 6),
        key=lambda line: line.score * min(line.length / line.height, 4),
        reverse=True,
    )
    believed, doubted = _believe(display, candidates, anatomy)
    believed += _beside(believed, doubted)
    boxes = [box for line in believed for box in line.tiles or [fit(display, line.rough, line.core)]]
    return boxes + _overlooked(display, boxes)


def _overlooked(display: np.ndarray, boxes: list[Box]) -> list[Box]:
    """Rows of strokes that the network passed over, where they can be read or continue a line that was."""
    covered = np.zeros(display.shape[:2], bool)
    for box in boxes:
        cut(covered, box)[...] = True
    found: list[Box] = []
    rows = sorted(score_rows(display), key=lambda row: row.score, reverse=True)
    for row in rows[:_MOST_ROWS]:
        if row.score < _LIKELY_ROW or cut(covered, row.box).mean() > 0.3:
            continue
        line = _as_line(row, display.shape)
        if _continues(row, boxes) or _readable(display, line, False):
            found.append(fit(display, line.rough, line.core))
            cut(covered, found[-1])[...] = True
    return found


def _as_line(row: Row, shape: tuple[int, ...]) -> Line:
    return Line(row.box, grow(row.box, 0.2 * min(sides(row.box)) + 1, shape), _ROW_SCORE, 1.0)


def _continues(row: Row, boxes: list[Box]) -> bool:
    """Whether a row that is likely to be text stands in line with text."""
    box, others = (transposed(row.box), map(transposed, boxes)) if row.turned else (row.box, iter(boxes))
    return row.score >= _SURE_ROW and any(in_line(box, other) for other in others)


def _believe(
    display: np.ndarray, candidates: list[Line], anatomy: list[Box] | None
) -> tuple[list[Line], list[Line]]:
    """Lines that can be read, and the others. Where two were read, plain cases need no further reading."""
    believed: list[Line] = []
    doubted: list[Line] = []
    reads = int(_READS_PER_TILE * (1 + display.shape[0] * display.shape[1] / 2**18))
    for line in candidates:
        if len(believed) >= _SURE_AFTER and _plain(line):
            believed.append(line)
        elif line.score >= _WORTH_READING and reads > 0:
            reads -= 1
            suspect = anatomy is not None and not any(overlaps(line.core, box) for box in anatomy)
            (believed if _readable(display, line, suspect) else doubted).append(line)
        else:
            doubted.append(line)
    return believed, doubted


def _plain(line: Line) -> bool:
    return line.score >= _SURE_SCORE and line.length >= _SURE_SHAPE * line.height and line.height <= 64


def _beside(believed: list[Line], doubted: list[Line]) -> list[Line]:
    """Fragments that stand in line with what was read."""
    found: list[Line] = []
    grew = True
    while grew:
        near = [line for line in doubted if line not in found and _joins(line, believed + found)]
        found += near
        grew = bool(near)
    return found


def _joins(line: Line, others: list[Line]) -> bool:
    if line.score < 0.35:
        return False
    for other in others:
        if other.upright and in_line(line.rough, other.rough):
            return True
        if not other.upright and in_line(transposed(line.rough), transposed(other.rough)):
            return True
    return False


def _readable(display: np.ndarray, line: Line, suspect: bool) -> bool:
    for picture in _views(display, line):
        width = picture.shape[0] * _WIDEST_READ
        for start in range(0, picture.shape[1], width):
            reading = networks.read(picture[:, start : start + width])
            if (suspect and reading.confidence >= 0.5) or _convincing(reading, line, display.shape):
                return True
    return False


def _views(display: np.ndarray, line: Line) -> list[np.ndarray]:
    """Level pictures of the line, both ways up where it is turned."""
    if line.angle:
        picture = _levelled(display, line)
        return [picture, picture[::-1, ::-1]]
    picture = cut(display, line.rough)
    if line.upright:
        return [picture]
    return [np.rot90(picture, turns) for turns in (1, 3)]


def _levelled(display: np.ndarray, line: Line) -> np.ndarray:
    """The oblique line turned level."""
    x0, y0, x1, y1 = line.rough
    length, thick = max(line.extent[0], 8.0), max(line.extent[1], 6.0)
    rows, columns = np.mgrid[0 : int(thick), 0 : int(length)].astype(np.float32)
    rows, columns = rows - thick / 2, columns - length / 2
    y = (y0 + y1) / 2 + columns * np.sin(line.angle) + rows * np.cos(line.angle)
    x = (x0 + x1) / 2 + columns * np.cos(line.angle) - rows * np.sin(line.angle)
    channels = display[..., None] if display.ndim == 2 else display
    return np.stack(
        [
            ndimage.map_coordinates(channels[..., channel], (y, x), order=1, mode="nearest")
            for channel in range(channels.shape[2])
        ],
        axis=-1,
    )


def _convincing(reading: Reading, line: Line, shape: tuple[int, ...]) -> bool:
    """Whether what was read is text: long enough, sure enough, and not of the round and straight shapes of anatomy."""
    if (
        reading.characters >= 3
        and reading.telling >= 2
        and min(reading.confidence, line.score + 0.07) >= 0.97
    ):
        return True
    turned = bool(line.angle) or not line.upright
    large = line.height > max(_LARGE, 0.08 * min(shape[:2]))
    fewest, telling = (4, 2) if large or line.angle else (3, 1) if turned else (2, 1)
    if reading.characters < fewest or reading.telling < telling:
        return False
    if reading.characters == 2:
        return reading.confidence >= 0.97 and line.score >= 0.8
    least = 0.85 if reading.characters == 3 else 0.72 if reading.characters == 4 else 0.58
    least += 0.5 * max(0.0, 0.8 - line.score) + 0.05 * turned + 0.1 * bool(line.angle)
    return reading.confidence >= max(least, 0.85 * large)
