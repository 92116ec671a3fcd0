"""What a DICOM file is made of: value representations, elements, data sets, the file."""

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from pydicom import datadict


class VR(NamedTuple):
    """How values of one kind are stored (PS3.5 sections 6.2 and 7.1.2)."""

    long: bool  # in explicit VR: two reserved bytes and a length of four bytes
    number: int  # bytes per number, which big endian reverses; 0: bytes or text
    padding: bytes  # to an even length


VRS: dict[str, VR] = {
    **dict.fromkeys(
        ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM"], VR(False, 0, b" ")
    ),
    "UI": VR(False, 0, b"\0"),
    **dict.fromkeys(["AT", "SS", "US"], VR(False, 2, b"\0")),
    **dict.fromkeys(["FL", "SL", "UL"], VR(False, 4, b"\0")),
    "FD": VR(False, 8, b"\0"),
    **dict.fromkeys(["UC", "UR", "UT"], VR(True, 0, b" ")),
    **dict.fromkeys(["OB", "SQ", "UN"], VR(True, 0, b"\0")),
    "OW": VR(True, 2, b"\0"),
    **dict.fromkeys(["OF", "OL"], VR(True, 4, b"\0")),
    **dict.fromkeys(["OD", "OV", "SV", "UV"], VR(True, 8, b"\0")),
}
SHORT = {name.encode(): name for name, vr in VRS.items() if not vr.long}
LONG = {name.encode(): name for name, vr in VRS.items() if vr.long}
OPAQUE = {"UN", "OB", "OW", "OF", "OD", "OL", "OV"}
TEXT = {name for name, vr in VRS.items() if not vr.number} - OPAQUE - {"SQ"}

TRANSFER_SYNTAX = 0x00020010
PIXEL_REPRESENTATION = 0x00280103
BITS_ALLOCATED = 0x00280100
PIXEL_DATA = 0x7FE00010
TRAILING_PADDING = 0xFFFCFFFC
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF


@dataclass(slots=True, repr=False)
class Fragments:
    """Encapsulated pixel data: the basic offset table, then the fragments, all without their item headers."""

    items: list[bytes | memoryview]

    def __repr__(self) -> str:
        return f"<{len(self.items)} fragments>"


@dataclass(slots=True, repr=False)
class Element:
    """One attribute. Bytes are in little endian; a sequence is a list of data sets."""

    tag: int
    vr: str
    value: "Value"

    def __repr__(self) -> str:  # never a value: it may name a patient
        size = len(self.value.items if isinstance(self.value, Fragments) else self.value)
        return f"<{tag_text(self.tag)} {self.vr} {size}>"


class Dataset(dict[int, Element]):
    """Elements by tag, in the order of the file."""

    __slots__ = ()


Value: TypeAlias = bytes | memoryview | list[Dataset] | Fragments


@dataclass(repr=False)
class File:
    """One DICOM file. `notes` say each repair in words, without values."""

    meta: Dataset
    dataset: Dataset
    transfer_syntax: str
    notes: list[str] = field(default_factory=list)
    preamble: bytes = bytes(128)
    dropped: list[Element] = field(default_factory=list)  # double or misplaced: not written, but may identify

    def __repr__(self) -> str:
        return f"<DICOM file of {len(self.dataset)} elements>"


class _Dictionary(dict[int, str]):
    """The VR of each public attribute that was asked for; unknown ones are not kept, as there is no end to them."""

    def __missing__(self, tag: int) -> str:
        try:
            vr = datadict.dictionary_VR(tag)
        except KeyError:
            return "UN"
        if vr == "US or SS":
            _MAYBE_SIGNED.add(tag)
        vr = vr if vr in VRS else _AMBIGUOUS.get(vr, "UN")
        self[tag] = vr
        return vr


_AMBIGUOUS = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW", "US or SS": "US"}
_MAYBE_SIGNED: set[int] = set()
_DICTIONARY = _Dictionary()
_PRIVATE = 0x00010000


def dictionary_vr(tag: int) -> str:
    """The VR that an element without one has; "UN" for private and unknown attributes."""
    if not tag & 0xFFFF:
        return "UL"
    if tag & _PRIVATE:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    return _DICTIONARY[tag]


def signed_vr(tag: int, vr: str, elements: Dataset) -> str:
    """SS instead of US where that depends on Pixel Representation, and it says so."""
    if vr != "US" or dictionary_vr(tag) != "US" or tag not in _MAYBE_SIGNED:
        return vr
    representation = elements.get(PIXEL_REPRESENTATION)
    return "SS" if representation is not None and representation.value == b"\1\0" else vr


def swapped(value: bytes | memoryview, size: int) -> bytes | memoryview:
    """Numbers of `size` bytes turned from big to little endian; a rest that is no whole number stays."""
    if size not in _INTEGERS:
        return value
    whole = len(value) // size * size
    numbers = array(_INTEGERS[size], bytes(value[:whole]))
    numbers.byteswap()
    return numbers.tobytes() + bytes(value[whole:])


_INTEGERS = {2: "H", 4: "I", 8: "Q"}


def is_private(tag: int) -> bool:
    return bool(tag & _PRIVATE)


def may_be_private(tag: int) -> bool:
    """Whether a tag is private and does not look like that of an item or delimiter with a damaged group."""
    return bool(tag & _PRIVATE) and not looks_like_delimiter(tag)


def looks_like_delimiter(tag: int) -> bool:
    return tag >= 0xFFFD0000 or tag & 0xFFFF in (0xE000, 0xE00D, 0xE0DD)


def tag_text(tag: int) -> str:
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
