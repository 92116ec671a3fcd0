"""NRRD and MetaImage, read through SimpleITK in a process that may crash."""

import re
from pathlib import Path

import numpy as np

from medcli import sandbox
from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.limits import MAX_BYTES, check_size, finite

_DETACHED = re.compile(rb"^\s*(ElementDataFile|data ?file)\s*[:=]\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_COPIES = 3
"""The packed data, SimpleITK's image and the array."""
_SECONDS = 600.0
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk(source: Source) -> Image:
    """A float32 volume, or a picture when the file has two dimensions; vector pixels become channels."""
    array, spacing, affine = load_itk(source.path)
    array, notes = finite(array.astype(np.float32) if array.dtype.kind == "f" or array.ndim == 4 else array)
    return Image(np.ascontiguousarray(array), spacing, affine, sources=(source.path,), notes=notes)


def load_itk(path: Path) -> tuple[np.ndarray, tuple[float, ...], np.ndarray | None]:
    """Array in the file's own type with the channel last, spacing and, for volumes, the affine to RAS+ mm."""
    _check_data_file(path)
    return sandbox.call(
        _load, path, subject=str(path), memory=sandbox.MEMORY + _COPIES * MAX_BYTES, seconds=_SECONDS
    )


def _load(path: Path) -> tuple[np.ndarray, tuple[float, ...], np.ndarray | None]:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        samples = reader.GetNumberOfComponents()
        check_size(path, (*reader.GetSize(), samples), 4)
        image = reader.Execute()
    except RuntimeError as error:
        raise FormatError(
            f"{path}: the NRRD or MetaImage file is damaged or truncated; export it again."
        ) from error
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetDimension() not in (2, 3) or array.dtype.kind not in "iuf":
        raise FormatError(
            f"{path}: 2 or 3 dimensions of plain numbers were expected, {image.GetDimension()} of "
            f"{image.GetPixelIDTypeAsString()} were found."
        )
    if samples == 1:
        array = array[..., np.newaxis]
    spacing = tuple(reversed(image.GetSpacing()))
    return array, spacing, _affine(image) if image.GetDimension() == 3 else None


def _affine(image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return (_LPS_TO_RAS @ affine)[:, [2, 1, 0, 3]]


def _check_data_file(path: Path) -> None:
    """Refuse a header that sends the reader to a file in another folder."""
    with open(path, "rb") as stream:
        head = stream.read(2**16).split(b"\n\n")[0]
    for _, value in _DETACHED.findall(head):
        name = value.decode("utf-8", "replace")
        if Path(name).name != name or name.upper().startswith("LIST") or "%" in name:
            raise FormatError(
                f"{path}: voxels in the file itself, or in one data file beside it, were expected; its "
                "header points elsewhere, which is not followed."
            )
