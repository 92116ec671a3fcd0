"""The stored samples of a DICOM image, frame by frame, without any conversion of their meaning.

Compressed ones are decoded in a process that may crash.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder
from pydicom.uid import (
    UID,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medcli import sandbox
from medcli.errors import FormatError
from medcli.files import unnamed_file

_BY_ITK = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit)
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
    "PixelData",
)
_COPIES = 10
"""Decoders hold several copies of a frame, some with 32 bits per sample."""
_BYTES_PER_SECOND = 2**20
"""The slowest decoder is ten times as fast."""


@dataclass
class Stored:
    """The frames of a dataset as its decoder gives them.

    Attributes:
        photometric: What the decoded samples are; only for lossy colour and after decoding JPEG 2000 is it
            another one than the header's.
    """

    dataset: Dataset
    syntax: UID
    photometric: str = ""
    _decoded: np.ndarray | None = field(default=None, repr=False)

    def frames(self) -> Iterator[np.ndarray]:
        """(row, column) or (row, column, 3) in native byte order, one after the other.

        Raises:
            FormatError: When they cannot be decoded.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield from self._frames()
        except FormatError:
            raise
        except Exception as error:
            raise FormatError(
                f"the pixel data ({self.syntax.name}) cannot be decoded ({type(error).__name__}); the file is "
                "damaged, or there is no decoder for it."
            ) from None

    def _frames(self) -> Iterator[np.ndarray]:
        if self.syntax in _BY_ITK and self._needs_itk():
            if self._decoded is None:
                self._decoded = sandbox.call(_with_itk, self._bare(), **self._bounds(self._count))
            self.photometric = _unsampled(self.dataset.PhotometricInterpretation)
            yield from self._decoded
        elif self.syntax.is_encapsulated:
            bare = self._bare()
            bare.NumberOfFrames = 1
            for code in self._codes():
                bare.PixelData = encapsulate([code])
                frame, photometric = sandbox.call(_by_pydicom, bare, **self._bounds(1))
                self.photometric = _unsampled(photometric)
                yield frame
        else:
            for frame, properties in get_decoder(self.syntax).iter_array(self.dataset, raw=True):
                self.photometric = _unsampled(str(properties["photometric_interpretation"]))
                yield frame.astype(frame.dtype.newbyteorder("="), copy=False)

    @property
    def _count(self) -> int:
        return int(self.dataset.get("NumberOfFrames") or 1)

    def _codes(self) -> Iterator[bytes]:
        """The compressed frames."""
        tables = [self.dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        offsets = (tables[0], tables[1]) if all(tables) else None
        return generate_frames(self.dataset.PixelData, number_of_frames=self._count, extended_offsets=offsets)

    def _bare(self) -> Dataset:
        """The pixels and their description, which is all that a decoder gets to see."""
        bare = Dataset()
        for keyword in _DESCRIPTION:
            if keyword in self.dataset:
                element = self.dataset[keyword]
                bare.add_new(element.tag, element.VR, element.value)
        bare.file_meta = FileMetaDataset()
        bare.file_meta.TransferSyntaxUID = self.syntax
        return bare

    def _bounds(self, frames: int) -> dict[str, Any]:
        """What decoding so many frames may take."""
        samples = self.dataset.Rows * self.dataset.Columns * self.dataset.SamplesPerPixel
        size = frames * samples * max(self.dataset.BitsAllocated // 8, 1)
        return {
            "subject": f"the pixel data ({self.syntax.name})",
            "memory": sandbox.MEMORY + _COPIES * size,
            "seconds": sandbox.SECONDS + size / _BYTES_PER_SECOND,
        }

    def _needs_itk(self) -> bool:
        return not (self.syntax == JPEGExtended12Bit and self.dataset.BitsStored <= 8)


def _unsampled(photometric: str) -> str:
    """Decoded samples stand for every pixel, whatever the colour's resolution was."""
    return "YBR_FULL" if photometric == "YBR_FULL_422" else photometric


def stored(dataset: Dataset) -> Stored:
    """Raises FormatError where there is no transfer syntax or no decoder."""
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        raise FormatError("the pixel data have no Transfer Syntax UID (0002,0010).")
    return Stored(dataset, syntax)


def picture(frame: np.ndarray, photometric: str, dataset: Dataset) -> np.ndarray:
    """A frame as it is seen: palettes applied, YBR as RGB; grey as stored."""
    if photometric == "PALETTE COLOR":
        return apply_color_lut(frame, dataset)
    if photometric == "YBR_FULL" and frame.dtype == np.uint8:
        return convert_color_space(frame, photometric, "RGB")
    return frame


def _by_pydicom(bare: Dataset) -> tuple[np.ndarray, str]:
    """The one frame, and what its samples are."""
    decoder = get_decoder(bare.file_meta.TransferSyntaxUID)
    plugin = "pylibjpeg" if bare.file_meta.TransferSyntaxUID == RLELossless else ""
    if plugin not in decoder.available_plugins:
        plugin = ""
    ((frame, properties),) = decoder.iter_array(bare, raw=True, decoding_plugin=plugin)
    return frame.astype(frame.dtype.newbyteorder("="), copy=False), str(
        properties["photometric_interpretation"]
    )


def _with_itk(bare: Dataset) -> np.ndarray:
    """(frame, row, column[, sample]) by the GDCM in SimpleITK, which sees nothing but the pixels.

    Pydicom has no free decoder for JPEG Lossless and 12-bit JPEG. GDCM is told that the samples are grey or RGB,
    so that it converts nothing.
    """
    import SimpleITK

    colour = bare.SamplesPerPixel > 1
    bare.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    with unnamed_file() as name, _silent_decoder():
        pydicom.dcmwrite(name, bare, enforce_file_format=True)
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(name, imageIO="GDCMImageIO"))
    shape: list[int] = [int(bare.get("NumberOfFrames") or 1), bare.Rows, bare.Columns]
    values = values.reshape([*shape, 3] if colour else shape)
    size = max(bare.BitsAllocated // 8, 1)
    return values.astype(f"{'i' if bare.PixelRepresentation else 'u'}{size}")


@contextmanager
def _silent_decoder() -> Iterator[None]:
    """Without what GDCM writes to the standard error on its way to the right decoder."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def samples(dataset: Dataset) -> dict[str, Any]:
    """What an encoder has to know."""
    return {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "samples_per_pixel": dataset.SamplesPerPixel,
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored,
        "pixel_representation": dataset.PixelRepresentation,
        "number_of_frames": 1,
        "planar_configuration": 0,
    }
