"""Tests of maps: curves, likeness and hits worked out by hand, and the rule of the verdict."""

import numpy as np
import pytest

from medcli.explain.faithfulness import (
    FRACTIONS,
    Curves,
    area,
    centred,
    deletion_insertion,
    in_cells,
    pointing,
    similarity,
)
from medcli.explain.verdict import judge

SHAPE = (20, 20)


def share_left(images):
    """The probability is the share of the top left quarter (100 of 400 places) that is still there."""
    return images[:, :10, :10, 0].mean(axis=(1, 2))


def curves_of(heat, **settings):
    image = np.ones((*SHAPE, 1), np.float32)
    return deletion_insertion(share_left, image, np.zeros_like(image), heat, **settings)


def test_the_true_map_has_the_curves_worked_out_by_hand():
    heat = np.zeros(SHAPE, np.float32)
    heat[:10, :10] = 1
    found = curves_of(heat)
    # 400 cells; the first 100 are the quarter: after a share f of all, 1 - 4 f is left
    np.testing.assert_allclose(found.deletion, np.maximum(0, 1 - 4 * np.array(FRACTIONS)), atol=1e-6)
    np.testing.assert_allclose(found.insertion, np.minimum(1, 4 * np.array(FRACTIONS)), atol=1e-6)
    # a triangle over the first quarter: the points .03, .1, .25 lie on one line from 1 to 0
    assert found.deletion_auc == pytest.approx(1 / 8)
    assert found.insertion_auc == pytest.approx(1 - found.deletion_auc)
    assert found.gain == pytest.approx(3 / 4)
    assert found.p == 0.05
    assert abs(found.random.mean()) < 0.35
    assert found.spread == pytest.approx(1)


def test_a_map_of_the_wrong_quarter_does_no_better_than_chance():
    heat = np.zeros(SHAPE, np.float32)
    heat[10:, 10:] = 1
    found = curves_of(heat)
    assert found.gain < found.random.mean()
    assert found.p > 0.9
    assert judge(found, 0.0).word == "failed"


def test_the_middle_is_a_map_of_its_own():
    heat = centred(SHAPE)
    assert heat[9, 10] == heat.max() == pytest.approx(1, abs=0.03)
    assert curves_of(heat).centre == pytest.approx(curves_of(heat).gain, abs=0.02)


def test_equal_values_are_put_in_random_order_not_in_that_of_the_array():
    first, second = curves_of(np.zeros(SHAPE), seed=1), curves_of(np.zeros(SHAPE), seed=2)
    assert first.gain != second.gain
    assert abs(first.gain) < 0.15


@pytest.mark.parametrize(("shape", "cells"), [((40, 7), (20, 7)), ((30, 8, 20), (10, 8, 10))])
def test_cells_are_means(shape, cells):
    heat = np.random.default_rng(0).random(shape).astype(np.float32)
    assert in_cells(heat).shape == cells
    assert in_cells(np.full(shape, 3.0)) == pytest.approx(np.full(cells, 3.0))


def test_similarity_of_a_map_with_itself_its_negative_and_noise():
    heat = np.random.default_rng(0).normal(size=SHAPE)
    assert similarity(heat, 2 * heat + 1) == pytest.approx((1, 1))
    assert similarity(heat, -heat)[0] == pytest.approx(-1)
    assert abs(similarity(heat, np.random.default_rng(1).normal(size=SHAPE))[0]) < 0.2
    assert similarity(heat, np.zeros(SHAPE)) == (0, 0)


def test_pointing_counts_the_strongest_place():
    heat, truth = np.zeros((4, 5)), np.zeros((4, 5), bool)
    heat[1, 2], heat[3, 3], heat[0, 0] = 2, 1, -5
    truth[1, 2] = True
    found = pointing(heat, truth)
    assert (found.hit, found.chance) == (True, 1 / 20)
    assert found.inside == pytest.approx(2 / 3)
    truth[1, 2], truth[0, 0] = False, True
    assert pointing(heat, truth).hit is False
    covered = np.zeros((4, 5), bool)
    covered[:2] = True
    assert pointing(heat, truth, covered).chance == 1 / 10


def test_pointing_says_nothing_without_truth_or_evidence():
    some = np.zeros((2, 2), bool)
    assert pointing(np.ones((2, 2)), some) is None
    some[0, 0] = True
    assert pointing(-np.ones((2, 2)), some) is None
    assert pointing(np.ones((2, 2)), some, ~some) is None


# ---- the verdict


def curves(gain, random, spread=0.9):
    flat = np.full(len(FRACTIONS), 0.5)
    return Curves(flat, flat, 0.5, 0.5 + gain, gain, np.array(random), 0.0, spread)


GOOD = curves(0.5, [0.1] * 19)


def test_better_than_all_misplaced_maps_and_unlike_random_networks_passes():
    verdict = judge(GOOD, 0.2)
    assert verdict.word == "passed"
    assert verdict.reasons == (
        "deletion and insertion beat 19 of 19 misplaced maps (gain 0.50, theirs 0.10 on average)",
        "rank correlation 0.20 with maps of networks without what they learned",
    )


@pytest.mark.parametrize(
    ("found", "correlation", "word", "reason"),
    [
        (GOOD, 0.7, "failed", "it hardly depends on what the network learned"),
        (GOOD, 0.6, "cannot be told", "rank correlation 0.60"),
        (curves(0.1, [0.1] * 19), 0.0, "failed", "beat only 0 of 19 misplaced maps"),
        (curves(0.2, [0.1] * 18 + [0.3]), 0.0, "cannot be told", "beat 18 of 19 misplaced maps"),
        (curves(0.5, [0.1] * 19, spread=0.05), 0.0, "cannot be told", "the probability moves by 0.05 only"),
        (curves(0.5, [0.1] * 19, spread=0.05), 0.9, "failed", "it hardly depends"),
    ],
)
def test_the_rule(found, correlation, word, reason):
    verdict = judge(found, correlation)
    assert verdict.word == word
    assert len(verdict.reasons) == 1
    assert reason in verdict.sentence


def test_what_makes_a_map_useless_is_told():
    assert judge(GOOD, 0.0, empty=True).sentence == "cannot be told: nothing in the map speaks for the answer"
    assert judge(GOOD, 0.0, completeness_error=0.2).sentence == (
        "cannot be told: the parts miss their sum by 20%"
    )
    assert judge(GOOD, 0.0, completeness_error=0.02).word == "passed"


def test_cases_are_chosen_evenly():
    from medcli.cli.explain import evenly

    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(4, 8) == [0, 1, 2, 3]
    assert evenly(5, 1) == [0]


def test_areas():
    assert area(np.ones(len(FRACTIONS))) == pytest.approx(1)
    assert area(1 - np.array(FRACTIONS)) == pytest.approx(0.5)
