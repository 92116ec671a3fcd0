"""DICOM images: classic series, enhanced multi-frame objects, mosaics, radiographs and photographs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.dicom.files import has_image, open_dicom, text
from medcli.io.dicom.frames import Frame, frames_of
from medcli.io.dicom.series import files_in, has_place, several_series
from medcli.io.dicom.volume import build_volume


def read_dicom(source: Source) -> Image:
    """Read a file or a folder with one series.

    A file with one frame is a picture: integers as stored, float32 where slope and intercept change them. A
    file with several frames and a folder are volumes: float32 after slope and intercept, planes sorted along
    their normal, copies dropped, gaps and gantry tilt resampled to an even, upright grid (every repair is
    noted). Images that share places in an orderly way (time points, diffusion) become channels.

    Args:
        source: `part` names one of several series by its SeriesInstanceUID, one of several stacks by its
            number, or both as "UID#2".

    Raises:
        FormatError: See `build_volume` and `stored_values`; and when a folder holds several series and `part`
            names none: the message lists them.
    """
    uid, stack = _split_part(source)
    if source.path.is_dir():
        return _read_folder(source.path, uid, stack)
    dataset = open_dicom(source.path)
    _check_image(source.path, dataset)
    frames = frames_of(dataset, source.path)
    if len(frames) == 1:
        return _picture(frames[0])
    return _volume(frames, str(source.path), stack, (source.path,))


def _split_part(source: Source) -> tuple[str, str]:
    uid, _, stack = source.part.partition("#")
    return ("", uid) if uid and "." not in uid and not stack else (uid, stack)


def _check_image(path: Path, dataset: Dataset) -> None:
    if not has_image(dataset):
        kind = (
            getattr(dataset.get("SOPClassUID"), "name", "") or text(dataset, "Modality") or "an unknown kind"
        )
        raise FormatError(
            f"{path}: a DICOM image was expected, an object without an image was found ({kind})."
        )
    if text(dataset, "Modality") == "SM":
        raise FormatError(f"{path}: whole-slide images are not read; export regions as TIFF or PNG.")


def _read_folder(folder: Path, uid: str, stack: str) -> Image:
    frames: list[Frame] = []
    paths: list[Path] = []
    series: dict[str, tuple[str, int]] = {}
    placed = False
    for path in files_in(folder):
        dataset = _open_wanted(path, uid)
        if dataset is None:
            continue
        found = text(dataset, "SeriesInstanceUID")
        modality, count = series.get(found, (text(dataset, "Modality"), 0))
        series[found] = (modality, count + 1)
        if (uid and found != uid) or len(series) > 1:
            continue  # only counted, for the message
        _check_image(path, dataset)
        placed = placed or has_place(dataset)
        frames += frames_of(dataset, path)
        paths.append(path)
    if len(series) > 1 and not uid:
        raise several_series(folder, series)
    if not frames:
        wanted = f"the series {uid}" if uid else "a DICOM series"
        raise FormatError(f"{folder}: {wanted} was expected, no such image was found.")
    if len(frames) == 1 and not (placed and frames[0].modality in ("CT", "MR", "PT")):
        return _picture(frames[0])
    return _volume(frames, str(folder), stack, tuple(paths))


def _open_wanted(path: Path, uid: str) -> Dataset | None:
    """The dataset, None for what is no image; pixels of series that are not asked for stay on disk."""
    from medcli.io.readers import DICOM, format_by_content

    if path.suffix.lower() not in DICOM.suffixes and format_by_content(path) is not DICOM:
        return None
    dataset = open_dicom(path, pixels=not uid)
    if not has_image(dataset):
        return None
    if uid and text(dataset, "SeriesInstanceUID") == uid:
        return open_dicom(path)
    return None if uid else dataset


def _picture(frame: Frame) -> Image:
    array = frame.values
    if frame.scaled or array.dtype.kind == "f":
        array = (array * np.float64(frame.slope) + frame.intercept).astype(np.float32)
    return Image(
        np.array(array),  # a copy, since the frame is a view of the file's bytes
        frame.spacing,
        modality=frame.modality,
        sources=(frame.path,),
        notes=frame.notes,
    )


def _volume(frames: Sequence[Frame], name: str, stack: str, paths: tuple[Path, ...]) -> Image:
    volume = build_volume(frames, name, stack)
    return Image(volume.array, volume.spacing, volume.affine, frames[0].modality, paths, volume.notes)
