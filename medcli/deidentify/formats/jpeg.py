"""JPEG: tables and scans are kept byte for byte, the header is written anew, all that applications added goes."""

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from medcli.deidentify.formats import exif, icc
from medcli.deidentify.formats.common import MAX_BYTES, Cleaned
from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.policy import Policy
from medcli.errors import FormatError

_SOI, _EOI, _SOS, _DQT, _DHT, _DAC, _DRI, _DNL, _COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xCC, 0xDD, 0xDC, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, _DAC}
_APP0, _APP1, _APP2, _APP13, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
_EXIF, _XMP, _MORE_XMP = b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _IPTC, _ADOBE = b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"Adobe"
_MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_NAMES = (
    (_APP0, b"JFIF\0", "JFIF"), (_APP0, b"JFXX\0", "JFIF extension"), (_APP1, _EXIF, "Exif"), (_APP1, _XMP, "XMP"),
    (_APP1, _MORE_XMP, "XMP"), (_APP2, _ICC, "ICC profile"), (_APP2, b"MPF\0", "MPF"), (_APP13, _IPTC, "IPTC"),
    (_APP14, _ADOBE, "Adobe"),
)  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """A marker with its content; `scan`: the entropy-coded data that follow it."""

    marker: int
    data: bytes
    scan: bytes = b""

    @property
    def name(self) -> str:
        if self.marker == _COM:
            return "comment"
        known = [
            name for marker, start, name in _NAMES if marker == self.marker and self.data.startswith(start)
        ]
        return f"APP{self.marker - _APP0}" + (f" {known[0]}" if known else "")

    @property
    def is_added(self) -> bool:
        """Whether it is no part of the coding."""
        return self.marker == _COM or _APP0 <= self.marker <= _APP15

    def packed(self) -> bytes:
        head = struct.pack(">2BH", 0xFF, self.marker, len(self.data) + 2)
        return b"".join((head, self.data, self.scan))


def fits(head: bytes, name: str) -> bool:
    return head.startswith(b"\xff\xd8\xff")


def read(content: bytes) -> tuple[list[Segment], int]:
    """All segments between SOI and EOI, and how many bytes follow. Raises FormatError for damage."""
    if content[:2] != b"\xff\xd8":
        raise FormatError("It has no JPEG header.")
    segments: list[Segment] = []
    at = 2
    while at + 2 <= len(content):
        if content[at] != 0xFF:
            raise FormatError("A marker was expected between its segments, something else was found.")
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _EOI:
            return segments, len(content) - at - 2
        if at + 4 > len(content):
            break
        (length,) = struct.unpack_from(">H", content, at + 2)
        start, at = at + 4, at + 2 + length
        if length < 2 or at > len(content):
            break
        segment = Segment(marker, content[start:at])
        _check(segment)
        if marker == _SOS:
            found = _MARKER_IN_SCAN.search(content, at)
            if found is None:
                break
            segment = Segment(marker, segment.data, content[at : found.start()])
            at = found.start()
        segments.append(segment)
    raise FormatError("It ends before the marker EOI.")


def _check(segment: Segment) -> None:
    """A part of the coding has the length that its content asks for, so that nothing hides behind it."""
    marker, data = segment.marker, segment.data
    if segment.is_added:
        return
    if marker in _FRAMES:
        right = len(data) > 6 and len(data) == 6 + 3 * data[5] and data[3:5] != b"\0\0"
    elif marker == _SOS:
        right = len(data) > 3 and len(data) == 4 + 2 * data[0]
    elif marker == _DQT:
        right = _tables_end(data, lambda at: 129 if data[at] >> 4 else 65)
    elif marker == _DHT:
        right = _tables_end(data, lambda at: 17 + sum(data[at + 1 : at + 17]))
    else:
        right = {_DRI: len(data) == 2, _DNL: len(data) == 2, _DAC: len(data) in range(2, 17, 2)}.get(
            marker, False
        )
    if not right:
        raise FormatError("A segment of its coding is damaged or not known.")


def _tables_end(data: bytes, length_at: Callable[[int], int]) -> bool:
    at = 0
    while at < len(data):
        at += length_at(at)
    return at == len(data) > 0


# --- collecting ---------------------------------------------------------------------------------------------------


def collect(content: bytes, collector: Collector) -> None:
    for segment in read(content)[0]:
        name, data = segment.name, segment.data
        if name == "APP1 Exif":
            exif.collect(data[6:], collector)
        elif name == "APP1 XMP":
            exif.collect_xmp(data, collector)
        elif name == "APP13 IPTC":
            exif.collect_iptc(data, collector)
        elif name == "comment":
            collector.lines(data.decode("utf-8", "replace"))


# --- cleaning -----------------------------------------------------------------------------------------------------


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    segments, trailing = read(content)
    if not any(segment.marker == _SOS for segment in segments):
        raise FormatError("It has no picture.")
    kept, actions, notes = _cleaned(segments)
    if trailing:
        actions["bytes after EOI"] = "removed"
    new = _packed(kept)
    if not pixels:
        return Cleaned(new, actions, notes)
    as_png = _without_text(new, _turned(segments))
    if as_png is None:
        return Cleaned(new, actions, notes)
    if any(segment.name == "APP2 ICC profile" for segment in segments):
        notes.append("a colour profile was removed")
    return Cleaned(as_png, actions | {"file": "rewritten as PNG", "pixels": "text blanked"}, notes, ".png")


def without_additions(stream: bytes) -> bytes:
    """A JPEG stream inside of another file (whole, or without its tables), without what applications added.

    The stream itself where there was nothing to remove.
    """
    segments, trailing = read(stream)
    kept, actions, _ = _cleaned([segment for segment in segments if segment.name != "APP1 Exif"])
    if len(kept) == len(segments) and not actions and not trailing:
        return stream
    return _packed(kept)


def _packed(segments: list[Segment]) -> bytes:
    return b"".join((b"\xff\xd8", *(segment.packed() for segment in segments), b"\xff\xd9"))


def _cleaned(segments: list[Segment]) -> tuple[list[Segment], dict[str, str], list[str]]:
    added: list[Segment] = []
    actions: dict[str, str] = {}
    notes: list[str] = []
    names = {segment.name for segment in segments if segment.is_added}
    for segment in segments:
        name = segment.name
        if name == "APP0 JFIF" and not any(s.marker == _APP0 for s in added) and len(segment.data) >= 14:
            added.append(Segment(_APP0, segment.data[:12] + b"\0\0"))
            actions |= {} if len(segment.data) == 14 else {"APP0 JFIF": "thumbnail removed"}
        elif name == "APP14 Adobe" and len(segment.data) >= 12 and not any(s.name == name for s in added):
            added.append(Segment(_APP14, _ADOBE + b"\0\x64\0\0\0\0" + segment.data[11:12]))
        elif segment.is_added:
            actions[name] = "removed"
    turned = _turned(segments)
    if turned != 1:
        place = sum(segment.marker == _APP0 for segment in added)
        added.insert(place, Segment(_APP1, b"Exif\0\0" + exif.only_orientation(turned)))
        actions["APP1 Exif"] = "reduced to the orientation"
    if "APP2 ICC profile" in names:
        profile = _profile(segments)
        added += profile
        actions["APP2 ICC profile"] = "texts removed" if profile else "removed"
        notes += [] if profile else ["a colour profile that cannot be read was removed"]
    return added + [segment for segment in segments if not segment.is_added], actions, notes


def _turned(segments: list[Segment]) -> int:
    block = next((segment.data[6:] for segment in segments if segment.name == "APP1 Exif"), b"")
    return exif.orientation(block)


def _profile(segments: list[Segment]) -> list[Segment]:
    """The colour profile without texts, in as many segments as it needs; empty when it cannot be read."""
    profile = icc.without_texts(_profile_of(segments))
    if profile is None:
        return []
    pieces = [profile[at : at + 65_000] for at in range(0, len(profile), 65_000)]
    if len(pieces) > 255:
        return []
    return [
        Segment(_APP2, _ICC + bytes((number, len(pieces))) + piece) for number, piece in enumerate(pieces, 1)
    ]


def _profile_of(segments: list[Segment]) -> bytes:
    pieces = [segment.data[12:] for segment in segments if segment.name == "APP2 ICC profile"]
    return b"".join(piece[2:] for piece in sorted(pieces, key=lambda piece: piece[:1]))


def _without_text(content: bytes, turned: int) -> bytes | None:
    """A PNG of the picture with its text blanked; None when there is no text."""
    from medcli.deidentify.formats.pictures import blanked
    from medcli.deidentify.formats.png import packed_picture

    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height * 4 > MAX_BYTES:
                raise FormatError("The picture is larger than 4 GiB.")
            mode = picture.mode
            samples = np.asarray(picture if mode in ("L", "RGB") else picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError("It cannot be decoded, so it cannot be searched for burned-in text.") from error
    new = blanked(samples)
    if new is not None and mode not in ("L", "RGB"):
        raise FormatError(
            "Text is burned into it, and in its colours (CMYK) it cannot be stored without loss."
        )
    return None if new is None else packed_picture(new, turned=turned)


def parts(content: bytes) -> Iterator[bytes]:
    """What is spread over several segments, put together; and thumbnails' comments stand in the bytes as they are."""
    segments, _ = read(content)
    yield _profile_of(segments)
    yield b"".join(segment.data[75:] for segment in segments if segment.data.startswith(_MORE_XMP))
