import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from medcli.embedding.structure import find_clusters, flat_map
from medcli.metrics.neighbours import directions


def planted(sizes, d=16, spread=0.1, seed=0):
    """Points around distant centres, and which centre each belongs to."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(len(sizes), d))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[truth] + spread * random.normal(size=(len(truth), d))).astype(np.float32), truth


@pytest.mark.parametrize("sizes", [(30, 20), (12, 30, 20), (10, 11, 12, 13, 14)])
def test_planted_clusters_are_found_and_counted(sizes):
    points, truth = planted(sizes)
    found = find_clusters(directions(points))
    assert adjusted_rand_score(truth, found.of_case) == 1 and found.number == len(sizes)
    assert [len(members) for members in found.nearest] == sorted(sizes, reverse=True)
    assert found.silhouette > 0.5
    for cluster, members in enumerate(found.nearest):
        assert (found.of_case[members] == cluster).all()


def test_the_middle_of_a_cluster_comes_first():
    points = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [4.5, 0]], np.float32)
    assert find_clusters(points, 1).nearest[0][0] == 2


def test_noise_has_no_clear_clusters():
    assert find_clusters(planted((60,), spread=1.0)[0]).silhouette < 0.25


@pytest.mark.parametrize("points", [np.zeros((40, 4), np.float32), planted((9,))[0]])
def test_cases_that_are_few_or_alike_are_one_cluster(points):
    found = find_clusters(points)
    assert found.number == 1 and np.isnan(found.silhouette)


def test_a_number_of_clusters_can_be_asked_for():
    assert find_clusters(planted((30, 20))[0], 3).number == 3


@pytest.mark.parametrize(("cases", "kind", "made_by"), [(60, "auto", "t-SNE"), (12, "auto", "principal components"),
                                                        (60, "pca", "principal components")])  # fmt: skip
def test_the_map_keeps_groups_apart(cases, kind, made_by):
    points, truth = planted((cases // 2, cases // 2))
    places, said = flat_map(points, kind)
    assert places.shape == (cases, 2) and said == made_by
    middles = np.stack([places[truth == group].mean(0) for group in (0, 1)])
    spread = max(places[truth == group].std(0).max() for group in (0, 1))
    assert np.linalg.norm(middles[0] - middles[1]) > 3 * spread


def test_the_map_of_equal_cases_is_a_point():
    places, _ = flat_map(np.ones((40, 5), np.float32))
    assert np.allclose(places, places[0])
