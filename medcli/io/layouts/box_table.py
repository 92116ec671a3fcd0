"""A table of boxes: one line per box, or an empty one for an image without any.

Corners (xmin, ymin, xmax, ymax and their like, see `CORNERS`) and sizes (x, y, width, height, see `SIZES`) are in
pixels counted from 0 and half-open, so a box over a whole image of 640 columns has xmin = 0 and xmax = 640; nothing
is added or taken. The `predictions.csv` of a detector is such a table.
"""

from medcli.case import Case
from medcli.config.schema import Data
from medcli.errors import ConfigError
from medcli.io.annotations.shapes import Annotation
from medcli.io.found import Found, listing, shown
from medcli.io.layouts.boxes import add_case, annotation_classes
from medcli.io.layouts.table import case_names, image_paths, row_fields
from medcli.io.tables import Table

CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
ONLY_CLASS = "object"
"""Name of the class when the table has no label column."""


def find_boxes(data: Data, table: Table) -> Found:
    """Cases in order of their first line; patient, groups and split are taken from it.

    Raises ConfigError when there are no columns for the corners.
    """
    columns, sized = _box_columns(table)
    found = Found()
    images = [image_paths(data, table, row)[0] for row in table.rows]
    names = case_names(table, [[image] for image in images])
    annotations: dict[str, Annotation] = {}
    first: dict[str, int] = {}
    for number, (row, name) in enumerate(zip(table.rows, names, strict=True)):
        first.setdefault(name, number)
        annotation = annotations.setdefault(name, Annotation())
        fault = _add(annotation, table, row, columns, sized)
        if fault:
            found.warn(name, table.path.name, f"line {number + 2}: {fault}; this box is left out.")
    found.classes = annotation_classes(data, annotations.values())
    for name, number in first.items():
        image = images[number]
        if image.exists():
            add_case(found, data, name, image, annotations[name], table.path)
            _add_fields(found.cases, name, row_fields(table, table.rows[number]))
        else:
            found.leave_out(
                name,
                shown(image, data.root),
                f"{table.path.name} lists this image, but there is no such file.",
            )
    return found


def box_columns(present: list[str]) -> tuple[tuple[str, ...], bool] | None:
    """The four columns as the table spells them, and whether the last two are sizes; None without such."""
    lower = {column.lower(): column for column in present if column}
    for choices, sized in ((CORNERS, False), (SIZES, True)):
        for names in choices:
            if all(name in lower for name in names):
                return tuple(lower[name] for name in names), sized
    return None


def _box_columns(table: Table) -> tuple[tuple[str, ...], bool]:
    columns = box_columns(list(table.rows[0]))
    if columns is None:
        wanted = " or ".join("/".join(names) for names in (*CORNERS, *SIZES))
        raise ConfigError(
            f"data.table: {table.path.name} has no columns {wanted}; it has {listing(table.rows[0], 40)}."
        )
    return columns


def _add(
    annotation: Annotation, table: Table, row: dict[str, str], columns: tuple[str, ...], sized: bool
) -> str:
    """Add the row's box; return what is wrong with it. A row with four empty cells holds no box."""
    cells = [table.cell(row, column) for column in columns]
    if not any(cells):
        return ""
    label = table.cell(row, table.labels[0]) if table.labels else ONLY_CLASS
    if not label:
        return f"it has no class (column {table.labels[0]})"
    try:
        x0, y0, x1, y1 = map(float, cells)
    except ValueError:
        return f"expected four numbers in {', '.join(columns)}"
    annotation.add(label, (x0, y0, x0 + x1, y0 + y1) if sized else (x0, y0, x1, y1))
    return ""


def _add_fields(cases: list[Case], name: str, fields: dict) -> None:
    from dataclasses import replace

    if cases and cases[-1].name == name:
        cases[-1] = replace(cases[-1], **fields)
