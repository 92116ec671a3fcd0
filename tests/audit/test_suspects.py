"""Labels that are probably wrong."""

import numpy as np
import pytest

from medcli.audit.probe import folds_of
from medcli.audit.suspects import (
    against_column,
    confident_suspects,
    features_of,
    gradients,
    out_of_fold,
)


def test_confident_learning_by_hand():
    # Bars: class 0: mean of .9 .8 .1 = .6; class 1: mean of .7 .9 .2 = .6.
    # Case 2 (labelled 0) has .9 for class 1, case 5 (labelled 1) .8 for class 0: both off the diagonal.
    label = np.array([0, 0, 0, 1, 1, 1])
    of_one = np.array([0.1, 0.2, 0.9, 0.7, 0.9, 0.2])
    found = confident_suspects(label, np.stack([1 - of_one, of_one], 1))
    assert found.indices == [2, 5]
    assert found.margins == pytest.approx([-0.8, -0.6])
    assert (found.given, found.likely) == ([0, 1], [1, 0])
    assert found.estimated == pytest.approx(2 / 6)


def test_cases_that_no_class_is_confident_of_are_left_out():
    label = np.array([0, 0, 1, 1])
    of_one = np.array([0.0, 0.45, 0.55, 1.0])  # bars .775 and .775: the middle two are neither
    found = confident_suspects(label, np.stack([1 - of_one, of_one], 1))
    assert found.indices == []
    assert found.estimated == 0


def test_planted_errors_are_found():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 400)
    thumbs = random.normal(100, 12, (400, 64, 64, 1))
    thumbs[truth == 1, 20:44, 20:44] += 10
    flipped = random.random(400) < 0.08
    label = np.where(flipped, 1 - truth, truth)
    fold = folds_of(label, [str(number) for number in range(400)])
    found = confident_suspects(
        label, out_of_fold(features_of(thumbs.clip(0, 255).astype(np.uint8)), label, fold)
    )
    hit = flipped[found.indices].sum()
    assert hit / flipped.sum() > 0.7
    assert hit / len(found.indices) > 0.8
    assert found.estimated == pytest.approx(flipped.mean(), abs=0.04)


def test_gradients_tell_directions():
    upright = np.zeros((1, 32, 32), np.float32)
    upright[:, :, ::4] = 200  # vertical stripes: the gradient runs along the columns
    across = gradients(upright).reshape(8, 8, 8)
    along = gradients(upright.transpose(0, 2, 1)).reshape(8, 8, 8)
    assert (across[2:-2, 2:-2].argmax(-1) == 0).all()
    assert (
        along[2:-2, 2:-2].argmax(-1) == 4
    ).all()  # a quarter turn is half of the eight bins of 180 degrees


def test_a_column_that_contradicts():
    texts = (
        ["No Finding"] * 30 + ["Mass"] * 10 + ["Mass|Effusion"] * 10 + ["Effusion"] * 9 + ["Pneumonia"] * 6
    )
    label = np.array([0] * 30 + [1] * 35)
    assert against_column(texts, label).indices == []
    label[-1] = 0  # a Pneumonia among the normal ones
    label[3] = 1  # and No Finding among the ill
    found = against_column(texts, label)
    assert found.indices == [3, 64]
    assert found.right == pytest.approx(63 / 65)


def test_a_column_that_does_not_tell_the_label_is_left_alone():
    random = np.random.default_rng(1)
    label = random.integers(0, 2, 60)
    assert against_column(list(random.choice(["a", "b", "c"], 60)), label) is None
    assert against_column([f"unique {number}" for number in range(60)], label) is None
