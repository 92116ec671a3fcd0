"""YOLO text: one file per image, a line per box: class number, then x and y of the centre, width, height.

All four are fractions of the image's width and height, so the box is x0 = (x - width / 2) * columns and so
on: half-open without any offset. A line with a class number and three or more points (an outline) gives the
box around it.
"""

from pathlib import Path

import numpy as np

from medcli.errors import FormatError
from medcli.io.annotations.shapes import Annotation

TOLERANCE = 0.01
"""Fractions may leave 0..1 by so much before the file counts as written in pixels."""


def read_yolo(path: Path, names: dict[int, str]) -> Annotation:
    """Corners are fractions of columns and rows; `in_pixels` scales them. A nameless class is its number.

    Raises FormatError that names the line.
    """
    annotation = Annotation()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a text file ({type(error).__name__}).") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            kind, values = int(words[0]), np.array([float(word) for word in words[1:]])
        except ValueError:
            raise FormatError(f"{path}: line {number} is not a class number followed by numbers.") from None
        if len(values) not in (4, 5) and (len(values) < 6 or len(values) % 2):
            raise FormatError(
                f"{path}: line {number} has {len(values)} numbers after the class, not x, y, width, height."
            )
        corners = _outline(values) if len(values) >= 6 else _box(values[:4])
        if not np.isfinite(values).all() or np.abs(np.array(corners) - 0.5).max() > 0.5 + 0.5 + TOLERANCE:
            raise FormatError(f"{path}: line {number} is not in fractions of the image's size (0 to 1).")
        annotation.add(names.get(kind, str(kind)), corners)
    return annotation


def in_pixels(annotation: Annotation, size: tuple[int, int]) -> Annotation:
    """The same boxes in pixels of an image of (rows, columns)."""
    rows, columns = size
    corners = [(x0 * columns, y0 * rows, x1 * columns, y1 * rows) for x0, y0, x1, y1 in annotation.corners]
    return Annotation(annotation.image, size, annotation.names, corners, annotation.crowd)


def _box(values: np.ndarray) -> tuple[float, float, float, float]:
    x, y, width, height = values.tolist()
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _outline(values: np.ndarray) -> tuple[float, float, float, float]:
    points = values.reshape(-1, 2)
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
