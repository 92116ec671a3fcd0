"""Arrays saved by NumPy: `.npy` (one image) and `.npz` (one image, or many stacked as MedMNIST does)."""

import re
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.limits import check_size, finite

_PART = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<index>\d+)\])?")


def read_numpy(source: Source) -> Image:
    """The array that `source.part` names ("train_images[12]"), or the only one in the file.

    (row, column) is grey; a last axis of 1, 3 or 4 is the channel; else (plane, row, column). Floats become
    float32.
    """
    array = load_numpy(source)
    if array.dtype.kind not in "biuf":
        raise FormatError(f"{source.path}: numbers were expected, an array of {array.dtype} was found.")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    array, notes = finite(array.astype(np.float32) if array.dtype.kind == "f" else array)
    array = with_channel(array, source.path)
    affine = np.eye(4) if array.ndim == 4 else None
    return Image(np.ascontiguousarray(array), affine=affine, sources=(source.path,), notes=notes)


def load_numpy(source: Source) -> np.ndarray:
    """The array as it is stored; FormatError when the file is damaged or has no such part."""
    if source.path.suffix.lower() == ".npy":
        return _read_npy(source.path)
    name, index = _split_part(source)
    stacked = _read_member(source.path, source.path.stat().st_mtime_ns, name)
    if index is None:
        return stacked
    if index >= len(stacked):
        raise FormatError(f"{source.path}: {name} holds {len(stacked)} images, number {index} was asked for.")
    return stacked[index]


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array in an `.npz`, from the headers alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                member.filename.removesuffix(".npy"): _member_header(archive, member)[0]
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FormatError(
            f"{path}: an .npz of NumPy arrays was expected, it is damaged or no such file."
        ) from error


def with_channel(array: np.ndarray, path: Path) -> np.ndarray:
    """Add the channel axis where it is missing."""
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] not in (1, 3, 4)):
        return array[..., np.newaxis]
    if array.ndim in (3, 4):
        return array
    raise FormatError(
        f"{path}: a picture or volume (2 to 4 axes) was expected, shape {array.shape} was found."
    )


def _split_part(source: Source) -> tuple[str, int | None]:
    if source.part:
        found = _PART.fullmatch(source.part)
        if not found:
            raise FormatError(
                f"{source.path}: a part such as train_images[12] was expected, {source.part!r} was given."
            )
        return found["name"], int(found["index"]) if found["index"] else None
    names = list(array_shapes(source.path))
    if len(names) != 1:
        raise FormatError(
            f"{source.path}: it holds the arrays {', '.join(names)}; name one, such as {names[:1]}."
        )
    return names[0], None


def _read_npy(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as stream:
            shape, _, dtype = _header(stream)
            check_size(path, shape or (1,), dtype.itemsize)
        mapped = np.load(
            path, mmap_mode="r", allow_pickle=False
        )  # refuses a file shorter than its header says
        return np.array(mapped)
    except (ValueError, EOFError) as error:
        raise FormatError(
            f"{path}: a NumPy array of numbers was expected; the file is damaged, truncated or holds Python "
            "objects."
        ) from error


@lru_cache(maxsize=4)
def _read_member(path: Path, changed: int, name: str) -> np.ndarray:
    """One array of an archive, kept since its images are asked for one by one; `changed` renews it."""
    shapes = array_shapes(path)
    if name not in shapes:
        raise FormatError(f"{path}: an array {name!r} was expected, it holds {', '.join(shapes) or 'none'}.")
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            shape, dtype = _member_header(archive, member)
            size = check_size(path, shape or (1,), dtype.itemsize)
            if not size <= member.file_size <= size + 2**20:
                raise FormatError(f"{path}: {name} is not as long as its header says; the file is damaged.")
            with archive.open(member) as stream:
                array = npy.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: {name} is damaged, truncated or holds Python objects.") from error
    array.setflags(write=False)
    return array


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(member) as stream:
        shape, _, dtype = _header(stream)
    return shape, dtype


def _header(stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    return npy.read_array_header_2_0(stream)
