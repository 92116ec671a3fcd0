"""The series in a folder: which files belong together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from medcli.errors import FormatError
from medcli.io.dicom.files import has_image, open_dicom, text

_NO_IMAGES = {
    ".json",
    ".csv",
    ".tsv",
    ".txt",
    ".xml",
    ".md",
    ".yaml",
    ".yml",
    ".pdf",
    ".png",
    ".jpg",
    ".nii",
    ".npy",
}


@dataclass(frozen=True)
class Series:
    """One series by its headers.

    Attributes:
        uid: SeriesInstanceUID; "" where the files have none.
        files: In natural order, images only.
        modality: Code such as "CT".
        stackable: Do the files have a place in space, so that they form a volume?
        readable: False for a single file that cannot be read, to which no series can be given.
    """

    uid: str
    files: tuple[Path, ...]
    modality: str
    stackable: bool
    readable: bool = True

    @property
    def is_stack(self) -> bool:
        return self.stackable and len(self.files) > 1


def files_in(folder: Path) -> list[Path]:
    """Files of a folder that may be DICOM; those of its subfolders when it holds none itself."""

    def candidates(paths: Iterable[Path]) -> list[Path]:
        return sorted(
            path
            for path in paths
            if not path.name.startswith(".")
            and path.suffix.lower() not in _NO_IMAGES
            and path.name.upper() != "DICOMDIR"
            and path.is_file()
        )

    return candidates(folder.iterdir()) or candidates(folder.rglob("*"))


def list_series(files: Sequence[Path]) -> list[Series]:
    """Group files by SeriesInstanceUID from their headers alone; files that hold no image are left out."""
    found: dict[str, list[Path]] = {}
    modality: dict[str, str] = {}
    placed: dict[str, bool] = {}
    unreadable = []
    for path in files:
        try:
            dataset = open_dicom(path, pixels=False)
        except FormatError:
            unreadable.append(Series("", (path,), "", stackable=False, readable=False))
            continue
        if not has_image(dataset):
            continue
        uid = text(dataset, "SeriesInstanceUID")
        found.setdefault(uid, []).append(path)
        modality.setdefault(uid, text(dataset, "Modality"))
        placed[uid] = placed.get(uid, True) and has_place(dataset)
    series = [Series(uid, tuple(paths), modality[uid], placed[uid]) for uid, paths in found.items()]
    place = {path: number for number, path in enumerate(files)}
    return sorted(series + unreadable, key=lambda item: place[item.files[0]])


def has_place(dataset: Dataset) -> bool:
    """Does the header give the image a position and an orientation?"""
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return True
    return bool(text(dataset, "ImagePositionPatient")) and bool(text(dataset, "ImageOrientationPatient"))


def several_series(folder: Path, series: dict[str, tuple[str, int]]) -> FormatError:
    """The error that lists them: UID to (modality, number of files)."""
    listed = "; ".join(
        f"{uid or 'without UID'} ({modality}, {count} files)" for uid, (modality, count) in series.items()
    )
    return FormatError(
        f"{folder}: one DICOM series was expected, {len(series)} were found: {listed}; name one by its "
        "SeriesInstanceUID as the part, or keep each in a folder of its own."
    )
