"""The pixel data of PNG (ISO/IEC 15948): from filtered, perhaps interlaced lines to samples and back, exactly."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from medcli.errors import FormatError

Samples: TypeAlias = np.ndarray
"""(row, column) or (row, column, channel), uint8 or uint16; of less than 8 bits too, one sample in a byte."""

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, and their steps."""
_UP = 2


@dataclass(frozen=True)
class Picture:
    """What IHDR and PLTE say. `palette`: (colours, 3) uint8, of a picture of indices only."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    palette: np.ndarray | None

    @classmethod
    def read(cls, header: bytes, palette: bytes) -> "Picture":
        if len(header) != 13:
            raise FormatError("The chunk IHDR has a wrong length.")
        width, height, depth, colour, packing, filtering, interlace = struct.unpack(">2I5B", header)
        if not (0 < width < 2**31 and 0 < height < 2**31) or depth not in _DEPTHS.get(colour, ()):
            raise FormatError("The chunk IHDR is damaged.")
        if packing or filtering or interlace > 1 or (colour == 3 and not palette):
            raise FormatError("The chunk IHDR is damaged.")
        colours = np.frombuffer(palette, np.uint8).reshape(-1, 3) if colour == 3 else None
        return cls(width, height, depth, colour, bool(interlace), colours)

    @classmethod
    def of(cls, samples: Samples) -> "Picture":
        """Of grey or RGB samples."""
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2] if samples.ndim == 3 else 1]
        return cls(samples.shape[1], samples.shape[0], samples.dtype.itemsize * 8, colour, False, None)

    def header(self, *, interlaced: bool) -> bytes:
        return struct.pack(">2I5B", self.width, self.height, self.depth, self.colour, 0, 0, interlaced)

    def resized(self, width: int, height: int) -> "Picture":
        return replace(self, width=width, height=height)

    @property
    def channels(self) -> int:
        return _CHANNELS[self.colour]

    @property
    def size(self) -> int:
        """Bytes of the unpacked data."""
        return sum(rows * (1 + self.line(columns)) for rows, columns in self.passes())

    def line(self, columns: int) -> int:
        """Bytes of a line of so many pixels, without its filter."""
        return (columns * self.channels * self.depth + 7) // 8

    def passes(self) -> Iterator[tuple[int, int]]:
        """(rows, columns) of the parts that follow one another; empty parts are left out."""
        for row, column, down, right in _PASSES if self.interlaced else ((0, 0, 1, 1),):
            rows, columns = -(-(self.height - row) // down), -(-(self.width - column) // right)
            if rows > 0 and columns > 0:
                yield rows, columns


def decode(data: bytes, picture: Picture) -> Samples:
    """All samples of unpacked data of the right size."""
    dtype = np.uint16 if picture.depth == 16 else np.uint8
    result = np.zeros((picture.height, picture.width, picture.channels), dtype)
    at = 0
    for row, column, down, right in _PASSES if picture.interlaced else ((0, 0, 1, 1),):
        part = result[row::down, column::right]
        if part.size:
            line = picture.line(part.shape[1])
            block = np.frombuffer(data, np.uint8, part.shape[0] * (1 + line), at).reshape(-1, 1 + line)
            at += block.size
            part[...] = _samples(_unfiltered(block, picture), picture, part.shape)
    return result if picture.channels > 1 else result[..., 0]


def _unfiltered(block: np.ndarray, picture: Picture) -> np.ndarray:
    """Lines without their filters, worked out along diagonals: a byte needs those to the left, above, and between."""
    kinds, lines = block[:, 0].astype(np.intp), block[:, 1:]
    if kinds.max() > 4:
        raise FormatError("A line of the picture has an unknown filter.")
    if not kinds.any():
        return lines
    rows, step = len(lines), max(picture.channels * picture.depth // 8, 1)
    columns = lines.shape[1] // step
    padded = np.zeros((rows + 1, columns + 1, step), np.int16)
    padded[1:, 1:] = lines.reshape(rows, columns, step)
    flat = padded.reshape(-1, step)
    for diagonal in range(rows + columns - 1):
        top = max(0, diagonal - columns + 1)
        count = min(diagonal, rows - 1) - top + 1
        start = (top + 1) * (columns + 1) + diagonal - top + 1
        here, left, above, between = (
            flat[start - back : start - back + columns * (count - 1) + 1 : columns]
            for back in (0, 1, columns + 1, columns + 2)
        )
        here += _predicted(kinds[top : top + count, None], left, above, between)
        here &= 255
    return padded[1:, 1:].reshape(rows, -1).astype(np.uint8)


def _predicted(kinds: np.ndarray, left: np.ndarray, above: np.ndarray, between: np.ndarray) -> np.ndarray:
    by_left, by_above = abs(above - between), abs(left - between)
    by_between = abs(left + above - 2 * between)
    paeth = np.where(by_above <= by_between, above, between)
    paeth = np.where((by_left <= by_above) & (by_left <= by_between), left, paeth)
    zero = np.zeros_like(left)
    return np.choose(kinds, (zero, left, above, (left + above) >> 1, paeth))


def _samples(lines: np.ndarray, picture: Picture, shape: tuple[int, ...]) -> np.ndarray:
    if picture.depth == 16:
        return np.ascontiguousarray(lines).view(">u2").reshape(shape)
    if picture.depth == 8:
        return lines.reshape(shape)
    bits = np.unpackbits(lines, axis=1)[:, : shape[1] * picture.depth].reshape(shape[0], shape[1], -1)
    return (bits @ (1 << np.arange(picture.depth)[::-1]))[..., None].astype(np.uint8)


def encode(samples: Samples, picture: Picture) -> bytes:
    """Lines of these samples in the picture's depth, not interlaced; each line as its difference from the one above."""
    rows = len(samples)
    if picture.depth == 16:
        lines = samples.astype(">u2").reshape(rows, -1).view(np.uint8)
    elif picture.depth == 8:
        lines = samples.astype(np.uint8).reshape(rows, -1)
    else:
        places = np.arange(picture.depth)[::-1]
        bits = (samples.astype(np.uint8)[..., None] >> places & 1).reshape(rows, -1)
        lines = np.packbits(bits, axis=1)
    filtered = np.empty((rows, 1 + lines.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = lines[0]
    filtered[1:, 1:] = lines[1:] - lines[:-1]
    return filtered.tobytes()
