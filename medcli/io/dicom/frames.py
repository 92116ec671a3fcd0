"""Every DICOM image as a list of frames: one of a classic file, many of an enhanced or a mosaic one."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medcli.errors import FormatError
from medcli.io.dicom.files import binary_number, integer, number, text, texts
from medcli.io.dicom.mosaic import is_mosaic, split_mosaic
from medcli.io.dicom.pixels import stored_values
from medcli.io.dicom.place import directions, pixel_spacing, plane_step, position

VALUES_WITH_UNIT = ("CT", "PT", "NM")
"""Modalities whose values are quantities: MONOCHROME1 says how to show them, not what they mean."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of pixels and its place.

    Attributes:
        values: (row, column, sample) integers as stored; MONOCHROME1 already inverted.
        slope, intercept: What makes them the modality's values.
        position: (3,) centre of the first pixel in LPS mm, or None when the file does not say.
        axes: (2, 3) unit vectors in LPS: along a row (column index grows), along a column (row index grows);
            or None.
        spacing: mm between rows, between columns; or None.
        thickness: mm between planes as the header has it; used only where positions cannot tell. Or None.
        stack: What tells stacks of one series apart, though their geometry is alike.
        kind: What tells images of another meaning at one place apart (magnitude and phase, echoes).
        phase: Order among frames at one place (time, diffusion); equal for frames that should not share a
            place.
        instance: Number in the series, the last resort for order.
        identity: The object's UID and frame number: equal for copies.
        modality, path: See `Image`.
    """

    values: np.ndarray
    path: Path
    slope: float = 1.0
    intercept: float = 0.0
    position: np.ndarray | None = None
    axes: np.ndarray | None = None
    spacing: tuple[float, float] | None = None
    thickness: float | None = None
    stack: str = ""
    kind: str = ""
    phase: tuple[float | str, ...] = ()
    instance: int = 0
    identity: tuple[str, int] = ("", 0)
    modality: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def scaled(self) -> bool:
        return self.slope != 1 or self.intercept != 0


def frames_of(dataset: Dataset, path: Path) -> list[Frame]:
    """The frames of one file, decoded. Raises FormatError (see `stored_values`)."""
    values = stored_values(dataset, path)
    values, notes = _shown_upright(values, dataset)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return _enhanced(dataset, path, values, notes)
    frame = _classic(dataset, path, values[0], notes)
    if is_mosaic(dataset):
        return split_mosaic(dataset, frame)
    return [frame] if len(values) == 1 else _cine(frame, values)


def _shown_upright(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Invert MONOCHROME1, where the smallest value is white, within the range of the stored bits."""
    if text(dataset, "PhotometricInterpretation") != "MONOCHROME1" or values.dtype.kind not in "iu":
        return values, ()
    if text(dataset, "Modality") in VALUES_WITH_UNIT:
        return values, ("MONOCHROME1 is not inverted, since the values have a unit",)
    # (low + high) - value is the complement of the stored bits: -1 - value when signed, 2^bits - 1 - value
    # when not.
    stored = integer(dataset, "BitsStored", dataset.BitsAllocated)
    inverted = ~values if values.dtype.kind == "i" else values.dtype.type(2**stored - 1) - values
    return inverted, ("MONOCHROME1 was inverted: larger is brighter",)


def _classic(dataset: Dataset, path: Path, values: np.ndarray, notes: tuple[str, ...]) -> Frame:
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels import apply_modality_lut

        values = apply_modality_lut(values, dataset)
    return Frame(
        values,
        path,
        slope=number(dataset, "RescaleSlope", 1.0),
        intercept=number(dataset, "RescaleIntercept", 0.0),
        position=position(dataset),
        axes=directions(dataset),
        spacing=pixel_spacing(dataset),
        thickness=plane_step(dataset),
        kind=_classic_kind(dataset),
        phase=(
            *(_sortable(text(dataset, keyword)) for keyword in _PHASE_KEYWORDS),
            binary_number(dataset, "DiffusionBValue"),
        ),
        instance=int(number(dataset, "InstanceNumber")),
        identity=(text(dataset, "SOPInstanceUID") or str(path), 0),
        modality=text(dataset, "Modality"),
        notes=notes,
    )


_PHASE_KEYWORDS = (
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "TriggerTime",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentTime",
)


def _classic_kind(dataset: Dataset) -> str:
    echo = number(dataset, "EchoTime")
    return " ".join([*texts(dataset, "ImageType")[2:], f"echo {echo:g} ms" if echo else ""]).strip()


def _cine(frame: Frame, values: np.ndarray) -> list[Frame]:
    """Frames of an old multi-frame object: no place of their own, in the order of the file."""
    frame = replace(frame, position=None, axes=None)
    return [
        replace(frame, values=plane, instance=index, identity=(frame.identity[0], index))
        for index, plane in enumerate(values)
    ]


def _enhanced(dataset: Dataset, path: Path, values: np.ndarray, notes: tuple[str, ...]) -> list[Frame]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    if len(per_frame) != len(values):
        raise FormatError(
            f"{path}: functional groups of {len(values)} frames were expected, {len(per_frame)} were found."
        )
    frames = []
    for index, (plane, groups) in enumerate(zip(values, per_frame, strict=True)):

        def group(keyword: str, groups: Dataset = groups) -> Dataset:
            for holder in (groups, shared):
                if holder.get(keyword):
                    return holder[keyword].value[0]
            return Dataset()

        content = group("FrameContentSequence")
        measures = group("PixelMeasuresSequence")
        transform = group("PixelValueTransformationSequence")
        frames.append(
            Frame(
                plane,
                path,
                slope=number(transform, "RescaleSlope", 1.0),
                intercept=number(transform, "RescaleIntercept", 0.0),
                position=position(group("PlanePositionSequence")),
                axes=directions(group("PlaneOrientationSequence")),
                spacing=pixel_spacing(measures),
                thickness=plane_step(measures),
                stack=text(content, "StackID"),
                kind=_enhanced_kind(group),
                phase=(
                    binary_number(content, "TemporalPositionIndex"),
                    binary_number(group("TemporalPositionSequence"), "TemporalPositionTimeOffset"),
                    binary_number(group("CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"),
                    binary_number(group("MRDiffusionSequence"), "DiffusionBValue"),
                    binary_number(content, "FrameAcquisitionNumber"),
                    _sortable(text(content, "FrameAcquisitionDateTime")),
                ),
                instance=int(number(dataset, "InstanceNumber")) * 100_000 + index,
                identity=(text(dataset, "SOPInstanceUID") or str(path), index),
                modality=text(dataset, "Modality"),
                notes=notes,
            )
        )
    return frames


def _enhanced_kind(group) -> str:
    for keyword in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"):
        frame_type = group(keyword)
        if len(frame_type):
            break
    echo = binary_number(group("MREchoSequence"), "EffectiveEchoTime")
    values = frame_type.get("FrameType") or []
    return " ".join([*list(values)[2:], f"echo {echo:g} ms" if echo else ""]).strip()


def _sortable(value: str) -> str:
    """Numbers, dates and times in fixed width, so that they sort as text; they order frames, nothing else."""
    try:
        return f"{float(value):020.6f}"
    except ValueError:
        return value
