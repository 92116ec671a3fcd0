"""Planes as they were scanned to an even, upright grid: missing slices, uneven steps, gantry tilt."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcli.errors import FormatError
from medcli.io.limits import check_size

EVEN = 0.02
"""Steps between planes that differ by less than this share of the step are even."""
MOST_ADDED = 4
"""Interpolation may give at most so many times the planes that were scanned."""


@dataclass(frozen=True, eq=False)
class Regular:
    """Planes at even steps.

    Attributes:
        array: (plane, row, column, channel) float32.
        step: mm from plane to plane.
        shift: (3,) LPS mm from the first plane's first pixel to that of the new grid.
        notes: What was repaired.
    """

    array: np.ndarray
    step: float
    shift: np.ndarray
    notes: tuple[str, ...]


def make_regular(
    array: np.ndarray,
    offsets: np.ndarray,
    axes: np.ndarray,
    spacing: tuple[float, float],
    thickness: float | None,
    name: str,
) -> Regular:
    """Give the planes even steps along their normal; nothing is computed where they have them already.

    Args:
        array: (plane, row, column, channel) float32, planes sorted along the normal.
        offsets: (plane, 3) LPS mm from the first plane.
        axes: (2, 3) directions along a row and along a column.
        spacing: mm between rows, between columns.
        thickness: mm; the step of a single plane.
        name: What messages call the volume.

    Raises:
        FormatError: When the planes do not lie along one line, or when gaps are too large to be filled.
    """
    depths = offsets @ np.cross(*axes)
    shifts = np.stack([offsets @ axes[1] / spacing[0], offsets @ axes[0] / spacing[1]], axis=1)  # in pixels
    tilted = bool(np.abs(shifts).max() > 0.1)
    if tilted:
        _check_line(depths, shifts, name)
    step, missing, uneven = _step(depths, thickness)
    if not (tilted or missing or uneven):
        return Regular(array, step, np.zeros(3), ())
    if (depths[-1] - depths[0]) / step > MOST_ADDED * len(depths):
        raise FormatError(
            f"{name}: slices about {step:.2f} mm apart were expected, a gap of {np.diff(depths).max():.2f} "
            "mm was found; the folder may mix several acquisitions, keep each in a folder of its own."
        )
    notes = _notes(depths, shifts * spacing, tilted, missing, uneven, step)
    array, start = _resample(array, depths, shifts if tilted else None, step, name)
    shift = axes[1] * spacing[0] * start[0] + axes[0] * spacing[1] * start[1]
    return Regular(array, step, shift, notes)


def _step(depths: np.ndarray, thickness: float | None) -> tuple[float, int, bool]:
    """mm from plane to plane on the even grid, number of missing planes, and whether steps are uneven."""
    if len(depths) == 1:
        return thickness or 1.0, 0, False
    steps = np.diff(depths)
    even = (depths[-1] - depths[0]) / (len(depths) - 1)
    tolerance = EVEN * even + 0.005
    if np.abs(steps - even).max() <= tolerance:
        return float(even), 0, False
    usual = float(np.median(steps))
    counts = np.rint(steps / usual)
    if (counts >= 1).all() and np.abs(steps - counts * usual).max() <= EVEN * usual * counts.max() + 0.005:
        return float((depths[-1] - depths[0]) / counts.sum()), int(counts.sum()) - len(steps), False
    return usual, 0, True


def _check_line(depths: np.ndarray, shifts: np.ndarray, name: str) -> None:
    """FormatError unless the slices lie along one straight line, as under a tilted gantry."""
    slope = depths @ shifts / max(float(depths @ depths), 1e-12)
    if np.abs(shifts - np.outer(depths, slope)).max() > 1.0:
        raise FormatError(
            f"{name}: slices stacked along one line were expected, some lie beside it; the folder may mix "
            "several acquisitions, keep each in a folder of its own."
        )


def _resample(
    array: np.ndarray, depths: np.ndarray, shifts: np.ndarray | None, step: float, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation onto even, unsheared planes; outside lies the smallest value.

    Returns:
        The new array, and the (row, column) index of its corner in pixels of the first slice.
    """
    count = int(np.floor((depths[-1] - depths[0]) / step + 1e-3)) + 1
    places = np.interp(np.arange(count) * step, depths - depths[0], np.arange(len(depths)))
    fill = array.min()
    start = np.zeros(2)
    rows, columns = array.shape[1:3]
    if shifts is not None:
        start = np.floor(shifts.min(axis=0) + 1e-6)
        end = np.ceil(shifts.max(axis=0) - 1e-6)
        rows, columns = rows + int(end[0] - start[0]), columns + int(end[1] - start[1])
    check_size(Path(name), (count, rows, columns, array.shape[3]), 4)
    result = np.empty((count, rows, columns, array.shape[3]), np.float32)

    def upright(index: int) -> np.ndarray:
        if shifts is None:
            return array[index]
        return _moved(array[index], shifts[index] - start, (rows, columns), fill)

    cached: dict[int, np.ndarray] = {}
    for target, place in enumerate(places):
        low = int(place)
        weight = np.float32(place - low)
        for index in (low, low + 1):
            if index not in cached and index < len(array):
                cached[index] = upright(index)
        cached = {index: cached[index] for index in (low, low + 1) if index in cached}
        result[target] = cached[low]
        if weight > 1e-6:
            result[target] += weight * (cached[low + 1] - cached[low])
    return result, start


def _moved(plane: np.ndarray, shift: np.ndarray, shape: tuple[int, int], fill: np.float32) -> np.ndarray:
    """The plane (row, column, channel) moved by (rows, columns) >= 0 within a larger one, linearly."""
    whole = np.floor(shift + 1e-6).astype(int)
    result = np.full((*shape, plane.shape[2]), fill, np.float32)
    result[whole[0] : whole[0] + plane.shape[0], whole[1] : whole[1] + plane.shape[1]] = plane
    for axis in (0, 1):
        rest = np.float32(max(shift[axis] - whole[axis], 0))
        if rest > 1e-6:
            before = np.roll(result, 1, axis=axis)
            result = result + rest * (before - result)
    return result


def _notes(
    depths: np.ndarray, shifts_mm: np.ndarray, tilted: bool, missing: int, uneven: bool, step: float
) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if tilted:
        angle = np.degrees(np.arctan2(np.linalg.norm(shifts_mm[-1]), depths[-1] - depths[0]))
        notes += (f"a gantry tilt of {angle:.1f} degrees was undone by shifting the slices",)
    if missing:
        notes += (f"{missing} slices are missing and were interpolated between their neighbours",)
    if uneven:
        steps = np.diff(depths)
        notes += (
            f"uneven steps between slices ({steps.min():.2f} to {steps.max():.2f} mm) were resampled to "
            f"{step:.2f} mm",
        )
    return notes
