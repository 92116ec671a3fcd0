"""Segmentation masks of any format, as label ids on the grid of the image they belong to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.faults import explained
from medcli.io.grid import on_grid
from medcli.io.readers import format_of

ROUNDING = 0.01
"""So much a label may lie beside a whole number."""


def read_mask(masks: Sequence[Source], like: Image) -> np.ndarray:
    """Label ids on the grid of `like`.

    One mask gives the values in the file (for RTSTRUCT and SEG the number of the ROI or segment, counted from
    1 in the order of the file). Of several masks, mask i (from 0) gives i + 1 wherever it is above zero;
    later ones win.

    Returns:
        int32 in the spatial shape of `like`; 0 is background. Values below one with a fraction are rounded, as of a
        soft mask.

    Raises:
        FormatError: When a file cannot be read, its shape or place in space is not that of `like`, or it holds values
            between labels or none at all (NaN).
    """
    if len(masks) == 1:
        return _read_one(masks[0], like)
    labels = np.zeros(like.shape, np.int32)
    for number, source in enumerate(masks, start=1):
        labels[_read_one(source, like) > 0] = number
    return labels


def mask_names(source: Source) -> dict[int, str]:
    """Names of an RTSTRUCT's ROIs or a SEG's segments by their number in `read_mask`; else empty."""
    if not _is_dicom(source.path):
        return {}
    from medcli.io.dicom.objects import object_names

    return object_names(source)


def _is_dicom(path: Path) -> bool:
    return path.is_dir() or format_of(path).name == "DICOM"


def _read_one(source: Source, like: Image) -> np.ndarray:
    with explained(source.path, "mask"):
        if _is_dicom(source.path):
            from medcli.io.dicom.objects import read_object

            return read_object(source, like)
        array, affine = _load(source)
    array = array[..., :1]
    if array.ndim == like.ndim + 2 and array.shape[0] == 1:  # a NIfTI of one plane beside a picture
        array, affine = array[0], None
    return _to_ids(on_grid(source.path, array, affine, like)[..., 0], source.path)


def _load(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """Values as stored with the channel last, and the affine where the format has one."""
    path = source.path
    match format_of(path).name:
        case "NIfTI":
            from medcli.io.nifti import load_nifti

            content = load_nifti(path)
            if content.array.shape[-1] > 1:
                raise FormatError(f"{path}: a mask of 3 dimensions was expected, a fourth one was found.")
            return content.array, content.affine
        case "picture":
            from medcli.io.picture import load_picture

            return load_picture(path, indices=True)[0], None
        case "NumPy":
            from medcli.io.numpy_file import load_numpy, with_channel

            return with_channel(load_numpy(source), path), None
        case _:
            from medcli.io.itk import load_itk

            array, _, affine = load_itk(path)
            return array, affine


def _to_ids(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.kind == "f":
        array = _whole(array, path)
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise FormatError(f"{path}: label ids below 2^31 were expected, larger values were found.")
    return np.ascontiguousarray(array, dtype=np.int32)


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(array).all():
        raise FormatError(
            f"{path}: a mask of label ids was expected, NaN or infinity was found; write 0 where there is no class, or "
            "the value of data.ignore_label where nobody looked."
        )
    whole = np.rint(array)
    between = (np.abs(array - whole) > ROUNDING) & (np.abs(array) > 1)
    if between.any():
        raise FormatError(
            f"{path}: a mask of label ids was expected, values between them were found (such as "
            f"{float(array[between][0]):.3g}); masks are resampled by the nearest neighbour, not by interpolation."
        )
    return whole
