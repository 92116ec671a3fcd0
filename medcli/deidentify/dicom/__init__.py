"""One DICOM object cleaned: every attribute at every depth by its action, then what marks it as de-identified."""

from medcli.deidentify.dicom.cleaning import clean
from medcli.deidentify.dicom.collecting import collect
from medcli.deidentify.dicom.marks import IMPLEMENTATION, stamp
from medcli.deidentify.dicom.pixel_data import clean_pixels
from medcli.deidentify.dicom.values import (
    CHARSET,
    DIRECTORY_RECORDS,
    PIXEL_DATA,
    SERIES,
    SOP_CLASS,
    SOP_INSTANCE,
    STUDY,
    Log,
    patient_of,
    text_of,
)

__all__ = [
    "CHARSET",
    "DIRECTORY_RECORDS",
    "IMPLEMENTATION",
    "PIXEL_DATA",
    "SERIES",
    "SOP_CLASS",
    "SOP_INSTANCE",
    "STUDY",
    "Log",
    "clean",
    "clean_pixels",
    "collect",
    "patient_of",
    "stamp",
    "text_of",
]
