"""CSV and TSV tables that say which case is whose: columns found by name, rows read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError, FormatError
from medcli.files import read_csv
from medcli.io.found import known_split, listing

IMAGE_COLUMNS = ("image", "file", "path", "filename", "image_path", "image_id")
LABEL_COLUMNS = ("label", "class", "diagnosis", "target", "category")
PATIENT_COLUMNS = ("patient", "patient_id", "PatientID", "subject", "subject_id")


@dataclass(frozen=True)
class Table:
    """A table with its columns settled.

    Attributes:
        path: The file.
        rows: One mapping from column to text per line.
        case, patient, split, mask: Column names, None where there is none.
        images: Columns with image paths, one per channel; empty when there is none.
        labels: Label columns; empty when there is none.
        target: Column with the number to predict, None where there is none.
        groups: Columns to report by.
        clinical: Columns that the network sees.
    """

    path: Path
    rows: list[dict[str, str]]
    case: str | None
    images: tuple[str, ...]
    labels: tuple[str, ...]
    mask: str | None
    patient: str | None
    split: str | None
    groups: tuple[str, ...]
    clinical: tuple[str, ...] = ()
    target: str | None = None

    def cell(self, row: dict[str, str], column: str | None) -> str:
        """The text without surrounding blanks; "" when the column or the cell is missing."""
        return (row.get(column) or "").strip() if column else ""

    def split_of(self, row: dict[str, str]) -> str | None:
        """train, val or test; None for an empty cell. Raises DataError for any other text."""
        text = self.cell(row, self.split)
        if not text:
            return None
        split = known_split(text)
        if split is None:
            raise DataError(
                f"{self.path}: the column {self.split} is expected to hold train, val or test,"
                f" found '{text}'."
            )
        return split

    def groups_of(self, row: dict[str, str]) -> dict[str, str]:
        return {name: self.cell(row, name) for name in self.groups}

    def clinical_of(self, row: dict[str, str]) -> dict[str, str]:
        return {name: self.cell(row, name) for name in self.clinical}


def open_table(data: Data, name: str) -> Table:
    """Read the table and settle its columns.

    Raises DataError when the file is missing or empty, FormatError when it is no text table, ConfigError when
    a column that the config names is not there; the message lists those that are.
    """
    path = data.root / name
    if not path.is_file():
        raise DataError(f"{path}: no such table; check data.table and data.root.")
    try:
        rows = read_csv(path)
    except (UnicodeDecodeError, ValueError, OSError) as error:
        raise FormatError(f"{path}: not a CSV or TSV table in UTF-8 ({type(error).__name__}).") from None
    except Exception as error:  # csv.Error
        raise FormatError(f"{path}: not a CSV or TSV table ({error}).") from None
    if not rows:
        raise DataError(f"{path}: the table has no rows; expected a header and one line per case.")
    present = [column for column in rows[0] if column]
    if len(present) == 1 and ";" in present[0]:
        raise FormatError(
            f"{path}: commas were expected between columns (tabs in a .tsv), found semicolons; save it with commas."
        )
    columns = data.columns
    table = Table(
        path=path,
        rows=rows,
        case=_named(columns.case, "case", present, path),
        images=_several(columns.image, "image", IMAGE_COLUMNS, present, path),
        labels=_several(columns.label, "label", LABEL_COLUMNS, present, path),
        mask=_named(columns.mask, "mask", present, path),
        patient=_named(columns.patient, "patient", present, path) or _first(PATIENT_COLUMNS, present),
        split=_named(columns.split, "split", present, path),
        groups=tuple(_named(group, "groups", present, path) or "" for group in columns.groups),
        clinical=tuple(data.clinical),
        target=_named(columns.target, "target", present, path),
    )
    _check_clinical(table, present)
    return table


def _check_clinical(table: Table, present: Sequence[str]) -> None:
    """Raises ConfigError for a column that is absent, or that tells what is to be predicted, or who it is."""
    taken = (
        dict.fromkeys(table.labels, "the label, which is to be predicted")
        | {table.target: "the number that is to be predicted"}
        | {table.split: "the part"}
        | {table.patient: "the patient", table.case: "the case's name", table.mask: "the mask"}
        | dict.fromkeys(table.images, "the image's path")
    )
    for name in table.clinical:
        if name in taken:
            raise ConfigError(
                f"data.clinical: the column '{name}' of {table.path.name} holds {taken[name]}, so it must not be an "
                "input; leave it out."
            )
        if name not in present:
            raise ConfigError(
                f"data.clinical: {table.path.name} has no column '{name}'; it has {listing(present, 40)}."
            )


def _named(column: str | None, key: str, present: Sequence[str], path: Path) -> str | None:
    if column is not None and column not in present:
        raise ConfigError(
            f"data.columns.{key}: {path.name} has no column '{column}'; it has {listing(present, 40)}."
        )
    return column


def _several(
    setting: str | list[str], key: str, usual: Sequence[str], present: Sequence[str], path: Path
) -> tuple[str, ...]:
    if setting == "auto":
        first = _first(usual, present)
        return (first,) if first else ()
    names = [setting] if isinstance(setting, str) else setting
    return tuple(_named(name, key, present, path) or "" for name in names)


def _first(usual: Sequence[str], present: Sequence[str]) -> str | None:
    """The first usual name that is present, in any case of letters."""
    lower = {column.lower(): column for column in reversed(present)}
    return next((lower[name.lower()] for name in usual if name.lower() in lower), None)
