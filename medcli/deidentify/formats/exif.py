"""EXIF, XMP and IPTC in pictures: only how the picture is turned is kept; and what they tell of the patient."""

import re
import struct
from collections.abc import Iterator

from PIL import ExifTags

from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.formats.ifd import Entry, layout_of, read_directory
from medcli.errors import FormatError

_ORIENTATION = 0x0112
_INNER = (0x8769, 0x8825)  # the EXIF and the GPS directory
_ELEMENT = re.compile(
    r"<(?:\w{1,30}:)?(\w{1,60})[^<>]{0,300}>\s*(?:<rdf:\w+>\s*<rdf:li[^<>]{0,100}>)?([^<>]{2,1000})<"
)
_ATTRIBUTE = re.compile(r"\b\w+:(\w+)\s*=\s*[\"']([^\"'<>]{2,1000})[\"']")
_BY_LINES = {
    5: "title",
    80: "byline",
    85: "byline",
    90: "city",
    110: "contact",
    118: "contact",
    122: "author",
}


def orientation(block: bytes) -> int:
    """1 to 8 (TIFF tag 274); 1, the picture as it is stored, where the block does not say or is damaged."""
    try:
        entry = read_directory(block, layout_of(block).first, layout_of(block))[0].get(_ORIENTATION)
    except (FormatError, struct.error):
        return 1
    values = entry.numbers() if entry else []
    return values[0] if values and 1 <= values[0] <= 8 else 1


def only_orientation(value: int) -> bytes:
    """An EXIF block that says this and nothing else."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, _ORIENTATION, 3, 1, value, 0, 0)


def collect(block: bytes, collector: Collector) -> None:
    """Names, serial numbers and dates of an EXIF block, as far as it can be read."""
    for name, entry in _named(block):
        if entry.type in (1, 2, 7) and entry.count < 10_000:
            text = entry.text()
            collector.field(name, text)
            collector.lines(text)


def _named(block: bytes) -> Iterator[tuple[str, Entry]]:
    try:
        layout = layout_of(block)
        waiting = [layout.first]
        for at in waiting:
            entries, _ = read_directory(block, at, layout)
            for tag, entry in entries.items():
                yield ExifTags.TAGS.get(tag, ""), entry
                if tag in _INNER and len(waiting) < 4:
                    waiting += entry.numbers()[:1]
    except (FormatError, struct.error):
        return


def collect_xmp(packet: bytes, collector: Collector) -> None:
    """Every element and attribute of an XMP packet with a text, by its name."""
    text = packet[:1_000_000].decode("utf-8", "replace")
    for found in (*_ELEMENT.finditer(text), *_ATTRIBUTE.finditer(text)):
        collector.field(found[1], found[2])
        collector.lines(found[2])


def collect_iptc(block: bytes, collector: Collector) -> None:
    """By-lines and captions of IPTC records (IIM 4.2), wherever they stand in the block."""
    for found in re.finditer(rb"\x1c\x02(.)(..)", block, re.DOTALL):
        length = int.from_bytes(found[2], "big")
        text = block[found.end() : found.end() + length].decode("utf-8", "replace")
        collector.field(_BY_LINES.get(found[1][0], ""), text)
        collector.lines(text)
