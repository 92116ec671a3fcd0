"""Burned-in text in pixels: found on every frame, blanked, and all other pixels stored again as they were.

    cleaned = clean(dataset)   # None: there is no text, so nothing may be changed
    boxes = find_text(picture); without = blank(picture, boxes)

`finder`: "networks" (detection and recognition by the extra `pixels`), "drawn" (no extra needed: strokes as pens of
one value draw them) or "auto", the better one that is installed.
"""

from dataclasses import dataclass

import numpy as np
import pydicom

from medcli.deidentify.pixels import networks
from medcli.deidentify.pixels.blanking import blank as _blank
from medcli.deidentify.pixels.boxes import Box
from medcli.deidentify.pixels.display import to_display
from medcli.errors import UsageError

__all__ = ["Cleaned", "blank", "clean", "find_text", "finder_in_use"]

_FINDERS = ("auto", "networks", "drawn")


@dataclass(frozen=True)
class Cleaned:
    """What to store instead of a dataset's pixels.

    Attributes:
        dataset_changes: Other elements by tag: raw little-endian value to set, or None to remove.
        pixel_data: Native bytes, or the items of encapsulated pixel data, the basic offset table first.
        pixel_vr: OB or OW.
        transfer_syntax: The UID that now holds.
        boxes: (frame from 0, x0, y0, x1, y1), half open at the far edge, of all that was blanked.
    """

    dataset_changes: dict[int, bytes | None]
    pixel_data: bytes | list[bytes]
    pixel_vr: str
    transfer_syntax: str
    boxes: list[tuple[int, int, int, int, int]]


def clean(dataset: pydicom.Dataset, *, finder: str = "auto") -> Cleaned | None:
    """Find and blank text on every frame; None where there is none, and where the values are no picture.

    Label maps, dose grids and parametric maps are no pictures. Slide labels are blanked whole.

    Raises:
        FormatError: When the pixels cannot be decoded; the message holds no value of the file.
    """
    from medcli.deidentify.pixels.dataset import clean_dataset

    return clean_dataset(dataset, finder_in_use(finder))


def find_text(picture: np.ndarray, *, finder: str = "auto") -> list[Box]:
    """Boxes (x0, y0, x1, y1), half open, of text in a (row, column) or (row, column, 3 or 4) picture of any type."""
    return find_in(to_display(picture), finder_in_use(finder))


def blank(picture: np.ndarray, boxes: list[Box], *, indices: bool = False) -> np.ndarray:
    """A copy with each box filled with a value of the background around it; `indices`: of a palette, without order."""
    return _blank(picture, boxes, indices=indices)


def finder_in_use(finder: str = "auto") -> str:
    """Which finder a request means here.

    Raises:
        UsageError: When it is unknown or not installed.
    """
    if finder not in _FINDERS:
        raise UsageError(f"finder: one of {', '.join(_FINDERS)} was expected.")
    if finder == "auto":
        return "networks" if networks.available() else "drawn"
    if finder == "networks" and not networks.available():
        raise UsageError("finder: networks needs the extra `pixels`: pip install 'medcli[pixels]'.")
    return finder


def find_in(display: np.ndarray, finder: str, *, anatomy: list[Box] | None = None) -> list[Box]:
    """Boxes of text in a (row, column[, 3]) uint8 picture.

    `anatomy`: the only places where anatomy can be, so that text elsewhere needs less to be believed; None:
    anywhere.
    """
    if finder == "networks":
        from medcli.deidentify.pixels import ocr

        return ocr.find(display, anatomy=anatomy)
    from medcli.deidentify.pixels import drawn

    return drawn.find(display, anatomy=anatomy)
