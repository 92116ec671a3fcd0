"""DICOM: see `read_dicom`."""

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image


def read_dicom(source: Source) -> Image:
    raise FormatError(f"{source.path}: DICOM cannot be read yet.")
