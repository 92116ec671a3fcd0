"""2D networks over volumes: what they see, what they learn from, what they say of every plane."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.config.loading import load_config  # noqa: E402
from medcli.datasets.feed import feed  # noqa: E402
from medcli.errors import ConfigError, RunError  # noqa: E402
from medcli.models.choose import build_model  # noqa: E402
from medcli.preprocessing.plan import save_plan  # noqa: E402
from medcli.preprocessing.plan_network import decide_network  # noqa: E402
from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.tasks.planes import NeighbouringPlanes, of_planes  # noqa: E402
from medcli.training.train import settle  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402

THICK = ([(20, 256, 200)] * 3, (5.0, 1.0, 1.2))
RANDOM = np.random.default_rng(0)


def flat_folder(folder, planes=3, **train):
    """The made-up balls, planned for a 2D network."""
    config = prepared_folder(folder, "segmentation", dimensions=3, train=train, model={"width": 4})
    plan = Prepared.open(folder).plan
    update = {"planes": planes, "patch": [planes, 8, 12], "strides": [[1, 1, 1], [1, 2, 2]]}
    save_plan(plan.model_copy(update=update), folder / "plan.yaml")
    return config, Prepared.open(folder)


def test_neighbours_are_the_planes_around_and_zeros_beyond_the_ends():
    volume = RANDOM.normal(size=(6, 4, 5, 2)).astype(np.float32)
    seen = NeighbouringPlanes(volume, 5)
    padded = np.pad(volume, [(2, 2), (0, 0), (0, 0), (0, 0)])
    whole = np.stack([np.concatenate(padded[plane : plane + 5], axis=-1) for plane in range(6)])
    assert seen.shape == whole.shape
    np.testing.assert_array_equal(np.asarray(seen), whole)
    np.testing.assert_array_equal(seen[1:2, 0:3, 2:5], whole[1:2, 0:3, 2:5])
    np.testing.assert_array_equal(NeighbouringPlanes(volume, 1)[:, :, :], volume)


@pytest.mark.parametrize("size", [(6, 8, 12), (5, 11, 15), (2, 5, 12)])
def test_a_volume_is_predicted_plane_by_plane(tmp_path, size):
    """A network that says what the middle plane holds gives back the volume, also one smaller than the patch."""
    config, prepared = flat_folder(tmp_path / "p")
    task = task_for(config, prepared.plan)
    volume = RANDOM.uniform(size=(*size, 1)).astype(np.float32)

    def middle(batch):
        assert batch.shape[1:] == (3, 8, 12, 1)
        return np.concatenate([batch[:, 1:2], batch[:, 2:3]], axis=-1)

    found = task._slabs(middle, volume, overlap=0.5, flips=True).whole()
    np.testing.assert_allclose(found[..., 0], volume[..., 0], atol=1e-6)
    np.testing.assert_allclose(found[:-1, ..., 1], volume[1:, ..., 0], atol=1e-6)
    assert not found[-1, ..., 1].any()


def test_windows_of_neighbours_become_what_the_network_takes():
    volume = RANDOM.normal(size=(4, 3, 5, 2)).astype(np.float32)
    windows = NeighbouringPlanes(volume, 3)[1:3, :, :][:, None]
    given = []
    of_planes(given.append, 3)(windows)
    np.testing.assert_array_equal(given[0], [volume[0:3], volume[1:4]])


def test_the_network_answers_for_one_plane_and_sees_them_all(tmp_path):
    config, prepared = flat_folder(tmp_path / "p")
    model = build_model(config, prepared.plan)
    assert model.input_shape == (None, 3, 8, 12, 1)
    assert [output.shape for output in model.outputs] == [(None, 1, 8, 12, 2)]
    image = tf.constant(RANDOM.normal(size=(1, 3, 8, 12, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(image)
        answer = model(image, training=False)
        answer = answer[0] if isinstance(answer, list) else answer
        score = tf.reduce_sum(answer[..., 1])
    seen = np.abs(tape.gradient(score, image)).sum(axis=(0, 2, 3, 4))
    assert (seen > 0).all()


def test_targets_are_the_middle_plane(tmp_path):
    config, prepared = flat_folder(tmp_path / "p", augment="none", flips=[], foreground=0.3)
    samples = task_for(config, prepared.plan).training_set(prepared, prepared.split("train"))
    volumes = [
        np.pad(prepared.image(record)[..., 0], [(1, 1), (0, 0), (0, 0)]) for record in prepared.split("train")
    ]
    planes = set()
    for images, labels in feed(samples, batch_size=4, first_batch=0, last_batch=12):
        assert labels.shape == (4, 1, 8, 12)
        for image, label in zip(images.numpy()[..., 0], labels.numpy(), strict=True):
            (case, plane, row) = place(volumes, image)
            expected = prepared.label(prepared.split("train")[case])[plane, row : row + 8]
            np.testing.assert_array_equal(label[0], expected)
            planes.add(plane)
    assert planes >= {0, 3, 7}  # the ends as well


def place(volumes, image):
    """Which case, plane and first row a patch of three planes is from."""
    for case, volume in enumerate(volumes):
        for plane in range(volume.shape[0] - 2):
            for row in range(volume.shape[1] - 7):
                if np.abs(volume[plane : plane + 3, row : row + 8] - image).max() < 5e-3:
                    return case, plane, row
    raise AssertionError("a patch that no case holds")


def test_loss_and_validation_of_a_2d_network(tmp_path):
    config, prepared = flat_folder(tmp_path / "p")
    task = task_for(config, prepared.plan)
    model = task.build_model()
    images = tf.zeros((2, 3, 8, 12, 1))
    assert np.isfinite(task.loss(tf.zeros((2, 1, 8, 12), tf.uint8), model(images)))
    assert 0 <= task.validate(model, prepared, prepared.split("val")[:1])["dice"] <= 1
    whole = prepared.image(prepared.split("val")[0])
    (slabs,), (features,) = task.predict_with_features(model, [whole])
    assert slabs.whole().shape == (8, 16, 12, 2)
    assert all(np.isfinite(depth).all() for depth in features)


def decided(planes="auto", shapes=THICK[0], spacing=THICK[1], **train):
    from medcli.config.schema import Config

    reasons: dict[str, str] = {}
    config = Config(task="segmentation", model={"planes": planes}, train=train)
    return decide_network(config, shapes, spacing, None, reasons), reasons.get("planes", "")


def test_thick_and_few_planes_are_seen_three_at_a_time():
    network, why = decided()
    assert network.planes == 3
    assert network.patch[0] == 3 and len(network.patch) == 3
    assert all(stride[0] == 1 for stride in network.strides)
    assert "4.2 times" in why and "20 of 256 x 200" in why


@pytest.mark.parametrize(
    ("shapes", "spacing"),
    [
        ([(20, 256, 200)], (3.6, 1.0, 1.2)),  # three times as far apart, not more
        ([(70, 256, 200)], (5.0, 1.0, 1.0)),  # more than a third as many
        ([(20, 256, 200)], None),
        ([(36, 50, 35)], (1.0, 1.0, 1.0)),
    ],
)
def test_other_volumes_are_seen_whole(shapes, spacing):
    assert decided(shapes=shapes, spacing=spacing)[0].planes is None


def test_the_config_comes_first():
    assert decided("all")[0].planes is None
    network, why = decided(5, shapes=[(36, 50, 35)], spacing=(1, 1, 1), patch=[32, 32])
    assert (network.planes, network.patch, why) == (5, (5, 32, 32), "set in the config")


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.planes: expected volumes, got pictures"):
        decided(3, shapes=[(64, 64)], spacing=None)
    with pytest.raises(ConfigError, match=r"train\.patch: expected 2 numbers"):
        decided(3, patch=[16, 32, 32])
    config, prepared = flat_folder(tmp_path / "p")
    other = config.model_copy(update={"model": config.model.model_copy(update={"planes": 5})})
    with pytest.raises(RunError, match=r"was planned for model\.planes: 3, the config says 5"):
        settle(other, prepared, smoke=False)


@pytest.mark.parametrize(("text", "message"), [("2", "expected an odd number"), ("even", "planes")])
def test_only_odd_numbers_of_planes(tmp_path, text, message):
    file = tmp_path / "job.yaml"
    file.write_text(f"task: segmentation\nmodel:\n  planes: {text}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(file)


@pytest.mark.parametrize(
    ("allowed", "seen_from"),
    [("auto", 8), (["column"], 2), (["plane", "row"], 4), ([], 1)],
)
def test_a_volume_is_mirrored_only_along_axes_that_training_mirrored(tmp_path, allowed, seen_from):
    config = prepared_folder(
        tmp_path / "p", "segmentation", dimensions=3, train={"flips": allowed}, model={"width": 4}
    )
    plan = Prepared.open(tmp_path / "p").plan
    task = task_for(config, plan)
    volume = RANDOM.uniform(size=(*plan.patch, 1)).astype(np.float32)
    seen = []

    def network(batch):
        seen.extend(batch.copy())
        return np.repeat(batch, task.plan.num_classes + 1, axis=-1)

    found = task._slabs(network, volume, overlap=0.5, flips=True).whole()
    np.testing.assert_allclose(found[..., 0], volume[..., 0], atol=1e-6)
    assert len(seen) == seen_from
    if allowed == ["column"]:
        np.testing.assert_array_equal(seen[0], volume)
        np.testing.assert_array_equal(seen[1], volume[:, :, ::-1])
