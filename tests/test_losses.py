"""Losses against numbers worked out by hand."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.losses import classification, segmentation  # noqa: E402

LOGITS = np.log(np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
TARGETS = np.array([[0, 1], [1, 0]], np.float32)


def test_cross_entropy_is_the_mean_of_minus_log_p():
    # -(ln 0.75 + ln 0.5) / 2
    assert float(classification.cross_entropy(TARGETS, LOGITS)) == pytest.approx(
        (0.287682 + 0.693147) / 2, abs=1e-5
    )


def test_weights_count_each_case_by_its_class():
    loss = classification.cross_entropy(TARGETS, LOGITS, weights=tf.constant([3.0, 1.0]))
    assert float(loss) == pytest.approx((0.287682 + 3 * 0.693147) / 2, abs=1e-5)


def test_smoothing_spreads_the_target():
    # targets become 0.05 and 0.95
    expected = -(0.05 * np.log(0.25) + 0.95 * np.log(0.75) + np.log(0.5)) / 2
    assert float(classification.cross_entropy(TARGETS, LOGITS, smoothing=0.1)) == pytest.approx(
        expected, abs=1e-5
    )


def test_focal_scales_by_one_minus_p_squared():
    expected = (0.25**2 * 0.287682 + 0.5**2 * 0.693147) / 2
    assert float(classification.focal(TARGETS, LOGITS)) == pytest.approx(expected, abs=1e-5)


def test_mean_squared_error_is_that_of_the_probabilities():
    # (0.25^2 + 0.25^2) / 2 and (0.5^2 + 0.5^2) / 2
    assert float(classification.mean_squared_error(TARGETS, LOGITS)) == pytest.approx(
        (0.0625 + 0.25) / 2, abs=1e-6
    )


def test_multi_label_is_the_mean_over_labels_of_binary_cross_entropy():
    logits = np.zeros((1, 2), np.float32)
    loss = classification.cross_entropy(np.array([[1, 0]], np.float32), logits, multi_label=True)
    assert float(loss) == pytest.approx(np.log(2), abs=1e-6)


GRADES = np.log(np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.2, 0.5]], np.float32))


def test_ordinal_asks_at_every_threshold():
    # Truth: grade 1. P(above 0) = 0.5 is true, P(above 1) = 0.3 and P(above 2) = 0.1 are false.
    first = -(np.log(0.5) + np.log(0.7) + np.log(0.9)) / 3
    truth = np.array([[0, 1, 0, 0]], np.float32)
    assert float(classification.ordinal(truth, GRADES[:1])) == pytest.approx(first, abs=1e-5)
    assert float(classification.ordinal(truth, GRADES[:1] + 700)) == pytest.approx(first, abs=1e-4)


def test_ordinal_counts_how_far_off_and_cross_entropy_does_not():
    truth = np.array([[0, 1, 0, 0]] * 2, np.float32)  # P(truth) is 0.2 in both; the second is further off
    near, far = (float(classification.ordinal(truth[:1], GRADES[[row]])) for row in (0, 1))
    assert far > near + 0.25
    same = [float(classification.cross_entropy(truth[:1], GRADES[[row]])) for row in (0, 1)]
    assert same[0] == pytest.approx(same[1])


def test_ordinal_of_two_classes_is_cross_entropy():
    assert float(classification.ordinal(TARGETS, LOGITS, smoothing=0.1)) == pytest.approx(
        float(classification.cross_entropy(TARGETS, LOGITS, smoothing=0.1)), abs=1e-6
    )


def test_ordinal_is_least_for_the_true_probabilities():
    """A proper score: minimising its mean finds the distribution of the grades."""
    shares = np.array([[0.1, 0.5, 0.15, 0.25]], np.float32)
    logits = tf.Variable(np.zeros((1, 4), np.float32))
    for _ in range(400):
        with tf.GradientTape() as tape:
            loss = classification.ordinal(tf.constant(shares), logits)
        logits.assign_sub(2 * tape.gradient(loss, logits))
    found = tf.nn.softmax(logits).numpy()
    np.testing.assert_allclose(found, shares, atol=0.01)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "mse"])
def test_an_unknown_label_adds_nothing_and_gets_no_gradient(name):
    logits = tf.constant([[0.3, -1.2], [0.8, 0.1]])
    loss, weights = classification.LOSSES[name], tf.constant([2.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(
            tf.constant([[1.0, np.nan], [0.0, 1.0]]), logits, weights=weights, multi_label=True, smoothing=0.1
        )
    slopes = tape.gradient(value, logits).numpy()
    assert slopes[0, 1] == 0 and np.isfinite(slopes).all() and (slopes != 0).sum() == 3
    # The other label may be anything: only what is known counts.
    parts = [
        float(
            loss(
                tf.constant([[a, b]]), logits[row : row + 1], weights=weights, multi_label=True, smoothing=0.1
            )
        )
        for row, (a, b) in enumerate([(1.0, np.nan), (0.0, 1.0)])
    ]
    assert float(value) == pytest.approx(sum(parts) / 2)


def voxels(probabilities):
    """Logits of shape (1, 1, n, 2) from foreground probabilities."""
    p = np.array(probabilities, np.float32)
    return np.log(np.stack([1 - p, p], axis=-1))[None, None]


def test_soft_dice_of_two_voxels():
    # overlap 0.8, sizes 0.8 + 0.4 and 1: 1 - (2 * 0.8 + 1) / (1.2 + 1 + 1)
    loss = segmentation.dice(np.array([[[1, 0]]], np.uint8), voxels([0.8, 0.4]))
    assert float(loss) == pytest.approx(1 - 2.6 / 3.2, abs=1e-5)


def test_absent_and_unpredicted_class_costs_almost_nothing():
    loss = segmentation.dice(np.zeros((1, 1, 2), np.uint8), voxels([1e-6, 1e-6]))
    assert float(loss) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", sorted(segmentation.LOSSES))
def test_ignored_voxels_change_nothing(name):
    loss = segmentation.LOSSES[name]
    with_ignored = loss(np.array([[[1, 0, 255]]], np.uint8), voxels([0.8, 0.4, 0.9]))
    assert float(with_ignored) == pytest.approx(
        float(loss(np.array([[[1, 0]]], np.uint8), voxels([0.8, 0.4]))), abs=1e-6
    )


def test_deep_supervision_weighs_one_and_one_half():
    labels = np.arange(16).reshape(1, 4, 4).astype(np.uint8)

    def corner(labels, logits):
        return tf.cast(labels[0, 0, 0], tf.float32)

    outputs = [np.zeros((1, 4, 4, 2)), np.zeros((1, 2, 2, 2))]
    # full resolution: label 0; half: the voxel in row 1, column 1, which is 5: (1 * 0 + 0.5 * 5) / 1.5
    assert float(segmentation.deep_supervision(corner, labels, outputs)) == pytest.approx(2.5 / 1.5)


def test_tversky_holds_a_missed_voxel_against_the_network():
    # found 1.2, true 1, overlap 0.8: 2 (0.3 * 1.2 + 0.7 * 1) = 2.12 in place of 2.2
    loss = segmentation.tversky_cross_entropy(np.array([[[1, 0]]], np.uint8), voxels([0.8, 0.4]))
    cross_entropy = -(np.log(0.8) + np.log(0.6)) / 2
    assert float(loss) == pytest.approx(1 - 2.6 / 3.12 + cross_entropy, abs=1e-5)


def test_voxels_beside_another_label_count_four_times():
    # Labels 1 1 0 0 0 0: voxels 1 and 2 are at the boundary. Weights 1 4 4 1 1 1, in all 12.
    p = [0.9, 0.8, 0.4, 0.1, 0.1, 0.1]
    labels = np.array([[[1, 1, 0, 0, 0, 0]]], np.uint8)
    terms = -np.log([0.9, 0.8, 0.6, 0.9, 0.9, 0.9])
    expected = (terms * [1, 4, 4, 1, 1, 1]).sum() / 12 + float(segmentation.dice(labels, voxels(p)))
    loss = segmentation.boundary_cross_entropy(labels, voxels(p))
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_soft_skeleton_of_a_bar_is_its_middle_row():
    bar = np.zeros((1, 9, 20, 1), np.float32)
    bar[0, 3:6, 2:18] = 1
    skeleton = segmentation.soft_skeleton(tf.constant(bar)).numpy()[0, :, :, 0]
    # Away from the two ends: the row in the middle and nothing else.
    assert skeleton[:, 4:16].tolist() == [[float(row == 4)] * 12 for row in range(9)]


def test_a_broken_vessel_costs_more_than_a_thin_one():
    labels = np.zeros((1, 9, 40), np.uint8)
    labels[0, 3:6] = 1
    thin, broken = (np.where(labels[0] == 1, 0.99, 0.01) for _ in range(2))
    thin[3] = 0.01  # 40 pixels missing along the side
    broken[3:6, 14:27] = 0.01  # 39 pixels missing across

    def loss(p):
        logits = np.log(np.stack([1 - p, p], axis=-1))[None].astype(np.float32)
        return float(segmentation.centreline_dice_cross_entropy(labels, logits))

    assert loss(broken) > loss(thin) + 0.05


# ---- regions that overlap

REGIONS = [[1, 2], [2]]
"""The whole, and the core within it."""


def logits_of(chances):
    """(1, 1, n, regions) logits from (n, regions) probabilities."""
    chances = np.array(chances, np.float32)
    return np.log(chances / (1 - chances))[None, None]


def test_regions_by_hand():
    labels = np.array([[[1, 2, 0]]], np.uint8)
    whole, core = [0.9, 0.6, 0.2], [0.3, 0.8, 0.1]
    loss = segmentation.dice_cross_entropy(labels, logits_of(np.stack([whole, core], 1)), regions=REGIONS)
    binary = -np.log([[0.9, 0.6, 0.8], [0.7, 0.8, 0.9]]).mean()
    dice = ((2 * 1.5 + 1) / (1.7 + 2 + 1) + (2 * 0.8 + 1) / (1.2 + 1 + 1)) / 2
    assert float(loss) == pytest.approx(binary + 1 - dice, abs=1e-5)


def test_binary_cross_entropy_of_regions_is_kerass():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    logits = random.normal(0, 2, (2, 4, 5, 2)).astype(np.float32)
    truth = np.stack([np.isin(labels, ids) for ids in REGIONS], -1).astype(np.float32)
    keras = tf.keras.losses.BinaryCrossentropy(from_logits=True)(truth, logits)
    ours = segmentation.cross_entropy(labels, logits, regions=REGIONS)
    assert float(ours) == pytest.approx(float(keras), abs=1e-5)


@pytest.mark.parametrize("name", sorted(segmentation.LOSSES))
def test_every_loss_takes_regions(name):
    """Ignored voxels change nothing, and the true regions cost less than others."""
    loss = segmentation.LOSSES[name]
    labels = np.tile(np.repeat([0, 1, 2, 1, 0], 3), (6, 1))[None].astype(np.uint8)
    truth = np.stack([np.isin(labels, ids) for ids in REGIONS], -1)
    right, wrong = (np.where(truth == yes, 4.0, -4.0).astype(np.float32) for yes in (True, False))
    assert float(loss(labels, right, regions=REGIONS)) < 0.2 < float(loss(labels, wrong, regions=REGIONS))
    half = labels.copy()
    half[:, 3:] = 255
    other = np.where(half[..., None] == 255, 7.0, right).astype(np.float32)
    found = [float(loss(half, logits, regions=REGIONS)) for logits in (right, other)]
    assert found[0] == pytest.approx(found[1], abs=2e-3 if name.startswith("centreline") else 1e-6)


def test_unlabelled_neighbours_are_no_boundary():
    labels = np.array([[[1, 1, 255, 1]]], np.uint8)
    p = [0.8, 0.8, 0.5, 0.8]
    expected = -np.log(0.8) + float(segmentation.dice(labels, voxels(p)))
    assert float(segmentation.boundary_cross_entropy(labels, voxels(p))) == pytest.approx(expected, abs=1e-5)


def test_a_labelled_plane_is_not_lost_at_coarse_resolutions():
    labels = np.full((1, 8, 4), 255, np.uint8)
    labels[0, 2] = [0, 1, 1, 0]
    coarse = segmentation.subsampled(labels, (2, 2), sparse=True)
    assert np.asarray(coarse)[0].tolist() == [[1, 0], [255, 255]]
    assert np.asarray(segmentation.subsampled(labels, (4, 4), sparse=True))[0, 1].tolist() == [0, 1, 1, 0]
    plain = segmentation.subsampled(np.arange(32).reshape(1, 8, 4), (2, 2))
    assert plain.tolist() == [[[9, 11], [25, 27]]]
