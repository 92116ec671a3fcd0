"""PNG: the chunks that make the picture are kept byte for byte, all others go, and what stands after the end."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from medcli.deidentify.formats import exif, icc, scanlines
from medcli.deidentify.formats.common import MAX_BYTES, Cleaned, inflate
from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.policy import Policy
from medcli.errors import FormatError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fdAT")
_LENGTHS = {
    b"tRNS": range(1, 257), b"gAMA": (4,), b"cHRM": (32,), b"sRGB": (1,), b"sBIT": (1, 2, 3, 4), b"bKGD": (1, 2, 6),
    b"pHYs": (9,), b"cICP": (4,), b"mDCV": (24,), b"cLLI": (8,), b"acTL": (8,), b"fcTL": (26,),
}  # fmt: skip
"""Chunks besides those of the picture that are kept, with the lengths that they may have."""
_MANY = frozenset({b"IDAT", b"fcTL", b"fdAT"})
_SCALE = re.compile(
    rb"[\1\2]\d{1,9}(?:\.\d{0,12})?(?:[eE][+-]?\d+)?\0\d{1,9}(?:\.\d{0,12})?(?:[eE][+-]?\d+)?"
)
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KNOWN = frozenset(
    {b"tIME", b"hIST", b"sPLT", b"oFFs", b"pCAL", b"dSIG", b"sTER", b"gIFg", b"gIFx", b"sCAL", b"eXIf"}
)
_MOST_TEXT = 2**24


@dataclass(frozen=True)
class Chunk:
    name: bytes
    data: bytes

    def packed(self) -> bytes:
        checksum = zlib.crc32(self.data, zlib.crc32(self.name))
        return b"".join(
            (struct.pack(">I", len(self.data)), self.name, self.data, struct.pack(">I", checksum))
        )


def fits(head: bytes, name: str) -> bool:
    return head.startswith(SIGNATURE)


def read(content: bytes) -> tuple[list[Chunk], int]:
    """All chunks up to IEND, and how many bytes follow. Raises FormatError for damage."""
    if not content.startswith(SIGNATURE):
        raise FormatError("It has no PNG signature.")
    chunks, at = [], len(SIGNATURE)
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + length]
        if not name.isalpha() or at + 12 + length > len(content):
            raise FormatError("A chunk is damaged or cut off.")
        (checksum,) = struct.unpack_from(">I", content, at + 8 + length)
        if checksum != zlib.crc32(data, zlib.crc32(name)):
            raise FormatError("The checksum of a chunk is wrong.")
        chunks.append(Chunk(name, data))
        at += 12 + length
        if name == b"IEND":
            return chunks, len(content) - at
    raise FormatError("It ends before the chunk IEND.")


# --- collecting ---------------------------------------------------------------------------------------------------


def collect(content: bytes, collector: Collector) -> None:
    for chunk in read(content)[0]:
        if chunk.name in _TEXTS:
            keyword, text = _text(chunk)
            if keyword == "XML:com.adobe.xmp":
                exif.collect_xmp(text, collector)
            else:
                decoded = text.decode("utf-8" if chunk.name == b"iTXt" else "latin-1", "replace")
                collector.field(keyword, decoded)
                collector.lines(decoded)
        elif chunk.name == b"eXIf":
            exif.collect(chunk.data, collector)


def _text(chunk: Chunk) -> tuple[str, bytes]:
    """Keyword and text of a text chunk, unpacked; empty where it is damaged."""
    keyword, _, rest = chunk.data.partition(b"\0")
    packed = chunk.name == b"zTXt"
    if packed:
        rest = rest[1:]
    elif chunk.name == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return keyword.decode("latin-1"), _unpacked(rest) if packed else rest


def _unpacked(data: bytes) -> bytes:
    try:
        return inflate(data, _MOST_TEXT)[0]
    except FormatError:
        return b""


# --- cleaning -----------------------------------------------------------------------------------------------------


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    chunks, trailing = read(content)
    picture = _picture(chunks)
    work = _Work(trailing=trailing)
    kept = [new for chunk in chunks for new in work.chunk(chunk)]
    kept = _whole_data(kept, picture, work.notes)
    if pixels:
        kept = _without_text(kept, picture, work)
    return Cleaned(SIGNATURE + b"".join(chunk.packed() for chunk in kept), work.report(), work.notes)


def _picture(chunks: list[Chunk]) -> scanlines.Picture:
    names = [chunk.name for chunk in chunks]
    if names[:1] != [b"IHDR"] or names.count(b"IHDR") > 1 or b"IDAT" not in names:
        raise FormatError("The chunks IHDR and IDAT are not where they have to be.")
    if any(name[0] < 96 and name not in _PICTURE for name in names):
        raise FormatError("It has a critical chunk that is not known.")
    palette = b"".join(chunk.data for chunk in chunks if chunk.name == b"PLTE")
    if names.count(b"PLTE") > 1 or len(palette) > 768 or len(palette) % 3:
        raise FormatError("Its palette is damaged.")
    return scanlines.Picture.read(chunks[0].data, palette)


@dataclass
class _Work:
    """Chooses chunk by chunk, and remembers what it did."""

    trailing: int
    removed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)

    def chunk(self, chunk: Chunk) -> Iterator[Chunk]:
        """What is kept of a chunk: itself, something smaller, or nothing."""
        name, data = chunk.name, chunk.data
        again = name in self.seen and name not in _MANY
        self.seen.add(name)
        if name in _PICTURE:
            yield chunk if name != b"IEND" else Chunk(b"IEND", b"")
            return
        if again:
            pass
        elif len(data) in _LENGTHS.get(name, ()) or (name == b"sCAL" and _SCALE.fullmatch(data)):
            yield chunk
            return
        elif name == b"iCCP":
            yield from self._profile(data)
            return
        elif name == b"eXIf" and (turned := exif.orientation(data)) != 1:
            self.removed["eXIf"] = "reduced to the orientation"
            yield Chunk(b"eXIf", exif.only_orientation(turned))
            return
        known = name in _TEXTS or name in _LENGTHS or name in _KNOWN or name == b"iCCP"
        self.removed[name.decode("ascii") if known else "unknown chunks"] = "removed"

    def _profile(self, data: bytes) -> Iterator[Chunk]:
        packed = data.partition(b"\0")[2][1:]
        profile = icc.without_texts(_unpacked(packed))
        if profile is None:
            self.removed["iCCP"] = "removed"
            self.notes.append("a colour profile that cannot be read was removed")
        else:
            self.removed["iCCP"] = "texts removed"
            yield Chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9))

    def report(self) -> dict[str, str]:
        return self.removed | ({"bytes after IEND": "removed"} if self.trailing else {})


def _whole_data(chunks: list[Chunk], picture: scanlines.Picture, notes: list[str]) -> list[Chunk]:
    """The chunks with picture data checked: they hold the picture whole, and nothing else."""
    stream = b"".join(chunk.data for chunk in chunks if chunk.name == b"IDAT")
    exact = _exact(stream, picture.size)
    for frame in _frames(chunks, picture):
        if _exact(*frame) is not frame[0]:
            raise FormatError("A frame of the animation holds more than its picture.")
    if exact is stream:
        return chunks
    notes.append("bytes hidden behind the picture's data were removed")
    return _with_data(chunks, exact)


def _exact(stream: bytes, size: int) -> bytes:
    """The zlib stream itself when it holds exactly `size` bytes, else one that does. FormatError if it holds less."""
    if size > MAX_BYTES:
        raise FormatError("The picture is larger than 4 GiB.")
    data, after = inflate(stream, size)
    if len(data) < size:
        raise FormatError("There are fewer pixels than the header says.")
    if len(data) > size:
        return zlib.compress(data[:size])
    return stream[: len(stream) - after] if after else stream


def _frames(chunks: list[Chunk], picture: scanlines.Picture) -> Iterator[tuple[bytes, int]]:
    """(stream, size) of each frame of an animation but the first, which is the picture itself."""
    frame, data = picture, b""
    for chunk in [*chunks, Chunk(b"fcTL", b"")]:
        if chunk.name == b"fdAT":
            data += chunk.data[4:]
        elif chunk.name == b"fcTL":
            if data:
                yield data, frame.size
            if len(chunk.data) == 26:
                frame, data = picture.resized(*struct.unpack_from(">2I", chunk.data, 4)), b""


def _with_data(chunks: list[Chunk], stream: bytes) -> list[Chunk]:
    """The chunks with this in one IDAT, where the first was."""
    first = next(index for index, chunk in enumerate(chunks) if chunk.name == b"IDAT")
    before = chunks[:first]
    return [*before, Chunk(b"IDAT", stream), *(chunk for chunk in chunks[first:] if chunk.name != b"IDAT")]


def _without_text(chunks: list[Chunk], picture: scanlines.Picture, work: _Work) -> list[Chunk]:
    from medcli.deidentify.formats.pictures import blanked

    if any(chunk.name == b"fdAT" for chunk in chunks):
        raise FormatError("Animated pictures cannot be searched for burned-in text; split it into pictures.")
    stream = b"".join(chunk.data for chunk in chunks if chunk.name == b"IDAT")
    samples = scanlines.decode(inflate(stream, picture.size)[0], picture)
    new = blanked(samples, palette=picture.palette)
    if new is None:
        return chunks
    work.removed["pixels"] = "text blanked"
    kept = _with_data(chunks, zlib.compress(scanlines.encode(new, picture)))
    return [Chunk(b"IHDR", picture.header(interlaced=False)), *kept[1:]]


def packed_picture(samples: scanlines.Samples, *, turned: int = 1) -> bytes:
    """A new PNG of grey or RGB samples (row, column[, channel]), 8 or 16 bits; `turned`: its EXIF orientation."""
    picture = scanlines.Picture.of(samples)
    chunks = [Chunk(b"IHDR", picture.header(interlaced=False))]
    if turned != 1:
        chunks.append(Chunk(b"eXIf", exif.only_orientation(turned)))
    chunks += [Chunk(b"IDAT", zlib.compress(scanlines.encode(samples, picture))), Chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(chunk.packed() for chunk in chunks)


def parts(content: bytes) -> Iterator[bytes]:
    """Packed texts and colour profiles."""
    for chunk in read(content)[0]:
        if chunk.name in _TEXTS:
            yield _text(chunk)[1]
        elif chunk.name == b"iCCP":
            yield _unpacked(chunk.data.partition(b"\0")[2][1:])
