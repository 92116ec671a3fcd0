"""DICOM files of made-up people: radiographs (DX) and CT series, complete enough for strict readers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

from medcli.sampledata.people import Person

IMPLEMENTATION = generate_uid(entropy_srcs=["medcli sample data"])


@dataclass(frozen=True)
class Visit:
    """Which study of whom; its identifiers follow from `key`, and `day` counts from 1 January 2020."""

    person: Person
    key: str
    day: int


def write_radiograph(path: Path, array: np.ndarray, visit: Visit, *, inverted: bool) -> None:
    """Write (row, column) uint16 of 12 bits, bright where dense, as Digital X-Ray Image (for presentation).

    `inverted` stores it as MONOCHROME1, where small values are bright, as many machines do.
    """
    data = _common(visit, DigitalXRayImageStorageForPresentation, "DX", series=1, instance=1)
    data.SeriesDescription = "Chest PA, made up"
    data.PresentationIntentType = "FOR PRESENTATION"
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.BodyPartExamined, data.ViewPosition, data.PatientOrientation = "CHEST", "PA", ["L", "F"]
    data.ImageLaterality, data.DetectorType, data.AcquisitionContextSequence = "U", "DIRECT", []
    data.ImagerPixelSpacing, data.PixelSpacing = [1.9, 1.9], [1.9, 1.9]
    data.PixelSpacingCalibrationType = "GEOMETRY"
    data.BurnedInAnnotation, data.LossyImageCompression, data.PresentationLUTShape = "NO", "00", "IDENTITY"
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "US"
    data.WindowCenter, data.WindowWidth = "2048", "4096"
    data.AnatomicRegionSequence = [_code("51185008", "SCT", "Thorax")]
    if inverted:
        data.PresentationLUTShape, data.PixelIntensityRelationshipSign = "INVERSE", -1
        array = 4095 - array
    _add_pixels(data, array, bits=12, photometric="MONOCHROME1" if inverted else "MONOCHROME2")
    data.save_as(path, enforce_file_format=True)


def write_ct_series(folder: Path, volume: np.ndarray, affine: np.ndarray, visit: Visit) -> None:
    """Write (plane, row, column) int16 in HU, one file per plane, with names that do not tell their order.

    Args:
        affine: (4, 4) from (plane, row, column, 1) to RAS+ mm.
    """
    folder.mkdir(parents=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    plane, row, column = (lps[:3, axis] for axis in range(3))
    steps = [float(np.linalg.norm(axis)) for axis in (plane, row, column)]
    orientation = [*column / steps[2], *row / steps[1]]
    order = np.random.default_rng(len(volume)).permutation(len(volume))
    for index, values in enumerate(volume):
        data = _common(visit, CTImageStorage, "CT", series=2, instance=index + 1)
        data.SeriesDescription = "Abdomen, made up"
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.BodyPartExamined, data.PatientPosition, data.KVP = "ABDOMEN", "HFS", "120"
        data.FrameOfReferenceUID = _uid(visit, "frame")
        data.PositionReferenceIndicator = ""
        data.ImagePositionPatient = [f"{value:.6f}" for value in lps[:3, 3] + index * plane]
        data.ImageOrientationPatient = [f"{value:.8f}" for value in orientation]
        data.PixelSpacing = [f"{steps[1]:g}", f"{steps[2]:g}"]
        data.SliceThickness, data.SpacingBetweenSlices = f"{steps[0]:g}", f"{steps[0]:g}"
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "-1024", "1", "HU"
        data.WindowCenter, data.WindowWidth = "40", "400"
        _add_pixels(
            data, (values.astype(np.int32) + 1024).astype(np.uint16), bits=12, photometric="MONOCHROME2"
        )
        data.save_as(folder / f"{order[index]:04d}.dcm", enforce_file_format=True)


def _common(visit: Visit, sop_class: UID, modality: str, *, series: int, instance: int) -> FileDataset:
    """What every image carries: patient, study, series, equipment, and the file's own header."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = _uid(visit, f"{series}.{instance}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID = visit.person.dicom_name, visit.person.name
    data.PatientSex, data.PatientAge = visit.person.sex, f"{visit.person.age:03d}Y"
    data.PatientBirthDate = ""
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(visit, "study"), _uid(visit, str(series))
    date = np.datetime_as_string(np.datetime64("2020-01-01") + visit.day).replace("-", "")
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = date
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "120000"
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "1", "", ""
    data.Modality, data.SeriesNumber, data.InstanceNumber = modality, series, instance
    data.AcquisitionNumber = 1
    data.Manufacturer, data.ManufacturerModelName = "medcli", "made-up data"
    data.InstitutionName = f"Made-up hospital, site {visit.person.site}"
    data.DeviceSerialNumber, data.SoftwareVersions = "0", "1"
    data.Laterality = ""
    return data


def _add_pixels(data: Dataset, array: np.ndarray, *, bits: int, photometric: str) -> None:
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.Rows, data.Columns = array.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, bits, bits - 1, 0
    data.PixelData = np.ascontiguousarray(array, "<u2").tobytes()


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _uid(visit: Visit, part: str) -> UID:
    """The same in every run with the same seed."""
    return generate_uid(entropy_srcs=["medcli sample data", visit.key, part])
