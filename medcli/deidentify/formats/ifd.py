"""The directories of TIFF, and of EXIF, which is one: header, entries and their values, all inside of the file."""

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from medcli.errors import FormatError

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_CODES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}


@dataclass(frozen=True)
class Layout:
    """What the first bytes say: byte order ("<" or ">"), offsets of 8 bytes or of 4, place of the first directory."""

    order: str
    big: bool
    first: int

    @property
    def offset_code(self) -> str:
        return "Q" if self.big else "I"


@dataclass(frozen=True)
class Entry:
    """One tag: its type, its count, and its value as the file has it."""

    type: int
    count: int
    raw: bytes
    order: str

    def numbers(self) -> list[int]:
        """Whole numbers; empty for other types."""
        code = _CODES.get(self.type)
        if code is None:
            return []
        values: list[int] = np.frombuffer(self.raw, self.order + code).tolist()
        return values

    def fraction(self) -> Fraction | None:
        """The first value of a rational."""
        if self.type != RATIONAL or self.count < 1:
            return None
        top, bottom = struct.unpack_from(self.order + "2I", self.raw)
        return Fraction(top, bottom) if bottom else None

    def text(self) -> str:
        """Text of ASCII, of bytes, of UTF-16 (Windows' tags) and of EXIF's comments with their code in front."""
        raw = self.raw
        if raw[:8] == b"UNICODE\0":
            return raw[8:].decode("utf-16-le" if self.order == "<" else "utf-16-be", "replace").strip("\0 ")
        raw = raw.removeprefix(b"ASCII\0\0\0")
        if self.type == BYTE and raw[1:2] == b"\0":
            return raw.decode("utf-16-le", "replace").strip("\0 ")
        try:
            return raw.decode("utf-8").strip("\0 ")
        except UnicodeDecodeError:
            return raw.decode("latin-1").strip("\0 ")


def layout_of(data: bytes) -> Layout:
    """Raises FormatError when this is no TIFF header."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise FormatError("It has no TIFF header.")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 42:
        return Layout(order, False, struct.unpack_from(order + "I", data, 4)[0])
    if version == 43 and len(data) >= 16 and struct.unpack_from(order + "2H", data, 4) == (8, 0):
        return Layout(order, True, struct.unpack_from(order + "Q", data, 8)[0])
    raise FormatError("It has no TIFF header.")


def read_directory(data: bytes, at: int, layout: Layout) -> tuple[dict[int, Entry], int]:
    """Tag -> entry of the directory at this place, and the place of the next one (0: none).

    Entries of unknown types, and of values outside of the file, are left out. Raises FormatError when the directory
    itself is not inside the file.
    """
    order, big = layout.order, layout.big
    head, size, inline = (8, 20, 8) if big else (2, 12, 4)
    if not 8 <= at <= len(data) - head:
        raise FormatError("A directory of tags lies outside of the file.")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    start = at + head
    if start + size * count + inline > len(data):
        raise FormatError("A directory of tags ends outside of the file.")
    entries: dict[int, Entry] = {}
    for place in range(start, start + size * count, size):
        tag, kind = struct.unpack_from(order + "2H", data, place)
        (values,) = struct.unpack_from(order + layout.offset_code, data, place + 4)
        length = _SIZES.get(kind, 0) * values
        where = place + size - inline
        if length > inline:
            (where,) = struct.unpack_from(order + layout.offset_code, data, where)
        if kind in _SIZES and where + length <= len(data):
            entries.setdefault(tag, Entry(kind, values, data[where : where + length], order))
    (following,) = struct.unpack_from(order + layout.offset_code, data, start + size * count)
    return entries, following
