"""A run whose network is a plain function, so that prediction is tested without TensorFlow."""

from pathlib import Path

import numpy as np

from medcli.boxes import Boxes
from medcli.calibration import Calibration
from medcli.config.schema import Config
from medcli.postprocessing.learned import Postprocessing
from medcli.prediction.predictor import Predictor
from medcli.preprocessing.plan import Intensity, Plan
from medcli.run import Run
from medcli.sliding import Slabs


class FakeTask:
    """Notes what it was given; `answer` takes a prepared image, or raises."""

    def __init__(self, answer):
        self.answer = answer
        self.calls: list[int] = []

    def predict(self, model, images):
        self.calls.append(len(images))
        return [self.answer(image) for image in images]


def fake_run(
    folder: Path, task: str, *, classes=("a", "b"), size=None, records=(), predict=None, data=None, **plan
):
    folder.mkdir(exist_ok=True)
    (folder / "model.keras").write_bytes(b"weights")
    dimensions = plan.pop("dimensions", 2)
    chosen = Plan(
        task=task, dimensions=dimensions, classes=list(classes), channels=1,
        color="grey" if dimensions == 2 else "as_is", size=size, intensity=[Intensity(kind="none")],
        patch=[4] * dimensions if task == "segmentation" else None, batch_size=2, stages=2, **plan,
    )  # fmt: skip
    return Run(folder, Config(task=task, predict=predict or {}, data=data or {}), chosen, tuple(records))


def fake_loading(monkeypatch, answer) -> FakeTask:
    """Make `Predictor.load` take this function for the network."""
    task = FakeTask(answer)

    def load(run, *, settings=None):
        from dataclasses import replace

        if settings is not None:
            run = replace(run, config=run.config.model_copy(update={"predict": settings}))
        return Predictor(run, task, None, Calibration.of(run), postprocessing=Postprocessing.of(run))

    monkeypatch.setattr(Predictor, "load", load)
    return task


def brightness(image):
    """Classification: the mean, 0 to 255, as probability of class b."""
    share = float(image.mean()) / 255
    return np.array([1 - share, share], np.float32)


def bright_box(image):
    """Detection: the box around what is above 100, as class b."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    if not len(rows):
        return Boxes.empty()
    return Boxes.of([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], [1], [0.75])


def bright_voxels(image):
    """Segmentation: above 100 is the last of two classes."""
    return Slabs.of(np.eye(3, dtype=np.float32)[np.where(image[..., 0] > 100, 2, 0)])
