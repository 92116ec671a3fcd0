"""Maps of the evidence against values worked out by hand."""

import numpy as np
import pytest

from medcli.explain.baselines import blurred, choose_baseline, mean
from medcli.explain.cam import gradcam, gradcam_plus_plus, layercam
from medcli.explain.integrated import integrated_gradients
from medcli.explain.occlusion import block_shape, occlusion

ACTIVATIONS = np.array([[[1, 2], [0, 1]]], float)  # one row, two columns, two channels
GRADIENTS = np.array([[[2, -1], [0, -3]]], float)


def test_gradcam_weighs_channels_by_their_mean_gradient():
    # weights: (2 + 0) / 2 = 1 and (-1 - 3) / 2 = -2; 1 * 1 - 2 * 2 = -3 and 0 - 2 * 1 = -2, both cut to 0
    np.testing.assert_array_equal(gradcam(ACTIVATIONS, GRADIENTS), [[0, 0]])
    # with the signs turned: -1 + 4 = 3 and 2
    np.testing.assert_array_equal(gradcam(ACTIVATIONS, -GRADIENTS), [[3, 2]])


def test_layercam_weighs_every_place_by_itself():
    # positive gradients only: 1 * 2 + 2 * 0 = 2 and 0
    np.testing.assert_array_equal(layercam(ACTIVATIONS, GRADIENTS), [[2, 0]])
    assert layercam(ACTIVATIONS, GRADIENTS).dtype == np.float32


def test_gradcam_plus_plus_worked_by_hand():
    # channel 0: sum of activations 1, gradients 2 and 0. alpha = 4 / (2 * 4 + 1 * 8) = 1/4, weight 1/4 * 2 = 1/2
    # channel 1: gradients negative, weight 0
    np.testing.assert_allclose(gradcam_plus_plus(ACTIVATIONS, GRADIENTS), [[0.5, 0]])


def test_a_volume_keeps_its_axes():
    activations = np.zeros((2, 3, 4, 1))
    activations[1, 2, 0] = 1
    for cam in (gradcam, gradcam_plus_plus, layercam):
        assert np.unravel_index(cam(activations, np.ones((2, 3, 4, 1))).argmax(), (2, 3, 4)) == (1, 2, 0)


def cubic(images):
    """Score x0^3 + 2 x1 of two places with one channel."""
    return images[:, 0, 0] ** 3 + 2 * images[:, 1, 0]


def gradients_of_cubic(images):
    return np.stack([3 * images[:, 0] ** 2, np.full_like(images[:, 1], 2)], axis=1)


def test_integrated_gradients_divide_the_change():
    image, baseline = np.array([[2.0], [3.0]], np.float32), np.array([[1.0], [0.0]], np.float32)
    found = integrated_gradients(gradients_of_cubic, cubic, image, baseline, steps=100)
    # from 1 to 2 x^3 grows by 7, from 0 to 3 2x grows by 6
    np.testing.assert_allclose(found.values, [7, 6], atol=1e-3)
    assert found.change == pytest.approx(13)
    assert found.error < 1e-4
    assert found.steps == 100


def test_more_steps_are_taken_until_the_sum_is_right():
    def steep(images):  # a step at .9 that one midpoint misses
        return 1 / (1 + np.exp(-200.0 * (images[:, 0, 0].astype(float) - 0.9)))

    def slope(images):
        value = steep(images)[:, None, None]
        return 200 * value * (1 - value)

    image, baseline = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    few = integrated_gradients(slope, steep, image, baseline, steps=4, doublings=0)
    assert few.error > 0.5
    more = integrated_gradients(slope, steep, image, baseline, steps=4, doublings=6)
    assert more.error <= 0.05
    assert more.steps > 4


@pytest.mark.parametrize("shape", [(16, 24), (8, 12, 16)])
def test_occlusion_finds_the_only_place_that_counts(shape):
    corner = tuple(slice(0, side // 4) for side in shape)

    def looks_at_the_corner(images):
        return images[(slice(None), *corner)].sum(axis=tuple(range(1, images.ndim)))

    image = np.ones((*shape, 1), np.float32)
    found = occlusion(looks_at_the_corner, image, np.zeros_like(image))
    assert found.shape == shape
    assert found[(0,) * len(shape)] == pytest.approx(np.prod(block_shape(shape)))  # a block wholly within
    beyond = tuple(slice(side // 2, None) for side in shape)
    assert np.all(found[beyond] == 0)


def test_the_baseline_is_what_lowers_the_probability_more():
    image = np.zeros((8, 16, 1), np.float32)
    image[2, 3] = 128
    assert mean(image)[0, 0, 0] == pytest.approx(1)
    assert blurred(image)[2, 3, 0] > blurred(image)[7, 15, 0] > -1e-6
    name, chosen = choose_baseline("auto", image, lambda images: images.max(axis=(1, 2, 3)))
    assert name == "mean"
    np.testing.assert_array_equal(chosen, mean(image))
    assert choose_baseline("auto", image, lambda images: -images.max(axis=(1, 2, 3)))[0] == "blur"
