"""Segmentation measures against hand-worked numbers, SimpleITK and brute force, in unequal spacing."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import cdist

from medcli.metrics import segmentation as ours

SPACING = (3.0, 0.7, 1.3)


def blob(seed, shape=(14, 23, 19), level=0.02):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5)
    return smooth > level


def as_sitk(mask):
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(SPACING[::-1])
    return image


@pytest.mark.parametrize("seed", range(5))
def test_overlap_equals_simpleitk(seed):
    truth, predicted = blob(seed), blob(seed + 100)
    found = ours.measures(truth.astype(int), predicted.astype(int), 1, spacing=SPACING)
    check = sitk.LabelOverlapMeasuresImageFilter()
    check.Execute(as_sitk(truth), as_sitk(predicted))
    assert found["dice"][0] == pytest.approx(check.GetDiceCoefficient())
    assert found["iou"][0] == pytest.approx(check.GetJaccardCoefficient())
    expected = abs(int(predicted.sum()) - int(truth.sum())) / truth.sum()
    assert found["volume_error"][0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_largest_surface_distance_equals_simpleitk(seed):
    # SimpleITK measures between whole regions, so it gets the surfaces.
    truth, predicted = blob(seed), blob(seed + 100)
    surfaces = ours.surface(truth), ours.surface(predicted)
    to_predicted, to_truth = ours.surface_distances(truth, predicted, SPACING)
    check = sitk.HausdorffDistanceImageFilter()
    check.Execute(as_sitk(surfaces[0]), as_sitk(surfaces[1]))
    assert max(to_predicted.max(), to_truth.max()) == pytest.approx(check.GetHausdorffDistance(), rel=1e-5)
    mean = (to_predicted.mean() + to_truth.mean()) / 2
    assert mean == pytest.approx(check.GetAverageHausdorffDistance(), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_surface_distances_equal_brute_force(seed):
    truth, predicted = blob(seed), blob(seed + 100)
    points = [np.argwhere(ours.surface(mask)) * SPACING for mask in (truth, predicted)]
    table = cdist(*points)
    a, b = table.min(1), table.min(0)
    found = ours.measures(truth.astype(int), predicted.astype(int), 1, spacing=SPACING, tolerance=1.0)
    assert found["hd95"][0] == pytest.approx(max(np.percentile(a, 95), np.percentile(b, 95)))
    assert found["asd"][0] == pytest.approx(np.concatenate([a, b]).mean())
    assert found["nsd"][0] == pytest.approx((np.concatenate([a, b]) <= 1.0).mean())


@pytest.mark.parametrize("seed", range(3))
def test_surface_measures_equal_simpleitks_recipe(seed):
    # Contours and distance maps; padded, since to SimpleITK the image's edge is no outside.
    truth, predicted = np.pad(blob(seed), 1), np.pad(blob(seed + 100), 1)
    contours = [sitk.LabelContour(as_sitk(mask)) for mask in (truth, predicted)]
    maps = [
        sitk.GetArrayFromImage(
            sitk.SignedMaurerDistanceMap(contour, False, squaredDistance=False, useImageSpacing=True)
        )
        for contour in contours
    ]
    on = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
    a, b = maps[1][on[0]], maps[0][on[1]]
    found = ours.measures(truth.astype(int), predicted.astype(int), 1, spacing=SPACING)
    assert found["asd"][0] == pytest.approx(np.concatenate([a, b]).mean(), rel=1e-4)
    assert found["hd95"][0] == pytest.approx(max(np.percentile(a, 95), np.percentile(b, 95)), rel=1e-4)


def test_the_surface_is_what_touches_the_outside_by_a_face():
    mask = np.zeros((5, 6), bool)
    mask[1:4, 0:4] = True  # 3 x 4 at the left edge: inside are only the two middle pixels right of the edge
    inside = mask & ~ours.surface(mask)
    assert np.argwhere(inside).tolist() == [[2, 1], [2, 2]]


def test_two_voxels_three_planes_apart():
    truth, predicted = np.zeros((6, 4, 4), int), np.zeros((6, 4, 4), int)
    truth[1, 2, 2] = predicted[4, 2, 2] = 1
    found = ours.measures(truth, predicted, 1, spacing=(2.0, 1.0, 1.0), tolerance=6.0)
    # Three planes of 2 mm: 6 mm, which the tolerance just allows.
    assert {name: values[0] for name, values in found.items()} == {
        "dice": 0.0,
        "iou": 0.0,
        "hd95": 6.0,
        "asd": 6.0,
        "nsd": 1.0,
        "volume_error": 0.0,
        "lesion_sensitivity": 0.0,
        "lesion_precision": 0.0,
    }


def test_overlap_by_hand():
    truth = np.array([[1, 1, 1, 0, 2]])
    predicted = np.array([[0, 1, 1, 1, 2]])
    found = ours.measures(truth, predicted, 2)
    assert found["dice"].tolist() == [pytest.approx(2 * 2 / 6), 1.0]
    assert found["iou"].tolist() == [0.5, 1.0]


def test_ignored_voxels_do_not_count():
    truth = np.array([[1, 255, 255, 0]])
    predicted = np.array([[1, 1, 0, 0]])
    found = ours.measures(truth, predicted, 1)
    assert (found["dice"][0], found["hd95"][0]) == (1.0, 0.0)


def test_empty_masks():
    grid = np.zeros((3, 4), int)
    one = grid.copy()
    one[1, 1] = 1
    diagonal = 5.0
    cases = {
        "neither": (grid, grid, [np.nan] * 8),
        "missed": (one, grid, [0, 0, diagonal, diagonal, 0, 1, 0, 0]),
        "made up": (grid, one, [0, 0, diagonal, diagonal, 0, np.nan, 0, 0]),
    }
    for name, (truth, predicted, expected) in cases.items():
        found = ours.measures(truth, predicted, 1, spacing=(1.0, 1.0))
        np.testing.assert_array_equal([found[key][0] for key in ours.PER_CLASS], expected, name)


def test_summary_leaves_out_what_is_undefined():
    cases = {"dice": np.array([[1.0, np.nan], [0.5, 0.4], [0.0, np.nan]])}
    overall, by_class = ours.summarise(cases)
    assert by_class["dice"].tolist() == [0.5, 0.4]
    assert overall["dice"] == pytest.approx(0.45)
    weighted, _ = ours.summarise(cases, np.array([[2.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert weighted["dice"].tolist() == [pytest.approx((2.5 / 3 + 0.4) / 2), 0.5]


def test_a_labelled_plane_among_unlabelled_ones_is_judged_like_a_picture():
    """Its two sides are no surface, so the distances are those of the picture."""
    random = np.random.default_rng(4)
    truth, predicted = (ndimage.binary_dilation(random.random((20, 24)) > 0.99, iterations=3) for _ in "ab")
    flat = ours.measures(truth.astype(int), predicted.astype(int), 1, spacing=(2.0, 0.5))
    volume = np.full((5, 20, 24), ours.IGNORE)
    volume[2] = truth
    deep = ours.measures(volume, np.stack([predicted] * 5).astype(int), 1, spacing=(3.0, 2.0, 0.5))
    for name in ("dice", "hd95", "asd", "nsd"):
        np.testing.assert_allclose(deep[name], flat[name], err_msg=name)
    assert flat["hd95"][0] > 0
