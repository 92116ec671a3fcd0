"""What the annotation parsers give, and how it becomes `Boxes`: checked, with every fault said."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medcli.boxes import Boxes
from medcli.errors import FormatError


@dataclass
class Annotation:
    """The boxes of one image as an annotation file gives them, in pixels and half-open at the far edge.

    Attributes:
        image: File name or path of the image, as written; "" when the format does not say.
        size: (rows, columns) as written; None when the format does not say.
        names: Class name of each box.
        corners: x0, y0, x1, y1 of each box.
        crowd: Marked as crowd (COCO), difficult (VOC) or the like.
    """

    image: str = ""
    size: tuple[int, int] | None = None
    names: list[str] = field(default_factory=list)
    corners: list[tuple[float, float, float, float]] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)

    def add(self, name: str, corners: tuple[float, float, float, float], crowd: bool = False) -> None:
        self.names.append(name)
        self.corners.append(corners)
        self.crowd.append(crowd)


def to_boxes(
    annotation: Annotation, classes: list[str], size: tuple[int, int] | None
) -> tuple[Boxes, list[str]]:
    """The usable boxes, clipped to the image, and a sentence on each that is not.

    Left out are boxes with numbers that are not finite, without area, wholly outside the image (`size` is
    rows, columns; None: not checked) or of a class that is not among `classes`.
    """
    corners = np.asarray(annotation.corners, np.float64).reshape(-1, 4)
    keep, faults = [], []
    for number, (name, box) in enumerate(zip(annotation.names, corners, strict=True)):
        fault = _fault(name, box, classes, size)
        if fault:
            faults.append(f"box {number + 1}: {fault}; this box is left out.")
        else:
            keep.append(number)
    boxes = Boxes.of(
        corners[keep],
        [classes.index(annotation.names[number]) for number in keep],
        crowd=[annotation.crowd[number] for number in keep],
    )
    return (boxes.clipped(*size) if size else boxes), faults


def _fault(name: str, box: np.ndarray, classes: list[str], size: tuple[int, int] | None) -> str:
    x0, y0, x1, y1 = box
    if not np.isfinite(box).all():
        return "its corners are not finite numbers"
    if x1 <= x0 or y1 <= y0:
        return f"it has no area ({_numbers(box)} as x0, y0, x1, y1)"
    if size and (x1 <= 0 or y1 <= 0 or x0 >= size[1] or y0 >= size[0]):
        return (
            f"it lies outside the image of {size[1]} x {size[0]} pixels ({_numbers(box)} as x0, y0, x1, y1)"
        )
    if name not in classes:
        return f"its class '{name}' is not one of {', '.join(classes)}"
    return ""


def _numbers(box: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in box)


def image_size(path: Path) -> tuple[int, int]:
    """(rows, columns) of a picture: from the file's header where that tells, else the picture is read.

    A photograph's EXIF orientation is not applied here; annotation tools disagree about it.

    Raises:
        FormatError: No reader knows the file, or it is a volume.
    """
    import PIL.Image

    try:
        with PIL.Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        pass
    try:
        import pydicom

        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Rows), int(header.Columns)
    except Exception:  # pydicom raises many kinds on damaged files
        pass
    from medcli.io.readers import read_image

    shape = read_image(path).array.shape
    if len(shape) != 3:
        raise FormatError(f"{path}: a picture was expected, a volume of shape {shape[:-1]} was found.")
    return shape[0], shape[1]
