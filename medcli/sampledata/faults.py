"""Broken cases on request: what goes wrong in real data sets, one fault per case, listed in `faults.csv`."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medcli.files import write_csv
from medcli.sampledata.kinds import KINDS, Row, write_nifti
from medcli.sampledata.people import pictures

FIRST_NUMBER = 901
"""Number of the first person with a broken case."""


def add_faults(
    folder: Path, kind: str, format: str, seed: int, rows: Sequence[Row], to_row: Callable
) -> list[Row]:
    """Write the broken cases and `faults.csv` (case, fault); return their lines for the table."""
    names = (
        _FAULTS[kind] if format != "coco" else [name for name in _FAULTS[kind] if name not in _NOT_IN_COCO]
    )
    fresh = pictures(len(names), seed + 1, f"faulty {kind}")
    added = []
    for number, (name, picture) in enumerate(zip(names, fresh, strict=True), start=FIRST_NUMBER):
        person = replace(picture.person, number=number)
        picture = replace(picture, name=f"faulty_{name}", person=person)
        row = to_row(picture, *KINDS[kind].write(folder, picture, format))
        _BREAK[name](folder, row, rows[0])
        added.append(row)
    write_csv(
        folder / "faults.csv",
        [{"case": row["case"], "fault": _FAULTS[kind][name]} for row, name in zip(added, names, strict=True)],
    )
    return added


_IMAGE_FAULTS = {
    "truncated": "the image file ends early",
    "wrong_content": "the image file holds text",
    "duplicate": "the image is a copy of another patient's",
}

_MASK_FAULTS = {
    "no_label": "the image has no label file",
    "no_image": "the label has no image file",
    "other_shape": "the mask has another shape than the image",
    "empty_mask": "the mask is empty",
}

_FAULTS: dict[str, dict[str, str]] = {
    "classification": _IMAGE_FAULTS
    | {
        "empty_label": "the label is empty in the table",
        "unknown_class": "the label is no known class",
        "no_image": "the table lists an image that does not exist",
    },
    "regression": _IMAGE_FAULTS
    | {
        "empty_label": "the number is missing in the table",
        "no_number": "there is text in place of the number",
        "no_image": "the table lists an image that does not exist",
    },
    "detection": _IMAGE_FAULTS
    | {
        "no_label": "the image has no label file",
        "no_image": "the label has no image file",
        "broken_label": "the label file is broken XML",
        "bad_boxes": "one box has no area, one lies outside the image",
    },
    "segmentation": _IMAGE_FAULTS | _MASK_FAULTS,
    "volumes": _IMAGE_FAULTS | _MASK_FAULTS,
}

_NOT_IN_COCO = {"no_label", "broken_label", "no_image"}


def _image_file(folder: Path, row: Row) -> Path:
    """The image, or the middle slice of a series."""
    path = folder / row["image"]
    return sorted(path.iterdir())[len(list(path.iterdir())) // 2] if path.is_dir() else path


def _truncate(folder: Path, row: Row, first: Row) -> None:
    path = _image_file(folder, row)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _write_text(folder: Path, row: Row, first: Row) -> None:
    _image_file(folder, row).write_text("This is not an image.\n", encoding="utf-8")


def _copy_first(folder: Path, row: Row, first: Row) -> None:
    """The same pixels with the same label under another patient; a DICOM file keeps its own header."""
    for key in ("image", "label"):
        source, target = folder / first[key], folder / row[key]
        if key == "label" and not source.is_file():
            row["label"] = first["label"]
        elif source.is_dir():
            shutil.rmtree(target)
            shutil.copytree(source, target)
        elif source != target:
            shutil.copyfile(source, target)
    parts = folder / "parts"
    if parts.is_dir():
        shutil.copyfile(parts / f"{first['case']}.json", parts / f"{row['case']}.json")


def _remove(key: str) -> Callable[[Path, Row, Row], None]:
    def remove(folder: Path, row: Row, first: Row) -> None:
        path = folder / row[key]
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return remove


def _set_label(text: str) -> Callable[[Path, Row, Row], None]:
    def set_label(folder: Path, row: Row, first: Row) -> None:
        row["label"] = text

    return set_label


def _break_xml(folder: Path, row: Row, first: Row) -> None:
    path = folder / row["label"]
    path.write_text(path.read_text(encoding="utf-8").replace("</annotation>", ""), encoding="utf-8")


def _spoil_boxes(folder: Path, row: Row, first: Row) -> None:
    part = folder / "parts" / f"{row['case']}.json"
    bad = [("RBC", (50, 60, 50, 60)), ("WBC", (400, 300, 450, 350))]
    if part.is_file():
        part.write_text(json.dumps(json.loads(part.read_text(encoding="utf-8")) + bad), encoding="utf-8")
        return
    path = folder / row["label"]
    boxes = "".join(
        f"  <object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
        for name, (x0, y0, x1, y1) in bad
    )
    path.write_text(
        path.read_text(encoding="utf-8").replace("</annotation>", boxes + "</annotation>"), encoding="utf-8"
    )


def _change_mask(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Row, Row], None]:
    def change_mask(folder: Path, row: Row, first: Row) -> None:
        path = folder / row["label"]
        if path.suffix == ".gz":
            import nibabel

            picture: Any = nibabel.load(path)
            labels = np.asarray(picture.dataobj, np.uint8).transpose(2, 1, 0)
            write_nifti(path, change(labels), picture.affine[:, [2, 1, 0, 3]])
        else:
            from PIL import Image as Pillow

            Pillow.fromarray(change(np.asarray(Pillow.open(path)))).save(path)

    return change_mask


_BREAK: dict[str, Callable[[Path, Row, Row], None]] = {
    "truncated": _truncate,
    "wrong_content": _write_text,
    "duplicate": _copy_first,
    "no_label": _remove("label"),
    "no_image": _remove("image"),
    "empty_label": _set_label(""),
    "unknown_class": _set_label("unclear"),
    "no_number": _set_label("about half"),
    "broken_label": _break_xml,
    "bad_boxes": _spoil_boxes,
    "other_shape": _change_mask(lambda labels: labels[..., :-8].copy()),
    "empty_mask": _change_mask(np.zeros_like),
}
