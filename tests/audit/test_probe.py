"""Tiny models that tell an answer from what should not know it."""

import numpy as np
import pytest

from medcli.audit import probe as module
from medcli.audit.association import permutations
from medcli.audit.probe import border, corners, folds_of, halved, one_hot, probe


def made(n=160, seed=0):
    random = np.random.default_rng(seed)
    patients = [f"p{number // 2}" for number in range(n)]
    label = (random.random(n // 2) < 0.5).astype(int).repeat(2)
    thumbs = random.normal(120, 20, (n, 64, 64, 1)).clip(0, 255).astype(np.uint8)
    return thumbs, label, patients


def probed(features, label, patients):
    return probe(features, label, patients, permutations(patients, 99), folds_of(label, patients))


def test_a_mark_in_a_corner_gives_the_label_away_to_the_border_too():
    thumbs, label, patients = made()
    thumbs[label == 1, :4, :4] = 250
    for view in (border, corners):
        found = probed(view(thumbs), label, patients)
        assert found.auroc > 0.95
        assert found.p == pytest.approx(1 / 100)
        assert found.chance[0] < 0.5 < found.chance[1]


def test_a_mark_in_the_middle_does_not():
    thumbs, label, patients = made()
    thumbs[label == 1, 28:36, 28:36] = 250
    for view in (border, corners):
        found = probed(view(thumbs), label, patients)
        assert found.p > 0.05
        assert found.low < 0.5 < found.high
        assert found.chance[0] <= found.auroc <= found.chance[1]


def test_patients_that_are_alike_do_not_give_the_label_away():
    """Without the patients kept together their looks alone would tell the label."""
    random = np.random.default_rng(3)
    cluster = np.repeat(np.arange(40), 6)
    label = (random.random(40) < 0.5).astype(int)[cluster]
    features = random.normal(0, 1, (40, 30))[cluster] + random.normal(0, 0.1, (240, 30))
    names = [f"p{number}" for number in cluster]
    assert probed(features, label, names).p > 0.05
    assert probed(features, label, [str(number) for number in range(240)]).auroc > 0.85


def test_views_hold_the_right_pixels():
    thumbs = np.zeros((1, 64, 64, 1), np.uint8)
    thumbs[:, 4:60, 4:60] = 200
    assert border(thumbs).shape == (1, 32 * 32 - 28 * 28)
    assert not border(thumbs).any()
    assert corners(thumbs).shape == (1, 64)
    assert (corners(thumbs) == 200).sum() == 4 * 4
    assert halved(thumbs).shape == (1, 32, 32, 1)
    assert one_hot(np.array([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("width", [10, 300])
def test_scores_are_those_of_scikit_learns_ridge(width):
    from scipy.stats import rankdata
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(4)
    features = random.normal(3, 2, (100, width))
    answers = (random.random((100, 2)) < 0.5).astype(float)
    fold = np.arange(100) % 5
    found = module._out_of_fold(features, answers, fold)
    for number in range(5):
        here = fold == number
        mean, spread = features[~here].mean(0), features[~here].std(0)
        model = Ridge(module.RIDGE * 80).fit((features[~here] - mean) / spread, answers[~here])
        expected = rankdata(model.predict((features[here] - mean) / spread), axis=0)
        np.testing.assert_allclose(found[here] * 20 + 0.5, expected)


def test_too_few_patients_are_not_probed():
    assert folds_of(np.array([0] * 20 + [1] * 8), [f"p{n}" for n in range(20)] + ["q", "r"] * 4) is None
    assert folds_of(np.zeros(20, int), [str(n) for n in range(20)]) is None


def test_constant_features_are_not_probed():
    _, label, patients = made()
    assert probed(np.ones((160, 3)), label, patients) is None
