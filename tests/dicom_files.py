"""Tiny DICOM files made in code, for the tests of reading."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES = generate_uid()
FRAME = generate_uid()


def slice_dataset(values: np.ndarray, position=(0.0, 0.0, 0.0), **elements) -> Dataset:
    """A CT slice of 0.5 mm rows, 0.75 mm columns; keywords set or, with None, remove elements."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = SERIES
    dataset.FrameOfReferenceUID = FRAME
    dataset.PatientName = "Secret^Name"
    dataset.PatientID = "secret-id"
    dataset.Modality = "CT"
    dataset.InstanceNumber = 1
    dataset.ImagePositionPatient = [float(x) for x in position]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.5, 0.75]
    dataset.SliceThickness = 2.0
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = values.shape[2] if values.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def planes(count: int, rows: int = 4, columns: int = 6) -> np.ndarray:
    """(plane, row, column) int16, every voxel another value."""
    return np.arange(count * rows * columns, dtype=np.int16).reshape(count, rows, columns)


def save_series(
    folder: Path, values: np.ndarray, depths, *, names=None, shear: float = 0.0, **elements
) -> Path:
    """One file per plane at (10, 20 + shear * depth, depth); `names` are those of the files."""
    for index, (plane, depth) in enumerate(zip(values, depths, strict=True)):
        dataset = slice_dataset(
            plane, (10.0, 20.0 + shear * depth, depth), InstanceNumber=index + 1, **elements
        )
        save(dataset, folder / (names[index] if names else f"{index:03d}.dcm"))
    return folder
