"""Descriptions inside of TIFF: what they say of axes and sizes, in numbers and fixed words; labels of slides; names."""

import json
import math
import re
from xml.etree import ElementTree

from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.policy import Policy

_NUMBER = r"[-+]?\d{1,12}(?:\.\d{1,17})?(?:[eE][-+]?\d{1,3})?"
_UNITS = r"(?:\\u00B5m|[nuµμcmdk]?m|mm|micron|microns|inch|pixel|pixels|sec|s|ms|min|nanometer|um)"
_IMAGEJ = re.compile(
    rf"ImageJ=\d[\w.]{{0,8}}|(?:images|channels|slices|frames)=\d{{1,9}}|(?:hyperstack|loop)=(?:true|false)"
    rf"|mode=(?:grayscale|color|composite)|[tyz]?unit={_UNITS}|(?:spacing|finterval|fps|min|max|xorigin|yorigin|zorigin)={_NUMBER}"
)
_APERIO = re.compile(rf"\b(AppMag|MPP)\s*=\s*({_NUMBER})")
_LABEL = re.compile(
    r"(?im)^\s*(?:label|macro|overview)\b|\b(?:label|macro)[ _]?image\b|\b(?:label|macro) \d+x\d+"
)
_MACRO_SUBFILE = 9  # as Aperio marks overviews
_AXES = frozenset("TZCYXSIQRAELHVPM")
_ELEMENTS = {
    "OME": (),
    "Image": ("ID",),
    "Pixels": (
        "ID", "DimensionOrder", "Type", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "SignificantBits", "BigEndian",
        "Interleaved", "PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "PhysicalSizeXUnit", "PhysicalSizeYUnit",
        "PhysicalSizeZUnit", "TimeIncrement", "TimeIncrementUnit",
    ),
    "Channel": ("ID", "SamplesPerPixel", "Color", "EmissionWavelength", "ExcitationWavelength"),
    "TiffData": ("IFD", "PlaneCount", "FirstZ", "FirstC", "FirstT"),
    "Plane": ("TheZ", "TheC", "TheT", "DeltaT", "ExposureTime", "PositionX", "PositionY", "PositionZ"),
}  # fmt: skip
"""OME-XML: the elements that say how planes lie in the file and how large they are, with their attributes."""
_OME_VALUE = re.compile(
    rf"{_NUMBER}|true|false|(?:Image|Pixels|Channel):\d{{1,4}}(?::\d{{1,4}})?|XYZ?[CTZ]{{2,3}}|XY[ZCT]{{3}}"
    rf"|u?int(?:8|16|32)|float|double|complex|double-complex|bit|{_UNITS}|Å|pm"
)
_OME_NAMES = re.compile(
    r"\b(FirstName|LastName|MiddleName|UserName|Email|Institution|DisplayName)=\"([^\"<>]{2,200})\""
)
_MOST = 10_000_000


def is_ome(text: str) -> bool:
    return "<OME" in text[:2000] and "<!DOCTYPE" not in text and "<!ENTITY" not in text and len(text) < _MOST


# --- what the texts say -------------------------------------------------------------------------------------------


def pages_in(description: str, page_size: int) -> int:
    """How many pages, of so many samples, a description of ImageJ or tifffile speaks of; 0 or 1: of no others."""
    if description.startswith("ImageJ="):
        found = re.search(r"(?m)^images=(\d{1,9})\s*$", description)
        return int(found[1]) if found else 1
    shape = _shaped(description).get("shape", [])
    return math.prod(shape) // max(page_size, 1)


def _shaped(description: str) -> dict[str, list[int]]:
    """The JSON with which tifffile notes the shape of an array."""
    if not description.startswith('{"shape":'):
        return {}
    try:
        shape = json.loads(description).get("shape")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(shape, list) or not 0 < len(shape) < 12:
        return {}
    return {"shape": shape} if all(type(size) is int and 0 < size < 2**31 for size in shape) else {}


def is_label(description: str, subfile: int) -> bool:
    """Whether a page shows the label or the overview of a slide, on which a name may be written."""
    return subfile == _MACRO_SUBFILE or bool(not is_ome(description) and _LABEL.search(description[:2000]))


def has_labels(description: str) -> bool:
    """Whether OME-XML has such pictures among its series."""
    return is_ome(description) and bool(
        re.search(
            r"(?i)<(?:\w{1,30}:)?Image\b[^<>]{0,500}\bName=\"[^\"]{0,300}(?:label|macro|overview)",
            description,
        )
    )


def collect(description: str, collector: Collector) -> None:
    """The people that OME-XML names."""
    if is_ome(description):
        for found in _OME_NAMES.finditer(description):
            collector.field("InstitutionName" if found[1] == "Institution" else "user" + found[1], found[2])


# --- what of them is kept -----------------------------------------------------------------------------------------


def reduced(description: str, policy: Policy) -> str:
    """Axes, sizes and spacing in numbers and fixed words; "" where there are none, or where one is an identifier."""
    text = _imagej(description) or _shape(description) or _aperio(description) or _ome(description)
    numbers = re.findall(r"\d+", text)
    if policy.finder.hits(text) or any(policy.finder.mask_number(number) != number for number in numbers):
        return ""
    return text


def _imagej(description: str) -> str:
    if not description.startswith("ImageJ="):
        return ""
    lines = [line for line in description.splitlines() if _IMAGEJ.fullmatch(line)]
    return "\n".join([*lines, ""]) if lines and lines[0].startswith("ImageJ=") else ""


def _shape(description: str) -> str:
    shaped = _shaped(description)
    if not shaped:
        return ""
    axes = json.loads(description).get("axes")
    known = isinstance(axes, str) and len(axes) == len(shaped["shape"]) and _AXES.issuperset(axes)
    return json.dumps(shaped | ({"axes": axes} if known else {}))


def _aperio(description: str) -> str:
    if not description.startswith("Aperio"):
        return ""
    return "|".join(
        ("Aperio Image Library", *(f"{name} = {value}" for name, value in _APERIO.findall(description)))
    )


def _ome(description: str) -> str:
    if not is_ome(description):
        return ""
    try:
        root = ElementTree.fromstring(description.encode("utf-8"))
    except (ElementTree.ParseError, ValueError):
        return ""
    small = _small(root)
    if small is None:
        return ""
    small.set("xmlns", "http://www.openmicroscopy.org/Schemas/OME/2016-06")
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(small, encoding="unicode")


def _small(element: ElementTree.Element) -> ElementTree.Element | None:
    """The element with the attributes and children that are kept; None when it is not kept itself."""
    name = element.tag.rpartition("}")[2]
    if name not in _ELEMENTS:
        return None
    kept = {key: element.get(key, "") for key in _ELEMENTS[name]}
    small = ElementTree.Element(
        name, {key: value for key, value in kept.items() if _OME_VALUE.fullmatch(value)}
    )
    small.extend(child for child in map(_small, element) if child is not None)
    return small
