"""Boxes of planes linked to boxes of the volumes: `objects.json` and `objects.csv`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case, Source
from medcli.files import write_csv, write_json
from medcli.io.planes import place_of, volume_of
from medcli.metrics.linking import link

FILE, TABLE = "objects.json", "objects.csv"
VOXELS = ("plane0", "row0", "column0", "plane1", "row1", "column1")
CENTRE, SIZE = ("x_mm", "y_mm", "z_mm"), ("size_plane_mm", "size_row_mm", "size_column_mm")
COLUMNS = ("image", "class", "score", *VOXELS, *CENTRE, *SIZE)


def planes_by_volume(cases: Sequence[Case]) -> dict[Source, dict[int, str]]:
    """Volume to index of the plane to the case's name; {} when the cases are no planes."""
    volumes: dict[Source, dict[int, str]] = {}
    for case in cases:
        found = volume_of(case.images[0])
        if found is not None:
            volumes.setdefault(found[0], {})[found[1]] = case.name
    return volumes


def write_objects(
    folder: Path,
    volumes: Mapping[Source, Mapping[int, str]],
    boxes: Mapping[str, Sequence[Mapping[str, Any]]],
    classes: Sequence[str],
) -> None:
    """One entry per object: corners in voxels (half-open), middle in RAS+ mm, lengths in mm.

    Args:
        volumes: As of `planes_by_volume`.
        boxes: Case to its boxes as in predictions.json.
    """
    rows: list[dict[str, Any]] = []
    for source, planes in volumes.items():
        if not any(case in boxes for case in planes.values()):
            continue
        stack = [_boxes(boxes.get(planes.get(index, ""), ()), classes) for index in range(max(planes) + 1)]
        found, (affine, spacing) = link(stack), place_of(source)
        for corners, kind, score, centre, size in zip(
            found.corners,
            found.classes,
            found.scores,
            found.centres_mm(affine),
            found.sizes_mm(spacing),
            strict=True,
        ):
            values = [*corners, *centre, *size]
            numbers = dict(zip((*VOXELS, *CENTRE, *SIZE), (round(float(v), 2) for v in values), strict=True))
            rows.append(
                {"image": source.path.name, "class": classes[kind], "score": round(float(score), 6)} | numbers
            )
    write_json(folder / FILE, [_entry(row) for row in rows])
    write_csv(folder / TABLE, rows, COLUMNS)


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "image": row["image"],
        "category": row["class"],
        "score": row["score"],
        "voxels": [row[name] for name in VOXELS],
        "centre_mm": [row[name] for name in CENTRE],
        "size_mm": [row[name] for name in SIZE],
    }


def _boxes(entries: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Boxes:
    sides = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    corners = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    kinds = [classes.index(entry["category"]) for entry in entries]
    return Boxes.of(corners, kinds, [entry["score"] for entry in entries])
