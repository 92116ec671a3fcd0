"""TIFF and BigTIFF: a new file with the tags that make the pictures and their strips or tiles as they are."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from medcli.deidentify.formats import exif, icc, jpeg, tiff_texts
from medcli.deidentify.formats.common import Cleaned
from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.formats.ifd import (
    ASCII,
    LONG,
    UNDEFINED,
    Entry,
    Layout,
    layout_of,
    read_directory,
)
from medcli.deidentify.policy import Policy
from medcli.errors import FormatError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR, SUBFILE = 277, 278, 284, 317, 254
TILE_WIDTH, TILE_HEIGHT, JPEG_TABLES, PROFILE, XMP, IPTC = 322, 323, 347, 34675, 700, 33723
SEGMENTS = {273: 279, 324: 325}
"""Offsets -> byte counts: of strips, of tiles."""
_SUB_DIRECTORIES, _DNG, _NDPI, _DEPTH = 330, 50706, 65420, 32997
_JPEG, _OLD_JPEG, _YCBCR = 7, 6, 6
_NUMBERS = (1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 16, 17)
_KEPT = frozenset({
    SUBFILE, 255, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, 274, SAMPLES, ROWS_PER_STRIP, 280, 281, 282, 283,
    PLANAR, 292, 293, 296, PREDICTOR, 318, 319, 320, TILE_WIDTH, TILE_HEIGHT, 332, 334, 338, 339, 340, 341, 529, 530,
    531, 532, 32995, 32996, _DEPTH, 32998, 50674,
})  # fmt: skip
"""Tags with numbers that a picture needs; those with texts, files and private content are not among them."""
_NAMES = {
    269: "DocumentName", 270: "ImageDescription", 271: "Make", 272: "Model", 285: "PageName", 297: "PageNumber",
    305: "Software", 306: "DateTime", 315: "Artist", 316: "HostComputer", 330: "SubIFDs", 700: "XMP",
    33432: "Copyright", 33723: "IPTC", 34377: "Photoshop", 34665: "Exif", 34675: "ICC profile", 34853: "GPS",
    37724: "Photoshop", 50838: "ImageJ metadata", 50839: "ImageJ metadata",
}  # fmt: skip
_MOST_PAGES = 100_000


@dataclass(frozen=True)
class Page:
    """One picture of the file: its tags, and its strips or tiles."""

    tags: dict[int, Entry]
    offsets: list[int]
    counts: list[int]

    def number(self, tag: int, default: int) -> int:
        values = self.tags[tag].numbers() if tag in self.tags else []
        return values[0] if values else default

    @property
    def description(self) -> str:
        entry = self.tags.get(DESCRIPTION)
        return entry.text() if entry and entry.type in (ASCII, UNDEFINED, 1) else ""

    @property
    def channels(self) -> int:
        return self.number(SAMPLES, 1)

    @property
    def is_tiled(self) -> bool:
        return 324 in self.tags

    @property
    def rows_per_strip(self) -> int:
        height = self.number(HEIGHT, 0)
        return max(min(self.number(ROWS_PER_STRIP, height), height), 1)

    @property
    def segments(self) -> int:
        """How many strips or tiles the picture needs."""
        planes = self.channels if self.number(PLANAR, 1) == 2 else 1
        width, height = self.number(WIDTH, 0), self.number(HEIGHT, 0)
        if not self.is_tiled:
            return -(-height // self.rows_per_strip) * planes
        across, down = max(self.number(TILE_WIDTH, 0), 1), max(self.number(TILE_HEIGHT, 0), 1)
        return -(-width // across) * -(-height // down) * planes

    def sizes(self) -> list[int] | None:
        """Bytes that each strip or tile has when nothing is compressed; None where that is not known."""
        if self.number(COMPRESSION, 1) != 1 or self.number(PHOTOMETRIC, 1) == _YCBCR or _DEPTH in self.tags:
            return None
        bits = (self.tags[BITS].numbers() if BITS in self.tags else []) or [1]
        separate = self.number(PLANAR, 1) == 2
        pixel = bits[0] if separate or len(bits) == 1 else sum(bits)
        if len(bits) == 1 and not separate:
            pixel *= self.channels
        width, height = self.number(WIDTH, 0), self.number(HEIGHT, 0)
        if self.is_tiled:
            size = self.number(TILE_HEIGHT, 0) * ((self.number(TILE_WIDTH, 0) * pixel + 7) // 8)
            return [size] * len(self.offsets)
        line, rows = (width * pixel + 7) // 8, self.rows_per_strip
        plane = [line * min(rows, height - first) for first in range(0, height, rows)]
        return plane * (self.channels if separate else 1)


def fits(head: bytes, name: str) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


# --- reading ------------------------------------------------------------------------------------------------------


def read(content: bytes) -> tuple[Layout, list[Page]]:
    """The pages that the chain of directories names. Raises FormatError for damage."""
    layout = layout_of(content)
    pages: list[Page] = []
    at, seen = layout.first, set[int]()
    while at:
        if at in seen or len(pages) >= _MOST_PAGES:
            raise FormatError("Its directories run in a circle.")
        seen.add(at)
        tags, at = read_directory(content, at, layout)
        pages.append(_page(tags, len(content)))
    if not pages:
        raise FormatError("It has no picture.")
    return layout, _expanded(pages, len(content))


def _page(tags: dict[int, Entry], length: int) -> Page:
    places = next((tag for tag in SEGMENTS if tag in tags), None)
    if places is None or WIDTH not in tags or HEIGHT not in tags:
        raise FormatError("A directory names no picture.")
    offsets = tags[places].numbers()
    sizes = tags[SEGMENTS[places]].numbers() if SEGMENTS[places] in tags else None
    page = Page(tags, offsets, sizes or [])
    if not 0 < page.number(WIDTH, 0) < 2**31 or not 0 < page.number(HEIGHT, 0) < 2**31:
        raise FormatError("A picture has no size.")
    if not 0 < page.channels < 2**16 or len(tags[BITS].numbers() if BITS in tags else [1]) > page.channels:
        raise FormatError("A picture has no usable number of channels.")
    if len(offsets) < page.segments:
        raise FormatError("There are fewer pixels than a directory says.")
    if _DEPTH not in tags:  # what further strips hold is no picture
        offsets, sizes = offsets[: page.segments], sizes and sizes[: page.segments]
        page = Page(tags, offsets, sizes or [])
    if sizes is None:
        sizes = page.sizes()
    if sizes is None or len(sizes) != len(offsets) or not offsets:
        raise FormatError("The strips of a picture are not described.")
    if any(start + size > length for start, size in zip(offsets, sizes, strict=True)):
        raise FormatError("A part of a picture lies outside of the file.")
    return _trimmed(Page(tags, offsets, sizes))


def _trimmed(page: Page) -> Page:
    """Uncompressed strips end where their picture ends."""
    sizes = page.sizes()
    if sizes is None:
        return page
    if len(sizes) != len(page.counts) or any(
        count < size for count, size in zip(page.counts, sizes, strict=True) if count
    ):
        raise FormatError("There are fewer pixels than a directory says.")
    return Page(
        page.tags,
        page.offsets,
        [size if count else 0 for count, size in zip(page.counts, sizes, strict=True)],
    )


def _expanded(pages: list[Page], length: int) -> list[Page]:
    """A file of ImageJ's or tifffile's kind names one page of many that follow one another: name them all."""
    first = pages[0]
    count = tiff_texts.pages_in(
        first.description, first.number(HEIGHT, 0) * first.number(WIDTH, 0) * first.channels
    )
    sizes = first.sizes()
    if len(pages) > 1 or count < 2 or sizes is None:
        return pages
    size = sum(sizes)
    start = first.offsets[0]
    if [start + sum(sizes[:index]) for index in range(len(sizes))] != first.offsets or count > _MOST_PAGES:
        raise FormatError("It describes more pages than it names.")
    if start + count * size > length:
        raise FormatError("There are fewer pages than the description says.")
    return [
        Page(first.tags, [offset + number * size for offset in first.offsets], first.counts)
        for number in range(count)
    ]


# --- collecting ---------------------------------------------------------------------------------------------------


def collect(content: bytes, collector: Collector) -> None:
    _, pages = read(content)
    for page in pages if pages[0].tags is not pages[-1].tags else pages[:1]:
        collector.lines(page.description)
        tiff_texts.collect(page.description, collector)
        for tag, entry in page.tags.items():
            if tag == XMP:
                exif.collect_xmp(entry.raw, collector)
            elif tag == IPTC:
                exif.collect_iptc(entry.raw, collector)
            elif entry.type == ASCII:
                collector.field(_NAMES.get(tag, ""), entry.text())
                collector.lines(entry.text())
    exif.collect(content, collector)


# --- cleaning -----------------------------------------------------------------------------------------------------


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    layout, pages = read(content)
    _refuse(pages)
    actions: dict[str, str] = {}
    notes: list[str] = []
    kept = [page for page in pages if not _is_label(page)]
    if len(kept) < len(pages):
        actions["pages with the label or overview of a slide"] = "removed"
    if not kept:
        raise FormatError("It holds nothing but the label or overview of a slide.")
    tags = [_kept_tags(page, layout, policy, actions, notes) for page in kept]
    new = _written(content, layout, kept, tags, {})
    if pixels:
        from medcli.deidentify.formats import tiff_pixels

        if blanked := tiff_pixels.blanked_pages(new, tags):
            actions["pixels"] = "text blanked"
            order = layout.order
            tags = [
                tiff_pixels.plain_tags(page, blanked.get(index), order) for index, page in enumerate(tags)
            ]
            strips = {index: tiff_pixels.packed(samples, order) for index, samples in blanked.items()}
            new = _written(content, layout, kept, tags, strips)
    return Cleaned(new, actions, notes)


def _is_label(page: Page) -> bool:
    """A photograph of a slide's label, or of the slide with its label; a map of labels is not in colours."""
    return page.channels > 2 and tiff_texts.is_label(page.description, page.number(SUBFILE, 0))


def _written(
    content: bytes,
    layout: Layout,
    pages: list[Page],
    tags: list[dict[int, Entry]],
    replaced: dict[int, bytes],
) -> bytes:
    """The new file; `replaced`: index of a page -> its picture as one strip."""
    writer = _Writer(layout)
    for index, (page, kept) in enumerate(zip(pages, tags, strict=True)):
        if index in replaced:
            writer.add(kept, [(writer.put(replaced[index]), len(replaced[index]))], 273)
        else:
            writer.add(kept, _segments(content, page, writer), 324 if page.is_tiled else 273)
    return writer.finish()


def _refuse(pages: list[Page]) -> None:
    """Files whose pictures cannot be told from the rest with certainty, or that need the tags that must go."""
    first = pages[0].tags
    if _DNG in first or (_SUB_DIRECTORIES in first and pages[0].number(SUBFILE, 0) & 1):
        raise FormatError("It is the raw file of a camera, which is not handled; convert it to TIFF.")
    if _NDPI in first:
        raise FormatError("It is an NDPI slide, which needs its private tags; convert it to TIFF.")
    if any(page.number(COMPRESSION, 1) == _OLD_JPEG for page in pages):
        raise FormatError("It is compressed in the old JPEG manner of TIFF 6.0, which is not handled.")
    if tiff_texts.has_labels(pages[0].description):
        raise FormatError("It holds the label or overview of a slide among its pictures; store them apart.")


def _kept_tags(
    page: Page, layout: Layout, policy: Policy, actions: dict[str, str], notes: list[str]
) -> dict[int, Entry]:
    kept: dict[int, Entry] = {}
    for tag, entry in page.tags.items():
        if tag in _KEPT and entry.type in _NUMBERS and entry.count <= _most(tag, page):
            kept[tag] = entry
        elif tag == JPEG_TABLES and entry.type in (1, UNDEFINED):
            kept[tag] = _bytes(UNDEFINED, jpeg.without_additions(entry.raw), layout)
        elif tag == PROFILE:
            profile = icc.without_texts(entry.raw)
            if profile is not None:
                kept[tag] = _bytes(UNDEFINED, profile, layout)
            else:
                notes.append("a colour profile that cannot be read was removed")
            actions["ICC profile"] = "removed" if profile is None else "texts removed"
        elif tag == DESCRIPTION:
            text = tiff_texts.reduced(page.description, policy)
            actions["ImageDescription"] = "reduced to sizes" if text else "removed"
            if text:
                kept[tag] = _bytes(ASCII, text.encode("utf-8") + b"\0", layout)
        elif tag not in SEGMENTS and tag not in SEGMENTS.values():
            actions[_NAMES.get(tag, "other tags")] = "removed"
    if _SUB_DIRECTORIES in page.tags and "smaller copies in sub-directories were removed" not in notes:
        notes.append("smaller copies in sub-directories were removed")
    return kept


def _most(tag: int, page: Page) -> int:
    """How many values a tag may have."""
    return 3 * 2**16 if tag == 320 else max(page.channels, 6)


def _bytes(kind: int, raw: bytes, layout: Layout) -> Entry:
    return Entry(kind, len(raw), raw, layout.order)


def _segments(content: bytes, page: Page, writer: "_Writer") -> list[tuple[int, int]]:
    """Copy the strips or tiles into the new file; their new places and sizes."""
    coded = page.number(COMPRESSION, 1) == _JPEG
    places = []
    for start, size in zip(page.offsets, page.counts, strict=True):
        if size and (start, size) not in writer.copied:
            segment = content[start : start + size]
            segment = jpeg.without_additions(segment) if coded else segment
            writer.copied[start, size] = writer.put(segment), len(segment)
        places.append(writer.copied[start, size] if size else (0, 0))
    return places


def parts(content: bytes) -> Iterator[bytes]:
    """No tag is packed; what is spread over 16-bit characters is searched for as such."""
    return iter(())


# --- writing ------------------------------------------------------------------------------------------------------


@dataclass
class _Writer:
    """Builds a file of the same byte order and size of offsets, page by page."""

    layout: Layout
    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    pages: list[tuple[dict[int, Entry], list[tuple[int, int]], int]] = field(default_factory=list)
    copied: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.put(bytes(16 if self.layout.big else 8))

    def put(self, data: bytes) -> int:
        """Append at an even place; returns the place."""
        place = self.length
        data = data + b"\0" * (len(data) % 2)
        self.parts.append(data)
        self.length += len(data)
        if not self.layout.big and self.length > 2**32 - 2**20:
            raise FormatError("It would grow beyond what TIFF can hold.")
        return place

    def add(self, tags: dict[int, Entry], segments: list[tuple[int, int]], places_tag: int) -> None:
        self.pages.append((tags, segments, places_tag))

    def finish(self) -> bytes:
        order, code = self.layout.order, self.layout.offset_code
        pages = [self._complete(*page) for page in self.pages]
        directories = [[(tag, *self._value(entry)) for tag, entry in sorted(page.items())] for page in pages]
        first = self.length
        for index, entries in enumerate(directories):
            body = b"".join(struct.pack(order + "2H" + code, *entry[:3]) + entry[3] for entry in entries)
            count = struct.pack(order + ("Q" if self.layout.big else "H"), len(entries))
            size = len(count) + len(body) + struct.calcsize("=" + code)
            following = self.length + size + size % 2 if index + 1 < len(directories) else 0
            self.put(count + body + struct.pack(order + code, following))
        mark = b"II" if order == "<" else b"MM"
        sizes = struct.pack(order + "3H", 43, 8, 0) if self.layout.big else struct.pack(order + "H", 42)
        self.parts[0] = mark + sizes + struct.pack(order + code, first)
        return b"".join(self.parts)

    def _complete(
        self, tags: dict[int, Entry], segments: list[tuple[int, int]], places_tag: int
    ) -> dict[int, Entry]:
        order, kind = self.layout.order, 16 if self.layout.big else LONG
        result = dict(tags)
        for tag, values in zip((places_tag, SEGMENTS[places_tag]), zip(*segments, strict=True), strict=True):
            raw = struct.pack(f"{order}{len(values)}{self.layout.offset_code}", *values)
            result[tag] = Entry(kind, len(values), raw, order)
        return result

    def _value(self, entry: Entry) -> tuple[int, int, bytes]:
        """Type, count, and the value or its place."""
        inline = 8 if self.layout.big else 4
        if len(entry.raw) <= inline:
            return entry.type, entry.count, entry.raw.ljust(inline, b"\0")
        place = struct.pack(self.layout.order + self.layout.offset_code, self.put(entry.raw))
        return entry.type, entry.count, place
