"""Bytes to elements: one pass over a data set, with a way back wherever lengths, VRs or delimiters are wrong."""

import re
from array import array
from collections import Counter

from medcli.deidentify.wire.elements import (
    ITEM,
    ITEM_END,
    LONG,
    PIXEL_DATA,
    PIXEL_REPRESENTATION,
    SEQUENCE_END,
    SHORT,
    TRAILING_PADDING,
    UNDEFINED,
    VRS,
    Dataset,
    Element,
    Fragments,
    dictionary_vr,
    is_private,
    may_be_signed,
    tag_text,
)
from medcli.deidentify.wire.syntax import BIG, EXPLICIT, IMPLICIT, Buffer, Coding, Header, header_at, reads_as
from medcli.errors import FormatError

_MAX_DEPTH = 100
_VIEW_FROM = 4096  # bytes; smaller values are copied
_OPAQUE = {"UN", "OB", "OW", "OF", "OD", "OL", "OV"}
_PLAIN = VRS.keys() - _OPAQUE - {"SQ"}
_LITTLE_ITEM, _BIG_ITEM = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"


class _NeedsRepair(Exception):
    """What is read on trial is not in order."""


class Parser:
    """Reads data sets from one buffer. Repairs are counted in `repairs`, what is left out goes to `dropped`."""

    def __init__(self, data: Buffer):
        self.data = data
        self.view = memoryview(data)
        self.size = len(data)
        self.repairs: Counter[str] = Counter()
        self.dropped: list[Element] = []
        self.on_trial = False

    def dataset(
        self, pos: int, end: int, coding: Coding, *, depth: int = 0, below: int = 0
    ) -> tuple[Dataset, int]:
        """The elements from `pos` to `end`, or to the item or delimiter before it, and where that is.

        `below`: the tag of the sequence that the data set is an item of. Where the item's length proves too
        short, elements up to this tag still belong to it, as after the sequence they would be out of order.
        """
        if depth > _MAX_DEPTH:
            raise FormatError(f"Sequences are nested more than {_MAX_DEPTH} deep.")
        elements = Dataset()
        data, view, (_, explicit, big, *structs) = self.data, self.view, coding
        read_explicit, read_implicit, read_length = (struct.unpack_from for struct in structs)
        highest, overrun = -1, False
        while pos < end:
            header: Header | None = None
            if end - pos < 8:
                self.leftover(pos, end, highest, depth)
                return elements, end
            if explicit:
                group, number, code, length = read_explicit(data, pos)
                if group == 0xFFFE:
                    break
                tag, start = group << 16 | number, pos + 8
                if code in SHORT:
                    vr = SHORT[code]
                elif code in LONG and not length and end - pos >= 12:
                    vr, start, length = LONG[code], pos + 12, read_length(data, pos + 8)[0]
                else:
                    header = self.odd_header(pos, end, coding, elements)
            else:
                group, number, length = read_implicit(data, pos)
                if group == 0xFFFE:
                    break
                tag, start = group << 16 | number, pos + 8
                vr = dictionary_vr(tag)
                ...
        return elements, pos
