"""Samples back into pixel data, losslessly, in a transfer syntax of the kind that they came in."""

import struct
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medcli.deidentify.pixels.decoding import samples

_JPEG_2000_FAMILY = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
_LARGEST_TABLE = 2**32 - 1


def encode(
    frames: Callable[[], Iterable[np.ndarray]], dataset: Dataset, syntax: UID, photometric: str
) -> tuple[bytes | list[bytes], UID, str]:
    """Pixel data, their transfer syntax and photometric interpretation.

    Compressed frames are decoded again and compared; where an encoder is missing, refuses or alters a value, all
    frames are stored native.

    Args:
        frames: Gives the frames from the first on, each time it is called.
        syntax: That of the samples' origin.
    """
    if syntax.is_encapsulated:
        target = _lossless(syntax)
        stated = "YBR_RCT" if target == JPEG2000Lossless and photometric == "RGB" else photometric
        try:
            return _encapsulated([_compressed(f, dataset, target, stated) for f in frames()]), target, stated
        except _NotEncodable:
            return native(frames(), dataset), ExplicitVRLittleEndian, photometric
    target = ExplicitVRLittleEndian if syntax == ExplicitVRBigEndian else syntax
    return native(frames(), dataset), target, photometric


class _NotEncodable(Exception):
    """An encoder is missing, refuses, or does not give back what it was given."""


def _lossless(syntax: UID) -> UID:
    if syntax == RLELossless:
        return RLELossless
    return JPEG2000Lossless if syntax.startswith(_JPEG_2000_FAMILY) else JPEGLSLossless


def _compressed(frame: np.ndarray, dataset: Dataset, target: UID, photometric: str) -> bytes:
    options = {**samples(dataset), "photometric_interpretation": photometric}
    try:
        code = get_encoder(target).encode(np.ascontiguousarray(frame), **options)
        decoded, _ = get_decoder(target).as_array(
            _encapsulated_bytes(code), raw=True, **{**options, "pixel_keyword": "PixelData"}
        )
    except Exception as error:
        raise _NotEncodable from error
    if not np.array_equal(decoded, frame):
        raise _NotEncodable
    return code


def _encapsulated_bytes(code: bytes) -> bytes:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(code) + len(code) % 2) + code + b"\0" * (len(code) % 2)
    return struct.pack("<HHL", 0xFFFE, 0xE000, 0) + item + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def _encapsulated(codes: list[bytes]) -> list[bytes]:
    """The basic offset table (PS3.5 A.4; empty where offsets do not fit) and a fragment per frame."""
    fragments = [code + b"\0" * (len(code) % 2) for code in codes]
    starts = np.cumsum([0, *(len(fragment) + 8 for fragment in fragments)])[:-1]
    table = b"" if starts[-1] > _LARGEST_TABLE else starts.astype("<u4").tobytes()
    return [table, *fragments]


def native(frames: Iterable[np.ndarray], dataset: Dataset) -> bytes:
    """Little endian, colour by pixel, one bit packed, of even length."""
    if dataset.BitsAllocated == 1:
        bits = np.concatenate([frame.ravel() for frame in frames]).astype(bool)
        value = np.packbits(bits, bitorder="little").tobytes()
    else:
        value = b"".join(_little(frames))
    return value + b"\0" * (len(value) % 2)


def _little(frames: Iterable[np.ndarray]) -> Iterator[bytes]:
    for frame in frames:
        yield frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()
