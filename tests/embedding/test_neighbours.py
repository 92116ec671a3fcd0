import numpy as np
from sklearn.neighbors import NearestNeighbors

from medcli.embedding.neighbours import doubtful_labels
from medcli.metrics.neighbours import directions, nearest, votes


def test_neighbours_are_those_of_scikit_learn():
    points = directions(np.random.default_rng(0).normal(size=(40, 6)))
    found, cosines = nearest(points, [str(n) for n in range(40)], 4)
    distances, expected = NearestNeighbors(n_neighbors=5, metric="cosine").fit(points).kneighbors(points)
    assert (found == expected[:, 1:]).all()
    np.testing.assert_allclose(cosines, 1 - distances[:, 1:], atol=1e-6)


def test_cases_of_the_same_patient_are_no_neighbours():
    points = directions(np.array([[1, 0], [1, 0.01], [0, 1], [0.1, 1]]))
    found, cosines = nearest(points, ["a", "a", "a", "b"], 3)
    assert found.tolist() == [[3, -1, -1], [3, -1, -1], [3, -1, -1], [2, 1, 0]]
    assert np.isnan(cosines[0, 1:]).all() and not np.isnan(cosines[3]).any()


def test_votes_are_shares_of_neighbours():
    found = np.array([[1, 2, 3], [0, 2, -1], [-1, -1, -1], [0, 1, 2]])
    shares = votes(np.array([0, 0, 1, 1]), found)
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3], [0.5, 0.5], [0.5, 0.5], [2 / 3, 1 / 3]])


def planted(flipped=()):
    random = np.random.default_rng(1)
    truth = np.repeat([0, 1], [40, 25])
    points = directions(np.eye(8)[truth] + 0.2 * random.normal(size=(65, 8)))
    labels = np.array(["benign", "malignant"])[truth]
    for index in flipped:
        labels[index] = "malignant" if truth[index] == 0 else "benign"
    return nearest(points, [str(n) for n in range(65)], 10)[0], labels.tolist()


def test_flipped_labels_are_suspected_and_no_others():
    flipped = [3, 17, 50, 60]
    found, labels = planted(flipped)
    doubts = doubtful_labels(labels, found)
    assert doubts is not None and doubts.suspects is not None
    assert sorted(doubts.suspects.indices) == flipped and doubts.auroc > 0.8
    assert doubtful_labels(*planted()[::-1]).suspects.indices == []


def test_neighbours_that_know_nothing_are_not_believed():
    found, labels = planted()
    shuffled = np.random.default_rng(0).permutation(labels).tolist()
    doubts = doubtful_labels(shuffled, found)
    assert doubts is not None and doubts.suspects is None and doubts.auroc < 0.8


def test_one_label_or_too_few_of_one_cannot_be_asked_about():
    found, labels = planted()
    assert doubtful_labels(["same"] * len(labels), found) is None
    assert doubtful_labels(["rare"] * 4 + ["common"] * (len(labels) - 4), found) is None
