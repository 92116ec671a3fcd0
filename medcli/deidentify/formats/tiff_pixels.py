"""Burned-in text in the pages of a TIFF: pages that hold some are decoded, blanked, and stored again without loss."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

from medcli.deidentify.formats.ifd import LONG, SHORT, Entry
from medcli.deidentify.formats.pictures import blanked
from medcli.errors import FormatError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS, _PLANAR, _COLOURS = (
    256, 257, 258, 259, 262, 277, 278, 284, 320,
)  # fmt: skip
_CODING = frozenset({266, 292, 293, 317, 322, 323, 347, 529, 530, 531, 532, 32995, 32996, 50674})
_DEFLATE, _RGB, _PALETTE, _YCBCR = 8, 2, 3, 6
_PIL_MODES = {"L": 1, "RGB": 3, "I;16": 1, "P": 1}


def blanked_pages(content: bytes, tags: list[dict[int, Entry]]) -> dict[int, np.ndarray]:
    """Index -> (row, column[, channel]) of the pages on which there was text."""
    result = {}
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for index, page in enumerate(tags):
            samples = _samples(file, content, index, page)
            stored = samples.astype(np.uint8) if samples.dtype == bool else samples
            new = blanked(stored, palette=_palette(page))
            if new is not None:
                result[index] = new.astype(samples.dtype)
    return result


def _samples(file: tifffile.TiffFile, content: bytes, index: int, page: dict[int, Entry]) -> np.ndarray:
    height, width, channels = (_number(page, tag, 1) for tag in (_HEIGHT, _WIDTH, _SAMPLES))
    try:
        samples = np.asarray(file.pages[index].asarray())
        if _number(page, _PHOTOMETRIC, 1) == _YCBCR:
            raise ValueError
    except (ValueError, KeyError, TypeError, OSError, ImportError, tifffile.TiffFileError, zlib.error):
        samples = _by_pillow(content, index, page)
    if samples.ndim == 3 and samples.shape[0] == channels != samples.shape[2]:
        samples = np.moveaxis(samples, 0, -1)
    if samples.shape not in ((height, width), (height, width, channels)):
        raise FormatError("A page cannot be decoded, so it cannot be searched for burned-in text.")
    bits = set(page[_BITS].numbers()) if _BITS in page else {1}
    if bits != ({1} if samples.dtype == bool else {samples.dtype.itemsize * 8}):
        raise FormatError("A page has samples of a size that cannot be searched for burned-in text.")
    return samples


def _by_pillow(content: bytes, index: int, page: dict[int, Entry]) -> np.ndarray:
    """What tifffile alone cannot decode, in the modes in which Pillow changes nothing."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.seek(index)
            right = _PIL_MODES.get(picture.mode) == _number(page, _SAMPLES, 1)
            if right and _number(page, _PHOTOMETRIC, 1) != 0:
                return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, Image.DecompressionBombError):
        pass
    raise FormatError("A page cannot be decoded, so it cannot be searched for burned-in text.")


def _palette(page: dict[int, Entry]) -> np.ndarray | None:
    if _number(page, _PHOTOMETRIC, 1) != _PALETTE or _COLOURS not in page:
        return None
    colours = np.array(page[_COLOURS].numbers(), np.uint16)
    if len(colours) not in (6, 768):
        raise FormatError("A page has a palette that cannot be searched for burned-in text.")
    return (colours.reshape(3, -1).T >> 8).astype(np.uint8)


def _number(page: dict[int, Entry], tag: int, default: int) -> int:
    values = page[tag].numbers() if tag in page else []
    return values[0] if values else default


def plain_tags(page: dict[int, Entry], samples: np.ndarray | None, order: str) -> dict[int, Entry]:
    """The tags for a page that is stored as one deflated strip; None: the page stays as it is."""
    if samples is None:
        return page
    channels = samples.shape[2] if samples.ndim == 3 else 1
    bits = 1 if samples.dtype == bool else samples.dtype.itemsize * 8
    photometric = _number(page, _PHOTOMETRIC, 1)
    changed = {
        _BITS: [bits] * channels,
        _COMPRESSION: [_DEFLATE],
        _PHOTOMETRIC: [_RGB if photometric == _YCBCR else photometric],
        _SAMPLES: [channels],
        _PLANAR: [1],
    }
    kept = {tag: entry for tag, entry in page.items() if tag not in _CODING}
    for tag, values in changed.items():
        kept[tag] = Entry(SHORT, len(values), struct.pack(f"{order}{len(values)}H", *values), order)
    kept[_ROWS] = Entry(LONG, 1, struct.pack(order + "I", len(samples)), order)
    return kept


def packed(samples: np.ndarray, order: str) -> bytes:
    """One deflated strip."""
    if samples.dtype == bool:
        return zlib.compress(np.packbits(samples, axis=1).tobytes())
    return zlib.compress(samples.astype(samples.dtype.str.replace("<", order)).tobytes())
