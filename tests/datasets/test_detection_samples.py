"""Tiles, mix-up and pasted objects: boxes against what NumPy sees in the pixels."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.datasets.detection import STRENGTHS, DetectionSamples, Strength, most_together  # noqa: E402
from medcli.datasets.feed import feed  # noqa: E402
from medcli.datasets.paste import MOST_COVERED, Donors  # noqa: E402
from medcli.datasets.store import ArrayStore  # noqa: E402

STILL = Strength(mosaic=0, scale=0, stretch=0, brightness=0, contrast=0, colour=0, plain=0.0)
FLIPS = ("row", "column")
TILE = (32, 48)


def case(shape, *boxes):
    """Black with a value of its own in every box (x0, y0, x1, y1, class), and these as labels."""
    image = np.zeros((*shape, 1), np.float32)
    for value, (x0, y0, x1, y1, _) in enumerate(boxes, 1):
        image[y0:y1, x0:x1] = value
    return image, np.float32(boxes).reshape(-1, 5)


CASES = [
    case((90, 70), (5, 5, 20, 14, 0), (40, 60, 58, 80, 1), (30, 10, 44, 24, 0)),
    case((40, 130), (100, 8, 120, 20, 1), (2, 25, 18, 38, 0)),
    case((24, 60), (20, 4, 36, 20, 1)),  # lower than the tile
]


def samples(strength: Strength, *, in_memory=True, **more) -> DetectionSamples:
    store = ArrayStore([image for image, _ in CASES], dtype="float16", in_memory=in_memory)
    labels = [label for _, label in CASES]
    return DetectionSamples(store, labels, seed=4, strength=strength, flips=FLIPS, **more)


def drawn(source: DetectionSamples, count: int, *, first: int = 0):
    batches = feed(source, batch_size=1, first_batch=first, last_batch=count)
    return [(image[0].numpy(), boxes[0].numpy()) for image, boxes in batches]


def extent(pixels: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(pixels)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("in_memory", [True, False])
def test_boxes_in_tiles_are_the_extents_of_their_objects(in_memory):
    source = samples(Strength(0, 0.3, 0, 0, 0, 0), in_memory=in_memory, tile=TILE, foreground=0.8)
    seen = 0
    for image, boxes in drawn(source, 24):
        assert image.shape == (*TILE, 1)
        for x0, y0, x1, y1, kind in boxes[boxes[:, 4] >= 0]:
            middle = image[int((y0 + y1) / 2), int((x0 + x1) / 2), 0]
            assert middle == pytest.approx(round(middle), abs=1e-3)
            np.testing.assert_allclose(
                extent(np.abs(image[..., 0] - middle) < 0.01), [x0, y0, x1, y1], atol=1.6
            )
            assert kind in (0, 1)
            seen += 1
    assert seen >= 20


def test_tiles_around_boxes_hold_them_whole():
    for image, boxes in drawn(samples(STILL, tile=TILE, foreground=1.0), 12):
        sides = boxes[:, 2:4] - boxes[:, :2]
        sizes = {tuple(sorted(side)) for side in sides[boxes[:, 4] >= 0].tolist()}
        known = {
            tuple(sorted(side)) for _, label in CASES for side in (label[:, 2:4] - label[:, :2]).tolist()
        }
        assert sizes & known
        assert image.max() > 0


def test_tiles_are_a_function_of_their_number_from_memory_and_from_disk():
    """So a training that was stopped goes on with the same ones."""
    strength = Strength(0.5, 0.3, 0.1, 0.1, 0.1, 0.1)
    whole = drawn(samples(strength, tile=TILE), 4)
    rest = drawn(samples(strength, in_memory=False, tile=TILE), 4, first=1)
    for (image, boxes), (other, others) in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(boxes, others)


def test_rows_of_a_target_suffice_for_the_fullest_tile():
    spread = np.float32([[x, y, x + 4, y + 4, 0] for x in range(0, 400, 40) for y in range(0, 400, 40)])
    assert most_together(spread, (64, 64)) == 9  # of 100; a tile of 96 holds centres up to 48 away: 3 x 3
    assert most_together(np.zeros((0, 5), np.float32), (64, 64)) == 0


def test_batches_hold_as_many_rows_as_their_fullest_sample_or_all_for_xla():
    for source in (samples(STILL, tile=(90, 130)), samples(STILL, tile=(90, 130), one_shape=True)):
        for _, boxes in feed(source, batch_size=1, first_batch=0, last_batch=6):
            rows = source.max_boxes if source.one_shape else max(1, int((boxes[..., 4] >= 0).numpy().sum()))
            assert boxes.shape == (1, rows, 5)


def test_mixed_samples_hold_the_boxes_of_both_and_half_of_the_values():
    strength = Strength(0, 0, 0, 0, 0, 0, mixup=1.0, plain=0.0)
    plain = samples(STILL, tile=(96, 144), foreground=0.0)
    mixed = samples(strength, tile=(96, 144), foreground=0.0)
    more = 0
    for (image, boxes), (alone, own) in zip(drawn(mixed, 6), drawn(plain, 6), strict=True):
        first = own[own[:, 4] >= 0]
        np.testing.assert_array_equal(boxes[: len(first)], first)
        more += (boxes[:, 4] >= 0).sum() - len(first)
        only_here = (alone[..., 0] > 0) & (image[..., 0] < alone[..., 0])
        ratio = image[only_here] / alone[only_here]
        assert len(ratio) == 0 or ratio.min() >= 0.4 - 1e-3
    assert more >= 6


# ---- pasting

HOST = np.full((64, 80, 1), 2.0, np.float32)
THERE = np.float32([[5, 5, 25, 25, 0], [50, 30, 70, 60, 0], [0, 0, 0, 0, -1]])
DISC = np.hypot(*(np.indices((64, 80)) - np.array([30, 40])[:, None, None] + 0.0)) < 8


def donors(masks: bool) -> Donors:
    """One case: a disc of 5 on 1, around row 30 and column 40, of class 1."""
    image = np.where(DISC, 5.0, 1.0)[..., None].astype(np.float32)
    store = ArrayStore([image], dtype="float32", in_memory=True)
    label = np.float32([[*extent(DISC), 1]])
    held = ArrayStore([DISC[..., None].astype(np.uint16)], dtype="uint16", in_memory=True) if masks else None
    return DetectionSamples(
        store, [label], seed=0, strength=Strength(0, 0, 0, 0, 0, 0, paste=1.0), flips=FLIPS, masks=held
    )._donors


def pasted(masks: bool, number: int):
    seed = tf.constant([number, 7], tf.int64)
    image, boxes = donors(masks).paste(
        tf.constant(HOST), tf.constant(THERE), seed, scale=0.3, flips=(True, True)
    )
    return image.numpy()[..., 0], boxes.numpy()[len(THERE) :]


@pytest.mark.parametrize("masks", [False, True])
def test_pasted_objects_lie_in_their_boxes_and_nothing_else_changes(masks):
    count = 0
    for number in range(8):
        image, boxes = pasted(masks, number)
        count += len(boxes)
        changed = np.abs(image - 2) > 1e-3
        margin = 1 if masks else 3
        for x0, y0, x1, y1, kind in boxes:
            assert kind == 1
            rows, columns = slice(int(y0), int(np.ceil(y1))), slice(int(x0), int(np.ceil(x1)))
            part = np.zeros_like(changed)
            part[rows, columns] = image[rows, columns] > 4.5
            if len(boxes) == 1:
                np.testing.assert_allclose(extent(part), [x0, y0, x1, y1], atol=1.6)
            changed[
                max(int(y0) - margin, 0) : int(np.ceil(y1)) + margin,
                max(int(x0) - margin, 0) : int(np.ceil(x1)) + margin,
            ] = False
            corner = image[int(y0) + 1, int(x0) + 1]
            if len(boxes) == 1:
                assert corner == pytest.approx(2 if masks else 1, abs=0.3)  # what is around the disc there
        assert not changed.any()
    assert count >= 8


def test_objects_are_pasted_only_where_they_cover_little():
    for number in range(12):
        _, boxes = pasted(False, number)
        before = THERE[:2]
        for box in boxes:
            low, high = np.maximum(box[:2], before[:, :2]), np.minimum(box[2:4], before[:, 2:4])
            share = np.clip(high - low, 0, None).prod(axis=1) / (before[:, 2:4] - before[:, :2]).prod(axis=1)
            assert share.max() <= MOST_COVERED + 1e-6
            before = np.concatenate([before, box[None]])


def test_samples_hold_pasted_objects_until_the_plain_end():
    strength = Strength(0, 0, 0, 0, 0, 0, paste=1.0, plain=0.5)
    source = samples(strength, tile=(96, 144), foreground=0.0)
    source.total_samples = 12
    most = max(len(label) for _, label in CASES)
    counts = [(boxes[:, 4] >= 0).sum() for _, boxes in drawn(source, 12)]
    assert sum(counts[:6]) > sum(counts[6:])
    assert max(counts[6:]) <= most


def test_a_shortened_training_ends_plain_as_well():
    strength = Strength(mosaic=1.0, scale=0, stretch=0, brightness=0, contrast=0, colour=0, plain=0.25)
    source = samples(strength, tile=TILE)
    draw = tf.function(source._is_rich, autograph=False, input_signature=[tf.TensorSpec((), tf.int64)])
    source.total_samples = 100
    assert bool(draw(tf.constant(60, tf.int64)))
    source.total_samples = 64
    assert not bool(draw(tf.constant(60, tf.int64)))
    assert bool(draw(tf.constant(47, tf.int64)))


def test_changes_that_are_not_named_are_left_out():
    only = STRENGTHS["strong"].only(["mosaic", "contrast"])
    assert (only.scale, only.stretch, only.brightness, only.mixup, only.paste) == (0, 0, 0, 0, 0)
    assert only.mosaic == 1.0
    assert (only.contrast, only.colour) == (0.4, 0.1)
