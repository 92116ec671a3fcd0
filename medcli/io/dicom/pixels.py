"""Stored pixel values of a DICOM dataset, whatever their compression, sign, depth and colour."""

import math
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import parse_fragments
from pydicom.pixels import apply_color_lut
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medcli.errors import FormatError
from medcli.io.dicom.decoders import damaged, decode, decode_compressed, syntax_name, transfer_syntax
from medcli.io.dicom.files import integer, number, text
from medcli.io.limits import check_size

_NATIVE = {None, ImplicitVRLittleEndian, ExplicitVRLittleEndian}
_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LARGEST_RATIO = {RLELossless: 70}
_ANY_RATIO = 20_000
_HARMLESS_BYTES = 2**28


def stored_values(dataset: Dataset, path: Path, *, indices: bool = False) -> np.ndarray:
    """(frame, row, column, sample): integers as stored with their sign, unused bits cleared; colour as RGB.

    `indices` keeps palette indices, as label maps need them.

    Raises:
        FormatError: When header and data do not fit together, the image is too large, or no decoder is there.
    """
    shape = frame_shape(dataset, path)
    syntax = transfer_syntax(dataset)
    keyword = next((keyword for keyword in _KEYWORDS if keyword in dataset), None)
    if keyword is None:
        raise FormatError(f"{path}: an image was expected, the DICOM file has no pixel data.")
    if syntax in _NATIVE and keyword == "PixelData" and dataset.get("BitsAllocated") in (8, 16, 32):
        values = _native(dataset, path, shape)
    else:
        values = _decoded(dataset, path, shape, syntax, keyword)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR" and not indices:
        values = np.stack([apply_color_lut(frame[..., 0], dataset) for frame in values])
    return values


def frame_shape(dataset: Dataset, path: Path) -> tuple[int, int, int, int]:
    """(frames, rows, columns, samples) as the header says, checked against the limit of one image."""
    frames = int(number(dataset, "NumberOfFrames", 1)) or 1
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    samples = integer(dataset, "SamplesPerPixel", 1)
    bits = dataset.get("BitsAllocated")
    if bits not in (1, 8, 16, 32, 64) or samples not in (1, 3):
        raise FormatError(
            f"{path}: 8, 16 or 32 bits allocated and 1 or 3 samples per pixel were expected, {bits} bits and "
            f"{samples} samples were found."
        )
    check_size(path, (frames, rows, columns, samples), max(bits // 8, 1))
    return frames, rows, columns, samples


def _native(dataset: Dataset, path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Uncompressed values, without pydicom's detours."""
    frames, rows, columns, samples = shape
    bits, signed = int(dataset.BitsAllocated), dataset.get("PixelRepresentation") == 1
    photometric = text(dataset, "PhotometricInterpretation")
    data = dataset.PixelData
    if photometric.startswith("YBR"):
        return _decoded(dataset, path, shape, transfer_syntax(dataset), "PixelData")
    _check_length(path, len(data), math.prod(shape) * bits // 8)
    values = np.frombuffer(data, f"<{'i' if signed else 'u'}{bits // 8}", math.prod(shape))
    if samples == 3 and dataset.get("PlanarConfiguration") == 1:
        values = np.moveaxis(values.reshape(frames, 3, rows, columns), 1, -1)
    return _used_bits(values.reshape(shape), dataset)


def _used_bits(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Clear what lies beyond the stored bits (old overlays) and extend the sign (PS3.5, 8.1.1)."""
    allocated = int(dataset.BitsAllocated)
    stored = integer(dataset, "BitsStored", allocated)
    high = integer(dataset, "HighBit", stored - 1)
    if not 0 < stored < allocated or not stored - 1 <= high < allocated:
        return values
    return (values << (allocated - 1 - high)) >> (allocated - stored)


def _decoded(
    dataset: Dataset, path: Path, shape: tuple[int, int, int, int], syntax: UID | None, keyword: str
) -> np.ndarray:
    """What pydicom and its decoders make of compressed, big-endian, float, one-bit and YBR data."""
    size = math.prod(shape) * max(int(dataset.BitsAllocated) // 8, 1)
    data = dataset[keyword].value or b""
    if syntax is not None and syntax.is_encapsulated:
        _check_compressed(path, data, size, shape[0], syntax)
        return decode_compressed(dataset, path, shape)
    if dataset.BitsAllocated == 1:
        _check_length(path, len(data), (math.prod(shape) + 7) // 8)
    elif text(dataset, "PhotometricInterpretation") != "YBR_FULL_422":
        _check_length(path, len(data), size)
    return decode(dataset, path, shape)


def _check_length(path: Path, found: int, expected: int) -> None:
    if found < expected:
        raise FormatError(
            f"{path}: {expected} bytes of pixel data were expected by the header, {found} were found; the "
            "file is truncated or damaged, copy it again."
        )


def _check_compressed(path: Path, data: bytes, size: int, frames: int, syntax: UID) -> None:
    """Compare what the header asks for with what so few bytes can hold, before any memory is taken."""
    ratio = _LARGEST_RATIO.get(syntax, _ANY_RATIO)
    if size > ratio * max(len(data), 1) and (size > _HARMLESS_BYTES or syntax in _LARGEST_RATIO):
        raise FormatError(
            f"{path}: the header asks for {size / 2**20:.1f} MiB of pixels, {len(data)} bytes of "
            f"{syntax_name(syntax)} cannot hold them; the file is damaged or hostile."
        )
    try:
        fragments = parse_fragments(data)[0] - 1  # the first item is the offset table
    except Exception as error:
        raise damaged(path, syntax) from error
    if fragments < frames:
        raise FormatError(f"{path}: {frames} compressed frames were expected, {fragments} were found.")
