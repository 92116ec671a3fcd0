"""Runs over tiny made-up data and a predictor that answers from the truth, so that no network is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image as Pillow

from medcli.boxes import Boxes
from medcli.case import Case
from medcli.config.loading import from_dict
from medcli.config.schema import Config
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.cases import discover
from medcli.io.masks import read_mask
from medcli.io.readers import read_channels
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepared import Record
from medcli.preprocessing.targets import settle_target
from medcli.run import Run

AFFINE = np.diag([1.5, 0.8, 3.0, 1.0])


@dataclass
class Answers:
    """A predictor whose answer is a function of the case and its image."""

    answer: Callable[[Case, Image], Prediction]

    def predict_cases(self, cases):
        for case in cases:
            try:
                image = read_channels(case.images)
                yield case, image, self.answer(case, image)
            except FormatError as error:
                yield case, None, error


def make_run(folder: Path, config: Config, **plan) -> Run:
    """The first half of the cases by name trains, the second validates; two cases per patient."""
    cases = sorted(discover(config).cases, key=lambda case: case.name)
    records = [
        Record(
            case=case.name,
            patient=f"p{number // 2}",
            split="train" if number < len(cases) // 2 else "val",
            fold=None,
            classes=case.classes,
            key=case.name,
            shape=(8, 8),
            original_shape=(8, 8),
            spacing=None,
            objects=0,
            sources=tuple(
                str(source.path.relative_to(config.data.root)) + (f"::{source.part}" if source.part else "")
                for source in case.images
            ),
            labels=(),
            sha256="",
            target=case.target,
        )
        for number, case in enumerate(cases)
    ]
    settings = {"dimensions": 2, "channels": 1, "color": "grey", "batch_size": 2, "stages": 2}
    whole = Plan(task=config.task, intensity=[Intensity(kind="none")], **(settings | plan))
    folder.mkdir(parents=True, exist_ok=True)
    return Run(folder, config, whole, tuple(records))


def classification(folder: Path, *, cases: int = 12) -> Run:
    for number in range(cases):
        kind = ("healthy", "ill")[number % 2]
        picture = np.full((9, 12), 40 + 60 * (number % 2), np.uint8)
        target = folder / "data" / kind / f"case{number:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(picture).save(target)
    config = from_dict({"task": "classification", "data": {"root": "data"}}, folder=folder, name="made_up")
    return make_run(folder / "run", config, classes=["healthy", "ill"])


def grades(folder: Path, *, cases: int = 12) -> Run:
    """Three grades in order, learned as such."""
    names = ["none", "mild", "severe"]
    for number in range(cases):
        target = folder / "data" / names[number % 3] / f"case{number:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.full((9, 12), 40 + 60 * (number % 3), np.uint8)).save(target)
    settings = {"data": {"root": "data", "classes": names}, "train": {"loss": "ordinal"}}
    config = from_dict({"task": "classification"} | settings, folder=folder, name="made_up")
    return make_run(folder / "run", config, classes=names)


def volumes(folder: Path, *, cases: int = 8) -> Run:
    random = np.random.default_rng(0)
    for number in range(cases):
        labels = np.zeros((20, 24, 8), np.uint8)
        labels[4:10, 5:15, 2:6] = 1
        labels[12:17, 5:12, 1:5] = 2
        values = random.normal(0, 1, labels.shape).astype(np.float32) + 3 * labels
        for kind, array in (("images", values), ("labels", labels)):
            (folder / "data" / kind).mkdir(parents=True, exist_ok=True)
            path = folder / "data" / kind / f"case{number:02d}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    data = {"root": "data", "images": "images/{case}.nii.gz", "labels": "labels/{case}.nii.gz"}
    data["classes"] = ["left", "right"]
    config = from_dict({"task": "segmentation", "data": data}, folder=folder, name="made_up")
    plan = {"classes": ["left", "right"], "label_ids": [[1], [2]], "dimensions": 3, "color": "as_is"}
    return make_run(folder / "run", config, **plan)


def cells(folder: Path, *, cases: int = 8) -> Run:
    import json

    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    (folder / "data" / "images").mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        Pillow.fromarray(np.full((60, 90, 3), 200, np.uint8)).save(
            folder / f"data/images/case{number:02d}.png"
        )
        content["images"].append(
            {"id": number, "file_name": f"case{number:02d}.png", "width": 90, "height": 60}
        )
        for place, box in enumerate([[5, 5, 20, 30], [40, 10, 25, 20]]):
            content["annotations"].append(
                {"id": 2 * number + place, "image_id": number, "category_id": place + 1, "bbox": box}
                | {"area": box[2] * box[3], "iscrowd": 0}
            )
    (folder / "data" / "boxes.json").write_text(json.dumps(content))
    data = {"root": "data", "format": "coco", "images": "images", "labels": "boxes.json"}
    config = from_dict({"task": "detection", "data": data}, folder=folder, name="made_up")
    return make_run(folder / "run", config, classes=["a", "b"], color="rgb", channels=3)


def ages(folder: Path, *, cases: int = 12) -> Run:
    """Numbers in a table; pictures as bright as they are large."""
    rows = ["image,age"]
    for number in range(cases):
        name = f"case{number:02d}.png"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.full((9, 12), 40 + 10 * number, np.uint8)).save(folder / "data" / name)
        rows.append(f"{name},{30.5 + 4 * number:g}")
    (folder / "data" / "table.csv").write_text("\n".join(rows) + "\n")
    data = {"root": "data", "table": "table.csv", "columns": {"target": "age"}}
    config = from_dict({"task": "regression", "data": data}, folder=folder, name="made_up")
    return make_run(
        folder / "run",
        config,
        classes=["age"],
        target=settle_target("age", [30.5, 34.5, 38.5, 42.5, 46.5, 50.5]),
    )


def right_class(case: Case, image: Image) -> Prediction:
    ill = 0.9 if "ill" in case.classes else 0.2
    return Prediction(probabilities=np.float32([1 - ill, ill]), seconds=0.01)


def right_number(case: Case, image: Image) -> Prediction:
    assert case.target is not None
    return Prediction(number=case.target, seconds=0.01)


def right_labels(case: Case, image: Image) -> Prediction:
    return Prediction(labels=read_mask(case.masks, image).astype(np.uint8), seconds=0.01)


def right_boxes(case: Case, image: Image) -> Prediction:
    assert case.boxes is not None
    return Prediction(boxes=Boxes.of(case.boxes.corners, case.boxes.classes, [0.9, 0.8]), seconds=0.01)
