"""Each change against SciPy or by hand; image and labels move together; what is not allowed does not happen."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, map_coordinates, zoom

tf = pytest.importorskip("tensorflow")

from medcli.datasets import appearance, deform  # noqa: E402
from medcli.datasets.augment import STRENGTHS  # noqa: E402
from medcli.datasets.feed import feed  # noqa: E402
from medcli.datasets.separable import along, blur_matrix, coarse_matrix, smooth_field, spline_matrix  # noqa: E402
from medcli.datasets.store import sample_seed  # noqa: E402
from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402

RANDOM = np.random.default_rng(0)
GEOMETRY = ["rotate", "scale", "tilt", "elastic"]
APPEARANCE = [
    "bias_field", "blur", "low_resolution", "noise", "brightness", "contrast", "gamma", "inverted_gamma"
]  # fmt: skip
ALL_FLIPS = ("plane", "row", "column")
CASE = (60, 70, 80)


def seed(number: int):
    return sample_seed(tf.constant(number, tf.int64), 3, 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sigma", [0.5, 1.1, 1.5])
def test_blur_is_scipys(axis, sigma):
    image = RANDOM.normal(size=(9, 14, 21, 2)).astype(np.float32)
    blurred = along(tf.constant(image), blur_matrix(image.shape[axis], tf.constant(sigma)), axis)
    expected = gaussian_filter1d(image, sigma, axis=axis, radius=6, mode="reflect")
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_blur_of_an_axis_shorter_than_its_reach_keeps_constants():
    np.testing.assert_allclose(tf.reduce_sum(blur_matrix(3, tf.constant(1.5)), axis=1), np.ones(3), atol=1e-6)


@pytest.mark.parametrize(("size", "coarse"), [(23, 14), (31, 20), (20, 10), (7, 7), (5, 1)])
def test_low_resolution_is_scipys_zoom_down_and_up(size, coarse):
    values = RANDOM.normal(size=size).astype(np.float32)
    small = zoom(values, coarse / size, order=0, grid_mode=True, mode="nearest")
    assert len(small) == coarse
    expected = zoom(small, size / coarse, order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(coarse_matrix(size, tf.constant(coarse)).numpy() @ values, expected, atol=1e-5)


def test_full_resolution_changes_nothing():
    image = tf.constant(RANDOM.normal(size=(5, 6, 7, 1)).astype(np.float32))
    np.testing.assert_allclose(
        appearance.lower_resolution(image, tf.constant(1.0), (0, 1, 2)), image, atol=1e-5
    )


def test_smooth_field_of_equal_control_points_is_constant_and_of_a_ramp_a_ramp():
    """B-splines sum to one and reproduce straight lines: control point i stands at i - 1 intervals."""
    np.testing.assert_allclose(spline_matrix(11, 4).sum(axis=1), np.ones(11), atol=1e-6)
    np.testing.assert_allclose(
        spline_matrix(8, 4) @ (np.arange(7) - 1.0), (np.arange(8) + 0.5) / 2, atol=1e-6
    )
    assert smooth_field(tf.zeros((5, 5, 1)), (6, 9)).shape == (6, 9, 1)


def test_bias_field_multiplies_what_is_above_air():
    image = tf.constant([[[-1.0], [3.0]]] * 2)
    factor = 1.25
    changed = appearance.bias_field(image, tf.fill((5, 5, 1), np.float32(np.log(factor))))
    np.testing.assert_allclose(changed, [[[-1.0], [4.0]]] * 2, rtol=1e-5)


def test_gamma_and_contrast_by_hand():
    image = tf.constant([[1.0, 2.0, 5.0]])[..., None]  # 0, 1/4 and 1 of the range
    np.testing.assert_allclose(
        appearance.change_gamma(image, tf.constant(2.0))[..., 0], [[1, 1 + 4 / 16, 5]], rtol=1e-6
    )
    np.testing.assert_allclose(
        appearance.scale_contrast(image, tf.constant(0.5))[..., 0], [[11 / 6, 7 / 3, 23 / 6]], rtol=1e-6
    )
    constant = tf.ones((2, 2, 1))
    np.testing.assert_allclose(appearance.change_gamma(constant, tf.constant(0.5)), constant)


def test_only_what_is_allowed_and_drawn_changes_an_image():
    image = tf.constant(RANDOM.normal(size=(8, 9, 1)).astype(np.float32))

    def changed(allowed, chances):
        return [
            appearance.change_appearance(
                image, seed(number), strength=STRENGTHS["strong"], chances=chances, allowed=allowed, axes=(0, 1)
            )
            for number in range(12)
        ]  # fmt: skip

    for name in APPEARANCE:
        always = appearance.Chances(**{name: 1.0})
        assert all(np.array_equal(one, image) for one in changed([], always))
        results = changed([name], always)
        assert len({one.numpy().tobytes() for one in results}) > 3, name
        assert all(np.isfinite(one).all() for one in results)
    some = [np.array_equal(one, image) for one in changed(["blur"], appearance.Chances(blur=0.5))]
    assert 0 < sum(some) < 12


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3.0, 0.9, 0.9), (2.0, 1.0, 1.5)])
@pytest.mark.parametrize("allowed", [GEOMETRY, ["rotate", "scale", "elastic"], ["rotate"], []])
def test_patches_are_one_resampling_of_the_case_and_labels_follow(spacing, allowed):
    """Against `map_coordinates` in the whole case, at the places that the drawn matrix and spline say."""
    check_against_scipy((12, 16, 16), spacing, allowed)


@pytest.mark.parametrize("patch", [(16, 16), (10, 17)])
def test_the_same_for_pictures(patch):
    check_against_scipy(patch, (1, 1), GEOMETRY)


def check_against_scipy(patch, spacing, allowed):
    axes = len(patch)
    deformation = deform.Deformation(
        patch, spacing, strength=STRENGTHS["strong"], chances=deform.CHANCES["strong"], allowed=allowed,
        flips=ALL_FLIPS, quarter_turns=True,
    )  # fmt: skip
    case = np.random.default_rng(1).normal(size=CASE[-axes:]).astype(np.float32)
    labels = (case * 50).astype(np.int32)
    corner = np.array((22, 25, 30)[-axes:], np.int64)
    middle = (np.array(patch) - 1) / 2
    seen = set()
    for number in range(16):
        draws = deformation.draw(seed(number))
        first, size = (part.numpy() for part in deformation.region(draws, corner))
        region = tuple(slice(begin, begin + length) for begin, length in zip(first, size, strict=True))
        offset = tf.constant(corner - first + middle, tf.float32)
        image, label = deformation.apply(
            draws, tf.constant(case[region][..., None]), tf.constant(labels[region]), offset
        )
        places = expected_places(draws, patch, corner + middle)
        assert (places.reshape(axes, -1).min(axis=1) >= first - 1e-3).all()
        assert (places.reshape(axes, -1).max(axis=1) <= first + size - 1 + 1e-3).all()
        np.testing.assert_allclose(image[..., 0], map_coordinates(case, places, order=1), atol=3e-3)
        differs = label.numpy() != map_coordinates(labels, places, order=0)
        assert differs.mean() < 0.003  # halves may be rounded either way
        seen.add(int(draws.kind))
    assert seen == ({0, 1, 2} if "tilt" in allowed and axes == 3 else {0, 1} if allowed else {0})


def expected_places(draws, patch, centre):
    grid = np.stack(np.meshgrid(*[np.arange(size) - (size - 1) / 2 for size in patch], indexing="ij"))
    if draws.elastic:
        controls = draws.controls.numpy()
        in_plane = controls.shape[0] == 1 and len(patch) == 3
        moved = controls[0] if in_plane else controls
        for axis, size in enumerate(patch[-(moved.ndim - 1) :]):
            moved = np.moveaxis(np.tensordot(spline_matrix(size, 4), moved, (1, axis)), 0, axis)
        grid = grid + np.moveaxis(moved[None] if in_plane else moved, -1, 0)
    matrix = draws.matrix.numpy().astype(float)
    return np.einsum("ij,j...->i...", matrix, grid) + centre.reshape(-1, *[1] * len(patch))


def test_rotations_keep_lengths_in_millimetres():
    spacing = np.array([2.0, 1.0, 1.5])
    deformation = deform.Deformation(
        (12, 16, 20), spacing, strength=STRENGTHS["strong"], chances=deform.Chances(1, 1, 0),
        allowed=["rotate", "tilt"], flips=(), quarter_turns=False,
    )  # fmt: skip
    for number in range(5):
        in_mm = np.diag(spacing) @ deformation.draw(seed(number)).matrix.numpy() @ np.diag(1 / spacing)
        np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-5)
        assert abs(in_mm[0, 1]) > 1e-4 or abs(in_mm[0, 2]) > 1e-4


def test_elastic_deformation_never_folds():
    """The Jacobian stays positive at the largest displacements that can be drawn."""
    patch = (24, 28, 20)
    interval = np.array(patch) / deform.ELASTIC_INTERVALS
    for number in range(20):
        signs = np.random.default_rng(number).choice([-1, 1], (7, 7, 7, 3))
        moved = smooth_field(tf.constant(signs * deform.ELASTIC_REACH * interval, tf.float32), patch).numpy()
        jacobian = np.stack(np.gradient(moved, axis=(0, 1, 2)), axis=-1) + np.eye(3)
        assert np.linalg.det(jacobian).min() > 0


def test_linear_sampling_lets_further_axes_ride_along():
    image = RANDOM.normal(size=(7, 9, 4, 2)).astype(np.float32)
    places = [RANDOM.uniform(-1, size, (5, 6)).astype(np.float32) for size in (7, 9)]
    sampled = deform.linear(tf.constant(image), places).numpy()
    expected = [
        map_coordinates(image[..., a, b], places, order=1, mode="nearest") for a in range(4) for b in range(2)
    ]
    np.testing.assert_allclose(sampled, np.stack(expected, -1).reshape(5, 6, 4, 2), atol=1e-5)
    one_row = deform.linear(tf.constant(image[:1]), [tf.zeros(3), tf.constant([0.0, 1.5, 8.0])])
    np.testing.assert_allclose(one_row[1], (image[0, 1] + image[0, 2]) / 2, atol=1e-6)


def test_all_changes_together_are_a_function_of_the_number_and_keep_labels(tmp_path):
    """The made-up disc is bright, so the label must lie on the bright part."""
    train = {"augment": "strong", "augmentations": [*GEOMETRY, *APPEARANCE], "foreground": 1.0}
    config = prepared_folder(tmp_path / "p", "segmentation", dimensions=3, train=train)
    data = Prepared.open(tmp_path / "p")
    samples = task_for(config, data.plan).training_set(data, data.split("train"))
    whole = list(feed(samples, batch_size=3, first_batch=0, last_batch=6))
    rest = list(feed(samples, batch_size=3, first_batch=4, last_batch=6))
    for (images, labels), (again, labels_again) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
    images, labels = (np.concatenate([batch[part] for batch in whole]) for part in (0, 1))
    assert np.isfinite(images).all()
    assert images[..., 0][labels == 1].mean() > images[..., 0][labels == 0].mean() + 0.5
