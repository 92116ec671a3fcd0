"""What the reader does where bytes are not what they should be: a second look, a note, or a refusal.

Where two readings are possible, that one is taken after which well-formed elements follow; where none is, the file
is refused.
"""

from collections.abc import Callable
from typing import NoReturn, TypeVar

from medcli.deidentify.wire.elements import (
    ITEM,
    ITEM_END,
    LONG,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Dataset,
    Element,
    dictionary_vr,
    looks_like_delimiter,
    signed_vr,
    tag_text,
)
from medcli.deidentify.wire.syntax import Buffer, Coding, Header, header_at
from medcli.errors import FormatError

_MAX_REREADINGS = 16  # of the whole buffer
_SMALL = 2**16
_SHORT_REST = 4096
_MAX_NOTES = 500_000
_Result = TypeVar("_Result")


class NeedsRepair(Exception):
    """What is read on trial is not in order."""


class NoElement(Exception):
    """What should be an element is none."""


class Damage:
    """A buffer and what was found wrong in it: `notes` in words, and the elements that were left out."""

    def __init__(self, data: Buffer, notes: list[str], dropped: list[Element]):
        self.data = data
        self.view = memoryview(data)
        self.size = len(data)
        self.notes = notes
        self.dropped = dropped
        self.on_trial = False
        self.spent = 0
        self.data_sets = 0

    def note(self, text: str) -> None:
        self.notes.append(text)
        if len(self.notes) > _MAX_NOTES:
            raise FormatError("The data set is damaged in too many places.")

    def repair(self, text: str) -> None:
        """Note a repair; on trial there are none."""
        if self.on_trial:
            raise NeedsRepair
        self.note(text)

    def broken(self, text: str) -> NoReturn:
        raise NeedsRepair if self.on_trial else FormatError(text)

    def attempt(self, read: Callable[[], _Result]) -> _Result | None:
        """The result of a reading that needs no repair; else None, and nothing is noted."""
        on_trial, notes, dropped = self.on_trial, len(self.notes), len(self.dropped)
        self.on_trial = True
        try:
            return read()
        except NeedsRepair:
            del self.notes[notes:]
            del self.dropped[dropped:]
            return None
        finally:
            self.on_trial = on_trial

    def spend(self, size: int) -> None:
        """Count bytes that are read once more, so that a file made for it cannot take forever."""
        self.spent += size
        if self.spent > _MAX_REREADINGS * (self.size + _SMALL):
            raise FormatError("The data set is damaged in too many places.")

    def delimiter(self, pos: int, end: int, coding: Coding) -> Header | None:
        """The header of an item or delimiter at `pos`, if there is one."""
        if end - pos < 8:
            return None
        group, number, length = coding.header.unpack_from(self.data, pos)
        tag = group << 16 | number
        return Header(tag, "", pos + 8, length) if tag in (ITEM, ITEM_END, SEQUENCE_END) else None

    def is_followed(self, header: Header, end: int, coding: Coding) -> bool:
        """Whether a header's value ends where its container ends or another header begins."""
        if header.length == UNDEFINED:
            following = self.delimiter(header.start, end, coding)
            return following is not None and following.tag != ITEM_END
        if header.tag & 0xFFFF == 0 and header.length != 4:
            return False  # no group length
        stop = header.start + header.length
        return stop == end or (stop < end and header_at(self.data, stop, self.size, coding) is not None)

    def odd_header(self, pos: int, end: int, coding: Coding, elements: Dataset) -> Header:
        """A header that needs a second look, in the form after which a well-formed element follows."""
        if end - pos < 8:
            raise NoElement
        group, number, length = coding.header.unpack_from(self.data, pos)
        tag = group << 16 | number
        vr = signed_vr(tag, dictionary_vr(tag), elements)
        implicit = Header(tag, vr, pos + 8, length)
        if (
            not coding.explicit
            and tag
            and not looks_like_delimiter(tag)
            and self.is_followed(implicit, end, coding)
        ):
            return implicit
        if not coding.explicit or not tag:
            raise NoElement
        code = bytes(self.data[pos + 4 : pos + 6])
        vr = LONG.get(code, vr)
        forms = [Header(tag, vr, pos + 8, coding.explicit_header.unpack_from(self.data, pos)[3])]
        if end - pos >= 12:
            long = Header(tag, vr, pos + 12, coding.length.unpack_from(self.data, pos + 8)[0])
            forms.insert(0 if code in LONG else 1, long)
        for form in [*forms, implicit]:
            if self.is_followed(form, end, coding):
                self.repair(f"{tag_text(tag)} has no valid VR or a wrong form of header")
                return form
        raise NoElement

    def after_odd(self, stop: int, end: int, coding: Coding) -> int:
        """Where the next element begins after a value of odd length: some writers pad without counting it."""
        self.note("values of odd length: padded")
        if stop >= end or header_at(self.data, stop, self.size, coding):
            return stop
        uncounted = stop + 1 == end or header_at(self.data, stop + 1, self.size, coding)
        return stop + 1 if uncounted else stop

    def is_zero(self, pos: int, end: int) -> bool:
        """Whether there are but zero bytes."""
        if any(self.view[pos : min(pos + 16, end)]):
            return False
        chunk = 2**20
        return not any(
            bytes(self.view[start : min(start + chunk, end)]).strip(b"\0") for start in range(pos, end, chunk)
        )

    def leftover(self, pos: int, end: int, highest: int, depth: int, coding: Coding) -> None:
        """Bytes that are no element: padding and what follows the data set are dropped, all else is damage."""
        where = "after the end" if depth == 0 else "at the end of an item"
        if self.is_zero(pos, end):
            self.repair(f"zero bytes {where}: dropped")
        elif end - pos < 8 or (depth == 0 and self._behind_the_end(pos, end, highest, coding)):
            self.repair(f"bytes {where} that are no element: dropped")
        else:
            last = tag_text(highest) if highest >= 0 else "the start"
            self.broken(f"What follows {last} is no element; the data set is damaged.")

    def _behind_the_end(self, pos: int, end: int, highest: int, coding: Coding) -> bool:
        """Whether what is no element stands behind a data set rather than inside of one: behind pixels or padding, or
        a short rest in which no element begins anywhere."""
        if highest >= PIXEL_DATA or self.is_zero(pos, min(pos + 8, end)):
            return True
        return end - pos <= _SHORT_REST and not any(
            header is not None and dictionary_vr(header.tag) != "UN"
            for header in (header_at(self.data, place, end, coding) for place in range(pos, end - 7))
        )

    def misplaced(self, tag: int, elements: Dataset) -> None:
        """Note an element that is not above all before it; of two with one tag the first is left out."""
        if tag in elements:
            self.note(f"{tag_text(tag)} is there twice: the last is kept")
            self.dropped.append(elements.pop(tag))
        else:
            self.note(f"{tag_text(tag)} is out of order")
