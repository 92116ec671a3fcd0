"""What to do about lengths that are wrong, as then a value runs on over the elements that follow it."""

import re
from collections.abc import Iterator
from functools import partial

from medcli.deidentify.wire.damage import Damage, NeedsRepair, NoElement
from medcli.deidentify.wire.elements import (
    LONG,
    OPAQUE,
    PIXEL_DATA,
    SHORT,
    TEXT,
    VRS,
    Dataset,
    dictionary_vr,
    is_private,
    tag_text,
)
from medcli.deidentify.wire.syntax import ITEM_STARTS, Coding, Header, header_at, reads_as

_FEW = 24  # bytes of numbers, or of unknown kind, that are not worth a search for elements
_MANY = 1024  # bytes of numbers, or of unknown kind, among which an element would be an accident
_CANDIDATE = 256  # what a look at one place costs, in bytes read again
_SEARCHED = 2**22  # bytes of an overlong value that are searched for elements
_VR_CODES = re.compile(b"(?=(" + b"|".join([*SHORT, *LONG]) + b"))")
_IMPLICIT_HEADERS = re.compile(rb"(?=(?!\x00\x00)[\s\S][\x00-\x7f][\s\S]{2}(?:[\s\S]{3}\x00|\xff{4}))")
_AFTER_PIXELS = re.compile(b"(?=[\xfa\xfc]\xff[\xfa\xfc]\xff|\xff[\xfa\xfc]\xff[\xfa\xfc])")


class Lengths(Damage):
    """Finds where a value really ends."""

    def dataset(self, pos: int, end: int, coding: Coding) -> tuple[Dataset, int]:
        """The elements from `pos` on, and where they end."""
        raise NotImplementedError

    def fit(self, header: Header, end: int, coding: Coding, elements: Dataset) -> int:
        """Where a value really ends, also one that runs past the end of its item or file."""
        tag, vr, start, length = header
        stop = start + length
        if stop <= end:
            return stop
        if vr != "SQ" and not _is_expected(tag, elements):
            raise NoElement
        following = None if vr == "SQ" else self.swallowed(tag, start, end, end, coding)
        if following is not None:
            return self.cut(tag, vr, start, following, "held the elements that follow it: cut")
        if end == self.size:
            if vr in TEXT and is_doubtful(vr, self.view[start:end]):
                self.broken(f"{tag_text(tag)} runs past the end of the file.")
            self.repair(f"{tag_text(tag)} is truncated: kept what is there")
            return end
        if header_at(self.data, end, self.size, coding):
            return self.cut(tag, vr, start, end, "ran past the end of its sequence: cut")
        if stop > self.size:
            self.broken(f"{tag_text(tag)} runs past the end of the file.")
        self.repair(f"{tag_text(tag)} ran past the end of its sequence, which was too short")
        return stop

    def end_of_doubtful(self, tag: int, vr: str, start: int, stop: int, end: int, coding: Coding) -> int:
        """Where a value really ends whose bytes may belong to elements that it swallowed."""
        if bytes(self.data[start : start + 4]) in ITEM_STARTS:
            self.broken(f"{tag_text(tag)} has items but is no sequence.")
        following = self.swallowed(tag, start, stop, end, coding)
        if following is None:
            return stop
        return self.cut(tag, vr, start, following, "held the elements that follow it: cut")

    def cut(self, tag: int, vr: str, start: int, stop: int, repair: str) -> int:
        """The new end of an overlong value, if what is left is such a value and not stray bytes."""
        whole = vr not in OPAQUE and (stop - start) % (VRS[vr].number or 1) == 0
        if vr != "SQ" and (not whole or is_doubtful(vr, self.view[start:stop])):
            self.broken(f"{tag_text(tag)} has a wrong length; the data set is damaged.")
        self.repair(f"{tag_text(tag)} {repair}")
        return stop

    def swallowed(self, tag: int, start: int, stop: int, end: int, coding: Coding) -> int | None:
        """Where the elements begin that an overlong value swallowed; None if there are none up to `stop`.

        From there on, everything up to `end` must be in order. Where only the beginning is, the file is refused.
        """
        for pos in self.candidates(tag, start, stop, coding):
            self.spend(_CANDIDATE)
            if not reads_as(self.data, pos, end, coding, above=tag):
                continue
            if self.on_trial:
                raise NeedsRepair
            self.spend(end - pos)
            if self.attempt(partial(self.dataset, pos, end, coding)) is not None:
                return pos
            self.broken(f"{tag_text(tag)} has a wrong length and hides elements.")
        return None

    def candidates(self, tag: int, start: int, stop: int, coding: Coding) -> Iterator[int]:
        """Places where an element could begin."""
        if tag >= PIXEL_DATA:
            return (found.start() for found in _AFTER_PIXELS.finditer(self.view, start, stop))
        stop = min(stop, start + _SEARCHED)
        if coding.explicit:
            return (found.start() - 4 for found in _VR_CODES.finditer(self.view, start + 4, stop))
        return (found.start() for found in _IMPLICIT_HEADERS.finditer(self.view, start, stop))


def _is_expected(tag: int, elements: Dataset) -> bool:
    """Whether a tag is known and in order, and not what stray bytes look like."""
    if (elements and tag <= max(elements)) or not tag & 0xFFFF:
        return False
    if is_private(tag) and tag & 0xFFFF > 0xFF:
        return (tag & 0xFFFF0000) | (tag >> 8 & 0xFF) in elements
    return dictionary_vr(tag) != "UN"


def is_doubtful(vr: str, value: bytes | memoryview) -> bool:
    """Whether a value could hide elements: text with zero bytes inside, several numbers, bytes of unknown kind."""
    if vr in TEXT:
        return b"\0" in bytes(value).rstrip(b"\0 ")
    return _FEW < len(value) < _MANY
