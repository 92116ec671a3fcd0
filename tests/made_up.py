"""Tiny prepared folders with known content, for tests of everything behind `preprocess`."""

from pathlib import Path

import numpy as np

from medcli.config.loading import save_config
from medcli.config.schema import Config
from medcli.files import write_array, write_json
from medcli.preprocessing.plan import Intensity, Plan, save_plan
from medcli.preprocessing.prepared import Record, image_path, label_path, write_manifest
from medcli.preprocessing.targets import settle_target


def prepared_folder(
    folder: Path, task: str, *, cases: int = 12, dimensions: int = 2, content_seed: int = 0, **settings
) -> Config:
    """Write a prepared folder: a bright disc (ball) per case; the class is whether it is large, the number its radius.

    Returns its config.
    """
    random = np.random.default_rng(content_seed)
    shape = (16, 24) if dimensions == 2 else (8, 16, 12)
    if task == "detection":
        shape = (64, 96)
    classes = {"segmentation": ["disc"], "regression": ["radius"]}.get(task, ["small", "large"])
    config = Config(task=task, prepared=folder, run=folder.parent / "run", **settings)
    records = []
    for number in range(cases):
        large = number % 2
        radius = min(shape) / (3.2 if large else 6)
        if task == "regression":
            radius = min(shape) / random.uniform(3.2, 8)
        centre = [
            random.uniform(radius + 1, size - radius - 1) if size > 2 * radius + 2 else size / 2
            for size in shape
        ]
        grid = np.indices(shape) + 0.5
        inside = sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) <= radius**2
        image = (random.normal(0, 0.3, shape) + 2 * inside).astype(np.float32)[..., None]
        key = f"case{number:03d}"
        write_array(image_path(folder, key), image)
        if task == "segmentation":
            write_array(label_path(folder, key), inside.astype(np.uint8))
        elif task == "detection":
            y, x = centre
            write_array(
                label_path(folder, key),
                np.array([[x - radius, y - radius, x + radius, y + radius, large]], np.float32),
            )
        shown = () if task == "regression" else (classes[large if len(classes) > 1 else 0],)
        number_to_learn = radius if task == "regression" else None
        records.append(
            Record(
                case=key, patient=f"p{number // 2}", split="val" if number >= cases * 3 // 4 else "train", fold=None,
                classes=shown, key=key, shape=shape,
                original_shape=shape, spacing=None, objects=int(inside.sum()) if task == "segmentation" else 1,
                sources=(f"{key}.png",), labels=(), sha256="0" * 64, groups={}, target=number_to_learn,
            )
        )  # fmt: skip
    known = [record.target for record in records if record.target is not None and record.split == "train"]
    strides = [[1] * dimensions, [2] * dimensions]
    plan = Plan(
        task=task, dimensions=dimensions, classes=classes, channels=1, color="grey" if dimensions == 2 else "as_is",
        size=None if task == "segmentation" else list(shape), intensity=[Intensity(kind="none")],
        patch=[8, 16, 12][-dimensions:] if task == "segmentation" else None, batch_size=4,
        stages=2 if task == "segmentation" else 3, strides=strides if task == "segmentation" else [],
        target=settle_target("radius", known) if known else None,
    )  # fmt: skip
    save_plan(plan, folder / "plan.yaml")
    save_config(config, folder / "config.yaml")
    write_json(folder / "fingerprint.json", {})
    write_manifest(folder, records)
    return config
