"""Elements to bytes: sorted by tag, with fresh lengths and without group lengths, joined once."""

from struct import Struct

from medcli.deidentify.wire.elements import (
    TRANSFER_SYNTAX,
    UNDEFINED,
    VRS,
    Dataset,
    Element,
    File,
    Fragments,
    dictionary_vr,
    tag_text,
)
from medcli.deidentify.wire.syntax import BIG_ENDIAN_UID, DEFLATED_UIDS, EXPLICIT_UID, IMPLICIT_UIDS, deflate
from medcli.errors import FormatError

_SHORT_HEADER = Struct("<HH2sH").pack
_LONG_HEADER = Struct("<HH2s2xL").pack
_HEADER = Struct("<HHL").pack
_SEQUENCE_END = _HEADER(0xFFFE, 0xE0DD, 0)
_CODES = {name: (name.encode(), vr.long, vr.padding) for name, vr in VRS.items()}
_UNKNOWN = _CODES["UN"]
_LONGEST_SHORT = 65534
_LONGEST = UNDEFINED - 1

Parts = list[bytes | memoryview]


def write(file: File) -> bytes:
    """The bytes of a file in its transfer syntax; big endian becomes Explicit VR Little Endian, also in `file`.

    Raises:
        FormatError: a value is too long for any DICOM file.
    """
    if file.transfer_syntax == BIG_ENDIAN_UID:
        file.transfer_syntax = EXPLICIT_UID
    file.meta[TRANSFER_SYNTAX] = Element(TRANSFER_SYNTAX, "UI", file.transfer_syntax.encode())
    meta: Parts = []
    size = _write_elements(file.meta, meta, explicit=True)
    head = (
        file.preamble[:128].ljust(128, b"\0")
        + b"DICM"
        + _SHORT_HEADER(2, 0, b"UL", 4)
        + size.to_bytes(4, "little")
    )
    parts: Parts = [head, *meta]
    if file.transfer_syntax in DEFLATED_UIDS:
        body: Parts = []
        _write_elements(file.dataset, body, explicit=True)
        parts.append(deflate(b"".join(body)))
    else:
        _write_elements(file.dataset, parts, explicit=file.transfer_syntax not in IMPLICIT_UIDS)
    return b"".join(parts)


def _write_elements(elements: Dataset, parts: Parts, *, explicit: bool) -> int:
    """Append the elements to `parts`; how many bytes they take."""
    total = 0
    append = parts.append
    for tag in sorted(elements):
        group, number = tag >> 16, tag & 0xFFFF
        if not number:
            continue  # group lengths are retired (PS3.5 section 7.2)
        element = elements[tag]
        value = element.value
        code, long, padding = _CODES.get(element.vr, _UNKNOWN)
        undefined = False
        place = len(parts)
        append(b"")  # the header, once the length is known
        if isinstance(value, list):
            code, long = b"SQ", True
            # without a VR, only an undefined length tells that a private attribute is a sequence
            undefined = not explicit and dictionary_vr(tag) != "SQ"
            length = _write_items(value, parts, explicit=explicit)
            if undefined:
                append(_SEQUENCE_END)
                length += len(_SEQUENCE_END)
        elif isinstance(value, Fragments):
            code, long = code if code in (b"OB", b"OW") else b"OB", True
            undefined = True
            length = _write_fragments(value, parts)
        else:
            append(value)
            length = len(value)
            if length & 1:
                append(padding)
                length += 1
        total += length
        if length > _LONGEST:
            raise FormatError(f"{tag_text(tag)} is too long for a DICOM file.")
        stated = UNDEFINED if undefined else length
        if not explicit:
            parts[place] = _HEADER(group, number, stated)
            total += 8
        elif long:
            parts[place] = _LONG_HEADER(group, number, code, stated)
            total += 12
        elif length <= _LONGEST_SHORT:
            parts[place] = _SHORT_HEADER(group, number, code, length)
            total += 8
        else:
            parts[place] = _LONG_HEADER(group, number, b"UN", length)  # PS3.5 section 6.2.2
            total += 12
    return total


def _write_items(items: list[Dataset], parts: Parts, *, explicit: bool) -> int:
    total = 0
    for item in items:
        place = len(parts)
        parts.append(b"")
        length = _write_elements(item, parts, explicit=explicit)
        parts[place] = _HEADER(0xFFFE, 0xE000, length)
        total += 8 + length
    return total


def _write_fragments(fragments: Fragments, parts: Parts) -> int:
    total = len(_SEQUENCE_END)
    for fragment in fragments.items:
        odd = len(fragment) & 1
        parts += (_HEADER(0xFFFE, 0xE000, len(fragment) + odd), fragment, b"\0" * odd)
        total += 8 + len(fragment) + odd
    parts.append(_SEQUENCE_END)
    return total
