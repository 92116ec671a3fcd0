"""Classification measures against hand-worked numbers and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from medcli.metrics import classification as ours


def random_case(seed, n=60, k=3, *, multi_label=False):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(k), n)
    probabilities = np.round(probabilities, 1)  # ties
    if multi_label:
        return random.random((n, k)) < 0.3, np.round(random.random((n, k)), 1)
    return np.arange(k) == random.integers(0, k, n)[:, None], probabilities


def test_four_cases_by_hand():
    # Truth yes yes no no, scores .9 .4 .6 .1: of four yes-no pairs three are in order, so AUROC 3/4.
    # Ranked: yes no yes no; average precision 1/2 * 1 + 1/2 * 2/3 = 5/6. At .5: TP 1, FP 1, FN 1, TN 1.
    yes = np.array([0.9, 0.4, 0.6, 0.1])
    truth = np.array([[0, 1], [0, 1], [1, 0], [1, 0]], bool)
    overall, by_class = ours.measures(truth, np.stack([1 - yes, yes], 1))
    assert overall["auroc"] == 0.75
    assert overall["average_precision"] == pytest.approx(5 / 6)
    assert {name: float(overall[name]) for name in ("sensitivity", "specificity", "ppv", "npv", "f1")} == {
        "sensitivity": 0.5,
        "specificity": 0.5,
        "ppv": 0.5,
        "npv": 0.5,
        "f1": 0.5,
    }
    assert (overall["accuracy"], overall["balanced_accuracy"], overall["mcc"]) == (0.5, 0.5, 0.0)
    assert by_class["sensitivity"].tolist() == [0.5, 0.5]
    assert tuple(overall) == ours.OVERALL and tuple(by_class) == ours.PER_CLASS


def test_the_positive_class_can_be_the_first():
    truth = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    assert ours.measures(truth, probabilities, positive=0)[0]["sensitivity"] == pytest.approx(2 / 3)
    assert ours.measures(truth, probabilities, positive=1)[0]["sensitivity"] == 1.0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [2, 4])
def test_one_of_k_equals_scikit_learn(seed, k):
    truth, probabilities = random_case(seed, k=k)
    overall, by_class = ours.measures(truth, probabilities)
    labels, predicted = truth.argmax(1), probabilities.argmax(1)
    average = {"average": "binary"} if k == 2 else {"average": "macro"}
    own = probabilities[:, 1] if k == 2 else None
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "sensitivity": sk.recall_score(labels, predicted, **average, zero_division=np.nan),
        "ppv": sk.precision_score(labels, predicted, **average, zero_division=np.nan),
        "f1": sk.f1_score(labels, predicted, **average),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "auroc": sk.roc_auc_score(truth[:, 1], own)
        if k == 2
        else np.mean([sk.roc_auc_score(truth[:, j], probabilities[:, j]) for j in range(k)]),
        "average_precision": sk.average_precision_score(truth[:, 1], own)
        if k == 2
        else sk.average_precision_score(truth, probabilities, average="macro"),
    }
    for name, value in expected.items():
        assert overall[name] == pytest.approx(value, abs=1e-12), name
    # scikit-learn has no specificity or NPV: they are sensitivity and PPV of "not this class".
    for j in range(k):
        rest, guessed = labels != j, predicted != j
        assert by_class["specificity"][j] == pytest.approx(sk.recall_score(rest, guessed))
        assert by_class["npv"][j] == pytest.approx(sk.precision_score(rest, guessed))
    assert (ours.confusion_matrix(labels, predicted, k) == sk.confusion_matrix(labels, predicted)).all()


@pytest.mark.parametrize("seed", range(4))
def test_multi_label_equals_scikit_learn(seed):
    truth, probabilities = random_case(seed, k=5, multi_label=True)
    overall, _ = ours.measures(truth, probabilities, multi_label=True)
    predicted = probabilities >= 0.5
    assert overall["auroc"] == pytest.approx(sk.roc_auc_score(truth, probabilities, average="macro"))
    assert overall["average_precision"] == pytest.approx(sk.average_precision_score(truth, probabilities))
    assert overall["f1"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert overall["accuracy"] == pytest.approx((truth == predicted).mean())
    assert overall["mcc"] == pytest.approx(
        np.mean([sk.matthews_corrcoef(truth[:, j], predicted[:, j]) for j in range(5)])
    )


def masked(seed, k=4):
    """A truth with a third unknown, its mask, probabilities."""
    truth, probabilities = random_case(seed, k=k, multi_label=True)
    known = np.random.default_rng(seed + 100).random(truth.shape) > 1 / 3
    return np.where(known, truth, np.nan), known, probabilities


@pytest.mark.parametrize("seed", range(4))
def test_unknown_labels_do_not_count(seed):
    truth, known, probabilities = masked(seed)
    called = probabilities >= 0.35
    overall, by_class = ours.measures(truth, probabilities, multi_label=True, decided=called)
    for j in range(truth.shape[1]):
        rows = known[:, j]
        true, chances, yes = truth[rows, j], probabilities[rows, j], called[rows, j]
        assert by_class["auroc"][j] == pytest.approx(sk.roc_auc_score(true, chances))
        assert by_class["average_precision"][j] == pytest.approx(sk.average_precision_score(true, chances))
        assert by_class["sensitivity"][j] == pytest.approx(sk.recall_score(true, yes))
        assert by_class["specificity"][j] == pytest.approx(sk.recall_score(true == 0, ~yes))
    assert overall["auroc"] == pytest.approx(by_class["auroc"].mean())
    # Micro: scikit-learn on the list of all known answers.
    pooled = truth[known], probabilities[known], called[known]
    assert overall["micro_auroc"] == pytest.approx(sk.roc_auc_score(pooled[0], pooled[1]))
    assert overall["micro_average_precision"] == pytest.approx(sk.average_precision_score(*pooled[:2]))
    assert overall["micro_f1"] == pytest.approx(sk.f1_score(pooled[0], pooled[2]))
    assert overall["micro_sensitivity"] == pytest.approx(sk.recall_score(pooled[0], pooled[2]))
    assert overall["micro_specificity"] == pytest.approx(sk.recall_score(pooled[0] == 0, ~pooled[2]))
    present, of = ours.known_counts(truth)
    assert present.tolist() == np.nansum(truth, 0).tolist() and of.tolist() == known.sum(0).tolist()


def test_micro_means_under_weights_are_those_of_repeated_cases():
    truth, _, probabilities = masked(5)
    weights = np.random.default_rng(1).integers(0, 3, (6, len(truth))).astype(float)
    found, _ = ours.measures(truth, probabilities, multi_label=True, weights=weights)
    for row, times in enumerate(weights.astype(int)):
        again, _ = ours.measures(truth.repeat(times, 0), probabilities.repeat(times, 0), multi_label=True)
        for name in ours.MICRO:
            assert found[name][row] == pytest.approx(again[name]), name


@pytest.mark.parametrize("seed", range(3))
def test_weights_equal_scikit_learns_sample_weights(seed):
    truth, probabilities = random_case(seed, k=2)
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(truth))).astype(float)
    overall, _ = ours.measures(truth, probabilities, weights=weights)
    for row, sample_weight in enumerate(weights):
        options = {"sample_weight": sample_weight}
        assert overall["auroc"][row] == pytest.approx(
            sk.roc_auc_score(truth[:, 1], probabilities[:, 1], **options)
        )
        assert overall["average_precision"][row] == pytest.approx(
            sk.average_precision_score(truth[:, 1], probabilities[:, 1], **options)
        )
        assert overall["mcc"][row] == pytest.approx(
            sk.matthews_corrcoef(truth.argmax(1), probabilities.argmax(1), **options)
        )


def test_weights_equal_repeated_cases():
    truth, probabilities = random_case(1, n=20, k=3)
    weights = np.random.default_rng(0).integers(0, 4, 20)
    weighted, _ = ours.measures(truth, probabilities, weights=weights.astype(float))
    index = np.repeat(np.arange(20), weights)
    repeated, _ = ours.measures(truth[index], probabilities[index])
    for name in ours.OVERALL:
        assert weighted[name] == pytest.approx(repeated[name]), name


def test_one_class_only_leaves_ranking_undefined():
    truth = np.array([[0, 1]] * 3, bool)
    overall, _ = ours.measures(truth, np.array([[0.4, 0.6], [0.6, 0.4], [0.2, 0.8]]))
    assert np.isnan(overall["auroc"]) and np.isnan(overall["specificity"])
    assert overall["sensitivity"] == pytest.approx(2 / 3)
    assert overall["mcc"] == 0.0


def test_curves_equal_scikit_learn():
    truth, probabilities = random_case(3, k=2)
    fpr, tpr = ours.roc_curve(truth[:, 1], probabilities[:, 1])
    expected_fpr, expected_tpr, _ = sk.roc_curve(truth[:, 1], probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(fpr, expected_fpr)
    np.testing.assert_allclose(tpr, expected_tpr)
    precision, recall = ours.precision_recall_curve(truth[:, 1], probabilities[:, 1])
    expected_precision, expected_recall, _ = sk.precision_recall_curve(truth[:, 1], probabilities[:, 1])
    np.testing.assert_allclose(precision[::-1], expected_precision[:-1])
    np.testing.assert_allclose(recall[::-1], expected_recall[:-1])
