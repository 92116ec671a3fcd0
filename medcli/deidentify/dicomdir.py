"""A new DICOMDIR for what was written: patients, studies, series and instances with their files (PS3.3 Annex F)."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from medcli.deidentify import wire
from medcli.deidentify.dicom import IMPLEMENTATION, SERIES, SOP_CLASS, SOP_INSTANCE, STUDY, text_of
from medcli.deidentify.pseudonyms import Pseudonyms
from medcli.deidentify.wire import Dataset, Element, File

_EXPLICIT = "1.2.840.10008.1.2.1"
_STORAGE = "1.2.840.10008.1.3.10"
_FIRST, _LAST, _RECORDS = 0x00041200, 0x00041202, 0x00041220
_NEXT, _IN_USE, _LOWER, _TYPE = 0x00041400, 0x00041410, 0x00041420, 0x00041430
_KEYS = {
    "PATIENT": (0x00100010, 0x00100020),
    "STUDY": (0x00080020, 0x00080030, 0x00080050, 0x00081030, STUDY, 0x00200010),
    "SERIES": (0x00080060, SERIES, 0x00200011),
    "instance": (0x00200013,),
}
_KINDS = (
    ("1.2.840.10008.5.1.4.1.1.481.3", "RT STRUCTURE SET"),
    ("1.2.840.10008.5.1.4.1.1.481.2", "RT DOSE"),
    ("1.2.840.10008.5.1.4.1.1.481.5", "RT PLAN"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "KEY OBJECT DOC"),
    ("1.2.840.10008.5.1.4.1.1.88.", "SR DOCUMENT"),
    ("1.2.840.10008.5.1.4.1.1.104.", "ENCAP DOC"),
    ("1.2.840.10008.5.1.4.1.1.11.", "PRESENTATION"),
    ("1.2.840.10008.5.1.4.1.1.9.", "WAVEFORM"),
    ("1.2.840.10008.5.1.4.1.1.66.1", "REGISTRATION"),
    ("1.2.840.10008.5.1.4.1.1.66.2", "FIDUCIAL"),
    ("1.2.840.10008.5.1.4.1.1.66.5", "SURFACE"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "SPECTROSCOPY"),
)
"""Directory Record Type by the start of the SOP Class UID; all others are IMAGE."""


def new_dicomdir(folder: Path, places: Iterable[PurePosixPath], pseudonyms: Pseudonyms) -> bytes:
    """The content of a DICOMDIR for these files of the folder; files that are no DICOM are passed over."""
    tree: dict[tuple[str, ...], tuple[str, Dataset]] = {}
    for place in sorted(places):
        file = wire.read((folder / place).read_bytes())
        dataset = file.dataset
        levels = (
            text_of(dataset, 0x00100020),
            text_of(dataset, STUDY),
            text_of(dataset, SERIES),
            text_of(dataset, SOP_INSTANCE),
        )
        for depth, kind in enumerate(("PATIENT", "STUDY", "SERIES"), 1):
            tree.setdefault(levels[:depth], (kind, _record(kind, dataset, kind)))
        record = _record(_kind(text_of(dataset, SOP_CLASS)), dataset, "instance")
        _put(record, 0x00041500, "CS", "\\".join(place.parts))
        _put(record, 0x00041510, "UI", text_of(dataset, SOP_CLASS))
        _put(record, 0x00041511, "UI", text_of(dataset, SOP_INSTANCE))
        _put(record, 0x00041512, "UI", file.transfer_syntax)
        tree[levels] = ("instance", record)
    keys = sorted(tree)
    return _assembled(
        [tree[key][1] for key in keys], keys, pseudonyms.uid("DICOMDIR|" + "|".join(map(str, keys)))
    )


def _kind(sop_class: str) -> str:
    return next((kind for start, kind in _KINDS if sop_class.startswith(start)), "IMAGE")


def _record(kind: str, source: Dataset, keys: str) -> Dataset:
    record = Dataset()
    for tag in (_NEXT, _LOWER):
        record[tag] = Element(tag, "UL", bytes(4))
    record[_IN_USE] = Element(_IN_USE, "US", b"\xff\xff")
    _put(record, _TYPE, "CS", kind)
    if 0x00080005 in source:
        record[0x00080005] = source[0x00080005]
    for tag in _KEYS[keys]:
        element = source.get(tag)
        value = (
            bytes(element.value)
            if element is not None and isinstance(element.value, bytes | memoryview)
            else b""
        )
        record[tag] = Element(tag, wire.dictionary_vr(tag), value)
    return record


def _put(dataset: Dataset, tag: int, vr: str, text: str) -> None:
    dataset[tag] = Element(tag, vr, text.encode("ascii", "replace"))


def _assembled(records: list[Dataset], keys: list[tuple[str, ...]], uid: str) -> bytes:
    """Link the records by the places that they have in the file: offsets do not change lengths, so write twice."""
    file = File(_meta(uid), Dataset(), _EXPLICIT)
    for tag, vr, value in (
        (0x00041130, "CS", b""),
        (_FIRST, "UL", bytes(4)),
        (_LAST, "UL", bytes(4)),
        (0x00041212, "US", bytes(2)),
    ):
        file.dataset[tag] = Element(tag, vr, value)
    file.dataset[_RECORDS] = Element(_RECORDS, "SQ", records)
    offsets = _offsets(bytes(wire.write(file)), len(records))
    for index, key in enumerate(keys):
        sibling = next((other for other in range(index + 1, len(keys)) if len(keys[other]) <= len(key)), None)
        if sibling is not None and len(keys[sibling]) == len(key):
            records[index][_NEXT].value = offsets[sibling].to_bytes(4, "little")
        if index + 1 < len(keys) and len(keys[index + 1]) > len(key):
            records[index][_LOWER].value = offsets[index + 1].to_bytes(4, "little")
    roots = [offset for offset, key in zip(offsets, keys, strict=True) if len(key) == 1]
    if roots:
        file.dataset[_FIRST].value = roots[0].to_bytes(4, "little")
        file.dataset[_LAST].value = roots[-1].to_bytes(4, "little")
    return bytes(wire.write(file))


def _offsets(content: bytes, count: int) -> list[int]:
    """Where each item of the record sequence starts: items have definite lengths, one behind the other."""
    place = content.index(b"\x04\x00\x20\x12SQ\0\0") + 12
    offsets = []
    for _ in range(count):
        offsets.append(place)
        place += 8 + int.from_bytes(content[place + 4 : place + 8], "little")
    return offsets


def _meta(uid: str) -> Dataset:
    meta = Dataset({0x00020001: Element(0x00020001, "OB", b"\0\1")})
    for tag, vr, text in (
        (0x00020002, "UI", _STORAGE), (0x00020003, "UI", uid), (0x00020010, "UI", _EXPLICIT),
        (0x00020012, "UI", IMPLEMENTATION), (0x00020013, "SH", "MEDCLI"),
    ):  # fmt: skip
        _put(meta, tag, vr, text)
    return meta
