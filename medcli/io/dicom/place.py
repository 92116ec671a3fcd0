"""Where a DICOM header puts pixels: positions, directions, spacing and the affine of a plane."""

import numpy as np
from pydicom.dataset import Dataset

from medcli.io.dicom.files import number, numbers

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def position(dataset: Dataset) -> np.ndarray | None:
    """(3,) centre of the first pixel in LPS mm, or None."""
    found = numbers(dataset, "ImagePositionPatient", 3)
    return None if found is None else np.array(found)


def directions(dataset: Dataset) -> np.ndarray | None:
    """(2, 3) unit vectors in LPS along a row and along a column; None without any that can be used."""
    found = numbers(dataset, "ImageOrientationPatient", 6)
    if found is None:
        return None
    along_row, along_column = np.reshape(found, (2, 3))
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if min(lengths) < 0.5 or abs(along_row @ along_column) > 0.01 * lengths[0] * lengths[1]:
        return None
    return np.stack([along_row / lengths[0], along_column / lengths[1]])


def pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """mm between rows and between columns, in the patient or else at the detector; or None."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = numbers(dataset, keyword, 2)
        if found and min(found) > 0:
            return found[0], found[1]
    return None


def plane_step(dataset: Dataset) -> float | None:
    """mm between planes as the header has it, or None."""
    return abs(number(dataset, "SpacingBetweenSlices")) or abs(number(dataset, "SliceThickness")) or None


def affine_of(origin: np.ndarray, axes: np.ndarray, spacing: tuple[float, float], step: float) -> np.ndarray:
    """(4, 4) from (plane, row, column, 1) to RAS+ mm; planes follow along row direction x column direction.

    Args:
        origin, axes: In LPS, as `position` and `directions` give them.
        spacing: As `pixel_spacing` gives it.
        step: mm from plane to plane.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.cross(*axes) * step, axes[1] * spacing[0], axes[0] * spacing[1]], axis=1)
    affine[:3, 3] = origin
    return LPS_TO_RAS @ affine


def plane_affine(dataset: Dataset) -> np.ndarray | None:
    """The affine of a single slice as a volume of one plane, or None when it has no place."""
    origin, axes, spacing = position(dataset), directions(dataset), pixel_spacing(dataset)
    if origin is None or axes is None or spacing is None:
        return None
    return affine_of(origin, axes, spacing, plane_step(dataset) or 1.0)
