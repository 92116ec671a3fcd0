"""Frames to a volume: choose the stack, sort it, drop copies, fill gaps, undo the gantry tilt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.errors import FormatError
from medcli.io.dicom.frames import Frame
from medcli.io.dicom.place import affine_of
from medcli.io.limits import check_size

SAME_PLACE_MM = 1e-3
EVEN = 0.02
"""Steps between planes that differ by less than this share of the step are even."""


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
        part: Which of several stacks, as the error that lists them calls it; "" when there is but one.

    Raises:
        FormatError: When there are several stacks and none is named, when frames have no place in space, or when
            different images claim the same place.
    """
    nowhere = sum(not _placed(frame) for frame in frames)
    if nowhere and len({frame.path for frame in frames}) > 1:
        raise FormatError(
            f"{name}: slices with position and orientation were expected, {nowhere} of {len(frames)} images have "
            "none; read the files one by one."
        )
    stacks = split_stacks(frames)
    chosen = stacks[_choose(stacks, part, name)]
    planes, notes = _planes(chosen, name)
    return _assemble(planes, name, tuple(dict.fromkeys(chosen[0].notes)) + notes)


def _placed(frame: Frame) -> bool:
    return frame.position is not None and frame.axes is not None


def split_stacks(frames: Sequence[Frame]) -> dict[str, list[Frame]]:
    """Stacks by their description: frames of one stack share size, orientation, spacing and stack number.

    Where a stack holds several images at every place that differ in kind (magnitude and phase, echoes), each kind is a
    stack of its own.
    """
    by_geometry: dict[tuple, list[Frame]] = {}
    for frame in frames:
        by_geometry.setdefault(_geometry_key(frame), []).append(frame)
    groups: list[list[Frame]] = []
    for group in by_geometry.values():
        kinds: dict[str, list[Frame]] = {}
        for frame in group:
            kinds.setdefault(frame.kind, []).append(frame)
        places = {kind: {_place(frame) for frame in members} for kind, members in kinds.items()}
        overlapping = len(kinds) > 1 and len({frozenset(place) for place in places.values()}) == 1
        groups += list(kinds.values()) if overlapping else [group]
    return {_describe(number, group): group for number, group in enumerate(groups, start=1)}


def _geometry_key(frame: Frame) -> tuple:
    axes = () if frame.axes is None else tuple(np.round(frame.axes.ravel(), 3) + 0.0)
    spacing = () if frame.spacing is None else tuple(np.round(frame.spacing, 4))
    return frame.values.shape, axes, spacing, frame.stack


def _place(frame: Frame) -> tuple[float, ...] | int:
    return frame.instance if frame.position is None else tuple(np.round(frame.position, 2) + 0.0)


def _describe(number: int, frames: Sequence[Frame]) -> str:
    rows, columns = frames[0].values.shape[:2]
    return f"{number}: {len(frames)} frames of {rows} x {columns} {frames[0].kind}".strip()


def _choose(stacks: dict[str, list[Frame]], part: str, name: str) -> str:
    if len(stacks) == 1 and part in ("", "1"):
        return next(iter(stacks))
    for description in stacks:
        if part and description.split(":")[0] == part:
            return description
    raise FormatError(
        f"{name}: one stack of planes was expected, {len(stacks)} were found ({'; '.join(stacks)}); name one by its "
        "number as the part, or keep each in a folder of its own."
    )


def _planes(frames: Sequence[Frame], name: str) -> tuple[list[list[Frame]], tuple[str, ...]]:
    """Frames by place along the normal, ascending; several at each place are channels in the order of their phase."""
    if not all(_placed(frame) for frame in frames):
        ordered = sorted(frames, key=lambda frame: frame.instance)
        return [[frame] for frame in ordered], (
            "the file gives the frames no place; they are read as even planes",
        )
    across = np.cross(*frames[0].axes)
    ordered = sorted(frames, key=lambda frame: (float(frame.position @ across), frame.phase, frame.instance))
    planes: list[list[Frame]] = []
    for frame in ordered:
        if planes and abs(float((frame.position - planes[-1][0].position) @ across)) < SAME_PLACE_MM:
            planes[-1].append(frame)
        else:
            planes.append([frame])
    dropped = 0
    for index, plane in enumerate(planes):
        unique: list[Frame] = []
        for frame in plane:
            if any(_is_copy(frame, other) for other in unique):
                dropped += 1
            else:
                unique.append(frame)
        planes[index] = sorted(unique, key=lambda frame: (frame.phase, frame.instance))
    notes = (f"{dropped} duplicate slices were left out",) if dropped else ()
    count = len(planes[0])
    if any(len(plane) != count for plane in planes) or any(not _told_apart(plane) for plane in planes):
        places = sum(len(plane) > 1 for plane in planes)
        raise FormatError(
            f"{name}: one image at every place was expected, different ones were found at {places} of {len(planes)} "
            "places; remove the wrong files, or keep each acquisition in a folder of its own."
        )
    if count > 1:
        notes += (f"{count} images at every place (time points or the like) were read as channels",)
    return planes, notes


def _is_copy(frame: Frame, other: Frame) -> bool:
    same_values = (frame.slope, frame.intercept) == (other.slope, other.intercept)
    return (
        same_values
        and np.array_equal(frame.values, other.values)
        and (frame.identity == other.identity or frame.phase == other.phase)
    )


def _told_apart(plane: Sequence[Frame]) -> bool:
    """Do images at one place differ in time or the like, and not in values alone?"""
    return len({frame.phase for frame in plane}) == len(plane) == len({frame.identity for frame in plane})


def _assemble(planes: Sequence[Sequence[Frame]], name: str, notes: tuple[str, ...]) -> Volume:
    first = planes[0][0]
    row_step, column_step = first.spacing or (1.0, 1.0)
    if first.spacing is None:
        notes += ("the file gives no pixel spacing; 1 mm is assumed",)
    axes = np.eye(3)[:2] if first.axes is None else first.axes
    across = np.cross(*axes)
    origin = np.zeros(3) if first.position is None else first.position
    if first.position is None:
        offsets = np.outer(np.arange(len(planes)) * (first.thickness or 1.0), across)
    else:
        offsets = np.stack([plane[0].position - origin for plane in planes])
    depths = offsets @ across
    check_size(first.path, (len(planes), *first.values.shape[:2], first.values.shape[2] * len(planes[0])), 4)
    array = _scaled(planes)
    shifts = np.stack([offsets @ axes[1] / row_step, offsets @ axes[0] / column_step], axis=1)  # in pixels
    tilted = np.abs(shifts).max() > 0.1
    if tilted:
        _check_line(depths, shifts, name)
    step, missing, uneven = _step(depths, first.thickness)
    if tilted or missing or uneven:
        array, start = _regular(array, depths, shifts if tilted else None, step)
        origin = origin + axes[1] * row_step * start[0] + axes[0] * column_step * start[1]
        notes += _repair_notes(depths, shifts * (row_step, column_step), tilted, missing, uneven, step)
    affine = affine_of(origin, axes, (row_step, column_step), step)
    return Volume(array, affine, (step, row_step, column_step), notes)


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


def _step(depths: np.ndarray, thickness: float | None) -> tuple[float, int, bool]:
    """mm from plane to plane on the even grid, how many planes are missing, and whether the steps are uneven."""
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
            f"{name}: slices stacked along one line were expected, some lie beside it; the folder may mix several "
            "acquisitions, keep each in a folder of its own."
        )


def _regular(
    array: np.ndarray, depths: np.ndarray, shifts: np.ndarray | None, step: float
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
    """The plane (row, column, channel) moved by (rows, columns) >= 0 within a larger one, linearly interpolated."""
    whole = np.floor(shift + 1e-6).astype(int)
    result = np.full((*shape, plane.shape[2]), fill, np.float32)
    result[whole[0] : whole[0] + plane.shape[0], whole[1] : whole[1] + plane.shape[1]] = plane
    for axis in (0, 1):
        rest = np.float32(max(shift[axis] - whole[axis], 0))
        if rest > 1e-6:
            before = np.roll(result, 1, axis=axis)
            result = result + rest * (before - result)
    return result


def _repair_notes(
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
            f"uneven steps between slices ({steps.min():.2f} to {steps.max():.2f} mm) were resampled to {step:.2f} mm",
        )
    return notes
