"""Several networks in one: separate losses in training, the mean of logits after it, whole runs."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.models.panel import build_panel  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.tasks.classification import Classification  # noqa: E402
from medcli.training import train  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402


def linear() -> keras.Model:
    inputs = keras.Input((4, 6, 1))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))


def test_members_answer_one_by_one_in_training_and_by_their_mean_after_it():
    panel = build_panel(linear, (4, 6, 1), 2, members=3, descriptors=False)
    images = np.random.default_rng(0).normal(size=(5, 4, 6, 1)).astype(np.float32)
    single = np.stack([panel.get_layer(f"member{n}")(images) for n in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(panel(images, training=True), single, rtol=1e-5)
    np.testing.assert_allclose(panel(images, training=False), single.mean(axis=1), rtol=1e-5, atol=1e-6)
    assert not np.allclose(single[:, 0], single[:, 1])  # each starts from weights of its own


def test_the_loss_of_a_panel_is_the_mean_of_its_members_losses(tmp_path):
    settings = {"train": {"label_smoothing": 0.2, "class_weights": [1.0, 3.0]}}
    config = prepared_folder(tmp_path / "prepared", "classification", **settings)
    from medcli.preprocessing.prepared import Prepared

    prepared = Prepared.open(tmp_path / "prepared")
    task = Classification(config, prepared.plan)
    task.training_set(prepared, prepared.split("train"))
    random = np.random.default_rng(1)
    logits = random.normal(size=(4, 3, 2)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]
    alone = [float(task.loss(tf.constant(targets), tf.constant(logits[:, n]))) for n in range(3)]
    assert float(task.loss(tf.constant(targets), tf.constant(logits))) == pytest.approx(
        np.mean(alone), rel=1e-5
    )


@pytest.mark.parametrize("members", [1, 2])
def test_a_run_of_a_panel_is_trained_saved_and_read_back(tmp_path, members):
    model = {"name": "cnn", "width": 4, "members": members, "descriptors": True, "visual_words": 4}
    config = prepared_folder(tmp_path / "prepared", "classification", model=model, train={"keep": "last"})
    result = train(config, tmp_path / "prepared", tmp_path / "run", smoke=True)
    assert result.best["epoch"] == result.epochs == 2
    run = Run.open(tmp_path / "run")
    images = [np.random.default_rng(2).normal(size=(16, 24, 1)).astype(np.float32)]
    first, second = (run.task.predict(run.load_model(), images)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (2,)
    assert first.sum() == pytest.approx(1.0, abs=1e-5)
