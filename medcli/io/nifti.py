"""NIfTI-1 and NIfTI-2 files, plain or gzipped: (x, y, z, t) on disk, (plane, row, column, channel) here."""

import math
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.limits import check_size, finite, gunzip, gunzip_start

_HEADER_BYTES = 544


@dataclass(frozen=True, eq=False)
class Nifti:
    """What a file holds, turned to medcli's axes.

    Attributes:
        array: (plane, row, column, channel) in the file's own type, or float32 where the header scales the
            values.
        affine: (4, 4) float64 from (plane, row, column, 1) to RAS+ mm.
        spacing: (plane, row, column) in mm.
        header: As nibabel reads it, untouched.
        notes: See `Image.notes`.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]
    header: nib.Nifti1Header
    notes: tuple[str, ...] = ()


def read_nifti(source: Source) -> Image:
    """A volume with float32 values; a fourth (and fifth) dimension becomes channels."""
    content = load_nifti(source.path)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(content.array, dtype=np.float32)
    array, notes = finite(array) if content.array.dtype.kind == "f" else (array, ())
    return Image(array, content.spacing, content.affine, sources=(source.path,), notes=content.notes + notes)


def load_nifti(path: Path) -> Nifti:
    """Read a file as it is stored; FormatError when it is damaged, truncated or holds no plain numbers."""
    header = read_header(path)
    dtype = header.get_data_dtype()
    shape = _spatial_and_channels(path, header.get_data_shape())
    check_size(path, shape, max(dtype.itemsize, 4))
    size = math.prod(shape) * dtype.itemsize
    values = _read_values(path, header, size).view(dtype).reshape(shape[::-1])
    if dtype.names:  # RGB24 and RGBA32
        values = np.concatenate([values[name] for name in ("R", "G", "B")])
    elif dtype.kind not in "iuf":
        raise FormatError(f"{path}: whole numbers or floats were expected as voxels, {dtype} was found.")
    values = _scaled(values, header)
    affine, spacing, notes = _geometry(header)
    return Nifti(np.moveaxis(values, 0, -1), affine, spacing, header, notes)


def read_header(path: Path) -> nib.Nifti1Header:
    """The header alone, its dimensions not yet checked; FormatError when it is none."""
    if _gzipped(path):
        block = gunzip_start(path, _HEADER_BYTES)
    else:
        with open(path, "rb") as stream:
            block = stream.read(_HEADER_BYTES)
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        length = kind.template_dtype.itemsize
        if len(block) >= length and block[:4] in (length.to_bytes(4, "little"), length.to_bytes(4, "big")):
            try:
                header = kind(block[:length], check=False)
                dimensions = int(header["dim"][0])
                if not 1 <= dimensions <= 7:
                    raise FormatError(f"{path}: 1 to 7 dimensions were expected, {dimensions} were found.")
                header.get_data_dtype()
            except (nib.spatialimages.HeaderDataError, ValueError, KeyError) as error:
                raise FormatError(
                    f"{path}: the NIfTI header is damaged; copy or convert the file again."
                ) from error
            if bytes(header["magic"].item())[:3] in (b"ni1", b"ni2"):
                raise FormatError(
                    f"{path}: a NIfTI in one file (.nii or .nii.gz) was expected, the header of a .hdr/.img "
                    "pair was found; convert it to .nii.gz."
                )
            return header
    raise FormatError(f"{path}: a NIfTI header was expected, something else or too little was found.")


def to_index_order(affine: np.ndarray) -> np.ndarray:
    """Swap an affine between (x, y, z) and (plane, row, column) index order; its own inverse."""
    return np.asarray(affine, np.float64)[:, [2, 1, 0, 3]]


def _gzipped(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _spatial_and_channels(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    if len(shape) > 5 and max(shape[5:]) > 1:
        raise FormatError(f"{path}: at most 5 dimensions can be read, {list(shape)} was found.")
    x, y, z, *rest = [*(int(length) for length in shape), 1, 1, 1]
    return x, y, z, math.prod(rest)


def _read_values(path: Path, header: nib.Nifti1Header, size: int) -> np.ndarray:
    """`size` bytes of voxels as uint8."""
    offset = int(header["vox_offset"]) or header.template_dtype.itemsize + 4
    if not header.template_dtype.itemsize <= offset < 2**31:
        raise FormatError(
            f"{path}: the NIfTI header places the voxels at byte {offset}, where they cannot be."
        )
    if _gzipped(path):
        content = gunzip(path, offset + size)
        found = len(content) - offset
        values = np.frombuffer(content, np.uint8)[offset:]
    else:
        found = path.stat().st_size - offset
        values = np.fromfile(path, np.uint8, size, offset=offset) if found >= size else np.zeros(0, np.uint8)
    if found < size:
        raise FormatError(
            f"{path}: {size} bytes of voxels were expected, {max(found, 0)} were found; the file is "
            "truncated or its header is wrong, copy it again."
        )
    return values


def _scaled(values: np.ndarray, header: nib.Nifti1Header) -> np.ndarray:
    try:
        slope, intercept = header.get_slope_inter()
    except nib.spatialimages.HeaderDataError:
        slope, intercept = None, None
    if slope is None or (slope == 1 and intercept in (0, None)) or values.dtype.names:
        return values
    exact = np.float64 if values.dtype.itemsize > 2 and values.dtype.kind in "iu" else np.float32
    scaled: np.ndarray = values.astype(exact)
    scaled *= slope
    scaled += intercept or 0
    return scaled.astype(np.float32, copy=False)


def _geometry(header: nib.Nifti1Header) -> tuple[np.ndarray, tuple[float, float, float], tuple[str, ...]]:
    affine = to_index_order(header.get_best_affine())
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    notes: tuple[str, ...] = ()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9 * max(steps.prod(), 1e-9):
        zooms = np.abs([*(float(zoom) for zoom in header["pixdim"][1:4])])
        steps = np.where(np.isfinite(zooms) & (zooms > 0), zooms, 1.0)[::-1]
        affine = to_index_order(np.diag([*steps[::-1], 1.0]))
        notes = (
            "the affine in the header cannot be used; axis-aligned voxels of the stated size are assumed",
        )
    return affine, (float(steps[0]), float(steps[1]), float(steps[2])), notes
