"""How large an image may become in memory, and reading compressed files no further than they announce."""

import math
import zlib
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from medcli.errors import FormatError

_zlib: ModuleType = zlib
if find_spec("isal"):  # about twice as fast, and optional
    _zlib = import_module("isal.isal_zlib")

MAX_BYTES = 4 * 2**30
"""No image may take more than this in memory."""

_SUSPICIOUS_BYTES = 2**30
_SUSPICIOUS_RATIO = 250
_STEP = 2**24


def check_size(path: Path, shape: Sequence[int], item_bytes: int) -> int:
    """Bytes of an array of this shape; FormatError when a length is below 1 or the limit is passed."""
    if any(int(length) < 1 for length in shape):
        raise FormatError(
            f"{path}: a size of at least 1 was expected on every axis, {list(shape)} was found."
        )
    size = math.prod(int(length) for length in shape) * item_bytes
    if size > MAX_BYTES:
        raise FormatError(
            f"{path}: its header asks for {size / 2**30:.1f} GiB ({' x '.join(map(str, shape))} values), "
            f"more than the {MAX_BYTES / 2**30:.0f} GiB that one image may take; the file is damaged or must "
            "be split."
        )
    return size


def gunzip(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a gzip file, at most `limit` bytes of it.

    Raises:
        FormatError: When the file is damaged, or when it looks like a decompression bomb: more than 1 GiB
            from less than 1/250 of that.
    """
    data = path.read_bytes()
    most = limit
    if limit > _SUSPICIOUS_BYTES:
        most = min(limit, max(_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO * len(data)))
    content, complete = _inflate(path, data, most, 16 + zlib.MAX_WBITS)
    if not complete and most < limit:
        raise FormatError(
            f"{path}: {len(data)} bytes that unpack to more than {most / 2**20:.0f} MiB are refused as a "
            "decompression bomb; unpack the file yourself if you trust it."
        )
    return content


def gunzip_start(path: Path, count: int) -> bytes:
    """The first `count` bytes inside a gzip file, reading no more of it than that takes."""
    with open(path, "rb") as stream:
        return _inflate(path, stream.read(4096 + 2 * count), count, 16 + zlib.MAX_WBITS)[0]


def inflate(path: Path, data: Any, limit: int) -> bytes:
    """The content of a raw deflate stream; FormatError when it is damaged or passes `limit` bytes."""
    content, complete = _inflate(path, data, limit + 1, -zlib.MAX_WBITS)
    if len(content) > limit:
        raise FormatError(
            f"{path}: {len(data)} packed bytes unpack to more than {limit / 2**20:.0f} MiB, which is refused "
            "as a decompression bomb; unpack the file yourself if you trust it."
        )
    if not complete:
        raise FormatError(f"{path}: the compressed data end early; copy the file again.")
    return content


def _inflate(path: Path, data: Any, limit: int, window_bits: int) -> tuple[bytes, bool]:
    """Up to `limit` bytes, and whether the stream ended there; consecutive gzip members are joined."""
    pieces: list[bytes] = []
    size = 0
    rest = data
    try:
        while True:
            unpacker = _zlib.decompressobj(window_bits)
            while not unpacker.eof and size < limit:
                piece = unpacker.decompress(
                    rest, min(limit - size, _STEP) if len(pieces) else min(limit, 2**12)
                )
                rest = unpacker.unconsumed_tail
                if not piece and not rest:
                    break
                pieces.append(piece)
                size += len(piece)
            if not unpacker.eof:
                unpacker.decompress(
                    rest, _STEP
                )  # to the end where it is near, so that the checksum is verified
                return b"".join(pieces), unpacker.eof
            rest = unpacker.unused_data
            if window_bits < 0 or not rest.startswith(b"\x1f\x8b") or size >= limit:
                return b"".join(pieces), True
    except (zlib.error, getattr(_zlib, "error", zlib.error)) as error:
        raise FormatError(f"{path}: the compressed data are damaged; copy the file again.") from error


def finite(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array with values that are no numbers set to 0, and a note that says how many."""
    with np.errstate(invalid="ignore"):
        if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64)):
            return array, ()
    bad = ~np.isfinite(array)
    array = np.where(bad, array.dtype.type(0), array)
    return array, (f"{int(bad.sum())} values that were no finite numbers were set to 0",)
