"""A CSV or TSV with one line per case: image, label or mask, patient, groups; or one line per box."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from medcli.case import Case, Source
from medcli.clinical import MISSING, number
from medcli.config.schema import Data
from medcli.errors import ConfigError
from medcli.io.case_paths import fill, has_case
from medcli.io.found import Found, class_order, listing, shown
from medcli.io.layouts.masks import segmentation_classes
from medcli.io.names import is_image, safe_name, stem, unique_names
from medcli.io.readers import SUFFIXES
from medcli.io.tables import IMAGE_COLUMNS, LABEL_COLUMNS, Table, open_table

NO_NAME = "(no name)"
"""Stands for the image of a row whose image column is empty."""

NOTHING = {"no finding", "no findings", "none", "normal"}
"""Words for no label at all, in any case of letters, where several may apply and `data.classes` names no such class."""

TRUE, FALSE = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}
EMPTY, UNCERTAIN = {"", "nan", "na", "none", "null"}, {"-1", "-1.0"}


def find(data: Data, task: str) -> Found:
    """Cases in the order of the rows, named by `columns.case` or by the image's file name."""
    if not data.table:
        raise ConfigError(
            "data.table: expected the name of a CSV or TSV file for data.format: table, got none."
        )
    table = open_table(data, data.table)
    if task == "detection" and not table.mask:
        from medcli.io.layouts.box_table import find_boxes

        return find_boxes(data, table)
    found = Found()
    kinds = {"classification": _classes, "regression": _numbers}
    label = kinds.get(task, _masks)(data, table, found)
    images = [image_paths(data, table, row) for row in table.rows]
    names = case_names(table, images)
    for line, (row, name, paths) in enumerate(zip(table.rows, names, images, strict=True), start=2):
        missing = [path for path in paths if not path.exists()]
        if missing and missing[0].name == NO_NAME:
            found.leave_out("", table.path.name, f"line {line} names no image.")
        elif missing:
            found.leave_out(
                name,
                shown(missing[0], data.root),
                f"{table.path.name} lists this image, but there is no such file.",
            )
        else:
            fields, fault = label(row)
            if fault and task == "regression":
                fault = f"{table.path.name}, line {line}: {fault}"
            if fault:
                found.leave_out(name, shown(paths[0], data.root), fault)
            else:
                sources = tuple(map(Source, paths))
                found.cases.append(Case(name=name, images=sources, **row_fields(table, row), **fields))
    return found


def row_fields(table: Table, row: dict[str, str]) -> dict:
    """Patient, groups, clinical columns and split of a row as fields of a case."""
    return {
        "patient": table.cell(row, table.patient),
        "groups": table.groups_of(row),
        "clinical": table.clinical_of(row),
        "split": table.split_of(row),
    }


def case_names(table: Table, images: Sequence[Sequence[Path]]) -> list[str]:
    if table.case:
        return [safe_name(table.cell(row, table.case)) for row in table.rows]
    return unique_names([paths[0] for paths in images])


def image_paths(data: Data, table: Table, row: dict[str, str]) -> list[Path]:
    """One path per channel, whether there is such a file or not.

    A path in the table counts from `data.images` when that is a folder, else from `data.root`, else from the
    table's own folder. A name without suffix takes that of the file there. Without an image column
    `data.images` is a pattern that the case's name is put into.
    """
    if isinstance(data.images, dict) or (data.images and has_case(data.images)):
        patterns = data.images.values() if isinstance(data.images, dict) else [data.images]
        case = table.cell(row, table.case) or stem(table.cell(row, table.images[0] if table.images else None))
        return [data.root / fill(pattern, case) for pattern in patterns]
    if not table.images:
        raise ConfigError(
            f"data.columns.image: {table.path.name} has no column {listing(IMAGE_COLUMNS)};"
            f" it has {listing(table.rows[0], 40)}. Name the column with the image's path."
        )
    folders = (
        [data.root / data.images] if data.images else [data.root, data.root / "images", table.path.parent]
    )
    return [_resolve(table.cell(row, column), folders) for column in table.images]


def _resolve(name: str, folders: Sequence[Path]) -> Path:
    candidates = [folder / name for folder in folders]
    if name and not is_image(Path(name)):
        candidates += [folder / (name + ending) for folder in folders for ending in SUFFIXES]
    if not name:
        return folders[0] / NO_NAME
    return next((path for path in candidates if path.exists()), candidates[0])


Label = Callable[[dict[str, str]], tuple[dict, str]]
"""From a row to the fields of the case that hold its label, and what is wrong with it ("": nothing)."""


def _masks(data: Data, table: Table, found: Found) -> Label:
    if not table.mask:
        raise ConfigError(
            f"data.columns.mask: expected the column of {table.path.name} with the mask's path;"
            f" it has {listing(table.rows[0], 40)}."
        )
    found.classes, found.label_ids = segmentation_classes(data)

    def label(row: dict[str, str]) -> tuple[dict, str]:
        name = table.cell(row, table.mask)
        path = _resolve(name, [data.root, table.path.parent])
        if not name or not path.exists():
            return {}, f"its mask {shown(path, data.root) if name else ''} is missing.".replace("  ", " ")
        return {"masks": (Source(path),)}, ""

    return label


def _numbers(data: Data, table: Table, found: Found) -> Label:
    """What a cell holds is not told: it may be a person's."""
    column = table.target
    if column is None:
        raise ConfigError(
            f"data.columns.target: expected the column of {table.path.name} with the number to predict;"
            f" it has {listing(table.rows[0], 40)}."
        )
    found.classes = [column]

    def label(row: dict[str, str]) -> tuple[dict, str]:
        text = table.cell(row, column)
        if text.lower() in MISSING:
            return {}, f"it has no target: the column {column} is empty."
        value = number(text)
        if value is None or math.isnan(value):
            return (
                {},
                f"the column {column} is expected to hold a number (1.5, with a point), found other text.",
            )
        return {"target": value}, ""

    return label


def _classes(data: Data, table: Table, found: Found) -> Label:
    if not table.labels:
        raise ConfigError(
            f"data.columns.label: {table.path.name} has no column {listing(LABEL_COLUMNS)};"
            f" it has {listing(table.rows[0], 40)}. Name the column with the class."
        )
    if len(table.labels) > 1:
        return _one_column_per_class(data, table, found)
    return _one_column(data, table, found)


def _one_column_per_class(data: Data, table: Table, found: Found) -> Label:
    found.multi_label = True
    found.classes = class_order(table.labels, data.classes) if data.classes else list(table.labels)
    if set(found.classes) != set(table.labels):
        raise ConfigError(
            f"data.classes: expected the columns of data.columns.label ({listing(table.labels)}),"
            f" got {listing(found.classes)}."
        )
    meanings = (
        dict.fromkeys(TRUE, "present")
        | dict.fromkeys(FALSE, "absent")
        | dict.fromkeys(EMPTY, data.unlabelled)
        | dict.fromkeys(UNCERTAIN, data.uncertain)
    )

    def label(row: dict[str, str]) -> tuple[dict, str]:
        values = {name: table.cell(row, name).lower() for name in found.classes or []}
        strange = [name for name, value in values.items() if value not in meanings]
        if strange:
            return (
                {},
                f"the column {strange[0]} is expected to hold 0 or 1 (-1: uncertain; empty: not labelled),"
                f" found '{values[strange[0]]}'.",
            )
        told = {name: meanings[value] for name, value in values.items()}
        if all(meaning == "missing" for meaning in told.values()):
            return {}, "none of its labels is known."
        return {
            "classes": tuple(name for name, meaning in told.items() if meaning == "present"),
            "unknown": tuple(name for name, meaning in told.items() if meaning == "missing"),
        }, ""

    return label


def _one_column(data: Data, table: Table, found: Found) -> Label:
    column = table.labels[0]
    cells = [_parts(table.cell(row, column)) for row in table.rows]
    found.multi_label = any(len(parts) > 1 for parts in cells)
    occurring = {part for parts in cells for part in parts}
    names = class_names(data, occurring)
    found.classes = class_order(names.values(), data.classes)

    def label(row: dict[str, str]) -> tuple[dict, str]:
        parts = _parts(table.cell(row, column))
        if not parts:
            return {}, f"it has no label: the column {column} is empty."
        none = all(part.lower() in NOTHING and part not in names for part in parts)
        if none and found.multi_label and data.classes:
            return {"classes": ()}, ""
        unknown = [part for part in parts if part not in names]
        if unknown:
            return (
                {},
                f"its class '{unknown[0]}' is not one of {listing(found.classes or [])} (data.classes).",
            )
        return {"classes": tuple(dict.fromkeys(names[part] for part in parts))}, ""

    return label


def class_names(data: Data, occurring: set[str]) -> dict[str, str]:
    """What stands in the file to class name.

    A mapping in `data.classes` names the numbers in the file. A list names the classes as written; or, when
    the file holds whole numbers and no name of the list is one, the classes 0, 1, ... in order.
    """
    if not data.classes:
        return {name: name for name in occurring}
    if isinstance(data.classes, dict):
        numbers = {
            str(i): name
            for name, ids in data.classes.items()
            for i in ([ids] if isinstance(ids, int) else ids)
        }
        return numbers | {name: name for name in data.classes}
    if (
        occurring
        and all(name.isdecimal() for name in occurring)
        and not any(name.isdecimal() for name in data.classes)
    ):
        return {str(number): name for number, name in enumerate(data.classes)}
    return {name: name for name in data.classes}


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split("|") if part.strip()]
