"""JPEG Lossless and 12-bit JPEG, which pydicom has no free decoder for: through the GDCM in SimpleITK."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from medcli.errors import FormatError
from medcli.files import unnamed_file


def decode_with_itk(dataset: Dataset, path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """(frame, row, column, sample) as stored.

    Args:
        dataset: As `decoders.bare` gives it: in a new file with nothing but the checked pixel description and the
            pixels neither a hostile header nor GDCM's own rescaling comes into play. It is changed.
    """
    import SimpleITK

    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    with unnamed_file() as file:
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
        try:
            values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file, imageIO="GDCMImageIO"))
        except RuntimeError as error:
            raise FormatError(
                f"{path}: the {dataset.file_meta.TransferSyntaxUID.name} pixel data cannot be decoded; "
                "install python-gdcm, or pylibjpeg-libjpeg if its GPL licence suits you, or export the file "
                "uncompressed."
            ) from error
    if values.size != np.prod(shape):
        raise FormatError(f"{path}: {shape} pixels were expected by the header, {values.shape} were decoded.")
    return values.reshape(shape)
