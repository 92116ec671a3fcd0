"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped: a new header with what the geometry needs, and the voxels."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pydicom
from isal import isal_zlib

from medcli.deidentify.formats.common import MAX_BYTES, Cleaned
from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.policy import Policy
from medcli.errors import FormatError

_GZIP = b"\x1f\x8b"
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Deflate, no name, no comment, no time, unknown system (RFC 1952)."""
_LEVEL = 2
_BLOCK = 2**18
_BITS = {
    1: 1, 2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 1536: 128,
    1792: 128, 2048: 256, 2304: 32,
}  # fmt: skip
_DICOM, _COMMENT = 2, 6
_CODES = {
    0: "ignore", 2: "DICOM", 4: "AFNI", 6: "comment", 8: "XCEDE", 10: "JimDimInfo", 12: "workflow", 14: "FreeSurfer",
    16: "pypickle", 18: "MiND identifier", 20: "MiND b-value", 22: "MiND spherical direction", 24: "MiND DT component",
    26: "MiND SHC degree order", 28: "Voxbo", 30: "Caret", 32: "CIFTI", 34: "variable frame timing", 38: "Eval",
    40: "MATLAB", 42: "Quantiphyse", 44: "MRS",
}  # fmt: skip
"""Registered extension codes; another number may be an identifier itself."""


@dataclass(frozen=True)
class _Layout:
    """Where the fields of a header are.

    Attributes:
        kept: (start, stop) of what is copied; all else becomes zero.
        texts: Name -> (start, stop) of what may hold text.
    """

    size: int
    magic: tuple[int, bytes]
    dims: tuple[int, str]
    datatype: int
    offset: tuple[int, str]
    kept: tuple[tuple[int, int], ...]
    texts: dict[str, tuple[int, int]]


_ONE = _Layout(
    size=348,
    magic=(344, b"n+1\0"),
    dims=(40, "8h"),
    datatype=70,
    offset=(108, "f"),
    kept=((0, 4), (39, 108), (112, 140), (252, 328)),
    texts={
        "data_type": (4, 14),
        "db_name": (14, 32),
        "extents to regular": (32, 39),
        "glmax, glmin": (140, 148),
        "descrip": (148, 228),
        "aux_file": (228, 252),
        "intent_name": (328, 344),
    },
)
_TWO = _Layout(
    size=540,
    magic=(4, b"n+2\0\r\n\x1a\n"),
    dims=(16, "8q"),
    datatype=12,
    offset=(168, "q"),
    kept=((0, 4), (12, 168), (176, 240), (344, 508), (524, 525)),
    texts={
        "descrip": (240, 320),
        "aux_file": (320, 344),
        "intent_name": (508, 524),
        "unused_str": (525, 540),
    },
)
_USUAL = {"extents to regular": (b"\0" * 6 + b"r", b"\0\x40\0\0\0\0r", b"\0\0\x40\0\0\0r")}
"""Written by many programs and without a meaning in NIfTI."""


@dataclass(frozen=True)
class _Volume:
    raw: bytes
    layout: _Layout
    order: str
    start: int  # of the voxels
    stop: int
    notes: list[str]

    @property
    def extensions(self) -> Iterator[tuple[int, bytes]]:
        """(code, content); ends where the chain breaks. FormatError when the voxels begin inside of one."""
        at = self.layout.size + 4
        if self.start < at or not self.raw[at - 4]:
            return
        while at + 8 <= self.start:
            size, code = struct.unpack_from(self.order + "2i", self.raw, at)
            if at + size > self.start and size % 16 == 0 and code in _CODES:
                raise FormatError("The header places the voxels inside of an extension.")
            if size < 8 or at + size > self.start:
                return
            yield code, self.raw[at + 8 : at + size]
            at += size


# --- reading ------------------------------------------------------------------------------------------------------


def fits(head: bytes, name: str) -> bool:
    packed = head.startswith(_GZIP)
    if packed:
        try:
            head = zlib.decompressobj(31).decompress(head, 1024)
        except zlib.error:
            return name.lower().endswith(".nii.gz")
        if len(head) < _ONE.size:
            return name.lower().endswith(".nii.gz")
    if head[:4] in (_ONE.size.to_bytes(4, "little"), _ONE.size.to_bytes(4, "big")):
        return head[344:347] in (b"n+1", b"ni1") or name.lower().endswith(
            (".nii", ".nii.gz", ".hdr", ".hdr.gz")
        )
    return head[4:7] in (b"n+2", b"ni2") or (name.lower().endswith((".nii", ".nii.gz")) and not packed)


def unpack(content: bytes) -> tuple[bytes, list[str]]:
    """The bytes inside gzip (or the bytes themselves), and notes. Raises FormatError."""
    if not content.startswith(_GZIP):
        return content, []
    pieces: list[bytes] = []
    most = min(MAX_BYTES, max(2**30, 250 * len(content)))
    rest = memoryview(content)
    try:
        while rest[:2] == _GZIP:
            before = len(pieces)
            rest = _unpack_member(rest, pieces, most)
            most -= sum(map(len, pieces[before:]))
    except isal_zlib.error as error:  # type: ignore[misc]
        raise FormatError("The compressed data are damaged.") from error
    notes = ["bytes after the compressed data were dropped"] if bytes(rest).strip(b"\0") else []
    return b"".join(pieces), notes


def _unpack_member(data: memoryview, pieces: list[bytes], most: int) -> memoryview:
    """Add what one member of a gzip file holds to the pieces; returns what follows it."""
    unpacker = isal_zlib.decompressobj(31)
    at = 0
    while not unpacker.eof:
        if at >= len(data):
            raise FormatError("The compressed data end early.")
        pieces.append(unpacker.decompress(data[at : at + _BLOCK]))
        at += _BLOCK
        most -= len(pieces[-1])
        if most < 0:
            raise FormatError("It unpacks to more than is plausible.")
    return data[min(at, len(data)) - len(unpacker.unused_data) :]


def pack(raw: bytes) -> bytes:
    """Gzip without name and time; the same bytes give the same file."""
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -15)
    body = packer.compress(raw) + packer.flush()
    return _GZIP_HEADER + body + struct.pack("<II", zlib.crc32(raw), len(raw) & 0xFFFFFFFF)


def _read(content: bytes) -> _Volume:
    raw, notes = unpack(content)
    layout, order = _layout_of(raw)
    magic = raw[layout.magic[0] : layout.magic[0] + 3]
    if magic not in (b"n+1", b"n+2"):
        raise FormatError("It is the header of a .hdr/.img pair; convert the pair to .nii or .nii.gz first.")
    dims = struct.unpack_from(order + layout.dims[1], raw, layout.dims[0])
    if not 1 <= dims[0] <= 7 or any(length < 1 for length in dims[1 : dims[0] + 1]):
        raise FormatError("The header gives no usable dimensions.")
    datatype, bits = struct.unpack_from(order + "2h", raw, layout.datatype)
    if datatype not in _BITS:
        raise FormatError("The header gives no known data type.")
    if bits != _BITS[datatype]:
        notes.append("the bits per voxel do not fit the data type")
    size = _BITS[datatype]
    for length in dims[1 : dims[0] + 1]:
        size *= length
    size = (size + 7) // 8
    (start,) = struct.unpack_from(order + layout.offset[1], raw, layout.offset[0])
    if not (start == 0 or layout.size <= start <= len(raw)) or start != int(start):
        raise FormatError("The header places the voxels where they cannot be.")
    start = int(start) or layout.size + 4
    if start + size > len(raw):
        raise FormatError("There are fewer voxels than the header says.")
    return _Volume(raw, layout, order, start, start + size, notes)


def _layout_of(raw: bytes) -> tuple[_Layout, str]:
    for layout in (_ONE, _TWO):
        for order, name in (("<", "little"), (">", "big")):
            if raw[:4] == layout.size.to_bytes(4, name) and len(raw) >= layout.size:  # type: ignore[arg-type]
                return layout, order
    raise FormatError("It has no whole NIfTI header.")


# --- collecting and cleaning --------------------------------------------------------------------------------------


def collect(content: bytes, collector: Collector) -> None:
    volume = _read(content)
    for code, body in volume.extensions:
        if code == _DICOM:
            _collect_dicom(body, collector)
        elif code == _COMMENT:
            collector.lines(_text(body))
    start, stop = volume.layout.texts["descrip"]
    collector.lines(_text(volume.raw[start:stop]))


def _collect_dicom(body: bytes, collector: Collector) -> None:
    """As far as pydicom reads it: a bare data set, mostly of few elements, in which damage matters little."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they tell values
        try:
            elements = [*pydicom.dcmread(io.BytesIO(body), force=True).iterall()]
            texts = [(element.keyword, str(element.value)) for element in elements if element.VR != "SQ"]
        except Exception:  # pydicom raises what it likes for damaged data
            return
    for keyword, text in texts:
        collector.field(keyword, text)


def _text(body: bytes) -> str:
    body = body.split(b"\0", 1)[0]
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    volume = _read(content)
    layout, raw = volume.layout, volume.raw
    header = bytearray(layout.size)
    for start, stop in layout.kept:
        header[start:stop] = raw[start:stop]
    header[layout.magic[0] : layout.magic[0] + len(layout.magic[1])] = layout.magic[1]
    actions = {
        name: "emptied"
        for name, (start, stop) in layout.texts.items()
        if raw[start:stop].strip(b"\0") and raw[start:stop] not in _USUAL.get(name, ())
    }
    keep_texts = "descriptors" in policy.options
    if keep_texts and "descrip" in actions:
        start, stop = layout.texts["descrip"]
        header[start:stop] = _masked(raw[start:stop], policy)[: stop - start - 1].ljust(stop - start, b"\0")
        actions["descrip"] = "masked"
    extensions = _kept_extensions(volume, policy, actions, keep_comments=keep_texts)
    start = layout.size + 4 + len(extensions)
    struct.pack_into(volume.order + layout.offset[1], header, layout.offset[0], start)
    flag = b"\1\0\0\0" if extensions else bytes(4)
    new = b"".join((header, flag, extensions, memoryview(raw)[volume.start : volume.stop]))
    if volume.stop < len(raw):
        actions["bytes after the voxels"] = "removed"
    if content.startswith(_GZIP):
        return Cleaned(pack(new), actions | {"gzip header": "rewritten"}, volume.notes)
    return Cleaned(new, actions, volume.notes)


def _masked(body: bytes, policy: Policy) -> bytes:
    return policy.text(_text(body)).encode("utf-8")


def _kept_extensions(
    volume: _Volume, policy: Policy, actions: dict[str, str], *, keep_comments: bool
) -> bytes:
    kept = b""
    end = volume.layout.size + 4
    for code, body in volume.extensions:
        end += 8 + len(body)
        name = f"extension {code} ({_CODES[code]})" if code in _CODES else "extension of unknown code"
        if code == _COMMENT and keep_comments:
            text = _masked(body, policy)
            size = -(-(8 + len(text)) // 16) * 16
            kept += struct.pack(volume.order + "2i", size, code) + text.ljust(size - 8, b"\0")
            actions[name] = "masked"
        else:
            actions[name] = "removed"
    if volume.raw[end : volume.start].strip(b"\0"):
        actions["bytes before the voxels"] = "removed"
    return kept


def parts(content: bytes) -> Iterator[bytes]:
    if content.startswith(_GZIP):
        yield unpack(content)[0]
