"""Bytes to elements: one pass over a data set, into sequences, also where they are not declared as such."""

from functools import partial
from typing import Any

from medcli.deidentify.wire.damage import NeedsRepair, NoElement
from medcli.deidentify.wire.elements import (
    BITS_ALLOCATED,
    ITEM,
    ITEM_END,
    LONG,
    OPAQUE,
    PIXEL_DATA,
    PIXEL_REPRESENTATION,
    SEQUENCE_END,
    SHORT,
    TEXT,
    UNDEFINED,
    VRS,
    Dataset,
    Element,
    Fragments,
    Value,
    dictionary_vr,
    is_private,
    may_be_private,
    signed_vr,
    swapped,
    tag_text,
)
from medcli.deidentify.wire.lengths import Lengths, is_doubtful
from medcli.deidentify.wire.syntax import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    ITEM_STARTS,
    Coding,
    Header,
    header_at,
    reads_as,
)
from medcli.errors import FormatError

_MAX_DEPTH = 100
_MAX_ELEMENTS = 1_000_000  # of one data set; far beyond any real one, against inflated rubbish
_MAX_DATA_SETS = 2_000_000
_VIEW_FROM = 4096  # bytes; smaller values are copied
_PLAIN = set(SHORT.values())


class Parser(Lengths):
    """Reads the data sets of one buffer."""

    def dataset(
        self, pos: int, end: int, coding: Coding, *, depth: int = 0, below: int = 0
    ) -> tuple[Dataset, int]:
        """The elements from `pos` to `end`, or to the item or delimiter before it, and where that is.

        `below`: the tag of the sequence that the data set is an item of. Where the item's length proves too
        short, elements up to this tag still belong to it, as after the sequence they would be out of order.
        """
        if depth > _MAX_DEPTH:
            raise FormatError(f"Sequences are nested more than {_MAX_DEPTH} deep.")
        self.data_sets += 1
        if self.data_sets > _MAX_DATA_SETS:
            raise FormatError(f"There are more than {_MAX_DATA_SETS} data sets.")
        elements = Dataset()
        data = self.data
        explicit, big = coding.explicit, coding.big
        read_explicit, read_implicit = coding.explicit_header.unpack_from, coding.header.unpack_from
        read_length = coding.length.unpack_from
        highest, overrun = -1, False
        last_tag, last_start = 0, pos  # of the value before
        value: Any  # a Value; bytes where it is plain
        for _ in range(_MAX_ELEMENTS):
            if pos >= end:
                break
            vr: str | None = None
            if end - pos < 8:
                pass
            elif explicit:
                group, number, code, length = read_explicit(data, pos)
                if group == 0xFFFE:
                    break
                tag, start = group << 16 | number, pos + 8
                if code in SHORT:
                    vr = SHORT[code]
                elif code in LONG and not length and end - pos >= 12:
                    vr, start, length = LONG[code], pos + 12, read_length(data, pos + 8)[0]
            else:
                group, number, length = read_implicit(data, pos)
                if group == 0xFFFE:
                    break
                tag, start = group << 16 | number, pos + 8
                if tag > highest and tag:
                    vr = dictionary_vr(tag)
                    if vr == "UN" and not may_be_private(tag):
                        vr = None
            try:
                if vr is None:
                    if self.is_zero(pos, end):
                        raise NoElement
                    if self.swallowed(last_tag, last_start, pos, end, coding) is not None:
                        self.broken(f"{tag_text(last_tag)} has a wrong length and hides elements.")
                    tag, vr, start, length = self.odd_header(pos, end, coding, elements)
                if overrun and tag > below:
                    break
                stop = start + length
                plain = vr in _PLAIN and length < _VIEW_FROM and stop <= end and not length & 1
                if plain:
                    value = bytes(data[start:stop])
                    plain = b"\0" not in value or not is_doubtful(vr, value)
                if not plain:
                    header = Header(tag, vr, start, length)
                    vr, value, stop = self.value(header, end, coding, depth, elements)
                elif big:
                    value = swapped(value, VRS[vr].number)
            except NoElement:
                self.leftover(pos, end, highest, depth, coding)
                return elements, end
            if stop > end:
                end, overrun = self.size, True
            if tag > highest:
                highest = tag
            else:
                self.misplaced(tag, elements)
            elements[tag] = Element(tag, vr, value)
            pos = stop
            last_tag, last_start = tag, stop if vr == "SQ" else start
        else:
            raise FormatError(f"A data set has more than {_MAX_ELEMENTS} elements.")
        if pos < end and not overrun and self.delimiter(pos, end, coding) is None:
            self.leftover(pos, end, highest, depth, coding)
            pos = end
        if not explicit and PIXEL_REPRESENTATION in elements:
            for element in elements.values():
                element.vr = signed_vr(element.tag, element.vr, elements)
        return elements, pos

    # ---- values that are not plain

    def value(
        self, header: Header, end: int, coding: Coding, depth: int, elements: Dataset
    ) -> tuple[str, Value, int]:
        """VR, value and end of a sequence, of opaque bytes, or of a value with an odd, open or wrong length."""
        tag, vr, start, length = header
        if length == UNDEFINED:
            return self.undefined(header, end, coding, depth)
        stop = self.fit(header, end, coding, elements)
        end = max(stop, end)
        if vr == "SQ":
            if stop > start and not self.delimiter(start, stop, coding):
                return vr, self.bare_item(tag, start, stop, coding, depth), stop
            return vr, *self.sequence(tag, start, stop, end, coding, depth)
        expected = dictionary_vr(tag)
        if stop > start and (expected == "SQ" or (expected == "UN" and vr in OPAQUE)):
            found = self.hidden_items(header, stop, end, coding, depth)
            if found is not None:
                return "SQ", *found
        if (expected == "UN" or vr in _PLAIN or vr in TEXT) and is_doubtful(vr, self.view[start:stop]):
            stop = self.end_of_doubtful(tag, vr, start, stop, end, coding)
        after = self.after_odd(stop, end, coding) if (stop - start) & 1 else stop
        if vr == "UN" and not coding.big and not is_private(tag):
            vr = expected
        value = self.bytes_of(start, stop)
        if coding.big:
            size = _pixel_size(elements) if tag == PIXEL_DATA and vr == "OW" else VRS[vr].number
            value = swapped(value, size)
        return vr, value, after

    def bytes_of(self, start: int, stop: int) -> bytes | memoryview:
        view = self.view[start:stop]
        return view if stop - start >= _VIEW_FROM else bytes(view)

    def undefined(self, header: Header, end: int, coding: Coding, depth: int) -> tuple[str, Value, int]:
        """A value of undefined length: fragments of pixel data, or else a sequence whatever its VR."""
        tag, vr, start, _ = header
        if tag == PIXEL_DATA:
            return "OB", *self.fragments(start, end, coding)
        if vr != "SQ":
            if coding.explicit:
                self.note(f"{tag_text(tag)} was written as {vr} but is a sequence")
            coding = self.item_coding(start)
        return "SQ", *self.items(tag, start, None, end, coding, depth)

    def fragments(self, pos: int, end: int, coding: Coding) -> tuple[Fragments, int]:
        items: list[bytes | memoryview] = []
        while end - pos >= 8:
            header = self.delimiter(pos, end, coding)
            if header is None and header_at(self.data, pos, end, coding):
                break
            if header is None or header.tag == ITEM_END or header.length == UNDEFINED:
                self.broken("Encapsulated pixel data have fragments of wrong lengths.")
            if header.tag == SEQUENCE_END:
                return Fragments(items), header.start
            stop = header.start + header.length
            if stop > end:
                self.repair("encapsulated pixel data are truncated: kept what is there")
                stop = end
            items.append(self.bytes_of(header.start, stop))
            pos = self.after_odd(stop, end, coding) if header.length & 1 else stop
        self.repair("encapsulated pixel data have no end: ended where they stop")
        return Fragments(items), pos if end - pos >= 8 else end

    # ---- sequences

    def sequence(
        self, tag: int, start: int, stop: int, end: int, coding: Coding, depth: int
    ) -> tuple[list[Dataset], int]:
        """The items of a sequence of defined length, and more of them if that length is plainly too short."""
        following = None if stop == end else header_at(self.data, stop, self.size, coding)
        limit = stop if stop == end or following else end
        items, pos = self.items(tag, start, stop, limit, coding, depth)
        if pos != stop:
            following = self.delimiter(pos, end, coding)
        if pos >= stop and following is not None and following.tag == ITEM:
            more, pos = self.items(tag, pos, None, end, coding, depth)
            items += more
        if pos > stop:
            self.repair(f"{tag_text(tag)} goes on after its length: all items kept")
        return items, pos

    def items(
        self, tag: int, pos: int, stop: int | None, end: int, coding: Coding, depth: int
    ) -> tuple[list[Dataset], int]:
        """The items that begin from `pos` to `stop` (None: to the delimiter), and end before `end`."""
        items: list[Dataset] = []
        last = end if stop is None else stop
        while pos < last:
            header = self.delimiter(pos, end, coding)
            if header is None:
                if end - pos < 8 or self.is_zero(pos, last):
                    self.repair(f"{tag_text(tag)} has bytes after its last item: dropped")
                    return items, last
                if stop is None and not items:
                    self.broken(f"{tag_text(tag)} of undefined length has no items.")
                self.repair(f"{tag_text(tag)} ends before its length or has no delimiter")
                return items, pos
            kind, _, pos, length = header
            if kind == SEQUENCE_END:
                return items, pos
            if kind == ITEM_END:
                self.repair(f"{tag_text(tag)} has a stray delimiter: dropped")
                continue
            item, pos = self.item(tag, pos, length, end, coding, depth)
            items.append(item)
        if stop is None:
            self.repair(f"{tag_text(tag)} has no delimiter")
        return items, pos

    def item(
        self, tag: int, pos: int, length: int, end: int, coding: Coding, depth: int
    ) -> tuple[Dataset, int]:
        """One item from behind its header on, and where the next begins."""
        stop = end
        if length != UNDEFINED:
            stop = self.fit(Header(tag, "SQ", pos, length), end, coding, Dataset())
        coding = self.own_coding(tag, pos, stop, coding)
        item, pos = self.dataset(pos, stop, coding, depth=depth + 1, below=tag)
        if length != UNDEFINED and pos == stop:
            return item, pos
        header = self.delimiter(pos, max(stop, end), coding)
        closed = header is not None and header.tag == ITEM_END
        if not closed or length != UNDEFINED:
            self.repair(f"{tag_text(tag)} has an item of wrong length or without delimiter")
        return item, header.start if closed and header else pos

    def own_coding(self, tag: int, pos: int, stop: int, coding: Coding) -> Coding:
        """The coding of an item: some are explicit in implicit surroundings, or the other way round."""
        code = bytes(self.data[pos + 4 : pos + 6])
        if (code in SHORT or code in LONG) is coding.explicit or coding.big or stop - pos < 8:
            return coding
        other = IMPLICIT if coding.explicit else EXPLICIT
        if not reads_as(self.data, pos, stop, other):
            return coding
        self.note(f"{tag_text(tag)} has items in another coding than the data set")
        return other

    # ---- sequences in disguise

    def hidden_items(
        self, header: Header, stop: int, end: int, coding: Coding, depth: int
    ) -> tuple[list[Dataset], int] | None:
        """The items inside an opaque value that is private, unknown or should be a sequence, and their end.

        On trial they are read as they stand or not at all, so that no byte is read more often than it is nested.
        """
        tag, vr, start, _ = header
        if bytes(self.data[start : start + 4]) not in ITEM_STARTS:
            if dictionary_vr(tag) != "SQ":
                return None
            return self.bare_item(tag, start, stop, coding, depth), stop
        inner = self.item_coding(start)
        found = self.attempt(lambda: self.items(tag, start, stop, stop, inner, depth))
        if found is None and self.on_trial:
            raise NeedsRepair
        if found is None:
            self.spend(stop - start)
        if found is None and stop < end and not header_at(self.data, stop, self.size, coding):
            found = self.attempt(lambda: self.items(tag, start, stop, end, inner, depth))
            self.note(f"{tag_text(tag)} has a wrong length")
        found = found or self.items(tag, start, stop, stop, inner, depth)
        if coding.explicit:
            self.note(f"{tag_text(tag)} was written as {vr} but is a sequence")
        return found

    def bare_item(self, tag: int, start: int, stop: int, coding: Coding, depth: int) -> list[Dataset]:
        """Elements that fill a sequence without an item around them, as one item."""
        if self.is_zero(start, stop):
            self.repair(f"{tag_text(tag)} is a sequence of zero bytes: dropped")
            return []
        inner = self.own_coding(tag, start, stop, coding)
        first = header_at(self.data, start, stop, inner)
        if first is None or dictionary_vr(first.tag) == "UN":
            self.broken(f"{tag_text(tag)} is a sequence without items.")
        found = self.attempt(partial(self.dataset, start, stop, inner, depth=depth + 1, below=tag))
        if found is None or found[1] != stop:
            self.broken(f"{tag_text(tag)} is a sequence without items.")
        self.note(f"{tag_text(tag)} has elements without an item: put into one")
        return [found[0]]

    def item_coding(self, start: int) -> Coding:
        """The coding of items where no sequence was declared: implicit by PS3.5 section 6.2.2."""
        return BIG if bytes(self.data[start : start + 4]) == ITEM_STARTS[1] else IMPLICIT


def _pixel_size(elements: Dataset) -> int:
    """Bytes per number of native pixel data, which beyond 16 bits are more than the words that OW stands for."""
    allocated = elements.get(BITS_ALLOCATED)
    if allocated is None or not isinstance(allocated.value, bytes):
        return 2
    return max(2, int.from_bytes(allocated.value, "little") // 8)
