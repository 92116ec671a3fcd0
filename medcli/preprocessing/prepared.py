"""The prepared folder: a manifest, one array per case, the fingerprint and the plan.

    manifest.csv      one line per case: see `Record`
    cases/KEY.image.npy   float32 (row, column, channel) or (plane, row, column, channel), normalised
    cases/KEY.label.npy   detection: float32 (n, 5) x0, y0, x1, y1, class in pixels of the prepared image;
                          segmentation: uint8, spatial shape of the image, 0 = background, 255 = ignore;
                          with objects int32, see `medcli.preprocessing.instances`
    cases/KEY.mask.npy    detection from masks: uint16, i + 1 where row i of the label has its object
    config.yaml  plan.yaml  fingerprint.json  report.html  problems.csv

KEY is the hash of the case's input files and of all settings that shape its arrays, so an array with the right name has
the right content, and a second run does only what changed. The manifest is written last; without it the folder is
incomplete and cannot be opened.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medcli.clinical import stamp
from medcli.errors import RunError
from medcli.files import read_csv, write_csv
from medcli.preprocessing.coarse import Answered
from medcli.preprocessing.instances import classes_of
from medcli.preprocessing.plan import Plan, load_plan

MANIFEST = "manifest.csv"
GROUP_PREFIX, CLINICAL_PREFIX = "group:", "clinical:"


@dataclass(frozen=True)
class Record:
    """One prepared case.

    Attributes:
        case, patient: Names.
        split: "train", "val" or "test".
        fold: Number of the fold that validates on it, or None.
        classes: Class names: those that apply (classification), or those that occur in it.
        key: Name of its arrays.
        shape: Spatial shape of the prepared image.
        original_shape: Spatial shape of the image as read.
        spacing: mm per axis of the image as read; None when unknown.
        objects: Boxes (detection) or labelled voxels (segmentation), else 0.
        sources: Image files, relative to `data.root`, as "path" or "path::part".
        labels: Label files in the same form; empty when the label is in the table or the annotation file.
        sha256: One digest over the content of all its files.
        groups: Group columns, "" when missing.
        clinical: Text of the columns that the network sees beside the image.
        target: Regression: the number to predict.
        unknown: Classification: class names of which nobody said whether they apply.
    """

    case: str
    patient: str
    split: str
    fold: int | None
    classes: tuple[str, ...]
    key: str
    shape: tuple[int, ...]
    original_shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    objects: int
    sources: tuple[str, ...]
    labels: tuple[str, ...]
    sha256: str
    groups: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    clinical: dict[str, str] = field(default_factory=dict)
    target: float | None = None


def write_manifest(folder: Path, records: Sequence[Record]) -> None:
    """Groups appear as `group:NAME`, clinical columns as `clinical:NAME`; tuples are joined by `|` (sizes by `x`).

    The column `target` is there for regression only.
    """
    names = sorted({GROUP_PREFIX + name for record in records for name in record.groups})
    names += sorted({CLINICAL_PREFIX + name for record in records for name in record.clinical})
    left_out = {"groups", "clinical"} | ({"target"} if all(one.target is None for one in records) else set())
    columns = [name for name in Record.__dataclass_fields__ if name not in left_out]
    rows = [_to_row(record) for record in records]
    write_csv(folder / MANIFEST, rows, columns + names)


def read_manifest(folder: Path) -> list[Record]:
    path = folder / MANIFEST
    if not path.is_file():
        raise RunError(
            f"{folder}: no finished prepared folder here ({MANIFEST} is missing); run `medcli preprocess` first."
        )
    try:
        return [_from_row(row) for row in read_csv(path)]
    except (KeyError, ValueError, TypeError):
        raise RunError(f"{path}: not a manifest of medcli; run `medcli preprocess` again.") from None


def _to_row(record: Record) -> dict[str, Any]:
    row = dict(vars(record))
    groups, clinical = row.pop("groups"), row.pop("clinical")
    for name in ("classes", "sources", "labels", "unknown"):
        row[name] = "|".join(row[name])
    for name in ("shape", "original_shape"):
        row[name] = "x".join(map(str, row[name]))
    row["spacing"] = "" if record.spacing is None else "x".join(f"{step:.9g}" for step in record.spacing)
    row["fold"] = "" if record.fold is None else record.fold
    row["target"] = "" if record.target is None else repr(record.target)
    row |= {GROUP_PREFIX + name: value for name, value in groups.items()}
    return row | {CLINICAL_PREFIX + name: value for name, value in clinical.items()}


def _from_row(row: dict[str, str]) -> Record:
    def parts(text: str) -> tuple[str, ...]:
        return tuple(text.split("|")) if text else ()

    def below(prefix: str) -> dict[str, str]:
        return {name[len(prefix) :]: value for name, value in row.items() if name.startswith(prefix)}

    return Record(
        case=row["case"],
        patient=row["patient"],
        split=row["split"],
        fold=int(row["fold"]) if row["fold"] else None,
        classes=parts(row["classes"]),
        key=row["key"],
        shape=tuple(int(n) for n in row["shape"].split("x")),
        original_shape=tuple(int(n) for n in row["original_shape"].split("x")),
        spacing=tuple(float(n) for n in row["spacing"].split("x")) if row["spacing"] else None,
        objects=int(row["objects"]),
        sources=parts(row["sources"]),
        labels=parts(row["labels"]),
        sha256=row["sha256"],
        groups=below(GROUP_PREFIX),
        clinical=below(CLINICAL_PREFIX),
        unknown=parts(row.get("unknown", "")),
        target=float(row["target"]) if row.get("target") else None,
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A finished prepared folder, opened for reading.

    `answers`: the folder with what the coarse networks of a cascade said, see `medcli.preprocessing.coarse`.
    """

    folder: Path
    plan: Plan
    records: tuple[Record, ...]
    answers: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> "Prepared":
        """Raises RunError when the folder is missing, unfinished or empty."""
        folder = Path(folder)
        if not folder.is_dir():
            raise RunError(f"{folder}: no such prepared folder; run `medcli preprocess` first.")
        records = tuple(read_manifest(folder))
        if not records:
            raise RunError(f"{folder}: the prepared folder holds no cases; look into problems.csv there.")
        return cls(folder, load_plan(folder / "plan.yaml"), records)

    def split(self, name: str) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.split == name)

    def image(self, record: Record, *, mapped: bool = False) -> np.ndarray:
        """float32, spatial shape + channel; `mapped` reads from disk only what is touched.

        As the network sees it: with the clinical columns of the plan as further channels, see `medcli.clinical.stamp`,
        and in a cascade with the coarse answers.
        """
        image = stamp(self.picture(record, mapped=mapped), record.clinical, self.plan.clinical)
        return image if self.answers is None else np.asarray(Answered(image, self.answer(record)))

    def answer(self, record: Record) -> np.ndarray:
        """What the coarse networks said: uint8, spatial shape + class; mapped."""
        assert self.answers is not None
        return self._load(answer_path(self.answers, record.key), True)

    def picture(self, record: Record, *, mapped: bool = False) -> np.ndarray:
        """The image alone."""
        return self._load(image_path(self.folder, record.key), mapped)

    def label(self, record: Record, *, mapped: bool = False) -> np.ndarray:
        """Boxes or class ids, see the module's text."""
        label = self._load(label_path(self.folder, record.key), mapped)
        return classes_of(label) if label.dtype == np.int32 else label

    def mask(self, record: Record) -> np.ndarray | None:
        """Detection from masks: uint16 on the prepared grid, i + 1 where row i of the label has its object; mapped.

        None: the boxes are not from masks, or were prepared before these were kept.
        """
        path = mask_path(self.folder, record.key)
        return self._load(path, True) if path.is_file() else None

    def objects(self, record: Record, *, mapped: bool = False) -> np.ndarray:
        """int32 classes and object numbers, see `medcli.preprocessing.instances`; only of a plan with objects."""
        return self._load(label_path(self.folder, record.key), mapped)

    def fingerprint(self) -> dict[str, Any]:
        return json.loads((self.folder / "fingerprint.json").read_text(encoding="utf-8"))

    def _load(self, path: Path, mapped: bool) -> np.ndarray:
        try:
            return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(
                f"{path}: the prepared array cannot be read ({type(error).__name__}); run `medcli preprocess` again."
            ) from None


def image_path(folder: Path, key: str) -> Path:
    return folder / "cases" / f"{key}.image.npy"


def mask_path(folder: Path, key: str) -> Path:
    return folder / "cases" / f"{key}.mask.npy"


def answer_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.npy"


def label_path(folder: Path, key: str) -> Path:
    return folder / "cases" / f"{key}.label.npy"
