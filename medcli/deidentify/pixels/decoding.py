"""The stored samples of a DICOM image, frame by frame, without any conversion of their meaning."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder
from pydicom.uid import (
    UID,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medcli.errors import FormatError

_BY_ITK = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit)
_DESCRIPTION = (
    "SamplesPerPixel",
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
                self._decoded = _with_itk(self.dataset, self.syntax)
            self.photometric = _unsampled(self.dataset.PhotometricInterpretation)
            yield from self._decoded
            return
        plugin = "pylibjpeg" if self.syntax == RLELossless else ""
        decoder = get_decoder(self.syntax)
        if plugin not in decoder.available_plugins:
            plugin = ""
        for frame, properties in decoder.iter_array(self.dataset, raw=True, decoding_plugin=plugin):
            self.photometric = _unsampled(str(properties["photometric_interpretation"]))
            yield frame.astype(frame.dtype.newbyteorder("="), copy=False)

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


def _with_itk(dataset: Dataset, syntax: UID) -> np.ndarray:
    """(frame, row, column[, sample]) by the GDCM in SimpleITK, which sees nothing but the pixels.

    Pydicom has no free decoder for JPEG Lossless and 12-bit JPEG. GDCM is told that the samples are grey or RGB,
    so that it converts nothing.
    """
    import SimpleITK

    colour = dataset.SamplesPerPixel > 1
    bare = Dataset()
    for keyword in _DESCRIPTION:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    bare.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    bare.SOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = "2.25.1"
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    with _unnamed_file() as name, _silent_decoder():
        pydicom.dcmwrite(name, bare, enforce_file_format=True)
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(name, imageIO="GDCMImageIO"))
    shape: list[int] = [int(dataset.get("NumberOfFrames") or 1), dataset.Rows, dataset.Columns]
    values = values.reshape([*shape, 3] if colour else shape)
    size = max(dataset.BitsAllocated // 8, 1)
    return values.astype(f"{'i' if dataset.PixelRepresentation else 'u'}{size}")


@contextmanager
def _unnamed_file() -> Iterator[str]:
    """The path of a file that is only in memory, where the system has such files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pixels")
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield os.path.join(folder, "pixels.dcm")


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
