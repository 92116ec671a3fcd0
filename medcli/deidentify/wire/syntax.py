"""Transfer syntaxes: how elements are coded, how to tell from the data, and how deflated data are inflated."""

import mmap
import re
import zlib
from struct import Struct
from typing import NamedTuple

from medcli.deidentify.wire.elements import (
    ITEM,
    ITEM_END,
    LONG,
    SEQUENCE_END,
    SHORT,
    UNDEFINED,
    dictionary_vr,
    may_be_private,
)
from medcli.errors import FormatError

Buffer = bytes | bytearray | memoryview | mmap.mmap

IMPLICIT_UID = "1.2.840.10008.1.2"
EXPLICIT_UID = "1.2.840.10008.1.2.1"
BIG_ENDIAN_UID = "1.2.840.10008.1.2.2"
DEFLATED_UID = "1.2.840.10008.1.2.1.99"
DEFLATED_UIDS = {DEFLATED_UID, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}  # the latter two: JPIP
IMPLICIT_UIDS = {IMPLICIT_UID, "1.2.840.113619.5.2"}  # the latter: of GE, with pixels in big endian
NATIVE_UIDS = {IMPLICIT_UID, EXPLICIT_UID, BIG_ENDIAN_UID, DEFLATED_UID, *IMPLICIT_UIDS}


class Coding(NamedTuple):
    """How the elements of a data set are coded."""

    uid: str
    explicit: bool
    big: bool
    explicit_header: Struct  # group, element, VR, length of two bytes (for long VRs: two reserved bytes)
    header: Struct  # group, element, length: of implicit VR, of items and of delimiters
    length: Struct


IMPLICIT = Coding(IMPLICIT_UID, False, False, Struct("<HH2sH"), Struct("<HHL"), Struct("<L"))
EXPLICIT = Coding(EXPLICIT_UID, True, False, Struct("<HH2sH"), Struct("<HHL"), Struct("<L"))
BIG = Coding(BIG_ENDIAN_UID, True, True, Struct(">HH2sH"), Struct(">HHL"), Struct(">L"))

ITEM_STARTS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # little and big endian


def coding_of(uid: str) -> Coding:
    """The coding that a transfer syntax asks for."""
    if uid in IMPLICIT_UIDS:
        return IMPLICIT
    return BIG if uid == BIG_ENDIAN_UID else EXPLICIT


def is_uid(text: str) -> bool:
    return re.fullmatch(r"[0-9]+(\.[0-9]+)+", text) is not None


class Header(NamedTuple):
    tag: int
    vr: str  # empty for items and delimiters
    start: int  # of the value
    length: int  # UNDEFINED is one


def header_at(data: Buffer, pos: int, end: int, coding: Coding) -> Header | None:
    """The header at `pos` if it is a well-formed one of a value that ends by `end`, else None."""
    if end - pos < 8:
        return None
    group, number, length = coding.header.unpack_from(data, pos)
    tag, vr, start = group << 16 | number, "", pos + 8
    if group == 0xFFFE:
        known = tag == ITEM or (tag in (ITEM_END, SEQUENCE_END) and length == 0)
    elif coding.explicit:
        code = bytes(data[pos + 4 : pos + 6])
        vr = SHORT.get(code) or LONG.get(code, "")
        known = bool(vr) and not (tag == 0 and length == 0)
        if code in SHORT:
            length = coding.explicit_header.unpack_from(data, pos)[3]
        elif known and end - pos >= 12:
            start, length = pos + 12, coding.length.unpack_from(data, pos + 8)[0]
        else:
            known = False
    else:
        known = tag > 8 and (length == UNDEFINED or start + length <= end)
        vr = dictionary_vr(tag) if known else "UN"
        known = known and (vr != "UN" or may_be_private(tag))
    known = known and (number > 0 or length == 4)  # a group length
    fits = length == UNDEFINED or start + length <= end
    return Header(tag, vr, start, length) if known and fits else None


def reads_as(data: Buffer, pos: int, end: int, coding: Coding, *, count: int = 4, above: int = -1) -> bool:
    """Whether up to `count` elements in ascending order above a tag follow one another from `pos`."""
    for index in range(count):
        if pos == end:
            return True
        header = header_at(data, pos, end, coding)
        if header is None or header.tag <= above:
            return False
        if not header.vr:
            return index > 0
        if header.length == UNDEFINED:
            following = header_at(data, header.start, end, coding)
            return header.start == end or (following is not None and following.tag in (ITEM, SEQUENCE_END))
        above, pos = header.tag, header.start + header.length
    return True


def detect(data: Buffer, pos: int, end: int, claimed: Coding | None) -> Coding | None:
    """The coding that the first elements show, or else the claimed one.

    A data set begins with small groups, which are large when read in the wrong byte order. And a VR where implicit
    VR has a length is no accident: explicit VR goes first.
    """
    if pos == end:
        return claimed or EXPLICIT
    fitting = [coding for coding in (EXPLICIT, BIG, IMPLICIT) if reads_as(data, pos, end, coding)]
    if fitting:
        return min(fitting, key=lambda coding: coding.header.unpack_from(data, pos)[0])
    return claimed


_FREE_SIZE = 256 * 2**20
_LARGEST = 2 * 2**30
_LARGEST_RATIO = 100


def inflate(data: Buffer) -> tuple[bytes, bool]:
    """Inflate a raw deflate stream (or one in a zlib envelope); whether it came to its end.

    Raises:
        FormatError: it is none, or it grows beyond all measure.
    """
    view = memoryview(data)
    limit = min(_LARGEST, max(_FREE_SIZE, _LARGEST_RATIO * len(view)))
    for window in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        stream = zlib.decompressobj(window)
        try:
            inflated = stream.decompress(view, limit)
        except zlib.error:
            continue
        if len(inflated) >= limit:
            raise FormatError("The deflated data set inflates beyond all measure.")
        return inflated, stream.eof
    raise FormatError("The deflated data set cannot be inflated.")


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = stream.compress(data) + stream.flush()
    return deflated + b"\0" * (len(deflated) % 2)
