"""Conformal sets by hand, and their coverage by simulation."""

import numpy as np
import pytest

from medcli.metrics import conformal as ours

CHANCES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])


def draw(random, n, k=4, blur=1.0):
    """Cases with true probabilities, and a model that sees them through noise."""
    logits = random.normal(0, 1.5, (n, k))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.arange(k) == (random.random((n, 1)) > true.cumsum(1)).sum(1)[:, None]
    seen = np.exp(logits * 1.7 + random.normal(0, blur, (n, k)))
    return truth, seen / seen.sum(1, keepdims=True)


def test_scores_by_hand():
    np.testing.assert_allclose(ours.label_scores(CHANCES, "lac"), 1 - CHANCES)
    # Sorted .5 .3 .2: cumulated .5 .8 1; and .7 .2 .1: .7 .9 1.
    np.testing.assert_allclose(ours.label_scores(CHANCES, "aps"), [[0.5, 0.8, 1.0], [1.0, 0.9, 0.7]])
    # The second label costs .1 more, the third .2.
    np.testing.assert_allclose(ours.label_scores(CHANCES, "raps"), [[0.5, 0.9, 1.2], [1.2, 1.0, 0.7]])


def test_quantile_by_hand():
    scores = np.array([0.4, 0.1, 0.3, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert ours.conformal_quantile(scores, 0.9) == 0.9  # ceil(10 * .9) = 9th of 9
    assert ours.conformal_quantile(scores, 0.8) == 0.8
    assert ours.conformal_quantile(scores, 0.91) == np.inf  # the 10th of 9: nothing can be promised
    assert ours.conformal_quantile(np.zeros(0), 0.5) == np.inf


def test_sets_by_hand():
    scores = ours.label_scores(CHANCES, "lac")  # .5 .7 .8 and .9 .8 .3
    assert ours.label_sets(scores, np.full(3, 0.75)).tolist() == [[True, True, False], [False, False, True]]
    assert ours.label_sets(scores, np.full(3, 0.4)).tolist() == [[False] * 3, [False, False, True]]
    kept = ours.label_sets(scores, np.full(3, 0.4), keep_best=True)
    assert kept.tolist() == [[True, False, False], [False, False, True]]
    assert ours.label_sets(scores, np.full(3, np.inf)).all()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_lac_covers_as_often_as_promised(coverage):
    # On average over validation parts of 200 cases, within two points of the promise (the measure).
    random, found = np.random.default_rng(int(coverage * 100)), []
    for _ in range(200):
        truth, chances = draw(random, 700)
        scores = ours.label_scores(chances, "lac")
        limits = ours.fit_quantiles(truth[:200], scores[:200], coverage)
        found.append(ours.covered(truth[200:], ours.label_sets(scores[200:], limits)).mean())
    # The exact expectation is ceil((n + 1) * coverage) / (n + 1) (Vovk 2012).
    exact = np.ceil(201 * coverage) / 201
    assert np.mean(found) == pytest.approx(exact, abs=0.006)
    assert abs(np.mean(found) - coverage) < 0.02


@pytest.mark.parametrize("method", ["aps", "raps"])
def test_sets_that_keep_the_best_cover_at_least_as_often(method):
    random, found, sizes = np.random.default_rng(1), [], []
    for _ in range(60):
        truth, chances = draw(random, 700)
        scores = ours.label_scores(chances, method)
        limits = ours.fit_quantiles(truth[:200], scores[:200], 0.9)
        inside = ours.label_sets(scores[200:], limits, keep_best=True)
        found.append(ours.covered(truth[200:], inside).mean())
        sizes.append(inside.sum(1).min())
    assert 0.895 < np.mean(found) < 0.96
    assert min(sizes) >= 1, "never empty"


def test_every_class_is_covered_when_asked_for():
    random, found, together = np.random.default_rng(2), [], []
    for _ in range(60):
        truth, chances = draw(random, 2000)
        chances = chances * [2.0, 1, 1, 0.3]  # the model neglects the last class
        chances = chances / chances.sum(1, keepdims=True)
        scores = ours.label_scores(chances, "lac")
        for per_class, collected in ((True, found), (False, together)):
            limits = ours.fit_quantiles(truth[:800], scores[:800], 0.9, per_class=per_class)
            inside = ours.label_sets(scores[800:], limits) & truth[800:]
            collected.append(inside.sum(0) / truth[800:].sum(0))
    assert np.mean(found, 0) == pytest.approx([0.9] * 4, abs=0.02)
    assert np.mean(together, 0)[3] < 0.85


@pytest.mark.parametrize("per_class", [False, True])
def test_several_labels_are_covered_one_by_one(per_class):
    random, found = np.random.default_rng(3), []
    for _ in range(100):
        chances = random.random((900, 2)) ** [1.0, 3.0]
        truth = random.random((900, 2)) < chances
        limits = ours.fit_quantiles_multi(truth[:300], chances[:300], 0.9, per_class=per_class)
        absent, present = ours.possible_labels(chances[300:], limits)
        found.append(np.where(truth[300:], present, absent).mean(0))
    assert np.mean(found, 0) == pytest.approx([0.9, 0.9], abs=0.02)


def test_a_class_without_cases_is_never_excluded():
    truth = np.array([[1, 0]] * 30, bool)
    limits = ours.fit_quantiles(truth, np.tile([0.1, 0.9], (30, 1)), 0.9, per_class=True)
    assert limits.tolist() == [0.1, np.inf]
