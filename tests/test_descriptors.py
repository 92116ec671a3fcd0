"""Measures of the dark object in a picture: worked by hand on discs and ellipses, and what must not change them."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.models.descriptors import ObjectDescriptors, describe  # noqa: E402

ROWS, COLUMNS = 96, 128
AREA, FILLING, OFFSET, TOUCHING, SEPARATION, ELONGATION, THREE_LOBES = range(7)


def picture(inside: np.ndarray, *, colour=(-2.0, -2.0, -2.0)) -> np.ndarray:
    """(row, column, 3): skin of +1 with a little noise, and the object in `colour`."""
    noise = np.random.default_rng(0).normal(0, 0.05, (*inside.shape, 3))
    return (np.where(inside[..., None], np.array(colour), 1.0) + noise).astype(np.float32)


def ellipse(rows: float, columns: float, *, row: float = 0.0, column: float = 0.0) -> np.ndarray:
    """A mask with these half axes, its centre so far from the picture's."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return ((y - 47.5 - row) / rows) ** 2 + ((x - 63.5 - column) / columns) ** 2 <= 1


def measure(*pictures: np.ndarray) -> np.ndarray:
    return describe(tf.constant(np.stack(pictures))).numpy()


def test_outlines_of_a_disc_an_ellipse_and_a_moved_disc():
    disc, long, moved = measure(
        picture(ellipse(20, 20)), picture(ellipse(12, 36)), picture(ellipse(20, 20, row=12, column=-9))
    )
    # Area pi r**2 = 1,257 of 12,288 pixels. For a disc the mean squared distance from the centre is r**2 / 2, so
    # area / (2 pi that) = 1; for an ellipse it is (a**2 + b**2) / 4, so 2 a b / (a**2 + b**2) = 0.6.
    assert np.exp(disc[AREA]) == pytest.approx(1257 / 12288, rel=0.12)
    assert np.exp(disc[FILLING]) == pytest.approx(1.0, rel=0.05)
    assert np.exp(long[FILLING]) == pytest.approx(0.6, rel=0.08)
    assert disc[OFFSET] < 0.01
    assert moved[OFFSET] == pytest.approx(15 / 96, rel=0.05)  # 9, 12, 15; in shorter sides
    assert disc[ELONGATION] < 0.05 < 0.4 < long[ELONGATION]
    assert disc[TOUCHING] < 0.01
    assert disc[SEPARATION] > 0.8  # nearly all variance lies between object and skin


def test_three_lobes_are_seen_by_the_third_moment_alone():
    y, x = np.mgrid[:ROWS, :COLUMNS]
    y, x = y - 47.5, x - 63.5
    clover = np.hypot(y, x) <= 22 * (1 + 0.35 * np.cos(3 * np.arctan2(y, x)))
    (lobes,), (disc,) = measure(picture(clover)), measure(picture(ellipse(22, 22)))
    assert lobes[THREE_LOBES] > 0.2 > 0.05 > disc[THREE_LOBES]
    assert lobes[ELONGATION] < 0.06


def test_turning_and_mirroring_change_nothing():
    image = picture(ellipse(14, 30, row=5, column=11), colour=(-1.0, -2.0, -1.5))
    image[50:60, 60:80] -= 1.0
    first, *others = measure(image, image[::-1], image[:, ::-1], image[::-1, ::-1])
    for other in others:
        np.testing.assert_allclose(other, first, atol=2e-3)
    np.testing.assert_allclose(measure(image.transpose(1, 0, 2))[0], first, atol=2e-3)


def test_the_black_around_a_lens_is_no_object():
    y, x = np.mgrid[:ROWS, :COLUMNS]
    inside = ellipse(15, 15)
    free, framed = picture(inside, colour=(-1.0, -1.0, -1.0)), picture(inside, colour=(-1.0, -1.0, -1.0))
    framed[np.hypot(y - 47.5, x - 63.5) > 46] = -3.0
    (free,), (framed,) = measure(free), measure(framed)
    assert framed[AREA] == pytest.approx(free[AREA], abs=0.25)
    assert framed[OFFSET] < 0.02


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_as_many_measures_as_announced_and_finite_without_an_object(channels):
    layer = ObjectDescriptors()
    images = np.zeros((2, 33, 48, channels), np.float32)
    result = layer(images, training=True).numpy()
    assert result.shape == layer.compute_output_shape(images.shape)
    assert np.isfinite(result).all()
    # 33 pixels, then 17, 9, 5; 3 would be too few: 4 scales
    assert result.shape[1] == 14 + channels * (11 + 2 * 4) + channels * (channels - 1) // 2
