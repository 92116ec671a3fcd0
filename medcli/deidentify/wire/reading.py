"""A file's frame: preamble, file meta information, transfer syntax, and in it the data set."""

from collections import Counter

from medcli.deidentify.wire.elements import (
    ITEM,
    PIXEL_DATA,
    TRAILING_PADDING,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Dataset,
    Element,
    File,
    Fragments,
    tag_text,
)
from medcli.deidentify.wire.parsing import Parser
from medcli.deidentify.wire.syntax import (
    BIG,
    DEFLATED_UIDS,
    EXPLICIT,
    IMPLICIT,
    NATIVE_UIDS,
    Buffer,
    Coding,
    coding_of,
    detect,
    header_at,
    inflate,
    is_uid,
)
from medcli.errors import FormatError

_FIRST_GROUPS = (0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028)  # that a file can begin with


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 256 bytes or so of a file are those of a DICOM file, with or without preamble."""
    return head[128:132] == b"DICM" or head[:4] == b"DICM" or _begins(head, 0) or _begins(head, 128)


def _begins(head: bytes, pos: int) -> bool:
    """Whether elements begin at `pos`: of a group that files begin with, and two in a row if the bytes suffice."""
    for coding in (EXPLICIT, IMPLICIT, BIG):
        header = header_at(head, pos, len(head) + 2**16, coding) if len(head) - pos >= 12 else None
        if header and header.tag >> 16 in _FIRST_GROUPS:
            following = header.start + header.length
            if following + 12 > len(head):
                return coding.explicit
            return header_at(head, following, 2**33, coding) is not None
    return False


def read(data: Buffer) -> File:
    """Read a DICOM file from bytes; large values are views of `data`, which must stay open if it is a map.

    Raises:
        FormatError: this is no DICOM file, or it is damaged beyond repair.
    """
    try:
        return _read(data)
    except RecursionError:
        raise FormatError("Sequences are nested too deep.") from None


def _read(data: Buffer) -> File:
    notes: list[str] = []
    dropped: list[Element] = []
    start = _start(data)
    parser = Parser(data, notes, dropped)
    meta, pos = _read_meta(parser, start)
    claimed = _uid(meta)
    if claimed in DEFLATED_UIDS:
        inflated = _inflated(data, pos, notes)
        if inflated is not None:
            parser, pos = Parser(inflated, notes, dropped), 0
    coding = detect(parser.data, pos, parser.size, coding_of(claimed) if claimed else None)
    if coding is None or (not start and not meta and not _begins(bytes(data[:4096]), 0)):
        raise FormatError("This is no DICOM file, or its data set is damaged from the start.")
    dataset = _read_dataset(parser, pos, coding)
    stray = Dataset((tag, dataset.pop(tag)) for tag in [tag for tag in dataset if tag >> 16 == 2])
    notes += [f"{tag_text(tag)} is in the data set: dropped" for tag in stray]
    dropped += stray.values()
    return File(
        meta=meta,
        dataset=dataset,
        transfer_syntax=_transfer_syntax(
            claimed or _uid(stray), coding, dataset, notes, parser.data is not data
        ),
        notes=[text if n == 1 else f"{text} ({n} times)" for text, n in Counter(notes).items()],
        preamble=bytes(data[:128]) if start in (128, 132) else bytes(128),
        dropped=dropped,
    )


def _start(data: Buffer) -> int:
    """Where the first element begins."""
    if data[128:132] == b"DICM":
        return 132
    if data[:4] == b"DICM":
        return 4
    head = bytes(data[:256])
    return 128 if not _begins(head, 0) and _begins(head, 128) else 0


def _read_meta(parser: Parser, start: int) -> tuple[Dataset, int]:
    """Group 0002 from `start` on, and where it ends; its stated length is not relied on."""
    data, size = parser.data, parser.size
    for coding in (EXPLICIT, IMPLICIT, BIG):
        end, stated = start, None
        header = header_at(data, end, size, coding)
        while header and header.tag >> 16 == 2 and header.length != UNDEFINED:
            end = header.start + header.length
            if header.tag == 0x00020000 and header.length == 4:
                stated = end + coding.length.unpack_from(data, header.start)[0]
            header = header_at(data, end, size, coding)
        if end > start:
            if coding is not EXPLICIT:
                parser.note("the file meta information is not in Explicit VR Little Endian")
            if stated is not None and stated != end:
                parser.note("the file meta information has a wrong group length")
            meta, _ = parser.dataset(start, end, coding)
            if any(tag >> 16 != 2 for tag in meta):
                raise FormatError("The file meta information is damaged.")
            return meta, end
    parser.note("there is no file meta information")
    return Dataset(), start


def _uid(elements: Dataset) -> str:
    """The transfer syntax that elements name, or nothing."""
    element = elements.get(TRANSFER_SYNTAX)
    if element is None or not isinstance(element.value, (bytes, memoryview)):
        return ""
    text = bytes(element.value).strip(b" \0").decode("latin-1")
    return text if is_uid(text) else ""


def _inflated(data: Buffer, pos: int, notes: list[str]) -> bytes | None:
    """The deflated data set; None where it was not deflated after all."""
    try:
        inflated, whole = inflate(memoryview(data)[pos:])
    except FormatError:
        if detect(data, pos, len(data), None):
            return None
        raise
    if not whole:
        notes.append("the deflated data set is truncated")
    return inflated


def _read_dataset(parser: Parser, pos: int, coding: Coding) -> Dataset:
    dataset, pos = parser.dataset(pos, parser.size, coding)
    while pos < parser.size:
        header = parser.delimiter(pos, parser.size, coding)
        assert header is not None  # else the data set would not have ended here
        pos = header.start
        if header.tag == ITEM:
            item, pos = parser.item(0, pos, header.length, parser.size, coding, 0)
            parser.dropped += item.values()
        parser.note("an item or delimiter outside of all sequences: dropped")
        more, pos = parser.dataset(pos, parser.size, coding)
        for tag in dataset.keys() & more.keys():
            parser.misplaced(tag, dataset)
        dataset.update(more)
    if dataset.pop(TRAILING_PADDING, None):
        parser.note("padding after the end: dropped")
    return dataset


def _transfer_syntax(claimed: str, coding: Coding, dataset: Dataset, notes: list[str], inflated: bool) -> str:
    """The syntax to write in: the claimed one, or where the data contradict it, that of the data."""
    pixels = dataset.get(PIXEL_DATA)
    encapsulated = pixels is not None and isinstance(pixels.value, Fragments)
    if not claimed:
        if encapsulated:
            raise FormatError("The pixel data are compressed, but no transfer syntax says how.")
        notes.append("no transfer syntax is named: found by looking")
        return coding.uid
    if pixels is not None and encapsulated is (claimed in NATIVE_UIDS):
        notes.append("the pixel data are compressed or not, contrary to the transfer syntax")
    if coding is coding_of(claimed) and (claimed not in DEFLATED_UIDS or inflated):
        return claimed
    notes.append("the data are coded otherwise than the transfer syntax says")
    return claimed if encapsulated and claimed not in NATIVE_UIDS else coding.uid
