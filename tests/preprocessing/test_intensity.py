"""Colours, window, contrast and normalising."""

import numpy as np
import pytest
from skimage import exposure

from medcli.errors import DataError
from medcli.image import Image
from medcli.preprocessing.intensity import enhanced, is_grey, normalized, to_color, to_grey
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepare import prepare


def plan_of(*rules: Intensity, **settings) -> Plan:
    values = {
        "task": "classification",
        "dimensions": 2,
        "classes": ["a", "b"],
        "channels": len(rules),
        "color": "grey" if len(rules) == 1 else "rgb",
        "intensity": list(rules),
        "batch_size": 1,
        "stages": 1,
    }
    return Plan(**values | settings)


RAMP = np.arange(12, dtype=np.float32).reshape(3, 4, 1)


def test_fixed():
    assert normalized(RAMP, plan_of(Intensity(kind="fixed", mean=2, std=4)))[0, :, 0].tolist() == [
        -0.5,
        -0.25,
        0,
        0.25,
    ]


def test_zscore_has_mean_zero_and_std_one():
    values = normalized(RAMP, plan_of(Intensity(kind="zscore")))
    assert abs(values.mean()) < 1e-6
    assert abs(values.std() - 1) < 1e-6


def test_minmax():
    assert normalized(RAMP, plan_of(Intensity(kind="minmax"))).ravel()[[0, -1]].tolist() == [0, 1]


def test_percentiles_go_to_zero_and_one_and_beyond_is_cut():
    """The 25 and 75 percentiles of 0..11 are 2.75 and 8.25."""
    values = normalized(RAMP, plan_of(Intensity(kind="percentile", percentiles=(25, 75)))).ravel()
    assert values[[0, 11]].tolist() == [0, 1]
    assert values[5] == pytest.approx((5 - 2.75) / 5.5, abs=1e-6)


@pytest.mark.parametrize("kind", ["zscore", "minmax", "percentile"])
def test_a_constant_image_becomes_zero(kind):
    assert not normalized(np.full((2, 3, 1), 7, np.float32), plan_of(Intensity(kind=kind))).any()


def test_window_clips_before_normalising():
    rule = Intensity(kind="minmax", low=2, high=6)
    values, _ = prepare(Image(RAMP), plan_of(rule))
    assert values.ravel()[:7].tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 1]
    assert values.ravel()[7:].tolist() == [1] * 5


def test_gamma_works_on_the_window():
    """5 in a window 0 to 10 is 0.5; squared 0.25."""
    rule = Intensity(kind="none", low=0, high=10)
    assert enhanced(RAMP, plan_of(rule, contrast="gamma", gamma=2.0))[1, 1, 0] == pytest.approx(0.25)


def test_histogram_equalisation_is_that_of_scikit_image():
    image = np.random.default_rng(0).normal(size=(20, 30, 1)).astype(np.float32)
    ours = enhanced(image, plan_of(Intensity(kind="none"), contrast="histogram"))[..., 0]
    assert np.allclose(ours, exposure.equalize_hist((image[..., 0] - image.min()) / np.ptp(image)), atol=1e-5)


def test_clahe_raises_local_contrast_and_stays_in_range():
    image = (
        np.random.default_rng(0).normal(0, 0.01, (64, 64, 1)) + np.linspace(0, 1, 64)[:, None, None]
    ).astype(np.float32)
    ours = enhanced(image, plan_of(Intensity(kind="none"), contrast="clahe", clahe_clip=0.05))
    assert ours.min() >= 0
    assert ours.max() <= 1
    assert ours[20].std() > 2 * ((image - image.min()) / np.ptp(image))[20].std()


def test_clahe_of_rgb_keeps_the_hue():
    """Red stays red: green and blue are equal wherever they were."""
    image = np.zeros((32, 32, 3), np.float32)
    image[..., 0] = np.random.default_rng(0).random((32, 32))
    ours = enhanced(image, plan_of(*[Intensity(kind="none", low=0, high=1)] * 3, contrast="clahe"))
    assert np.allclose(ours[..., 1], ours[..., 2], atol=1e-5)
    assert ours[..., 0].mean() > ours[..., 1].mean()


def test_contrast_of_a_constant_image_changes_nothing():
    image = np.full((8, 8, 1), 3, np.float32)
    for contrast in ("clahe", "histogram", "gamma"):
        assert not enhanced(image, plan_of(Intensity(kind="none"), contrast=contrast)).any()


def test_grey_of_equal_channels_is_the_channel_and_alpha_does_not_count():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    rgba = np.concatenate([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    assert is_grey(rgba)
    assert np.array_equal(to_grey(rgba), grey)


def test_grey_of_colours_is_the_luminance():
    """0.299 * 100 + 0.587 * 50 + 0.114 * 10 = 60.39"""
    pixel = np.array([[[100, 50, 10]]], np.uint8)
    assert not is_grey(pixel)
    assert to_grey(pixel)[0, 0, 0] == pytest.approx(60.39, abs=1e-4)


def test_grey_becomes_rgb_and_stacks_stay():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    assert to_color(grey, "rgb").shape == (2, 3, 3)
    assert to_color(np.zeros((2, 3, 4)), "as_is").shape == (2, 3, 4)


def test_values_keep_their_depth():
    """12-bit values are not squeezed to 8 bits."""
    image = np.array([[[0], [1], [4095]]], np.uint16)
    values, _ = prepare(Image(image), plan_of(Intensity(kind="none")))
    assert values.ravel().tolist() == [0, 1, 4095]
    assert values.dtype == np.float32


def test_not_a_number_becomes_the_lowest_value():
    image = np.array([[[3.0], [np.nan], [-2.0], [np.inf]]], np.float32)
    values, _ = prepare(Image(image), plan_of(Intensity(kind="none")))
    assert values.ravel().tolist() == [3, -2, -2, -2]


def test_a_volume_is_refused_by_a_plan_for_pictures():
    with pytest.raises(DataError, match=r"plan is for pictures.*volumes.*4x5x6"):
        prepare(Image(np.zeros((4, 5, 6, 1), np.float32)), plan_of(Intensity(kind="none")))


def test_another_number_of_channels_is_refused():
    with pytest.raises(DataError, match=r"expects 2 channel.*has 1"):
        prepare(Image(np.zeros((4, 5, 1))), plan_of(*[Intensity(kind="none")] * 2, color="as_is"))
