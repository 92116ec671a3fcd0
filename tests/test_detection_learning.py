"""The detector: its grid, loss, samples, network and task (one file: TensorFlow takes seconds)."""

from copy import copy
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from medcli.boxes import iou_matrix
from medcli.config.schema import Config
from medcli.datasets.box_moves import move_boxes, resample
from medcli.datasets.detection import (
    STRENGTHS,
    DetectionSamples,
    Strength,
    change_colours,
)
from medcli.datasets.store import ArrayStore
from medcli.errors import ConfigError, DataError
from medcli.losses.detection import assign, complete_iou, detection_loss, distribution_focal, pairwise_iou
from medcli.models.anchors import REG_MAX, anchor_points, decode
from medcli.models.fold import fold_norms
from medcli.models.freeze import is_settled
from medcli.models.yolo import SIZES, yolo
from medcli.preprocessing.plan import Intensity, Plan
from medcli.tasks.detection import Detection

SIZE = (32, 64)  # rows, columns: one row of two cells at stride 32
STRIDES = (8, 16, 32)
POINTS, STEPS = anchor_points(SIZE, STRIDES)


def sure(distances) -> np.ndarray:
    """Logits (..., 4, REG_MAX) that put all weight on these whole distances (..., 4)."""
    return np.where(np.arange(REG_MAX) == np.asarray(distances)[..., None], 50.0, 0.0).astype(np.float32)


def answers(found) -> np.ndarray:
    """Raw outputs (1, A, 4 * REG_MAX + 2) that say nothing but {anchor: (distances, class)}."""
    outputs = np.full((1, len(POINTS), 4 * REG_MAX + 2), -10.0, np.float32)
    outputs[..., : 4 * REG_MAX] = 0
    for anchor, (distances, kind) in found.items():
        outputs[0, anchor, : 4 * REG_MAX] = sure(distances).ravel()
        outputs[0, anchor, 4 * REG_MAX + kind] = 10
    return outputs


# ---- the grid


def test_points_lie_in_the_middle_of_the_cells_level_by_level():
    assert POINTS.shape == (32 + 8 + 2, 2)
    np.testing.assert_array_equal(POINTS[:2], [[4, 4], [12, 4]])
    np.testing.assert_array_equal(POINTS[8], [4, 12])
    np.testing.assert_array_equal(POINTS[-2:], [[16, 16], [48, 16]])
    np.testing.assert_array_equal(STEPS[[0, 31, 32, 40, 41]], [8, 8, 16, 32, 32])


def test_decoding_measures_distances_in_strides():
    corners, scores = decode(tf.constant(answers({32: ((0, 0, 1, 2), 1)})), POINTS, STEPS)
    np.testing.assert_allclose(
        corners[0, 32], [8, 8, 8 + 16, 8 + 32], atol=1e-3
    )  # the point is (8, 8), the stride 16
    np.testing.assert_allclose(scores[0, 32], [1 / (1 + np.exp(10)), 1 / (1 + np.exp(-10))], atol=1e-6)


# ---- the loss


def test_pairwise_iou_agrees_with_numpy():
    random = np.random.default_rng(0)
    low = random.uniform(0, 20, (9, 2))
    boxes = np.concatenate([low, low + random.uniform(1, 20, (9, 2))], 1).astype(np.float32)
    ours = pairwise_iou(tf.constant(boxes[None, :4]), tf.constant(boxes[None, 4:]))
    np.testing.assert_allclose(ours[0], iou_matrix(boxes[:4], boxes[4:]), atol=1e-6)


def test_complete_iou_by_hand():
    truth = tf.constant([[0.0, 0, 4, 2], [0, 0, 4, 2], [0, 0, 4, 2]])
    found = tf.constant([[0.0, 0, 4, 2], [2, 0, 6, 2], [0, 0, 4, 4]])
    # shifted by 2: overlap 4 of 12; centres 2 apart in a hull of 6 x 2. Twice as high: overlap 8 of 16;
    # centres 1 apart in a hull of 4 x 4; the angles are atan(2) and atan(1).
    aspect = 4 / np.pi**2 * (np.arctan(2) - np.arctan(1)) ** 2
    expected = [1, 1 / 3 - 4 / 40, 1 / 2 - 1 / 32 - aspect * aspect / (0.5 + aspect)]
    np.testing.assert_allclose(complete_iou(truth, found), expected, atol=1e-5)


def test_distribution_focal_is_least_at_the_true_share_of_the_two_bins():
    truth = tf.constant([[[4 - 20.0, 4 - 8, 4 + 8, 4 + 0]]])  # 2.5, 1, 1, 0 strides from (4, 4)
    probabilities = np.full((1, 1, 4, REG_MAX), 1e-30, np.float32)
    for edge, bins in enumerate(({2: 0.5, 3: 0.5}, {1: 1.0}, {1: 1.0}, {0: 1.0})):
        for number, share in bins.items():
            probabilities[0, 0, edge, number] = share
    loss = distribution_focal(tf.math.log(probabilities), truth, POINTS[:1], STEPS[:1])
    np.testing.assert_allclose(
        loss, [[np.log(2) / 4]], atol=1e-5
    )  # the entropy of the one edge between two bins


def test_an_object_gets_the_anchors_inside_it_and_the_best_one_its_iou():
    # An 8 x 16 box around anchors 9 (12, 12) and 17 (12, 20) of stride 8; widened to 16 x 16 for that.
    targets = np.full((1, 3, 5), -1, np.float32)
    targets[0, 1] = [8, 8, 16, 24, 1]
    corners = np.zeros((1, len(POINTS), 4), np.float32)
    corners[0, 9], corners[0, 17] = [8, 8, 16, 24], [8, 8, 16, 16]  # IoU 1 and 1/2
    scores = np.full((1, len(POINTS), 2), 0.25, np.float32)
    true_corners, true_scores = assign(*map(tf.constant, (targets, corners, scores)), POINTS, STEPS)
    expected = np.zeros((len(POINTS), 2))
    expected[9, 1] = 1  # alignment 0.5 * 1
    expected[17, 1] = 1 / 64  # alignment 0.5 / 2**6, in proportion
    np.testing.assert_allclose(true_scores[0], expected, atol=1e-6)
    np.testing.assert_array_equal(true_corners[0, 9], [8, 8, 16, 24])


def test_an_anchor_that_two_objects_want_goes_to_the_larger_overlap():
    targets = np.float32([[[0, 0, 24, 24, 0], [0, 0, 16, 16, 1]]])
    corners = np.zeros((1, len(POINTS), 4), np.float32)
    corners[0, 0] = [0, 0, 15, 16]
    scores = np.full((1, len(POINTS), 2), 0.5, np.float32)
    _, true_scores = assign(*map(tf.constant, (targets, corners, scores)), POINTS, STEPS)
    assert true_scores[0, 0, 0] == 0
    assert float(true_scores[0, 0, 1]) == pytest.approx(15 / 16)
    assert np.count_nonzero(true_scores) == 1


def test_at_most_ten_anchors_answer_for_an_object():
    targets = np.float32([[[0, 0, 64, 32, 0]]])
    corners = (
        np.tile(np.float32([0, 0, 64, 32]), (1, len(POINTS), 1)) - np.arange(len(POINTS))[None, :, None] / 10
    )
    scores = np.full((1, len(POINTS), 2), 0.5, np.float32)
    _, true_scores = assign(
        tf.constant(targets), tf.constant(corners, tf.float32), tf.constant(scores), POINTS, STEPS
    )
    np.testing.assert_array_equal(np.flatnonzero(true_scores[0, :, 0]), np.arange(10))


def test_the_right_answer_costs_little_and_empty_images_are_no_fault():
    # anchor 9 at (12, 12): one stride to every edge is 4..20
    targets = np.full((1, 2, 5), -1, np.float32)
    targets[0, 0] = [4, 4, 20, 20, 1]
    right, wrong = answers({9: ((1, 1, 1, 1), 1)}), answers({9: ((1, 1, 3, 1), 1)})

    def cost(outputs, boxes=targets):
        return float(detection_loss(tf.constant(boxes), tf.constant(outputs), POINTS, STEPS))

    assert cost(right) < 0.5 < cost(wrong)
    nothing = np.full((1, 2, 5), -1, np.float32)
    assert cost(answers({}), nothing) < 0.01
    assert cost(right, nothing) == pytest.approx(
        0.5 * 10, abs=0.1
    )  # weight 0.5 times a logit of 10 that should be low


def test_the_loss_compiles_and_has_finite_gradients():
    outputs = tf.Variable(
        np.random.default_rng(0).normal(size=(2, len(POINTS), 4 * REG_MAX + 2)).astype(np.float32)
    )
    targets = np.full((2, 3, 5), -1, np.float32)
    targets[0, 0] = [3, 5, 3, 9, 0]  # no width
    targets[0, 1] = [1, 2, 30, 31, 1]

    @tf.function(jit_compile=True, autograph=False)
    def gradient():
        with tf.GradientTape() as tape:
            loss = detection_loss(tf.constant(targets), outputs, POINTS, STEPS)
        return loss, tape.gradient(loss, outputs)

    loss, gradients = gradient()
    assert np.isfinite(loss)
    assert np.isfinite(gradients).all()
    assert float(loss) == pytest.approx(
        float(detection_loss(tf.constant(targets), outputs, POINTS, STEPS)), rel=1e-4
    )


# ---- the samples


def picture_with_boxes(corners, shape=(32, 48)) -> np.ndarray:
    """Black, with each box (whole pixels) filled with a value of its own, in one channel."""
    image = np.zeros((*shape, 1), np.float32)
    for value, (x0, y0, x1, y1) in enumerate(corners, 1):
        image[y0:y1, x0:x1] = value
    return image


def extent(image: np.ndarray, value: float) -> list[int]:
    rows, columns = np.nonzero(np.abs(image[..., 0] - value) < 0.01)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("up_down", [False, True])
@pytest.mark.parametrize("left_right", [False, True])
@pytest.mark.parametrize("zoom", [(1.0, 1.0), (2.0, 2.0), (0.5, 1.0)])
def test_boxes_follow_the_pixels_exactly(up_down, left_right, zoom):
    corners = [[8, 4, 20, 14], [24, 10, 30, 24]]
    image = picture_with_boxes(corners)
    labels = tf.constant([[*corners[0], 0.0], [*corners[1], 1.0]])
    window, size = (24, 32), tf.constant([int(24 * zoom[0]), int(32 * zoom[1])])
    change = (tf.constant([2.0, 4.0]), tf.constant(zoom), size, tf.constant(up_down), tf.constant(left_right))
    moved = resample(tf.constant(image), *change).numpy()
    boxes = move_boxes(labels, *change).numpy()
    assert moved.shape == (*size.numpy(), 1)
    expected = np.array([[4, 2, 16, 12], [20, 8, 26, 22]])  # shifted by 4 columns and 2 rows
    if left_right:
        expected[:, [0, 2]] = window[1] - expected[:, [2, 0]]
    if up_down:
        expected[:, [1, 3]] = window[0] - expected[:, [3, 1]]
    expected = expected * np.tile(zoom[::-1], 2)
    np.testing.assert_allclose(boxes[:, :4], expected, atol=1e-5)
    for value, box in enumerate(boxes, 1):  # bilinear: at most the outermost pixel is a mixture
        np.testing.assert_allclose(extent(moved, value), box[:4], atol=1)


def test_boxes_are_clipped_and_dropped_when_hardly_anything_remains():
    labels = tf.constant([[-10.0, 0, 10, 10, 0], [-19, 0, 1, 10, 1], [-5, 0, 1.5, 4, 2], [40, 5, 50, 9, 3]])
    size, no = tf.constant([20, 30]), tf.constant(False)
    boxes = move_boxes(labels, tf.zeros(2), tf.ones(2), size, no, no).numpy()
    # half remains; 5 % remains; 23 % remains, but 1.5 pixels wide; outside
    np.testing.assert_array_equal(boxes[:, 4], [0, -1, -1, -1])
    np.testing.assert_array_equal(boxes[0, :4], [0, 0, 10, 10])


def samples(strength: Strength, flips=("row", "column")) -> DetectionSamples:
    """Three cases of 32 x 48 with two boxes each of its own value."""
    random = np.random.default_rng(3)
    images, labels = [], []
    for _ in range(3):
        x, y = random.integers(2, 10, 2)
        corners = [[x, y, x + 14, y + 9], [x + 20, y + 5, x + 28, y + 16]]
        images.append(picture_with_boxes(corners))
        labels.append(np.float32([[*corners[0], 0], [*corners[1], 1]]))
    store = ArrayStore(images, dtype="float16", in_memory=True)
    return DetectionSamples(store, labels, seed=1, strength=strength, flips=flips)


def test_a_sample_is_a_pure_function_of_its_number():
    first, second = samples(STRENGTHS["strong"]), samples(STRENGTHS["strong"])
    for number in (0, 7):
        for a, b in zip(
            first.sample(tf.constant(number, tf.int64)),
            second.sample(tf.constant(number, tf.int64)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    image, other = (first.sample(tf.constant(number, tf.int64))[0] for number in (0, 3))
    assert not np.array_equal(image, other)  # the next epoch sees something else


def test_boxes_of_samples_hold_their_objects():
    plain = Strength(mosaic=0.5, scale=0.3, stretch=0.0, brightness=0, contrast=0, colour=0)
    source = samples(plain)
    draw = tf.function(source.sample, autograph=False, input_signature=[tf.TensorSpec((), tf.int64)])
    seen = 0
    for number in range(12):
        image, boxes = (tensor.numpy() for tensor in draw(tf.constant(number, tf.int64)))
        assert image.shape == (32, 48, 1)
        assert boxes.shape == (source.max_boxes, 5)
        for x0, y0, x1, y1, kind in boxes[boxes[:, 4] >= 0]:
            inside = image[int(np.ceil(y0)) : int(y1), int(np.ceil(x0)) : int(x1), 0]
            if inside.size >= 16:  # nothing but the object, save for mixed pixels at its edge
                assert np.mean(np.abs(inside - (kind + 1)) < 0.01) > 0.5
                seen += 1
    assert seen > 12


def test_without_augmentation_the_case_itself_comes():
    source = samples(STRENGTHS["none"], flips=())
    image, boxes = source.sample(tf.constant(0, tf.int64))
    corners = boxes.numpy()[:2]
    np.testing.assert_array_equal(corners[:, 4], [0, 1])
    np.testing.assert_array_equal(extent(image.numpy(), 1), corners[0, :4])
    np.testing.assert_array_equal(extent(image.numpy(), 2), corners[1, :4])


def test_mosaics_end_before_the_training_does():
    always = Strength(mosaic=1.0, scale=0, stretch=0, brightness=0, contrast=0, colour=0, plain=0.25)
    source = samples(always, flips=())
    source.total_samples = 20
    originals = [source.images.whole(tf.constant(case)).numpy() for case in range(3)]

    def is_whole(number: int) -> bool:
        image = source.sample(tf.constant(number, tf.int64))[0].numpy()
        return any(np.array_equal(image, original) for original in originals)

    assert [is_whole(number) for number in (13, 14, 15, 16)] == [False, False, True, True]


def test_colours_change_values_not_places():
    image = tf.constant(picture_with_boxes([[4, 4, 20, 16]]))
    changed = change_colours(
        tf.repeat(image, 3, axis=2), tf.constant([1, 2], tf.int64), STRENGTHS["strong"]
    ).numpy()
    assert changed.shape == (32, 48, 3)
    for value in (0, 1):
        part = changed[image[..., 0].numpy() == value]
        np.testing.assert_allclose(part, np.broadcast_to(part[0], part.shape), atol=1e-5)


# ---- network and task


@dataclass(frozen=True)
class FakeRecord:
    number: int
    objects: int


class FakePrepared:
    """Bright squares (class 1) and dark ones (class 0) on 32 x 64 noise."""

    folder = "prepared"

    def __init__(self, count: int, objects: int = 2):
        random = np.random.default_rng(5)
        self.images, self.labels = [], []
        for _ in range(count):
            image, label = random.normal(0, 0.1, (*SIZE, 1)), []
            for kind in range(objects):
                x, y = random.integers(0, 16) + 32 * kind, random.integers(0, 16)
                image[y : y + 16, x : x + 16] += 2 * kind - 1
                label.append([x, y, x + 16, y + 16, kind])
            self.images.append(image.astype(np.float32))
            self.labels.append(np.float32(label).reshape(-1, 5))
        self.records = [FakeRecord(n, objects) for n in range(count)]

    def image(self, record, *, mapped=False):
        return self.images[record.number]

    picture = image

    def label(self, record, *, mapped=False):
        return self.labels[record.number]


def task(**changes) -> Detection:
    plan = Plan(
        task="detection", dimensions=2, classes=["dark", "bright"], channels=1, color="grey", size=list(SIZE),
        intensity=[Intensity(kind="none")], batch_size=4, stages=3,
    )  # fmt: skip
    return Detection(Config.model_validate({"task": "detection"} | changes), plan)


@dataclass(frozen=True)
class Trained:
    job: Detection
    prepared: FakePrepared
    model: keras.Model
    losses: list[float]
    unsure: np.ndarray
    """Outputs before training."""


@pytest.fixture(scope="module")
def trained() -> Trained:
    keras.utils.set_random_seed(0)
    job, prepared = task(train={"augment": "light"}), FakePrepared(8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "nano", (4, 1))
        model = job.build_model()
    unsure = model(tf.zeros((2, *SIZE, 1))).numpy()
    source = job.training_set(prepared, prepared.records)
    source.total_samples = 8 * 100
    optimizer = keras.optimizers.Adam(5e-3)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(images, targets):
        with tf.GradientTape() as tape:
            loss = job.loss(targets, model(images, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    draw = tf.autograph.experimental.do_not_convert(source.sample)
    data = tf.data.Dataset.range(source.total_samples).map(draw).batch(8)
    losses = [float(step(*batch)) for batch in data]
    return Trained(job, prepared, model, losses, unsure)


def test_it_learns_where_the_objects_are(trained):
    losses, prepared = trained.losses, trained.prepared
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    measures = trained.job.validate(trained.model, prepared, prepared.records)
    assert set(measures) == {"loss", trained.job.monitor}
    assert measures["map50"] > 0.5


def test_predictions_are_boxes_within_the_image_best_first(trained):
    job = trained.job
    found = job.predict(trained.model, trained.prepared.images[:3])
    assert len(found) == 3
    for boxes in found:
        assert (np.diff(boxes.scores) <= 0).all()
        assert boxes.scores.min() >= job.config.predict.lowest_score
        assert (boxes.corners >= 0).all()
        assert (boxes.corners <= [64, 32, 64, 32]).all()


def test_flips_average_and_a_mirrored_image_gives_mirrored_boxes(trained):
    job = copy(trained.job)
    job.config = Config.model_validate({"task": "detection", "predict": {"flips": True}})
    image = trained.prepared.images[0]
    (straight,), (mirrored,) = (job.predict(trained.model, [x]) for x in (image, image[:, ::-1].copy()))
    back = mirrored.corners[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [64, 0, 64, 0]
    np.testing.assert_allclose(straight.scores[:2], mirrored.scores[:2], atol=1e-4)
    np.testing.assert_allclose(straight.corners[:2], back[:2], atol=1e-2)


@pytest.mark.parametrize(
    ("train", "mirrored"),
    [
        ({}, [(2,)]),  # grey: sides may be swapped
        ({"flips": ["row", "column"]}, [(1,), (2,), (1, 2)]),
        ({"flips": ["row"]}, [(1,)]),
        ({"flips": []}, []),
        ({"augment": "none"}, []),
    ],
)
def test_prediction_mirrors_only_what_training_mirrored(trained, train, mirrored):
    job = copy(trained.job)
    job.config = Config.model_validate({"task": "detection", "train": train, "predict": {"flips": True}})
    assert job._mirrors() == mirrored
    job.config = Config.model_validate({"task": "detection", "train": train})
    assert job._mirrors() == []


def test_a_folded_network_answers_alike_with_its_weights_as_constants(trained):
    model = keras.models.clone_model(trained.model)
    model.set_weights(trained.model.get_weights())
    assert not is_settled(model)
    fold_norms(model)
    assert is_settled(model)
    images = trained.prepared.images[:2]
    for now, before in zip(
        task().predict(model, images), trained.job.predict(trained.model, images), strict=True
    ):
        np.testing.assert_allclose(now.scores[:2], before.scores[:2], atol=1e-4)
        np.testing.assert_allclose(now.corners[:2], before.corners[:2], atol=1e-2)
    _, features = task().predict_with_features(model, images)
    for now, before in zip(
        features[0], trained.job.predict_with_features(trained.model, images)[1][0], strict=True
    ):
        np.testing.assert_allclose(now, before, atol=1e-3)


def test_batches_come_without_rows_that_are_padding_throughout():
    source, images = samples(STRENGTHS["none"]), tf.zeros((2, 1))
    targets = np.full((2, 8, 5), -1, np.float32)
    targets[0, :3, 4], targets[1, :1, 4] = 0, 1
    number = tf.constant(0)
    np.testing.assert_array_equal(source.batch(images, tf.constant(targets), number)[1], targets[:, :3])
    assert source.batch(images, tf.constant(targets * 0 - 1), number)[1].shape == (2, 1, 5)
    source.one_shape = True
    assert source.batch(images, tf.constant(targets), number)[1].shape == (2, 8, 5)


def in_tiles(job: Detection, **predict) -> Detection:
    plan = job.plan.model_copy(update={"size": None, "patch": list(SIZE), "overlap": 20})
    config = Config.model_validate({"task": "detection", "predict": predict})
    return Detection(config, plan)


def large() -> tuple[np.ndarray, np.ndarray]:
    """A picture of 80 x 150 with squares of 16 pixels, dark and bright, some across the borders of tiles."""
    random, label = np.random.default_rng(2), []
    image = random.normal(0, 0.1, (80, 150, 1)).astype(np.float32)
    for kind, (x, y) in enumerate([(4, 6), (52, 8), (100, 20), (40, 50), (120, 60), (80, 40)]):
        image[y : y + 16, x : x + 16] += 2 * (kind % 2) - 1
        label.append([x, y, x + 16, y + 16, kind % 2])
    return image, np.float32(label)


def test_objects_of_a_large_picture_are_found_once_across_its_tiles(trained):
    job, (image, label) = in_tiles(trained.job), large()
    (found,) = job.predict(trained.model, [image])
    overlaps = iou_matrix(label[:, :4], found.corners) * (label[:, 4:] == found.classes)
    assert (overlaps.max(axis=1) > 0.5).sum() >= 5
    sure = found.take(found.scores > 0.3)
    same = iou_matrix(sure.corners, sure.corners) * (sure.classes[:, None] == sure.classes)
    assert (same[~np.eye(len(sure), dtype=bool)] <= job.config.predict.nms_iou).all()
    prepared = FakePrepared(1)
    prepared.images, prepared.labels = [image], [label]
    measures = job.validate(trained.model, prepared, [FakeRecord(0, len(label))])
    assert measures["map50"] > 0.5
    assert np.isfinite(measures["loss"])


def test_a_box_is_explained_in_the_tile_in_whose_middle_it_lies(trained):
    job, (image, _) = in_tiles(trained.job), large()
    more = {"wanted": None, "windows": 1, "calibrated": lambda values: values}
    (target,) = job.targets(trained.model, image, most=1, **more)
    assert target.image.shape == (*SIZE, 1)
    row, column = target.start
    np.testing.assert_array_equal(target.image, image[row : row + 32, column : column + 64])
    assert column <= target.box[:2][0] + 1
    assert target.box[2] <= column + 64 + 1
    (none,) = job.targets(trained.model, image * 0, most=1, **more)
    assert none.box is None or none.probability < 0.5


def test_with_agnostic_suppression_an_object_has_one_class(trained):
    corners = tf.constant([[[0.0, 0, 16, 16], [1, 0, 16, 16]]])
    scores = tf.constant([[[0.9, 0.1], [0.2, 0.8]]])
    apart = trained.job._boxes(corners, scores, threshold=0.05)[0]
    assert len(apart) == 2
    job = copy(trained.job)
    job.config = Config.model_validate({"task": "detection", "predict": {"agnostic": True}})
    (one,) = job._boxes(corners, scores, threshold=0.05)
    assert (one.classes.tolist(), len(one)) == ([0], 1)


def test_an_untrained_network_is_unsure_of_everything(trained):
    assert trained.unsure.shape == (2, len(POINTS), 4 * REG_MAX + 2)
    np.testing.assert_allclose(tf.sigmoid(trained.unsure[..., -2:]), 0.01, atol=1e-3)


def test_a_saved_network_gives_the_same_answers(trained, tmp_path):
    trained.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    image = trained.prepared.images[0][None]
    np.testing.assert_array_equal(trained.model(image), again(image))


def test_four_levels_begin_at_stride_four():
    model = yolo((64, 64, 1), 1, strides=(4, 8, 16, 32))
    assert model.output_shape == (None, 256 + 64 + 16 + 4, 4 * REG_MAX + 1)


def test_faults_are_explained():
    with pytest.raises(ConfigError, match=r"preprocess.size: .*multiples of 32.*got 48 x 64"):
        yolo((48, 64, 3), 1)
    with pytest.raises(
        ConfigError, match=r"model\.size: expected one of nano, small, medium, large, got tiny"
    ):
        yolo((64, 64, 3), 1, size="tiny")
    with pytest.raises(ConfigError, match="one size for all pictures"):
        Detection(task().config, task().plan.model_copy(update={"size": None}))
    empty = FakePrepared(2, objects=0)
    with pytest.raises(DataError, match="none of the 2 training cases has a box"):
        task().training_set(empty, empty.records)
