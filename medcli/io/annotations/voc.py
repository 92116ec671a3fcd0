"""Pascal VOC XML: one file per image with `object/bndbox` corners.

VOC counts pixels from 1 and its far corner belongs to the box, so a box over a whole image of 640 columns is
written xmin = 1, xmax = 640. Inside that is x0 = 0, x1 = 640: one is taken from the near corner, none from
the far one (the devkit of Everingham et al.; Detectron2 and torchvision convert alike). A box whose far
corner equals the near one would be one pixel wide by that rule; labelling tools write such boxes when the
mouse slips, so they count as having no area.
"""

from pathlib import Path
from xml.etree import ElementTree

from medcli.errors import FormatError
from medcli.io.annotations.shapes import Annotation

LARGEST_BYTES = 64 * 2**20


def read_voc(path: Path) -> Annotation:
    """Objects marked `difficult` count as crowd: they may be found but are not asked for.

    Raises FormatError for a broken file, one without `annotation`, a box without numbers, or entity
    declarations (VOC has none; they can blow up in memory).
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_BYTES else b"<!ENTITY"
        if b"<!ENTITY" in content:
            raise FormatError(f"{path}: too large or with entity declarations, which VOC files do not have.")
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise FormatError(f"{path}: broken XML ({error}); write it again.") from None
    if root.tag != "annotation":
        raise FormatError(
            f"{path}: expected the root element 'annotation' of Pascal VOC, found '{root.tag}'."
        )
    annotation = Annotation(image=(root.findtext("filename") or "").strip(), size=_size(root))
    for number, element in enumerate(root.iter("object"), start=1):
        try:
            x0, y0, x1, y1 = (
                float(element.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
        except ValueError:
            raise FormatError(
                f"{path}: object {number} has no bndbox with four numbers; correct or remove it."
            ) from None
        near = (x0, y0) if x1 <= x0 or y1 <= y0 else (x0 - 1, y0 - 1)
        name = (element.findtext("name") or "").strip()
        annotation.add(name, (*near, x1, y1), crowd=element.findtext("difficult", "0").strip() == "1")
    return annotation


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """(rows, columns); None where it is missing or zero, as some tools write."""
    try:
        rows, columns = int(root.findtext("size/height", "0")), int(root.findtext("size/width", "0"))
    except ValueError:
        return None
    return (rows, columns) if rows > 0 and columns > 0 else None
