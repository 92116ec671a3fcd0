"""Every DICOM image as a list of frames: one of a classic file, many of an enhanced or a mosaic one."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medcli.io.dicom.files import number, numbers
from medcli.io.dicom.mosaic import is_mosaic, split_mosaic
from medcli.io.dicom.pixels import stored_values

VALUES_WITH_UNIT = ("CT", "PT", "NM")
"""Modalities whose values are quantities: MONOCHROME1 says how to show them, not what they mean."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of pixels and its place.

    Attributes:
        values: (row, column, sample) integers as stored; MONOCHROME1 already inverted.
        slope, intercept: What makes them the modality's values.
        position: (3,) centre of the first pixel in LPS mm, or None when the file does not say.
        axes: (2, 3) unit vectors in LPS: along a row (column index grows), along a column (row index grows); or None.
        spacing: mm between rows, between columns; or None.
        thickness: mm between planes as the header has it; used only where positions cannot tell. Or None.
        stack: What tells stacks of one series apart, though their geometry is alike.
        kind: What tells images of another meaning at one place apart (magnitude and phase, echoes).
        phase: Order among frames at one place (time, diffusion); equal for frames that should not share a place.
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
    if dataset.get("PhotometricInterpretation") != "MONOCHROME1" or values.dtype.kind not in "iu":
        return values, ()
    if dataset.get("Modality") in VALUES_WITH_UNIT:
        return values, ("MONOCHROME1 is not inverted, since the values have a unit",)
    # (low + high) - value is the complement of the stored bits: -1 - value when signed, 2^bits - 1 - value when not.
    stored = int(number(dataset, "BitsStored", dataset.BitsAllocated))
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
        position=_vector(dataset, "ImagePositionPatient", 3),
        axes=_axes(dataset),
        spacing=_pixel_spacing(dataset),
        thickness=number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness") or None,
        kind=_classic_kind(dataset),
        phase=tuple(_sortable(dataset.get(keyword)) for keyword in _PHASE_KEYWORDS),
        instance=int(number(dataset, "InstanceNumber")),
        identity=(str(dataset.get("SOPInstanceUID", path)), 0),
        modality=str(dataset.get("Modality", "")),
        notes=notes,
    )


_PHASE_KEYWORDS = (
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "TriggerTime",
    "DiffusionBValue",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentTime",
)


def _classic_kind(dataset: Dataset) -> str:
    image_type = dataset.get("ImageType") or []
    image_type = [image_type] if isinstance(image_type, str) else list(image_type)
    echo = dataset.get("EchoTime")
    return " ".join([*image_type[2:], f"echo {float(echo):g} ms" if echo not in (None, "") else ""]).strip()


def _cine(frame: Frame, values: np.ndarray) -> list[Frame]:
    """Frames of an old multi-frame object: no place of their own, in the order of the file."""
    place = {"position": None, "axes": None} if len(values) > 1 else {}
    return [
        _replaced(frame, values=plane, instance=index, identity=(frame.identity[0], index), **place)
        for index, plane in enumerate(values)
    ]


def _enhanced(dataset: Dataset, path: Path, values: np.ndarray, notes: tuple[str, ...]) -> list[Frame]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    frames = []
    for index, (plane, groups) in enumerate(zip(values, per_frame, strict=False)):

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
                position=_vector(group("PlanePositionSequence"), "ImagePositionPatient", 3),
                axes=_axes(group("PlaneOrientationSequence")),
                spacing=_pixel_spacing(measures),
                thickness=number(measures, "SpacingBetweenSlices")
                or number(measures, "SliceThickness")
                or None,
                stack=str(content.get("StackID") or ""),
                kind=_enhanced_kind(group),
                phase=(
                    number(content, "TemporalPositionIndex"),
                    number(group("TemporalPositionSequence"), "TemporalPositionTimeOffset"),
                    number(group("CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"),
                    number(group("MRDiffusionSequence"), "DiffusionBValue"),
                    number(content, "FrameAcquisitionNumber"),
                    _sortable(content.get("FrameAcquisitionDateTime")),
                ),
                instance=int(number(dataset, "InstanceNumber")) * 100_000 + index,
                identity=(str(dataset.get("SOPInstanceUID", path)), index),
                modality=str(dataset.get("Modality", "")),
                notes=notes,
            )
        )
    return frames


def _enhanced_kind(group) -> str:
    for keyword in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"):
        frame_type = group(keyword)
        if len(frame_type):
            break
    echo = number(group("MREchoSequence"), "EffectiveEchoTime")
    values = frame_type.get("FrameType") or []
    return " ".join([*list(values)[2:], f"echo {echo:g} ms" if echo else ""]).strip()


def _sortable(value) -> float | str:
    """Numbers as numbers, dates and times as digits in fixed width; they order frames and are never shown."""
    if value in (None, ""):
        return ""
    try:
        return f"{float(str(value)):020.6f}"
    except ValueError:
        return str(value)


def _vector(dataset: Dataset, keyword: str, count: int) -> np.ndarray | None:
    found = numbers(dataset, keyword, count)
    return None if found is None else np.array(found)


def _axes(dataset: Dataset) -> np.ndarray | None:
    """Orthonormal row and column directions, or None when the header has none that can be used."""
    found = _vector(dataset, "ImageOrientationPatient", 6)
    if found is None:
        return None
    along_row, along_column = found.reshape(2, 3)
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if min(lengths) < 0.5 or abs(along_row @ along_column) > 0.01 * lengths[0] * lengths[1]:
        return None
    return np.stack([along_row / lengths[0], along_column / lengths[1]])


def _pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = numbers(dataset, keyword, 2)
        if found and min(found) > 0:
            return found[0], found[1]
    return None


def _replaced(frame: Frame, **changes) -> Frame:
    from dataclasses import replace

    return replace(frame, **changes)
