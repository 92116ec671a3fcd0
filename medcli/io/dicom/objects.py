"""DICOM objects that hold masks: structure sets (RTSTRUCT), segmentations (SEG), and images used as masks."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.dicom.files import open_dicom, text
from medcli.io.dicom.rtstruct import read_structures, structure_names
from medcli.io.dicom.segmentation import read_segments, segment_names
from medcli.io.dicom.series import files_in
from medcli.io.grid import on_grid


def object_names(source: Source) -> dict[int, str]:
    """ROI or segment names by their number in the mask, from 1 in the order of the file; {} for images."""
    _, dataset = _open_object(source.path)
    match text(dataset, "Modality"):
        case "RTSTRUCT":
            return structure_names(dataset)
        case "SEG":
            return segment_names(dataset)
        case _:
            return {}


def read_object(source: Source, like: Image) -> np.ndarray:
    """int32 labels in the spatial shape of `like`; RTSTRUCT and SEG are placed on it by their positions.

    A DICOM image used as a mask must have the grid of `like`. Raises FormatError.
    """
    path, dataset = _open_object(source.path)
    match text(dataset, "Modality"):
        case "RTSTRUCT":
            read = read_structures
        case "SEG":
            read = read_segments
        case _:
            return _read_image_as_mask(source, like)
    affine, shape = _grid(like, path)
    return read(dataset, path, affine, shape).reshape(like.shape)


def _open_object(path: Path) -> tuple[Path, Dataset]:
    """The file of an RTSTRUCT or SEG, also when alone in a folder; for a series an empty dataset."""
    if path.is_dir():
        from medcli.io.readers import DICOM, format_by_content

        candidates = [file for file in files_in(path) if format_by_content(file) is DICOM]
        if len(candidates) != 1:
            return path, Dataset()
        path = candidates[0]
    return path, open_dicom(path)


def _read_image_as_mask(source: Source, like: Image) -> np.ndarray:
    from medcli.io.dicom import read_dicom

    image = read_dicom(source)
    array = on_grid(source.path, image.array[..., :1], image.affine, like)
    return np.rint(array[..., 0]).astype(np.int32)


def _grid(like: Image, path: Path) -> tuple[np.ndarray | None, tuple[int, int, int]]:
    """Affine and shape (plane, row, column) of `like`; a DICOM picture becomes a volume of one plane.

    The affine is None for a picture that has no place.
    """
    if like.ndim == 3:
        if like.affine is None:
            raise FormatError(f"{path}: an image with a place in space was expected, it has none.")
        return like.affine, (like.shape[0], like.shape[1], like.shape[2])
    shape = (1, like.shape[0], like.shape[1])
    from medcli.io.readers import format_of

    if not like.sources or format_of(like.sources[0]).name != "DICOM":
        return None, shape
    from medcli.io.dicom.place import plane_affine

    return plane_affine(open_dicom(like.sources[0], pixels=False)), shape
