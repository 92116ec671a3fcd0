"""Which frames of a series form one stack, and in what order: places ascending, copies dropped."""

from collections.abc import Sequence

import numpy as np

from medcli.errors import FormatError
from medcli.io.dicom.frames import Frame

SAME_PLACE_MM = 1e-3
SAME_DIRECTION = 1e-3
"""How far direction cosines of one stack may differ, and by which share its pixel spacings."""


def choose_stack(frames: Sequence[Frame], name: str, part: str = "") -> list[Frame]:
    """The frames of the only stack, or of the one whose number is `part`; messages call it all `name`.

    Raises:
        FormatError: When there are several and none is named (they are listed), or when files have no place.
    """
    nowhere = sum(not _placed(frame) for frame in frames)
    if nowhere and len({frame.path for frame in frames}) > 1:
        raise FormatError(
            f"{name}: slices with position and orientation were expected, {nowhere} of {len(frames)} images "
            "have none; read the files one by one."
        )
    stacks = split_stacks(frames)
    if not part and len(stacks) == 1:
        return stacks[0]
    if part.isdigit() and 1 <= int(part) <= len(stacks):
        return stacks[int(part) - 1]
    listed = "; ".join(f"{number}: {_describe(stack)}" for number, stack in enumerate(stacks, start=1))
    raise FormatError(
        f"{name}: one stack of planes was expected, {len(stacks)} were found ({listed}); name one by its "
        "number as the part, or keep each in a folder of its own."
    )


def split_stacks(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one stack share size, orientation, spacing and stack number.

    Where a stack holds several images at every place that differ in kind (magnitude and phase, echoes), each
    kind is a stack of its own.
    """
    alike: list[list[Frame]] = []
    for frame in frames:
        for group in alike:
            if _same_geometry(frame, group[0]):
                group.append(frame)
                break
        else:
            alike.append([frame])
    stacks: list[list[Frame]] = []
    for group in alike:
        kinds: dict[str, list[Frame]] = {}
        for frame in group:
            kinds.setdefault(frame.kind, []).append(frame)
        places = {frozenset(_place(frame) for frame in members) for members in kinds.values()}
        stacks += list(kinds.values()) if len(kinds) > 1 and len(places) == 1 else [group]
    return stacks


def sort_planes(frames: Sequence[Frame], name: str) -> tuple[list[list[Frame]], tuple[str, ...]]:
    """Frames by place along the normal, ascending; several at each place are channels, ordered by phase.

    Frames without a place are planes in the order of their numbers. Also gives notes on what was done.

    Raises:
        FormatError: When different images claim the same place and nothing tells them apart.
    """
    if not all(_placed(frame) for frame in frames):
        ordered = sorted(frames, key=lambda frame: frame.instance)
        note = "the file gives the frames no place; they are read as even planes"
        return [[frame] for frame in ordered], (note,) if len(frames) > 1 else ()
    planes = _by_depth(frames)
    planes, dropped = _without_copies(planes, strictly=True)
    if not _orderly(planes):
        planes, more = _without_copies(planes, strictly=False)
        dropped += more
    if not _orderly(planes):
        places = sum(len(plane) > 1 for plane in planes)
        raise FormatError(
            f"{name}: one image at every place was expected, different ones were found at {places} of "
            f"{len(planes)} places; remove the wrong files, or keep each acquisition in a folder of its own."
        )
    notes: tuple[str, ...] = (f"{dropped} duplicate slices were left out",) if dropped else ()
    if (count := len(planes[0])) > 1:
        notes += (f"{count} images at every place (time points or the like) were read as channels",)
    return planes, notes


def _placed(frame: Frame) -> bool:
    return frame.position is not None and frame.axes is not None


def _same_geometry(frame: Frame, other: Frame) -> bool:
    if (frame.values.shape, frame.stack) != (other.values.shape, other.stack):
        return False
    if frame.axes is None or other.axes is None or frame.spacing is None or other.spacing is None:
        return (frame.axes is None, frame.spacing) == (other.axes is None, other.spacing)
    return bool(
        np.abs(frame.axes - other.axes).max() < SAME_DIRECTION
        and np.allclose(frame.spacing, other.spacing, rtol=SAME_DIRECTION)
    )


def _place(frame: Frame) -> tuple[float, ...] | int:
    return frame.instance if frame.position is None else tuple(np.round(frame.position, 2) + 0.0)


def _describe(frames: Sequence[Frame]) -> str:
    rows, columns = frames[0].values.shape[:2]
    return f"{len(frames)} frames of {rows} x {columns} {frames[0].kind}".strip()


def _by_depth(frames: Sequence[Frame]) -> list[list[Frame]]:
    across = np.cross(*_array(frames[0].axes))
    depths = np.stack([_array(frame.position) for frame in frames]) @ across
    planes: list[list[Frame]] = []
    last = -np.inf
    for index in np.argsort(depths, kind="stable"):
        if depths[index] - last > SAME_PLACE_MM:
            planes.append([])
            last = depths[index]
        planes[-1].append(frames[index])
    return planes


def _without_copies(planes: Sequence[Sequence[Frame]], *, strictly: bool) -> tuple[list[list[Frame]], int]:
    """Planes ordered by phase without frames of equal values (strictly: and of equal phase or identity)."""
    result, dropped = [], 0
    for plane in planes:
        unique: list[Frame] = []
        for frame in sorted(plane, key=lambda frame: (frame.phase, frame.instance)):
            if any(_is_copy(frame, other, strictly) for other in unique):
                dropped += 1
            else:
                unique.append(frame)
        result.append(unique)
    return result, dropped


def _is_copy(frame: Frame, other: Frame, strictly: bool) -> bool:
    if strictly and frame.identity != other.identity and frame.phase != other.phase:
        return False
    scaled_alike = (frame.slope, frame.intercept) == (other.slope, other.intercept)
    return scaled_alike and np.array_equal(frame.values, other.values)


def _orderly(planes: Sequence[Sequence[Frame]]) -> bool:
    """Is there one image at every place, or everywhere as many, told apart by time or the like?"""
    return (
        all(
            len({frame.phase for frame in plane}) == len({frame.identity for frame in plane}) == len(plane)
            for plane in planes
        )
        and len({len(plane) for plane in planes}) == 1
    )


def _array(value: np.ndarray | None) -> np.ndarray:
    assert value is not None  # only frames with a place come here
    return value
