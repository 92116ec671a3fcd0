"""Precision, recall and F1 by score against counting by hand, and the score that suits a goal by trying all."""

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.metrics.detection import Matches, match_images
from medcli.metrics.operating import (
    best_common_f1,
    best_f1,
    counts_at,
    precision_recall_f1,
    score_curve,
    with_false_positives,
)

HALF = np.array([0.5])


def made(score, hit, truths, *, image=None, ignored=None) -> Matches:
    hit = np.array(hit, bool)[:, None]
    ignored = np.zeros_like(hit) if ignored is None else np.array(ignored, bool)[:, None]
    image = np.zeros(len(score), int) if image is None else np.array(image)
    return Matches(image, np.array(score, float), hit, ignored, np.array(truths), HALF)


def random_matches(seed, kind=0) -> Matches:
    random = np.random.default_rng([seed, kind])
    count = 40
    score = np.sort(random.choice(np.linspace(0.05, 0.95, 19), count))[::-1]
    image = random.integers(0, 8, count)
    hit = random.random(count) < score
    truths = np.bincount(image[hit], minlength=8) + random.integers(0, 2, 8)
    return made(score, hit, truths, image=image, ignored=~hit & (random.random(count) < 0.2))


def test_curve_by_hand():
    # Of three true boxes in two images two are hit; equal scores count together, a crowd's box not at all.
    one = made([0.9, 0.8, 0.8, 0.5, 0.3], [1, 1, 0, 0, 0], [2, 1], ignored=[0, 0, 0, 1, 0])
    curve = score_curve(one)
    np.testing.assert_allclose(curve.score, [0.9, 0.8, 0.3])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 2 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(curve.f1, [2 / 4, 4 / 6, 4 / 7])
    np.testing.assert_allclose(curve.false, [0, 1 / 2, 2 / 2])
    assert best_f1(one) == 0.8
    np.testing.assert_array_equal(counts_at(one, 0.8), [2, 1, 1])
    assert precision_recall_f1(counts_at(one, 0.95))["recall"] == 0
    assert np.isnan(precision_recall_f1(counts_at(one, 0.95))["precision"])


@pytest.mark.parametrize("seed", range(4))
def test_goals_equal_trying_every_score(seed):
    matches = [random_matches(seed, kind) for kind in range(3)]
    scores = np.unique(np.concatenate([one.score for one in matches]))[::-1]

    def f1(one, score):
        return float(precision_recall_f1(counts_at(one, score))["f1"])

    for one in matches:
        tried = [f1(one, score) for score in np.unique(one.score)[::-1]]
        assert best_f1(one) == np.unique(one.score)[::-1][int(np.argmax(tried))]
    means = [np.mean([f1(one, score) for one in matches]) for score in scores]
    chosen = best_common_f1(matches)
    assert np.mean([f1(one, chosen) for one in matches]) == pytest.approx(max(means))
    for most in (0.125, 0.5, 2.0):
        false = [sum(counts_at(one, score)[1] for one in matches) / 8 for score in scores]
        allowed = [score for score, rate in zip(scores, false, strict=True) if rate <= most]
        assert with_false_positives(matches, most) == (allowed[-1] if allowed else None)


def test_weights_equal_repeated_images():
    one = random_matches(0)
    weights = np.random.default_rng(1).integers(0, 3, (2, 8)).astype(float)
    for row, counted in zip(weights, counts_at(one, 0.4, weights), strict=True):
        by_image = [counts_at(one, 0.4, np.eye(8)[number]) for number in range(8)]
        np.testing.assert_allclose(counted, row @ np.array(by_image))


def test_nothing_found_or_nothing_there():
    nothing = match_images([Boxes.empty()], [Boxes.of([[0, 0, 5, 5]], [0])], 0, thresholds=HALF)
    assert best_f1(nothing) is None and best_common_f1([nothing]) is None
    assert with_false_positives([nothing], 1.0) is None
    empty = match_images([Boxes.of([[0, 0, 5, 5]], [0], [0.9])], [Boxes.empty()], 0, thresholds=HALF)
    assert best_f1(empty) is None and best_common_f1([empty]) is None
    assert with_false_positives([empty], 1.0) == pytest.approx(0.9)
    assert with_false_positives([empty], 0.5) is None
    assert np.isnan(score_curve(empty).f1).all()
    only_wrong = made([0.9], [0], [1])
    assert best_f1(only_wrong) is None and best_common_f1([only_wrong]) is None
