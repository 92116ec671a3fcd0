"""Detection measures against hand-worked numbers, pycocotools and brute force."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from medcli.boxes import Boxes
from medcli.metrics import detection as ours


def by_pycocotools(found, truth, num_classes, *, areas=None, most=(1, 10, 100)):
    """COCOeval's average precision and recall (threshold, class, area, most); NaN for absent classes.

    Precision is its mean over the 101 recalls; `areas` in place of COCO's all, small, medium, large.
    """

    def xywh(corners):
        x0, y0, x1, y1 = (float(value) for value in corners)
        return [x0, y0, x1 - x0, y1 - y0]

    images = [{"id": number, "width": 200, "height": 100} for number in range(len(truth))]
    annotations, results = [], []
    for number, (here, real) in enumerate(zip(found, truth, strict=True)):
        for corners, kind, crowd in zip(real.corners, real.classes, real.crowd, strict=True):
            box = xywh(corners)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": int(kind), "bbox": box}
                | {"area": box[2] * box[3], "iscrowd": int(crowd)}
            )
        for corners, kind, score in zip(here.corners, here.classes, here.scores, strict=True):
            results.append(
                {"image_id": number, "category_id": int(kind), "bbox": xywh(corners), "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        categories = [{"id": kind, "name": str(kind)} for kind in range(num_classes)]
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
        coco.createIndex()
        predictions = COCO()
        predictions.dataset = {"images": images, "categories": categories}
        predictions.dataset["annotations"] = [
            result | {"id": i + 1, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
            for i, result in enumerate(results)
        ]
        predictions.createIndex()
        evaluation = COCOeval(coco, predictions, "bbox")
        evaluation.params.maxDets = list(most)
        if areas is not None:
            evaluation.params.areaRng = [list(one) for one in areas]
            evaluation.params.areaRngLbl = [str(number) for number in range(len(areas))]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (evaluation.eval[name] for name in ("precision", "recall"))
    return np.where(precision < 0, np.nan, precision).mean(1), np.where(recall < 0, np.nan, recall)


def random_images(seed, *, images=12, crowds=False, ties=False, num_classes=3):
    random = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(images):
        n = random.integers(0, 9)
        corner = random.uniform(0, [150, 70], (n, 2))
        corners = np.concatenate([corner, corner + random.uniform(15, 45, (n, 2))], 1)
        classes = random.integers(0, num_classes, n)
        truth.append(Boxes.of(corners, classes, crowd=(random.random(n) < 0.3) if crowds else None))
        near = corners[random.random(n) < 0.8]
        near_classes = classes[: len(near)]
        near = near + random.uniform(-6, 6, near.shape)
        extra = random.integers(0, 7)
        corner = random.uniform(0, [150, 70], (extra, 2))
        far = np.concatenate([corner, corner + random.uniform(5, 45, (extra, 2))], 1)
        corners = np.concatenate([near, far, near])  # the same object found twice
        scores = random.random(len(corners))
        found.append(
            Boxes.of(
                corners,
                np.concatenate([near_classes, random.integers(0, num_classes, extra), near_classes]),
                np.round(scores, 1) if ties else scores,
            )
        )
    return found, truth


def both(found, truth, num_classes=3):
    matches = [ours.match_images(found, truth, kind) for kind in range(num_classes)]
    precision = np.stack([ours.average_precision(one) for one in matches], 1)
    recall = np.stack([ours.recall(one) for one in matches], 1)
    return (precision, recall), [one[..., 0, -1] for one in by_pycocotools(found, truth, num_classes)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{}, {"crowds": True}, {"ties": True}, {"crowds": True, "ties": True}])
def test_random_images_equal_pycocotools(seed, options):
    (precision, recall), (expected_precision, expected_recall) = both(*random_images(seed, **options))
    np.testing.assert_allclose(precision, expected_precision, atol=1e-9)
    np.testing.assert_allclose(recall, expected_recall, atol=1e-9)


TRUE = Boxes.of([[10, 10, 50, 40], [60, 20, 90, 80]], [0, 1])
CROWD = Boxes.of([[0, 0, 150, 90]], [0], crowd=[True])
FOUND = Boxes.of([[10, 10, 50, 40], [12, 11, 50, 42], [100, 10, 120, 30]], [0, 0, 0], [0.9, 0.9, 0.5])
MANY = Boxes.of(np.tile([[100.0, 10, 120, 30]], (150, 1)), np.zeros(150), np.linspace(1, 0.5, 150))


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        ([Boxes.empty()], [TRUE]),
        ([FOUND], [Boxes.empty()]),
        ([Boxes.empty()], [Boxes.empty()]),
        ([FOUND, Boxes.empty()], [Boxes.empty(), TRUE]),
        ([FOUND], [CROWD]),
        ([FOUND, FOUND], [CROWD, TRUE]),
        ([FOUND, MANY], [TRUE, TRUE]),  # more than 100 detections in one image
        ([Boxes.of([[10, 10, 10, 40]], [0], [0.8])], [TRUE]),  # a box without area
        ([TRUE, TRUE], [TRUE, TRUE]),  # perfect, all scores 1
        ([FOUND], [Boxes.of([[10, 10, 50, 40]] * 2, [0, 0])]),  # the same box twice in the truth
    ],
)
def test_degenerate_inputs_equal_pycocotools(found, truth):
    """At every size and with 1, 10 and 100 detections per image."""
    theirs = by_pycocotools(found, truth, 3)
    for mine, expected in zip(all_areas_and_limits(found, truth, 3, AREAS), theirs, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-9)


def all_areas_and_limits(found, truth, num_classes, areas, most=(1, 10, 100)):
    """(threshold, class, area, most) precision and recall."""
    matches = [
        [[ours.match_images(found, truth, kind, areas=area, most=few) for few in most] for area in areas]
        for kind in range(num_classes)
    ]
    return [
        np.array([[[measure(one) for one in few] for few in kinds] for kinds in matches]).transpose(
            3, 0, 1, 2
        )
        for measure in (ours.average_precision, ours.recall)
    ]


AREAS = ((0, 1e10), *ours.SIZES.values())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"crowds": True}, {"ties": True}, {"crowds": True, "ties": True}])
def test_every_size_and_number_of_detections_equals_pycocotools(seed, options):
    found, truth = random_images(100 + seed, **options)
    for mine, theirs in zip(
        all_areas_and_limits(found, truth, 3, AREAS), by_pycocotools(found, truth, 3), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_terciles_of_the_sizes_equal_pycocotools(seed):
    found, truth = random_images(seed, crowds=True)
    areas = tuple(ours.size_terciles(truth).values())
    for mine, theirs in zip(
        all_areas_and_limits(found, truth, 3, areas),
        by_pycocotools(found, truth, 3, areas=areas),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    counts = [
        sum(int(ours.match_images(found, truth, kind, areas=area).truths.sum()) for kind in range(3))
        for area in areas
    ]
    assert sum(counts) == sum(int((~boxes.crowd).sum()) for boxes in truth)
    assert max(counts) - min(counts) <= 1


def test_boxes_on_the_border_between_two_sizes_count_in_both_as_in_coco():
    truth = [Boxes.of([[0, 0, 32, 32]], [0]), Boxes.of([[0, 0, 96, 96]], [0])]
    found = [Boxes.of([[0, 0, 32, 32]], [0], [0.9]), Boxes.of([[0, 0, 96, 96]], [0], [0.8])]
    for mine, theirs in zip(
        all_areas_and_limits(found, truth, 1, AREAS), by_pycocotools(found, truth, 1), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    counts = [int(ours.match_images(found, truth, 0, areas=area).truths.sum()) for area in AREAS]
    assert counts == [2, 1, 2, 1]


def test_terciles_need_three_sizes():
    assert ours.size_terciles([Boxes.of([[0, 0, 5, 5], [9, 9, 14, 14]], [0, 0])]) == {}
    assert ours.size_terciles([]) == {}


def test_two_hits_and_a_miss_by_hand():
    # By score: hit, false, hit; two true boxes. Precision is 1 up to recall .5, then 2/3: 51 and 50 recalls.
    truth = Boxes.of([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0])
    found = Boxes.of([[0, 0, 10, 10], [60, 60, 70, 70], [20, 0, 30, 10]], [0, 0, 0], [0.9, 0.8, 0.7])
    one = ours.match_images([found], [truth], 0)
    assert ours.average_precision(one)[0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert ours.recall(one)[0] == 1.0


def test_overlap_by_hand():
    # 10 x 10 boxes shifted by (5, 0): 50 shared, 150 in all; a crowd is measured by the found box alone.
    a, b = np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10]])
    assert ours.overlaps(a, b, np.array([False]))[0, 0] == pytest.approx(1 / 3)
    assert ours.overlaps(a, b, np.array([True]))[0, 0] == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(4))
def test_weights_equal_repeated_images(seed):
    found, truth = random_images(seed, crowds=True)
    weights = np.random.default_rng(seed).integers(0, 3, (3, len(found)))
    per_class = [ours.match_images(found, truth, kind) for kind in range(3)]
    weighted, _ = ours.measures(per_class, per_class, weights=weights.astype(float))
    for row, times in enumerate(weights):
        index = np.repeat(np.arange(len(found)), times)
        some = [
            ours.match_images([found[i] for i in index], [truth[i] for i in index], kind) for kind in range(3)
        ]
        repeated, _ = ours.measures(some, some)
        for name in ours.OVERALL:
            assert weighted[name][row] == pytest.approx(float(repeated[name])), name


def brute_froc(matches, rate):
    """Try every threshold."""
    truths, images = sum(one.truths.sum() for one in matches), len(matches[0].truths)
    best = 0.0
    for threshold in np.unique(np.concatenate([one.score for one in matches])):
        tp = sum((one.hit[:, 0] & (one.score >= threshold)).sum() for one in matches)
        fp = sum((~one.hit[:, 0] & ~one.ignored[:, 0] & (one.score >= threshold)).sum() for one in matches)
        if fp <= rate * images:
            best = max(best, tp / truths)
    return best


@pytest.mark.parametrize("seed", range(5))
def test_froc_equals_trying_every_threshold(seed):
    found, truth = random_images(seed, ties=True, crowds=seed % 2 == 1)
    matches = [ours.match_images(found, truth, kind, thresholds=np.array([0.5])) for kind in range(3)]
    sensitivities = ours.froc_sensitivities(matches)
    for rate, sensitivity in zip(ours.FROC_RATES, sensitivities, strict=True):
        assert sensitivity == pytest.approx(brute_froc(matches, rate)), rate
    fp, tp = ours.froc_curve(matches)
    assert (fp[0], tp[0]) == (0, 0) and (np.diff(fp) >= 0).all() and (np.diff(tp) >= 0).all()


def test_froc_without_truth_is_undefined():
    matches = [ours.match_images([FOUND], [Boxes.empty()], 0)]
    assert np.isnan(ours.froc_sensitivities(matches)).all()


def test_confusion_by_hand():
    truth = Boxes.of([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 1, 1])
    found = Boxes.of(
        [[0, 0, 10, 10], [20, 0, 30, 10], [60, 60, 70, 70], [40, 0, 50, 10]],
        [0, 0, 1, 1],
        [0.9, 0.8, 0.7, 0.1],
    )
    # One right, one of class 1 taken for 0, one false alarm; the last is below .25, so its box is missed.
    table = ours.confusion_matrix([found], [truth], 2)
    assert table.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
