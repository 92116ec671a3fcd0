"""The kinds of sample data: each draws one picture and writes it with its label."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image as Pillow

from medcli.sampledata.people import Picture

EXPOSURE = {"A": 1.0, "B": 0.92, "C": 1.07}
"""How bright or strong each site's pictures are."""

Row = dict[str, str]
"""A line of table.csv."""


@dataclass(frozen=True)
class Kind:
    """One kind of sample data.

    Attributes:
        formats: Formats it can be written in; the first is the default.
        cases: How many cases unless asked otherwise.
        write: Writes one picture below a folder in a format; returns the paths of image and label, or the
            class.
        label: The column of table.csv that holds what `write` gives of the label.
        finish: Writes what belongs to all cases together.
    """

    formats: tuple[str, ...]
    cases: int
    write: Callable[[Path, Picture, str], tuple[str, str]]
    finish: Callable[[Path, Sequence[Row], str], None] = lambda folder, rows, format: None
    label: str = "label"


def write_chest(folder: Path, picture: Picture, format: str) -> tuple[str, str]:
    """16-bit PNG, or DICOM (site B stores MONOCHROME1). The opacities' masks go to `truth/`."""
    from medcli.sampledata.chest import Chest, chest_xray

    opacity = bool(picture.rng.random() < 0.5)
    chest = Chest.draw(picture.person_rng)
    array, truth = chest_xray(chest, picture.rng, opacity=opacity, exposure=EXPOSURE[picture.person.site])
    image = _radiograph(folder, picture, array, format)
    if opacity:
        Pillow.fromarray(truth.astype(np.uint8) * 255).save(_made(folder / f"truth/{picture.name}.png"))
    return image, "opacity" if opacity else "clear"


def write_heart(folder: Path, picture: Picture, format: str) -> tuple[str, str]:
    """As `write_chest`, without opacities; the label is the cardiothoracic ratio in percent, by which it was drawn."""
    from medcli.sampledata.chest import Chest, chest_xray

    chest = Chest.draw(picture.person_rng).with_ratio(
        picture.person_rng.uniform(30, 60) + picture.rng.normal(0, 1)
    )
    array, _ = chest_xray(chest, picture.rng, opacity=False, exposure=EXPOSURE[picture.person.site])
    return _radiograph(folder, picture, array, format), f"{chest.ratio:.1f}"


def _radiograph(folder: Path, picture: Picture, array: np.ndarray, format: str) -> str:
    """Write it; the path below the folder."""
    image = f"images/{picture.name}.{'dcm' if format == 'dicom' else 'png'}"
    if format == "dicom":
        from medcli.sampledata.dicom import Visit, write_radiograph

        visit = Visit(picture.person, picture.key, 180 * picture.visit)
        write_radiograph(_made(folder / image), array, visit, inverted=picture.person.site == "B")
    else:
        Pillow.fromarray(array).save(_made(folder / image))
    return image


def write_blood(folder: Path, picture: Picture, format: str) -> tuple[str, str]:
    """JPEG, with Pascal VOC XML; for COCO a small JSON per picture that `finish_blood` joins."""
    from medcli.sampledata.blood import blood_smear

    array, boxes = blood_smear(picture.rng, stain=EXPOSURE[picture.person.site])
    image = f"images/{picture.name}.jpg"
    Pillow.fromarray(array).save(_made(folder / image), quality=92)
    if format == "coco":
        _made(folder / f"parts/{picture.name}.json").write_text(json.dumps(boxes), encoding="utf-8")
        return image, "annotations.json"
    label = f"annotations/{picture.name}.xml"
    _made(folder / label).write_text(voc_xml(f"{picture.name}.jpg", array.shape, boxes), encoding="utf-8")
    return image, label


def voc_xml(image: str, shape: Sequence[int], boxes: Sequence[tuple[str, Sequence[int]]]) -> str:
    """VOC counts from 1 and its far corner belongs to the box: one is added to the near corner only."""
    objects = "".join(
        f"  <object>\n    <name>{escape(name)}</name>\n    <difficult>0</difficult>\n"
        f"    <bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>\n"
        "  </object>\n"
        for name, (x0, y0, x1, y1) in boxes
    )
    size = f"<width>{shape[1]}</width><height>{shape[0]}</height><depth>3</depth>"
    name = f"<filename>{escape(image)}</filename>"
    return f"<annotation>\n  {name}\n  <size>{size}</size>\n{objects}</annotation>\n"


def finish_blood(folder: Path, rows: Sequence[Row], format: str) -> None:
    """Join the parts to one COCO JSON."""
    if format != "coco":
        return
    from medcli.sampledata.blood import CLASSES, COLUMNS, ROWS

    coco: dict = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    for row in rows:
        part = folder / "parts" / f"{row['case']}.json"
        entry = {"id": len(coco["images"]) + 1, "file_name": Path(row["image"]).name}
        coco["images"].append(entry | {"width": COLUMNS, "height": ROWS})
        for name, (x0, y0, x1, y1) in json.loads(part.read_text(encoding="utf-8")):
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
            ids = {"id": len(coco["annotations"]) + 1, "image_id": entry["id"]}
            coco["annotations"].append(ids | {"category_id": CLASSES.index(name) + 1} | box)
        part.unlink()
    (folder / "parts").rmdir()
    (folder / "annotations.json").write_text(json.dumps(coco, indent=1), encoding="utf-8")


def write_cells(folder: Path, picture: Picture, format: str) -> tuple[str, str]:
    """RGB PNG and a PNG of label ids."""
    from medcli.sampledata.cells import cell_picture

    array, labels = cell_picture(picture.rng, gain=EXPOSURE[picture.person.site])
    image, label = f"images/{picture.name}.png", f"labels/{picture.name}.png"
    Pillow.fromarray(array).save(_made(folder / image))
    Pillow.fromarray(labels).save(_made(folder / label))
    return image, label


def write_organs(folder: Path, picture: Picture, format: str) -> tuple[str, str]:
    """NIfTI, or a folder with a DICOM series; the labels are NIfTI on the same grid."""
    from medcli.sampledata.organs import organ_volume

    volume, labels, affine = organ_volume(picture.rng)
    label = f"labels/{picture.name}.nii.gz"
    write_nifti(_made(folder / label), labels, affine)
    if format == "nifti":
        image = f"images/{picture.name}.nii.gz"
        write_nifti(_made(folder / image), volume, affine)
        return image, label
    from medcli.sampledata.dicom import Visit, write_ct_series

    image = f"images/{picture.name}"
    write_ct_series(
        _made(folder / image), volume, affine, Visit(picture.person, picture.key, 180 * picture.visit)
    )
    return image, label


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    """Write (plane, row, column) with its affine from (plane, row, column, 1) to RAS+ mm."""
    import nibabel

    picture = nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine[:, [2, 1, 0, 3]])
    picture.header.set_xyzt_units("mm")
    picture.set_qform(picture.affine, code=1)
    nibabel.save(picture, path)


KINDS = {
    "classification": Kind(("png", "dicom"), 240, write_chest),
    "regression": Kind(("png", "dicom"), 240, write_heart, label="ctr"),
    "detection": Kind(("voc", "coco"), 60, write_blood, finish_blood),
    "segmentation": Kind(("png",), 40, write_cells),
    "volumes": Kind(("nifti", "dicom"), 16, write_organs),
}


def _made(path: Path) -> Path:
    """The path, with its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
