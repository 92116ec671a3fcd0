"""JPEG Lossless and 12-bit JPEG, which pydicom has no free decoder for: through the GDCM in SimpleITK."""

import tempfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from medcli.errors import FormatError

_PIXEL_KEYWORDS = (
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


def decode_with_itk(dataset: Dataset, path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """(frame, row, column, sample) as stored.

    GDCM sees a new file with nothing but the checked pixel description and the pixels, so that neither a
    hostile header nor its own rescaling comes into play.
    """
    import SimpleITK

    bare = Dataset()
    for keyword in _PIXEL_KEYWORDS:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    bare.SOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = generate_uid()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        pydicom.dcmwrite(file, bare, enforce_file_format=True)
        try:
            values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file), imageIO="GDCMImageIO"))
        except RuntimeError as error:
            raise FormatError(
                f"{path}: the {dataset.file_meta.TransferSyntaxUID.name} pixel data cannot be decoded; "
                "install python-gdcm, or pylibjpeg-libjpeg if its GPL licence suits you, or export the file "
                "uncompressed."
            ) from error
    if values.size != np.prod(shape):
        raise FormatError(f"{path}: {shape} pixels were expected by the header, {values.shape} were decoded.")
    return values.reshape(shape)
