"""Batches are a function of their number; images and labels are changed together."""

from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.datasets.augment import STRENGTHS, transforms, warp  # noqa: E402
from medcli.datasets.draw import EachOnce, Repeated  # noqa: E402
from medcli.datasets.feed import feed  # noqa: E402
from medcli.datasets.segmentation import draw_of  # noqa: E402
from medcli.datasets.store import ArrayStore, shuffled  # noqa: E402
from medcli.files import write_array  # noqa: E402
from medcli.preprocessing.labels import IGNORE  # noqa: E402
from medcli.preprocessing.prepared import Prepared, label_path  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402


@pytest.fixture(
    params=[("classification", 2), ("classification", 3), ("segmentation", 2), ("segmentation", 3)]
)
def training_set(request, tmp_path):
    task, dimensions = request.param
    config = prepared_folder(tmp_path / "prepared", task, dimensions=dimensions, train={"augment": "strong"})
    prepared = Prepared.open(tmp_path / "prepared")
    return task_for(config, prepared.plan).training_set(prepared, prepared.split("train"))


def test_batches_do_not_depend_on_where_the_feed_starts(training_set):
    whole = list(feed(training_set, batch_size=3, first_batch=0, last_batch=6))
    rest = list(feed(training_set, batch_size=3, first_batch=4, last_batch=6))
    for (images, targets), (images_again, targets_again) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(targets, targets_again)
    assert not np.array_equal(whole[0][0], whole[1][0])
    assert all(np.isfinite(images).all() for images, _ in whole)


def of_classes(folder, dimensions, augmentations=None, **train):
    config = prepared_folder(
        folder, "classification", dimensions=dimensions, train={"augment": "strong"} | train
    )
    prepared = Prepared.open(folder)
    plan = prepared.plan.model_copy(update={"augmentations": augmentations})
    return task_for(config, plan).training_set(prepared, prepared.split("train")), prepared


def test_whole_images_are_only_changed_as_allowed(tmp_path):
    training_set, prepared = of_classes(tmp_path / "p", 2, ["erase"], flips=[])
    held = [prepared.image(record).astype(np.float16).astype(np.float32) for record in prepared.records]
    ((images, _),) = feed(training_set, batch_size=9, first_batch=0, last_batch=1)
    for image in images.numpy():  # held as float16, resampled by the identity: of one case, but for zeros
        assert any((np.isclose(image, one, atol=1e-3) | (image == 0)).all() for one in held)


@pytest.mark.parametrize("changes", [["bias_field"], ["rotate"], ["blur"], ["gamma", "noise"]])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_change_of_whole_images_changes_some(tmp_path, changes, dimensions):
    none, _ = of_classes(tmp_path / "p", dimensions, [], flips=[])
    some, _ = of_classes(tmp_path / "q", dimensions, changes, flips=[])
    ((plain, _),) = feed(none, batch_size=9, first_batch=0, last_batch=1)
    ((changed, _),) = feed(some, batch_size=9, first_batch=0, last_batch=1)
    moved = np.abs(changed - plain).reshape(9, -1).max(1)
    assert (moved > 1e-2).sum() >= 1 and np.isfinite(changed).all()


def test_volumes_are_turned_within_their_planes_and_not_by_plans_of_before(tmp_path):
    turned, _ = of_classes(tmp_path / "p", 3, ["rotate"], flips=[])
    ((images, _),) = feed(turned, batch_size=9, first_batch=0, last_batch=1)
    # The mean of a plane of the ball hardly changes when it is turned, so planes keep their order and content.
    none, _ = of_classes(tmp_path / "q", 3, [], flips=[])
    ((plain, _),) = feed(none, batch_size=9, first_batch=0, last_batch=1)
    profiles = [np.asarray(x).mean((2, 3, 4)) for x in (images, plain)]
    assert np.corrcoef(*(p.ravel() for p in profiles))[0, 1] > 0.9
    before, _ = of_classes(tmp_path / "r", 3, None, augment="none", flips=[])
    assert before._allowed is None


def test_every_case_comes_once_per_epoch():
    for epoch in range(3):
        order = [int(shuffled(tf.constant(epoch * 7 + n, tf.int64), 7, seed=1)) for n in range(7)]
        assert sorted(order) == list(range(7))


@pytest.mark.parametrize("in_memory", [True, False])
def test_store_gives_back_each_array_and_its_parts(in_memory):
    arrays = [np.arange(2 * 3 * 5).reshape(2, 3, 5).astype(np.float32), np.ones((4, 1, 7), np.float32)]
    store = ArrayStore(arrays, dtype="float32", in_memory=in_memory)
    np.testing.assert_array_equal(store.whole(tf.constant(1)), arrays[1])
    part = store.crop(tf.constant(0), tf.constant([1, 0, 2], tf.int64), tf.constant([1, 2, 3], tf.int64))
    np.testing.assert_array_equal(part, arrays[0][1:2, 0:2, 2:5])


def test_patches_keep_image_and_label_together(tmp_path):
    """The made-up disc is bright: after any warp the label must lie on the bright part."""
    train = {"augment": "strong", "foreground": 1.0}
    config = prepared_folder(tmp_path / "p", "segmentation", dimensions=3, train=train)
    prepared = Prepared.open(tmp_path / "p")
    training_set = task_for(config, prepared.plan).training_set(prepared, prepared.split("train"))
    for images, labels in feed(training_set, batch_size=4, first_batch=0, last_batch=4):
        images, labels = images.numpy()[..., 0], labels.numpy()
        assert labels.sum() > 20
        assert images[labels == 1].mean() > images[labels == 0].mean() + 0.5


def test_warp_without_change_is_the_identity():
    image = tf.random.stateless_normal((1, 5, 8, 2), [1, 2])
    transform = transforms(
        tf.constant([1, 2], tf.int64), 1, out_size=(5, 8), centre=tf.constant([[2.0, 3.5]]),
        strength=STRENGTHS["none"], flip_rows=False, flip_columns=False,
    )  # fmt: skip
    np.testing.assert_allclose(warp(image, transform, (5, 8), nearest=False), image, atol=1e-6)


def test_flips_mirror_about_the_centre():
    image = tf.reshape(tf.range(6, dtype=tf.float32), (1, 2, 3, 1))
    seen = set()
    for number in range(20):
        transform = transforms(
            tf.constant([number, 7], tf.int64), 1, out_size=(2, 3), centre=tf.constant([[0.5, 1.0]]),
            strength=STRENGTHS["none"], flip_rows=True, flip_columns=True,
        )  # fmt: skip
        seen.add(tuple(warp(image, transform, (2, 3), nearest=True).numpy().ravel().astype(int)))
    assert seen == {(0, 1, 2, 3, 4, 5), (2, 1, 0, 5, 4, 3), (3, 4, 5, 0, 1, 2), (5, 4, 3, 2, 1, 0)}


def sparse(tmp_path, *, keep, foreground=0.5):
    """Volumes of which only the plane `keep` is labelled."""
    config = prepared_folder(tmp_path / "p", "segmentation", dimensions=3, train={"foreground": foreground})
    prepared = Prepared.open(tmp_path / "p")
    for record in prepared.records:
        label = prepared.label(record)
        label[np.arange(len(label)) != keep] = IGNORE
        write_array(label_path(tmp_path / "p", record.key), label)
    plan = prepared.plan.model_copy(update={"ignore_label": 9, "patch": [2, 16, 12]})
    return task_for(config, plan).training_set(prepared, prepared.split("train"))


@pytest.mark.parametrize("foreground", [0.0, 1.0])
def test_patches_lie_where_labels_are(tmp_path, foreground):
    training_set = sparse(tmp_path, keep=5, foreground=foreground)
    known = [
        (labels.numpy() != IGNORE).any(axis=(1, 2, 3))
        for _, labels in feed(training_set, batch_size=8, first_batch=0, last_batch=8)
    ]
    assert np.concatenate(known).all()


def test_what_is_padded_is_unknown(tmp_path):
    """Only the first plane is labelled, so a patch around it that reaches over the edge knows nothing there."""
    training_set = sparse(tmp_path, keep=0)
    for _, labels in feed(training_set, batch_size=8, first_batch=0, last_batch=4):
        assert ((labels.numpy() != IGNORE).any(axis=(2, 3)).sum(axis=1) <= 1).all()


def test_cases_are_drawn_in_proportion_to_their_weights():
    weights = np.array([1, 1, 4, 1, 2.5, 1])
    draw = Repeated(weights, seed=3)
    every = tf.function(lambda: tf.map_fn(draw, tf.range(6 * 300, dtype=tf.int64)))
    drawn = every().numpy().reshape(300, 6)
    counts = np.array([np.bincount(epoch, minlength=6) for epoch in drawn])
    expected = 6 * weights / weights.sum()
    assert (counts >= np.floor(expected)).all() and (counts <= np.ceil(expected)).all()
    np.testing.assert_allclose(counts.mean(0), expected, atol=0.09)
    assert len({tuple(epoch) for epoch in drawn.tolist()}) > 100, "the order changes from epoch to epoch"


def test_the_training_set_draws_cases_with_rare_classes_more_often(tmp_path):
    config = prepared_folder(tmp_path / "p", "segmentation")
    prepared = Prepared.open(tmp_path / "p")
    records = prepared.split("train")
    plain = draw_of(prepared.plan, records, 0)
    assert isinstance(plain, EachOnce)
    rare = [replace(record, classes=("rare",)) if n == 0 else record for n, record in enumerate(records)]
    plan = prepared.plan.model_copy(update={"oversampling": {"rare": 3.0}})
    draw = draw_of(plan, rare, config.seed)
    numbers = tf.range(30 * len(records), dtype=tf.int64)
    share = float(tf.reduce_mean(tf.cast(tf.map_fn(draw, numbers) == 0, tf.float32)))
    assert share == pytest.approx(3 / (3 + len(records) - 1), abs=0.05)
