"""Frames of one series to a volume in medcli's axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.io.dicom.frames import Frame
from medcli.io.dicom.place import affine_of
from medcli.io.dicom.regular import make_regular
from medcli.io.dicom.stacks import choose_stack, sort_planes
from medcli.io.limits import check_size


@dataclass(frozen=True, eq=False)
class Volume:
    """array (plane, row, column, channel) float32, affine to RAS+ mm, spacing in mm, notes."""

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]
    notes: tuple[str, ...]


def build_volume(frames: Sequence[Frame], name: str, part: str = "") -> Volume:
    """Stack the frames of one series.

    Args:
        frames: In any order.
        name: What messages call the series: its file or folder.
        part: Which of several stacks, as the error that lists them numbers it; "" when there is but one.

    Raises:
        FormatError: When there are several stacks and none is named, when frames have no place in space, when
            different images claim the same place, or when slices do not lie along one line.
    """
    chosen = choose_stack(frames, name, part)
    planes, notes = sort_planes(chosen, name)
    first = planes[0][0]
    check_size(first.path, (len(planes), *first.values.shape[:2], first.values.shape[2] * len(planes[0])), 4)
    notes = tuple(dict.fromkeys(first.notes)) + notes
    if first.spacing is None:
        notes += ("the file gives no pixel spacing; 1 mm is assumed",)
    spacing = first.spacing or (1.0, 1.0)
    axes = np.eye(3)[:2] if first.axes is None else first.axes
    regular = make_regular(_scaled(planes), _offsets(planes, axes), axes, spacing, first.thickness, name)
    origin = np.zeros(3) if first.position is None else first.position
    affine = affine_of(origin + regular.shift, axes, spacing, regular.step)
    return Volume(regular.array, affine, (regular.step, *spacing), notes + regular.notes)


def _offsets(planes: Sequence[Sequence[Frame]], axes: np.ndarray) -> np.ndarray:
    """(plane, 3) LPS mm from the first plane's position; even steps along the normal where there are none."""
    positions = [plane[0].position for plane in planes]
    if planes[0][0].axes is None or any(position is None for position in positions):
        return np.outer(np.arange(len(planes)) * (planes[0][0].thickness or 1.0), np.cross(*axes))
    found = np.array(positions, np.float64)
    return found - found[0]


def _scaled(planes: Sequence[Sequence[Frame]]) -> np.ndarray:
    """(plane, row, column, channel) float32 after slope and intercept of each frame."""
    shape = planes[0][0].values.shape
    samples = shape[2]
    array = np.empty((len(planes), *shape[:2], samples * len(planes[0])), np.float32)
    for index, plane in enumerate(planes):
        for channel, frame in enumerate(plane):
            target = array[index, ..., channel * samples : (channel + 1) * samples]
            if not frame.scaled:
                target[...] = frame.values
            elif frame.values.dtype.itemsize > 2:
                target[...] = frame.values * np.float64(frame.slope) + frame.intercept
            else:
                np.multiply(frame.values, np.float32(frame.slope), out=target, casting="unsafe")
                target += np.float32(frame.intercept)
    return array
