"""What an ensemble takes over of what its members learned."""

import numpy as np

from medcli.metrics.detection import Matches
from medcli.operating import together
from medcli.postprocessing.learned import Label, _by_vote
from medcli.postprocessing.rules import Rule


def label(kind: str, size: float = 0.0, before: float = 0.5, after: float = 0.5) -> Label:
    return Label(
        name="spleen",
        rule=Rule(kind=kind, size=size),
        gain=after - before,
        before=before,
        after=after,
        why="tried",
    )


def test_the_rule_of_more_than_half_with_the_median_of_their_sizes():
    voted = _by_vote([label("min_size", 3, after=0.6), label("min_size", 9, after=0.8), label("largest")])
    assert voted.rule == Rule(kind="min_size", size=6)
    assert voted.why == "the rule of 2 of 3 networks" and voted.after == 0.7


def test_without_a_majority_everything_stays():
    assert _by_vote([label("largest"), label("min_size", 3)]).rule == Rule()
    assert _by_vote([label("none"), label("none"), label("largest")]).rule == Rule()


def test_images_of_several_folds_are_counted_on():
    """Two images with 2 and 0 true boxes, then one with 1; its box is of image 2 of all."""
    half = np.array([0.5])
    first = Matches(
        np.array([0, 1]),
        np.array([0.9, 0.2]),
        np.array([[True], [False]]),
        np.zeros((2, 1), bool),
        np.array([2, 0]),
        half,
    )
    second = Matches(
        np.array([0]), np.array([0.6]), np.array([[True]]), np.zeros((1, 1), bool), np.array([1]), half
    )
    both = together([first, second])
    assert both.image.tolist() == [0, 1, 2] and both.truths.tolist() == [2, 0, 1]
    assert both.score.tolist() == [0.9, 0.2, 0.6] and both.hit[:, 0].tolist() == [True, False, True]
