"""Opening DICOM files safely: gzipped, deflated, without preamble, damaged or hostile ones."""

import io
import math
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medcli.errors import FormatError
from medcli.io.limits import gunzip, inflate

# pydicom checks values against the standard and quotes them, a patient's data among them, in warnings.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")

MAX_DEFLATED_BYTES = 2**29
"""A deflated DICOM file may not unpack to more than this."""

_META_BYTES = 4096


def open_dicom(path: Path, *, pixels: bool = True) -> Dataset:
    """Parse a file once.

    Args:
        path: A DICOM file; gzipped ones are unpacked.
        pixels: False stops before the pixel data.

    Raises:
        FormatError: When it is no DICOM, damaged, or its sequences are nested too deeply to be honest.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(_META_BYTES)
            if head.startswith(b"\x1f\x8b"):
                content = gunzip(path)
                return _parse(path, io.BytesIO(content), content[:_META_BYTES], pixels)
            stream.seek(0)
            return _parse(path, stream, head, pixels)
    except FormatError:
        raise
    except RecursionError as error:
        raise FormatError(
            f"{path}: its sequences are nested too deeply; the file is damaged or hostile."
        ) from error
    except OSError as error:
        if error.errno is None:  # pydicom's way to say that the data end early
            raise _damaged(path) from error
        raise
    except Exception as error:  # many kinds, and their text may quote values of the header
        raise _damaged(path) from error


def _damaged(path: Path) -> FormatError:
    return FormatError(f"{path}: the DICOM file is damaged or truncated; copy or export it again.")


def _parse(path: Path, stream, head: bytes, pixels: bool) -> Dataset:
    if DeflatedExplicitVRLittleEndian.encode() in head and head[128:132] == b"DICM":
        return _parse_deflated(path, stream)
    try:
        return pydicom.dcmread(stream, stop_before_pixels=not pixels)
    except InvalidDicomError as error:
        if head[:2] not in (b"\x08\0", b"\x02\0"):
            raise FormatError(f"{path}: a DICOM file was expected, something else was found.") from error
        stream.seek(0)
        dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels, force=True)
        if "SOPClassUID" not in dataset and "Rows" not in dataset:
            raise FormatError(f"{path}: a DICOM file was expected, something else was found.") from error
        return dataset


def _parse_deflated(path: Path, stream) -> Dataset:
    """pydicom would unpack without a limit, so it is done here."""
    stream.seek(128 + 4)
    meta = read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag.group != 2
    )
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        stream.seek(0)
        return pydicom.dcmread(stream)
    content = inflate(path, stream.read(), MAX_DEFLATED_BYTES)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = read_dataset(io.BytesIO(content), is_implicit_VR=False, is_little_endian=True)
    return FileDataset(
        str(path), dataset, file_meta=FileMetaDataset(meta), is_implicit_VR=False, is_little_endian=True
    )


def has_image(dataset: Dataset) -> bool:
    """False for objects that are no images: RTSTRUCT, SEG, SR, presentation states, DICOMDIR, ..."""
    return "Rows" in dataset and "Columns" in dataset and text(dataset, "Modality") not in ("SEG", "RTDOSE")


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of a text element (CS, DS, IS, DA, TM, DT, UI), [] when absent; pydicom converts slowly."""
    tag = _tag(keyword)
    if tag not in dataset:
        return []
    value = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return [item.strip(" \0") for item in value.decode("latin-1").split("\\")] if value else []
    if value is None or isinstance(value, str):
        return [value] if value else []
    return [str(item) for item in value] if isinstance(value, Iterable) else [str(value)]


def text(dataset: Dataset, keyword: str) -> str:
    """The first value of a text element; "" when absent."""
    return next(iter(texts(dataset, keyword)), "")


def number(dataset: Dataset, keyword: str, default: float = 0.0) -> float:
    """The first value of a DS or IS element; the default where it is absent, empty or no finite number."""
    found = _float(text(dataset, keyword))
    return default if found is None else found


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers of a DS element, or None."""
    found = [_float(item) for item in texts(dataset, keyword)]
    if len(found) != count or not all(item is not None and abs(item) < 1e7 for item in found):
        return None
    return tuple(item for item in found if item is not None)


def integer(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """The value of a US or UL element; the default where it is absent or empty."""
    value = dataset.get(keyword)
    return default if value in (None, "") else int(value)


def binary_number(dataset: Dataset, keyword: str) -> float:
    """The value of an FD, FL, US or UL element; 0 where it is absent or empty."""
    value = dataset.get(keyword)
    return 0.0 if value in (None, "") else float(value)


@lru_cache(maxsize=256)
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _float(item: str) -> float | None:
    try:
        found = float(item)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
