"""How much is in memory at once: no case is read while a huge one is predicted."""

import gc
import weakref

import numpy as np
import pytest

from medcli.case import Case
from medcli.image import Image
from medcli.prediction import reading as module
from medcli.prediction.predictor import Predictor
from tests.fake_run import FakeTask, bright_voxels, fake_run


@pytest.fixture
def events(tmp_path):
    """(predictor, events): what is read and what is predicted, in this order; and images that are still alive."""
    told, alive = [], []

    def read(case):
        gc.collect()
        told.append(("read", case.name, sum(one() is not None for one in alive)))
        image = Image(np.zeros((4, 5, 6, 1), np.float32))
        alive.append(weakref.ref(image))
        return image

    def answer(image):
        told.append(("predict", None, None))
        return bright_voxels(image)

    run = fake_run(tmp_path / "run", "segmentation", dimensions=3)
    return Predictor(run, FakeTask(answer), None, read=read), told


def test_huge_cases_are_read_and_predicted_in_turn(events, monkeypatch):
    monkeypatch.setattr(module, "HUGE_BYTES", 0)
    predictor, told = events
    for _, image, result in predictor.predict_cases([Case(name=name, images=()) for name in "abc"]):
        assert result.labels.shape == (4, 5, 6)
        del image, result
    assert [kind for kind, *_ in told] == ["read", "predict"] * 3
    assert [alive for kind, _, alive in told if kind == "read"] == [0, 0, 0]


def test_small_cases_are_read_ahead(events):
    predictor, told = events
    for _ in predictor.predict_cases([Case(name=name, images=()) for name in "abc"]):
        pass
    assert sorted(name for kind, name, _ in told if kind == "read") == ["a", "b", "c"]
