"""A bag of visual words: what the polar map holds, what must not change the answers, words that are found again."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.models.visual_words import (  # noqa: E402
    ANGLES,
    PATCH,
    RADII,
    REACH,
    VisualWords,
    polar_map,
    sampled,
)
from tests.test_descriptors import ellipse, picture  # noqa: E402


def spotted(seed: int) -> np.ndarray:
    """(96, 128, 3): a dark disc with spots, off the middle."""
    image = picture(ellipse(20, 24, row=4, column=-9), colour=(-1.0, -2.0, -1.5))
    random = np.random.default_rng(seed)
    for row, column in zip(random.integers(40, 62, 6), random.integers(40, 68, 6), strict=True):
        image[row : row + 3, column : column + 4] -= 0.8
    return image


def learned(images: list[np.ndarray], *, words: int = 12, seed: int = 0) -> VisualWords:
    layer = VisualWords(words)
    layer.build((None, *images[0].shape))
    layer.learn(images, seed)
    return layer


def test_bilinear_values_are_those_of_scipy():
    from scipy.ndimage import map_coordinates

    random = np.random.default_rng(0)
    images = random.normal(size=(2, 7, 9, 3)).astype(np.float32)
    rows, columns = random.uniform(-2, 9, (2, 4, 5)), random.uniform(-2, 11, (2, 4, 5))
    result = sampled(
        tf.constant(images), tf.constant(rows, tf.float32), tf.constant(columns, tf.float32)
    ).numpy()
    for case in range(2):
        for channel in range(3):
            expected = map_coordinates(
                images[case, ..., channel], [rows[case], columns[case]], order=1, mode="nearest"
            )
            np.testing.assert_allclose(result[case, ..., channel], expected, atol=1e-5)


def test_the_map_goes_outwards_and_around():
    disc = picture(ellipse(20, 20, row=6, column=-10))
    unrolled = polar_map(tf.constant(disc[None])).numpy()[0]
    assert unrolled.shape == (RADII, ANGLES + PATCH - 1, 3 + 2)
    # The extent of a disc is its radius over the root of 2, so its border is at step 40 / 2 * 2 ** 0.5 = 28.
    border = round(RADII / REACH * 2**0.5)
    mask = unrolled[..., -2]
    assert mask[: border - 4].min() > 0.8 > 0.2 > mask[border + 4 :].max()
    assert unrolled[: border - 4, :, :3].mean() == pytest.approx(-3.0, abs=0.1)  # -2 where skin is +1
    assert unrolled[border + 4 : border + 8, :, :3].mean() == pytest.approx(0.0, abs=0.1)
    np.testing.assert_array_equal(unrolled[:, : PATCH - 1], unrolled[:, ANGLES:])  # around and on


def test_turning_and_mirroring_change_nothing():
    image = spotted(1)
    layer = learned([spotted(seed) for seed in range(4)])
    first = layer.features(tf.constant(image[None])).numpy()
    for other in (image[::-1], image[:, ::-1], image[::-1, ::-1], image.transpose(1, 0, 2)):
        same = layer.features(tf.constant(other[None].copy())).numpy()
        np.testing.assert_allclose(same, first, atol=5e-3)
    assert first.std() > 0.05  # they are not all alike


def test_words_tell_two_kinds_of_border_apart():
    y, x = np.mgrid[:96, :128]
    distance = np.hypot(y - 47.5, x - 63.5)

    def lesion(softness: float, seed: int) -> np.ndarray:
        inside = 1 / (1 + np.exp(np.clip((distance - 22) / softness, -50, 50)))
        noise = np.random.default_rng(seed).normal(0, 0.05, (96, 128, 3))
        return (1 - 3 * inside[..., None] + noise).astype(np.float32)

    sharp, soft = ([lesion(softness, seed) for seed in range(8)] for softness in (0.3, 6.0))
    layer = learned(sharp[:4] + soft[:4])
    of_sharp, of_soft = (layer.features(tf.constant(np.stack(kind[4:]))).numpy() for kind in (sharp, soft))
    apart = np.abs(of_sharp.mean(axis=0) - of_soft.mean(axis=0)) / (
        of_sharp.std(axis=0) + of_soft.std(axis=0)
    )
    assert apart[layer.words :].max() > 3  # along the border


def test_the_same_seed_gives_the_same_words():
    images = [spotted(seed) for seed in range(3)]
    first, second, other = learned(images), learned(images), learned(images, seed=1)
    for one, same in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.allclose(first.centres, other.centres)


@pytest.mark.parametrize("channels", [1, 3])
def test_fewer_patches_than_words_and_images_without_an_object(channels):
    images = [np.zeros((33, 48, channels), np.float32)] * 2
    layer = learned(images, words=300)
    result = layer(tf.constant(np.stack(images)), training=True).numpy()
    assert result.shape == layer.compute_output_shape((2, 33, 48, channels)) == (2, 600)
    assert np.isfinite(result).all()
