"""Writing results in the geometry and format of the image they were made from; whole or not at all."""

from pathlib import Path

import nibabel as nib
import numpy as np

from medcli.errors import DataError
from medcli.files import atomic_path, write_array
from medcli.image import Image
from medcli.io.nifti import read_header, to_index_order
from medcli.io.readers import NIFTI


def write_labels(path_without_suffix: Path, labels: np.ndarray, like: Image) -> Path:
    """Write label ids: a volume as `.nii.gz` with the shape and affine of its file, a picture as `.png`.

    Args:
        path_without_suffix: Where to; the suffix is added (to the name as it is, dots and all).
        labels: Integers from 0 in the spatial shape of `like`.
        like: The image as it was read. When it came from a NIfTI, that file's header gives the geometry to
            the bit.

    Returns:
        The file written.
    """
    labels = _smallest_type(labels)
    if labels.ndim == 2:
        return write_picture(path_without_suffix, labels)
    return _write_nifti(path_without_suffix, labels.transpose(2, 1, 0), like)


def write_probabilities(path_without_suffix: Path, probabilities: np.ndarray, like: Image) -> Path:
    """Write float32 probabilities, spatial shape + class: `<stem>_prob.nii.gz`, for pictures `.npy`."""
    probabilities = np.asarray(probabilities, np.float32)
    path = path_without_suffix.with_name(path_without_suffix.name + "_prob")
    if probabilities.ndim == 3:
        target = path.with_name(path.name + ".npy")
        write_array(target, probabilities)
        return target
    return _write_nifti(path, probabilities.transpose(2, 1, 0, 3), like)


def write_map(path_without_suffix: Path, values: np.ndarray, like: Image) -> Path:
    """Write one float32 value per place: a volume as `.nii.gz` with the geometry of `like`, a picture as `.npy`."""
    values = np.asarray(values, np.float32)
    if values.ndim == 3:
        return _write_nifti(path_without_suffix, values.transpose(2, 1, 0), like)
    target = path_without_suffix.with_name(path_without_suffix.name + ".npy")
    write_array(target, values)
    return target


def write_picture(path: Path, array: np.ndarray) -> Path:
    """Write (row, column) uint8 or uint16, or (row, column, RGB) uint8, as PNG; `.png` is added."""
    from PIL import Image as Pillow

    target = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
    with atomic_path(target) as temporary:
        Pillow.fromarray(np.ascontiguousarray(array)).save(temporary, format="PNG")
    return target


def _smallest_type(labels: np.ndarray) -> np.ndarray:
    """uint8 or uint16; of volumes int32 as well, which PNG has not.

    Raises DataError when a picture has more labels than PNG can tell apart.
    """
    largest = int(labels.max(initial=0))
    if largest >= 2**16 and labels.ndim == 2:
        raise DataError(
            f"A PNG holds label ids up to 65,535, found {largest:,}; cut the picture into parts and predict those."
        )
    return labels.astype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.int32)


def _write_nifti(path: Path, values: np.ndarray, like: Image) -> Path:
    """Write values (x, y, z[, class]) with the geometry of `like`."""
    template = _header_of(like)
    if template is None:
        affine = to_index_order(np.eye(4) if like.affine is None else like.affine)
        image = nib.Nifti1Image(values, affine)
        image.header.set_xyzt_units("mm")
    else:
        shape = template.get_data_shape()[:3]
        values = values.reshape(*shape, *values.shape[3:])
        header = template.copy()
        header.set_data_dtype(values.dtype)
        header.set_slope_inter(1, 0)
        header["cal_min"], header["cal_max"], header["intent_code"], header["descrip"] = 0, 0, 0, b""
        header["aux_file"], header["intent_name"], header["db_name"] = (
            b"",
            b"",
            b"",
        )  # free text: may name someone
        kind = nib.Nifti2Image if isinstance(template, nib.Nifti2Header) else nib.Nifti1Image
        # An affine of None keeps both transforms of the header and their codes as they are.
        image = kind(values, None, header)
    target = path.with_name(path.name + ".nii.gz")
    with atomic_path(target) as temporary:
        nib.save(image, temporary)
    return target


def _header_of(like: Image) -> nib.Nifti1Header | None:
    """The header of the NIfTI that `like` was read from, or None."""
    if like.sources and like.sources[0].name.lower().endswith(NIFTI.suffixes) and like.sources[0].is_file():
        return read_header(like.sources[0])
    return None
