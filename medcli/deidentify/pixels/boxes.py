"""Boxes (x0, y0, x1, y1) in whole pixels, half open at the far edge."""

import numpy as np

Box = tuple[int, int, int, int]


def cut(picture: np.ndarray, box: Box) -> np.ndarray:
    return picture[box[1] : box[3], box[0] : box[2]]


def grow(box: tuple[float, float, float, float], margin: float, shape: tuple[int, ...]) -> Box:
    """Larger by `margin` on each side, outwards to whole pixels, within a picture of this shape."""
    x0, y0, x1, y1 = box
    return (
        max(int(np.floor(x0 - margin)), 0),
        max(int(np.floor(y0 - margin)), 0),
        min(int(np.ceil(x1 + margin)), shape[1]),
        min(int(np.ceil(y1 + margin)), shape[0]),
    )


def shift(box: Box, dx: int, dy: int) -> Box:
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def sides(box: Box) -> tuple[int, int]:
    """Width and height."""
    return box[2] - box[0], box[3] - box[1]


def area(box: Box) -> int:
    width, height = sides(box)
    return max(width, 0) * max(height, 0)


def overlaps(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def intersection(one: Box, other: Box) -> Box:
    return (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))


def enclose(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def in_line(one: Box, other: Box) -> bool:
    """Whether two boxes of alike height stand beside each other, at most two and a half heights apart."""
    height, height2 = one[3] - one[1], other[3] - other[1]
    common = min(one[3], other[3]) - max(one[1], other[1])
    gap = max(one[0], other[0]) - min(one[2], other[2])
    low, high = sorted((height, height2))
    return common >= 0.5 * low and high <= 2 * low and gap <= 2.5 * high


def transposed(box: Box) -> Box:
    return (box[1], box[0], box[3], box[2])
