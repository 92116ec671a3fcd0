"""Ultralytics' side of benchmarks/detection.py: YOLOv8n through its public commands, run in its own environment.

    python benchmarks/peers/detection.py JOB FOLDER REPEATS [MINUTES]

FOLDER holds data.yaml, images and labels in YOLO's layout; prints one line of JSON. Nothing of it goes into medcli.
"""

import json
import os
import resource
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

os.environ.update(YOLO_OFFLINE="true", WANDB_DISABLED="true")

INPUT, BATCH = 320, 16
COMMON = {"imgsz": INPUT, "device": "cpu", "verbose": False, "plots": False}


class Enough(Exception):
    """So many steps were timed."""


def training(folder: Path, repeats: int) -> dict:
    """Whole steps of its own trainer, its data loading (in this process) and augmentation included."""
    from ultralytics import YOLO

    model, ends = YOLO("yolov8n.yaml"), []

    def on_step(trainer) -> None:
        ends.append((time.perf_counter(), time.process_time()))
        if len(ends) > repeats + 1:
            raise Enough

    model.add_callback("on_train_batch_end", on_step)
    with suppress(Enough):
        model.train(
            data=str(folder / "data.yaml"), batch=BATCH, epochs=100, workers=0, val=False, save=False,
            pretrained=False, amp=False, project=str(folder), name="speed", exist_ok=True, **COMMON,
        )  # fmt: skip
    ends = ends[1:]  # the first step warms up
    return {
        "seconds": [after[0] - before[0] for before, after in pairwise(ends)],
        "processor": [after[1] - before[1] for before, after in pairwise(ends)],
        "parameters": sum(weight.numel() for weight in model.model.parameters()),
    }


def prediction(folder: Path, repeats: int, batch: int) -> dict:
    """From arrays in memory to boxes in pixels of the picture: letterbox, network, decoding, suppression."""
    import numpy as np
    from PIL import Image
    from ultralytics import YOLO

    files = sorted((folder / "images" / "val").iterdir())[:batch]
    images = [np.ascontiguousarray(np.asarray(Image.open(file).convert("RGB"))[..., ::-1]) for file in files]
    model = YOLO("yolov8n.yaml")
    wall, used = [], []
    for number in range(repeats + 2):
        began, began_used = time.perf_counter(), time.process_time()
        model.predict(images, batch=batch, conf=0.25, iou=0.6, **COMMON)
        if number > 1:
            wall.append(time.perf_counter() - began)
            used.append(time.process_time() - began_used)
    return {"seconds": wall, "processor": used}


def learned(folder: Path, minutes: float, epochs: int) -> dict:
    """Trained from scratch for so long (or, with 0 minutes, so many epochs); boxes of every picture of the val part."""
    from ultralytics import YOLO

    model = YOLO("yolov8n.yaml")
    length = {"time": minutes / 60} if minutes else {"epochs": epochs}
    began = time.perf_counter()
    model.train(
        data=str(folder / "data.yaml"), batch=BATCH, workers=0, pretrained=False, amp=False,
        project=str(folder), name="learned", exist_ok=True, **length, **COMMON,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    best = YOLO(folder / "learned" / "weights" / "best.pt")
    found = {}
    for file in sorted((folder / "images" / "val").iterdir()):
        boxes = best.predict(file, conf=0.001, iou=0.6, max_det=300, **COMMON)[0].boxes
        found[file.stem] = {
            "corners": boxes.xyxy.tolist(), "classes": boxes.cls.tolist(), "scores": boxes.conf.tolist()
        }  # fmt: skip
    return {"seconds": [seconds], "processor": [], "found": found}


def main() -> None:
    job, folder, repeats, *length = sys.argv[1:]
    if job == "training":
        result = training(Path(folder), int(repeats))
    elif job == "learned":
        result = learned(Path(folder), float(length[0]), int(length[1]))
    else:
        result = prediction(Path(folder), int(repeats), int(job.split("-")[1]))
    result["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(result))


if __name__ == "__main__":
    main()
