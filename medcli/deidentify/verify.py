"""The finished bytes searched for what was collected: in text, in bytes, and inside of compressed parts."""

import zlib
from collections.abc import Iterator

import numpy as np

from medcli.deidentify import formats, wire
from medcli.deidentify.charsets import ASCII, Charsets, charsets_of
from medcli.deidentify.dicom import CHARSET, PIXEL_DATA
from medcli.deidentify.folding import is_common
from medcli.deidentify.identifiers import Finder
from medcli.deidentify.pseudonyms import PSEUDONYM
from medcli.deidentify.wire import Dataset
from medcli.deidentify.wire.elements import tag_text

_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS", "PN"})
_DEFLATED = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"}


def leaks_in_dicom(content: bytes | bytearray, finder: Finder) -> list[str]:
    """Where a finished DICOM file still holds what was collected; empty when it holds nothing."""
    content = bytes(content)
    file = wire.read(content)
    found = [f"{tag_text(tag)} holds an identifier" for tag in _in_text(file.dataset, finder, ASCII)]
    if any(finder.in_bytes(part) for part in _worth_searching(content, file.dataset, finder)):
        found.append("an identifier stands in its bytes")
    if file.transfer_syntax in _DEFLATED and finder.in_bytes(_inflated(content)):
        found.append("an identifier stands in its compressed bytes")
    return found


def _worth_searching(content: bytes, dataset: Dataset, finder: Finder) -> Iterator[bytes | memoryview]:
    """The whole file; without the pixels where their values rule out that they spell anything."""
    element = dataset.get(PIXEL_DATA)
    value = element.value if element is not None else None
    if not isinstance(value, memoryview) or value.obj is not content or not _spells_nothing(value, finder):
        yield content
        return
    start = _address(value) - _address(content)
    yield content[:start]
    yield content[start + len(value) :]


def _address(part: bytes | memoryview) -> int:
    return int(np.frombuffer(part, np.uint8).__array_interface__["data"][0])


def _spells_nothing(pixels: memoryview, finder: Finder) -> bool:
    """Whether no text can stand in 16-bit numbers: below 0x2000 no two neighbouring bytes are printable, so that only
    UTF-16 is left, which for ASCII needs five numbers in a row that are character codes; other scripts are searched.
    """
    if len(pixels) % 2 or finder.beyond_ascii:
        return False
    numbers = np.frombuffer(pixels, "<u2")
    if numbers.max(initial=0) >= 0x2000:
        return False
    code = (numbers >= 0x20) & (numbers < 0x7F)
    pairs = code[:-1] & code[1:]
    return not (pairs[:-3] & pairs[2:-1] & code[4:]).any()


def _in_text(dataset: Dataset, finder: Finder, charsets: Charsets) -> Iterator[int]:
    element = dataset.get(CHARSET)
    if element is not None and isinstance(element.value, bytes | memoryview):
        charsets = charsets_of(element.value, charsets)
    for tag, element in dataset.items():
        value = element.value
        if isinstance(value, list):
            for item in value:
                yield from _in_text(item, finder, charsets)
        elif isinstance(value, bytes | memoryview) and element.vr in _TEXT and value:
            text = charsets.decode(value, element.vr)
            ours = PSEUDONYM.fullmatch(text) or (element.vr == "CS" and is_common(text))
            if not ours and finder.hits(text):
                yield tag


def _inflated(content: bytes) -> bytes:
    """The data set behind the file meta information of a deflated file."""
    start = 144 + int.from_bytes(content[140:144], "little")
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:])
    except zlib.error:
        return b""


def leaks_in_other(form: formats.Format, content: bytes, finder: Finder) -> list[str]:
    """As `leaks_in_dicom`, for the other formats."""
    if finder.in_bytes(content):
        return ["an identifier stands in its bytes"]
    if any(finder.in_bytes(part) for part in formats.opaque_parts(form, content)):
        return ["an identifier stands in its compressed parts"]
    return []
