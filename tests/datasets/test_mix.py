"""Mix-up and cut-mix: every pixel is where the targets say it comes from."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.datasets.feed import feed  # noqa: E402
from medcli.datasets.mix import MIXUP_ALPHA, beta, mix  # noqa: E402
from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402

COUNT = 6


def batch(shape):
    """Sample i is i everywhere and has target i of one-hot targets."""
    images = np.zeros((COUNT, *shape, 2), np.float32) + np.arange(COUNT).reshape(-1, *[1] * (len(shape) + 1))
    return tf.constant(images, tf.float32), tf.eye(COUNT)


def mixed(kind, shape, number=0):
    images, targets = batch(shape)
    images, targets = mix(images, targets, tf.constant([3, number], tf.int64), kind)
    return images.numpy(), targets.numpy()


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
@pytest.mark.parametrize("shape", [(7, 12), (4, 6, 9)])
def test_targets_are_the_shares_of_the_pixels(kind, shape):
    for number in range(4):
        images, targets = mixed(kind, shape, number)
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
        # Sample i is of the values i and i - 1 (0 and 5), so its mean is the targets' mean of these.
        np.testing.assert_allclose(
            images.mean(tuple(range(1, images.ndim))), targets @ np.arange(COUNT), atol=1e-5
        )
        for index, row in enumerate(targets):
            assert set(np.flatnonzero(row)) <= {index, (index - 1) % COUNT}


def test_cutmix_takes_a_rectangle():
    images, _ = mixed("cutmix", (7, 12))
    assert set(np.unique(images)) <= set(range(COUNT))
    sizes = []
    for index, image in enumerate(images):
        other = image[..., 0] != index
        sizes.append(other.mean())
        np.testing.assert_array_equal(other, np.outer(other.any(1), other.any(0)))
    assert 0 < max(sizes) < 1


def test_both_takes_one_or_the_other():
    whole = [np.isin(mixed("both", (8, 8), number)[0], range(COUNT)).all() for number in range(20)]
    assert 3 < sum(whole) < 17


def test_shares_are_those_of_a_beta_distribution():
    found = beta(tf.constant([1, 2], tf.int64), 41, (20_000,), MIXUP_ALPHA).numpy()
    expected = np.random.default_rng(0).beta(MIXUP_ALPHA, MIXUP_ALPHA, 20_000)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(
        np.quantile(found, [0.3, 0.5, 0.7]), np.quantile(expected, [0.3, 0.5, 0.7]), atol=0.05
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_training_set_mixes_and_does_not_depend_on_where_it_starts(tmp_path, dimensions):
    config = prepared_folder(tmp_path / "p", "classification", dimensions=dimensions, train={"mix": "both"})
    prepared = Prepared.open(tmp_path / "p")
    training_set = task_for(config, prepared.plan).training_set(prepared, prepared.split("train"))
    whole = list(feed(training_set, batch_size=4, first_batch=0, last_batch=4))
    ((images, targets),) = feed(training_set, batch_size=4, first_batch=3, last_batch=4)
    np.testing.assert_array_equal(whole[3][0], images)
    np.testing.assert_array_equal(whole[3][1], targets)
    shares = np.concatenate([targets for _, targets in whole])
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert ((shares > 0.001) & (shares < 0.999)).any()
