"""Siemens mosaics: a whole volume tiled in one slice, whose header gives the place of the tiling."""

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset

from medcli.errors import FormatError
from medcli.io.dicom.files import number, texts

if TYPE_CHECKING:
    from medcli.io.dicom.frames import Frame


def is_mosaic(dataset: Dataset) -> bool:
    return "MOSAIC" in texts(dataset, "ImageType")


def split_mosaic(dataset: Dataset, frame: "Frame") -> list["Frame"]:
    """One frame per tile, each in its place.

    Number of tiles and direction of the planes are in Siemens' CSA header; tiles fill a square, row by row.
    The position belongs to the corner of a plane as large as the whole tiling around the same centre
    (nibabel.nicom.dicomwrappers.MosaicWrapper).
    """
    count, normal = _csa(dataset, frame)
    if frame.position is None or frame.axes is None or frame.spacing is None:
        raise FormatError(f"{frame.path}: a mosaic with position and spacing was expected, they are missing.")
    side = int(np.ceil(np.sqrt(count)))
    rows, columns = frame.values.shape[0] // side, frame.values.shape[1] // side
    if frame.values.shape[:2] != (rows * side, columns * side):
        raise FormatError(f"{frame.path}: {count} mosaic tiles do not fit {frame.values.shape[:2]} pixels.")
    tiles = (
        frame.values.reshape(side, rows, side, columns, -1)
        .swapaxes(1, 2)
        .reshape(side * side, rows, columns, -1)
    )
    along_row, along_column = frame.axes
    corner = (
        frame.position
        + along_row * frame.spacing[1] * (columns * side - columns) / 2
        + along_column * frame.spacing[0] * (rows * side - rows) / 2
    )
    step = number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness")
    return [
        replace(
            frame,
            values=tiles[index],
            position=corner + normal * step * index,
            identity=(frame.identity[0], index),
        )
        for index in range(count)
    ]


def _csa(dataset: Dataset, frame: "Frame") -> tuple[int, np.ndarray]:
    """Number of tiles, and unit vector from one plane to the next in LPS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its readers call themselves experimental
        from nibabel.nicom import csareader

    try:
        header = csareader.get_csa_header(dataset, "image")
        count = csareader.get_n_mosaic(header)
        normal = csareader.get_slice_normal(header)
    except Exception as error:
        raise FormatError(
            f"{frame.path}: the Siemens header that describes the mosaic is damaged."
        ) from error
    if not count or normal is None or frame.axes is None:
        raise FormatError(
            f"{frame.path}: a mosaic was expected to say how many planes it holds (Siemens CSA header), but "
            "does not; convert it to NIfTI with a tool of the vendor."
        )
    across = np.cross(*frame.axes)  # exact to the orientation; the CSA header decides only the sign
    return int(count), across * (1.0 if float(np.asarray(normal, float) @ across) >= 0 else -1.0)
