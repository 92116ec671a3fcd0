"""DICOM SEG: binary, fractional and label map frames, placed on a grid by their positions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medcli.errors import FormatError
from medcli.io.dicom.files import binary_number, integer, text
from medcli.io.dicom.pixels import stored_values
from medcli.io.dicom.place import affine_of, directions, pixel_spacing, plane_step, position
from medcli.io.limits import check_size


def segment_names(dataset: Dataset) -> dict[int, str]:
    """Segment labels by number, from 1 in the order of the file; a background segment 0 does not count."""
    return {order: label for order, label in _segments(dataset).values()}


def _segments(dataset: Dataset) -> dict[int, tuple[int, str]]:
    """SegmentNumber to (order, label)."""
    listed = [
        (integer(item, "SegmentNumber"), str(item.get("SegmentLabel", "")))
        for item in dataset.get("SegmentSequence") or []
    ]
    kept = [(number, label) for number, label in listed if number > 0]
    return {number: (order, label) for order, (number, label) in enumerate(kept, start=1)}


def read_segments(
    dataset: Dataset, path: Path, affine: np.ndarray | None, shape: tuple[int, int, int]
) -> np.ndarray:
    """int32 labels (plane, row, column): the number of the segment; where segments overlap, the later one.

    Fractional segments count from half of their maximum. Voxels between the segmentation's own are filled
    from the nearest one.

    Raises:
        FormatError: When the segmentation has no place, or lies outside the grid.
    """
    values = stored_values(dataset, path, indices=True)[..., 0]
    if len(dataset.get("PerFrameFunctionalGroupsSequence") or []) != len(values):
        raise FormatError(
            f"{path}: functional groups of {len(values)} frames were expected, they are missing."
        )
    frames = _numbered(dataset, values, path)
    if affine is None or _place(dataset, 0) is None:
        return _without_place(frames, path, shape)
    own, own_affine = _stack(dataset, frames, path)
    return _resampled(own, np.linalg.inv(own_affine) @ affine, path, shape)


@dataclass(frozen=True, eq=False)
class _Segment:
    """A frame: its index, the number its voxels get (0: they hold their own), and values, 0 outside."""

    index: int
    number: int
    values: np.ndarray

    def draw(self, target: np.ndarray) -> None:
        np.copyto(target, self.number or self.values, where=self.values > 0)


def _numbered(dataset: Dataset, values: np.ndarray, path: Path) -> list[_Segment]:
    """The frames in the order in which they are drawn: by segment."""
    order = {number: place for number, (place, _) in _segments(dataset).items()}
    kind = text(dataset, "SegmentationType")
    if kind == "LABELMAP":
        table = np.zeros(int(values.max(initial=0)) + 1, np.int32)
        for number, place in order.items():
            table[number : number + 1] = place  # nothing where the number does not occur
        return [_Segment(index, 0, table[frame]) for index, frame in enumerate(values)]
    if kind == "FRACTIONAL":
        values = values >= 0.5 * (binary_number(dataset, "MaximumFractionalValue") or 255.0)
    found = []
    for index, frame in enumerate(values):
        number = integer(_group(dataset, index, "SegmentIdentificationSequence"), "ReferencedSegmentNumber")
        if number not in order:
            raise FormatError(
                f"{path}: frame {index + 1} belongs to a segment that the file does not describe."
            )
        found.append(_Segment(index, order[number], frame))
    return sorted(found, key=lambda frame: (frame.number, frame.index))


def _group(dataset: Dataset, frame: int, keyword: str) -> Dataset:
    """A functional group of a frame, its own or the shared one; empty when there is none."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    for holder in (per_frame[frame] if frame < len(per_frame) else Dataset(), shared[0]):
        if holder.get(keyword):
            return holder[keyword].value[0]
    return Dataset()


def _place(dataset: Dataset, frame: int) -> np.ndarray | None:
    return position(_group(dataset, frame, "PlanePositionSequence"))


def _stack(dataset: Dataset, frames: list[_Segment], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One volume on the segmentation's own grid and its affine; planes without a frame are empty."""
    measures = _group(dataset, 0, "PixelMeasuresSequence")
    axes = directions(_group(dataset, 0, "PlaneOrientationSequence"))
    spacing = pixel_spacing(measures)
    places = [_place(dataset, frame.index) for frame in frames]
    if axes is None or spacing is None or any(place is None for place in places):
        raise FormatError(
            f"{path}: frames with orientation, spacing and position were expected, some are missing."
        )
    depths = np.array([place @ np.cross(*axes) for place in places if place is not None])
    steps = np.diff(np.unique(np.round(depths, 3)))
    step = float(steps.min()) if len(steps) else plane_step(measures) or 1.0
    planes = np.rint((depths - depths.min()) / step).astype(int)
    rows, columns = frames[0].values.shape
    check_size(path, (int(planes.max()) + 1, rows, columns), 4)
    volume = np.zeros((int(planes.max()) + 1, rows, columns), np.int32)
    for plane, frame in zip(planes, frames, strict=True):
        frame.draw(volume[plane])
    origin = places[int(depths.argmin())]
    assert origin is not None
    return volume, affine_of(origin, axes, spacing, step)


def _resampled(own: np.ndarray, transform: np.ndarray, path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """`own` at the voxels of a grid; `transform` takes indices of the grid to indices of `own`."""
    corners = np.array(np.meshgrid(*((0, length - 1) for length in shape), [1])).reshape(4, -1)
    reach = (transform @ corners)[:3]
    limits = np.array(own.shape)
    if (reach.max(axis=1) < -0.5).any() or (reach.min(axis=1) > limits - 0.5).any():
        raise FormatError(
            f"{path}: a segmentation within the image was expected, it lies outside; is it of another scan?"
        )
    from scipy.ndimage import affine_transform

    return affine_transform(own, transform[:3], output_shape=shape, order=0, mode="grid-constant", cval=0)


def _without_place(frames: list[_Segment], path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Segments of a picture, which is known by its size alone."""
    labels = np.zeros(shape, np.int32)
    for frame in frames:
        if frame.values.shape != shape[1:] or shape[0] != 1:
            raise FormatError(
                f"{path}: the size {shape[1:]} of the image was expected of a segmentation without position, "
                f"{frame.values.shape} was found."
            )
        frame.draw(labels[0])
    return labels
