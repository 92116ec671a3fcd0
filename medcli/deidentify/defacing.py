"""Faces removed from what was written: NIfTI volumes, DICOM series and multi-frame objects of the head."""

import gzip
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medcli.deidentify import dicom, wire
from medcli.deidentify.wire import Element
from medcli.errors import FormatError
from medcli.files import atomic_path

FACE, NO_HEAD, UNCERTAIN = "face", "no head", "uncertain"
_EXPLICIT = "1.2.840.10008.1.2.1"
_AIR_HU = -1000
_MODALITIES = ("MR", "CT")


@dataclass(frozen=True)
class Defaced:
    """What was seen in a volume.

    Attributes:
        verdict: face (it was removed), no head, or uncertain (nothing was changed).
        files: Those that hold the volume, relative to the output folder.
    """

    verdict: str
    reason: str
    files: tuple[str, ...]


# --- NIfTI --------------------------------------------------------------------------------------------------------


def deface_nifti(content: bytes) -> tuple[bytes, str, str]:
    """The file with the face's voxels blanked, the verdict, and its reason; all other bytes stay."""
    import nibabel

    from medcli.deidentify.faces import find_face

    packed = content[:2] == b"\x1f\x8b"
    raw = gzip.decompress(content) if packed else content
    kind = nibabel.Nifti2Image if raw[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Image
    image: Any = kind.from_bytes(raw)
    if len(image.shape) not in (3, 4) or min(image.shape[:3]) < 2 or image.get_data_dtype().names:
        return content, NO_HEAD, "It is no volume of single numbers."
    volume = np.asarray(image.dataobj, dtype=np.float32)
    face = find_face(volume if volume.ndim == 3 else volume[..., 0], image.affine)
    if face.mask is None:
        return content, face.verdict, face.reason
    stored = np.array(image.dataobj.get_unscaled())
    stored[face.mask] = stored.min()
    start = int(image.dataobj.offset)
    data = stored.astype(image.get_data_dtype()).tobytes(order="F")
    result = raw[:start] + data + raw[start + len(data) :]
    return (gzip.compress(result, mtime=0) if packed else result), face.verdict, face.reason


# --- DICOM --------------------------------------------------------------------------------------------------------


def head_candidates(folder: Path, files: Sequence[str]) -> list[list[str]]:
    """The written MR and CT images by series, each with the files that hold it."""
    series: dict[str, list[str]] = defaultdict(list)
    for file in files:
        dataset = wire.read((folder / file).read_bytes()).dataset
        if dicom.text_of(dataset, 0x00080060) in _MODALITIES and dicom.PIXEL_DATA in dataset:
            series[dicom.text_of(dataset, dicom.SERIES)].append(file)
    return [sorted(group) for group in series.values()]


def deface_series(folder: Path, files: Sequence[str], options: frozenset[str]) -> Defaced:
    """Remove the face from a series in place, each file atomically, and mark what was done in every file."""
    import pydicom

    from medcli.deidentify.faces import find_face

    datasets = [pydicom.dcmread(folder / file) for file in files]
    frames = [frame for index, dataset in enumerate(datasets) for frame in _frames(index, dataset)]
    volume = _volume(datasets, frames)
    if volume is None:
        return _marked(
            folder, files, options, Defaced(UNCERTAIN, "Its planes do not form one volume.", tuple(files))
        )
    array, affine, frames_of = volume
    face = find_face(array, affine, modality=str(datasets[0].Modality))
    if face.mask is not None:
        for plane, places in enumerate(frames_of):
            for place in places:
                _blank(datasets[frames[place].file], frames[place].number, face.mask[plane])
        for file, dataset in zip(files, datasets, strict=True):
            _rewrite(folder / file, dataset)
    return _marked(folder, files, options, Defaced(face.verdict, face.reason, tuple(files)))


@dataclass(frozen=True)
class _Frame:
    file: int
    number: int
    position: np.ndarray  # of the first pixel, LPS mm
    orientation: np.ndarray  # row then column direction, LPS
    spacing: tuple[float, float]


def _frames(index: int, dataset: Any) -> list[_Frame]:
    """Where each frame lies; empty when the object does not say."""
    try:
        if "PerFrameFunctionalGroupsSequence" in dataset:
            return _enhanced_frames(index, dataset)
        position = np.array(dataset.ImagePositionPatient, float)
        orientation = np.array(dataset.ImageOrientationPatient, float)
        spacing = _pair(dataset.PixelSpacing)
    except (AttributeError, TypeError, ValueError, IndexError):
        return []
    return [_Frame(index, 0, position, orientation, spacing)]


def _enhanced_frames(index: int, dataset: Any) -> list[_Frame]:
    shared = dataset.SharedFunctionalGroupsSequence[0]

    def group(own: Any, name: str) -> Any:
        return getattr(own if name in own else shared, name)[0]

    return [
        _Frame(
            index,
            number,
            np.array(group(own, "PlanePositionSequence").ImagePositionPatient, float),
            np.array(group(own, "PlaneOrientationSequence").ImageOrientationPatient, float),
            _pair(group(own, "PixelMeasuresSequence").PixelSpacing),
        )
        for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence)
    ]


def _pair(values: Any) -> tuple[float, float]:
    first, second = map(float, values)
    return first, second


def _volume(datasets: list, frames: list[_Frame]) -> tuple[np.ndarray, np.ndarray, list[list[int]]] | None:
    """(plane, row, column) in HU or stored units, its affine to RAS+ mm, and the frames of each plane."""
    if len(frames) < 3 or any(len(_frames(index, dataset)) == 0 for index, dataset in enumerate(datasets)):
        return None
    first = frames[0]
    if any(
        not np.allclose(frame.orientation, first.orientation, atol=1e-3) or frame.spacing != first.spacing
        for frame in frames
    ):
        return None
    along = np.cross(first.orientation[:3], first.orientation[3:])
    heights = np.round([frame.position @ along for frame in frames], 2)
    levels = np.unique(
        heights
    )  # several frames at one place are times, echoes or directions of the same anatomy
    at_level = [np.flatnonzero(heights == level).tolist() for level in levels]
    steps = np.diff(levels)
    if len(levels) < 3 or steps.max() > 2 * np.median(steps):
        return None
    try:
        pixels = [_pixels(dataset) for dataset in datasets]
        shown = [frames[places[0]] for places in at_level]
        planes = [_plane(datasets[frame.file], pixels[frame.file], frame.number) for frame in shown]
    except FormatError as error:
        raise FormatError(f"Of its files {error}") from None
    except Exception as error:  # decoders raise what they like
        raise FormatError(f"Its pixels cannot be decoded ({type(error).__name__}).") from None
    if len({plane.shape for plane in planes}) != 1 or planes[0].ndim != 2:
        return None
    origin = shown[0].position
    step = (shown[-1].position - origin) / (len(shown) - 1)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = step, origin
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2] = first.orientation[:3] * first.spacing[1]
    affine[:2] *= -1  # LPS to RAS
    return np.stack(planes), affine, at_level


def _pixels(dataset: Any) -> np.ndarray:
    """The samples, which the data set caches; compressed ones are decoded where a crash does no harm."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        from pydicom.uid import UID

        from medcli.deidentify.pixels.decoding import stored

        dataset.PixelData = b"".join(frame.tobytes() for frame in stored(dataset).frames())
        dataset["PixelData"].is_undefined_length = False
        dataset.file_meta.TransferSyntaxUID = UID(_EXPLICIT)
    return dataset.pixel_array


def _plane(dataset: Any, pixels: np.ndarray, number: int) -> np.ndarray:
    plane = (pixels if pixels.ndim == 2 else pixels[number]).astype(np.float32)
    slope, intercept = (
        float(getattr(dataset, "RescaleSlope", 1) or 1),
        float(getattr(dataset, "RescaleIntercept", 0) or 0),
    )
    return plane * slope + intercept


def _blank(dataset: Any, number: int, mask: np.ndarray) -> None:
    """Set the face's pixels of one frame to background in the decoded array that the data set caches."""
    if not mask.any():
        return
    pixels = dataset.pixel_array
    if not pixels.flags.writeable:
        dataset._pixel_array = pixels = pixels.copy()
    plane = pixels if pixels.ndim == 2 else pixels[number]
    if dataset.Modality == "CT":
        slope, intercept = (
            float(getattr(dataset, "RescaleSlope", 1) or 1),
            float(getattr(dataset, "RescaleIntercept", 0) or 0),
        )
        value = max(round((_AIR_HU - intercept) / slope), int(pixels.min()))
    else:
        value = int(pixels.min())
    plane[mask] = value


def _rewrite(path: Path, dataset: Any) -> None:
    """Write the changed pixels; native files keep their syntax, compressed ones become Explicit VR Little Endian."""
    pixels = dataset.pixel_array
    file = wire.read(path.read_bytes())
    if isinstance(file.dataset[dicom.PIXEL_DATA].value, wire.Fragments):
        file.transfer_syntax = _EXPLICIT
        file.meta[0x00020010] = Element(0x00020010, "UI", _EXPLICIT.encode())
    stored = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    file.dataset[dicom.PIXEL_DATA] = Element(dicom.PIXEL_DATA, "OW", stored + b"\0" * (len(stored) % 2))
    _write(path, file)


def _marked(folder: Path, files: Sequence[str], options: frozenset[str], result: Defaced) -> Defaced:
    mark = "YES" if result.verdict == UNCERTAIN else "NO"
    for file in files:
        read = wire.read((folder / file).read_bytes())
        cleaned = dicom.text_of(read.dataset, 0x00280301) == "NO" and "pixels" in options
        dicom.stamp(read.dataset, options, pixels_cleaned=cleaned, face=mark)
        _write(folder / file, read)
    return result


def _write(path: Path, file: wire.File) -> None:
    content = wire.write(file)
    with atomic_path(path, durable=False) as target:
        target.write_bytes(content)
