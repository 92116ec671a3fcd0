"""Decoding pixel data: by pydicom and its plugins, the compressed ones in a process that may crash."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, RLELossless

from medcli import sandbox
from medcli.errors import FormatError
from medcli.io.dicom.files import integer

_DESCRIPTION = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
_JPEG_LOSSLESS = (JPEGLossless, JPEGLosslessSV1)
_COPIES = 10
"""Decoders hold several copies of a frame, some with 32 bits per sample."""
_BYTES_PER_SECOND = 2**20
"""The slowest decoder is ten times as fast."""


def decode_compressed(dataset: Dataset, path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """(frame, row, column, sample), by a decoder that sees nothing but the pixels and their description.

    Raises:
        FormatError: There is no decoder, the pixel data are damaged, or the decoder crashed on them.
    """
    size = int(np.prod(shape)) * max(int(dataset.BitsAllocated) // 8, 1)
    return sandbox.call(
        decode,
        bare(dataset),
        path,
        shape,
        subject=str(path),
        memory=sandbox.MEMORY + _COPIES * size,
        seconds=sandbox.SECONDS + size / _BYTES_PER_SECOND,
    )


def bare(dataset: Dataset) -> Dataset:
    """The pixels and their description, nothing else of the header."""
    pixels = Dataset()
    for keyword in _DESCRIPTION:
        if keyword in dataset:
            element = dataset[keyword]
            pixels.add_new(element.tag, element.VR, element.value)
    pixels.file_meta = FileMetaDataset()
    pixels.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    return pixels


def decode(dataset: Dataset, path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """(frame, row, column, sample) in this process; for the errors see `decode_compressed`."""
    syntax = transfer_syntax(dataset)
    if syntax in _JPEG_LOSSLESS or (syntax == JPEGExtended12Bit and integer(dataset, "BitsStored") > 8):
        from medcli.io.dicom.fallback import decode_with_itk

        return decode_with_itk(dataset, path, shape)
    plugin = "pylibjpeg" if syntax == RLELossless and _has("rle") else ""
    try:
        values = pixel_array(dataset, decoding_plugin=plugin)
    except (RuntimeError, NotImplementedError) as error:
        if ("plugin" in str(error) and "missing" in str(error)) or isinstance(error, NotImplementedError):
            raise FormatError(
                f"{path}: no decoder is installed for {syntax_name(syntax)}; install python-gdcm, or "
                "pylibjpeg-libjpeg if its GPL licence suits you."
            ) from error
        raise damaged(path, syntax) from error
    except MemoryError:
        raise
    except Exception as error:
        raise damaged(path, syntax) from error
    return values.reshape(shape)


def transfer_syntax(dataset: Dataset) -> UID | None:
    return getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)


def syntax_name(syntax: UID | None) -> str:
    return f"{syntax.name} ({syntax})" if syntax is not None else "uncompressed"


def damaged(path: Path, syntax: UID | None) -> FormatError:
    return FormatError(f"{path}: the {syntax_name(syntax)} pixel data are damaged or truncated.")


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None and find_spec("pylibjpeg") is not None
