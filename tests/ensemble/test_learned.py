"""What an ensemble takes over of what its members learned."""

from dataclasses import replace

import numpy as np

from medcli.boxes import Boxes
from medcli.config.schema import Config
from medcli.metrics.detection import Matches
from medcli.operating import Operating, learn, learn_from_folds, together
from medcli.postprocessing.learned import Label, _by_vote
from medcli.postprocessing.rules import Rule
from medcli.preprocessing.plan import Intensity, Plan
from medcli.run import Run


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
    rows = zip(both.score.tolist(), both.image.tolist(), both.hit[:, 0].tolist(), strict=True)
    assert sorted(rows) == [(0.2, 1, False), (0.6, 2, True), (0.9, 0, True)]
    assert both.truths.tolist() == [2, 0, 1]


def test_from_which_score_on_is_learned_from_the_images_of_all_folds(tmp_path):
    """Each fold has two images with a box that is found, at 0.6 and 0.8, and one of 0.3 beside nothing."""
    config = Config(task="detection")
    plan = Plan(
        task="detection", dimensions=2, classes=["cell"], channels=1, color="grey", size=[64, 64],
        intensity=[Intensity(kind="none")], batch_size=2, stages=3,
    )  # fmt: skip
    truth = [Boxes.of([[0, 0, 10, 10]], [0])] * 2
    members = []
    for number, scores in enumerate([(0.6, 0.8), (0.7, 0.5)]):
        folder = tmp_path / f"fold_{number}"
        folder.mkdir()
        found = [Boxes.of([[0, 0, 10, 10], [30, 30, 40, 40]], [0, 0], [score, 0.3]) for score in scores]
        learn(folder, found, truth, config, plan.classes, model="of this fold")
        members.append(Run(folder, config, plan, ()))
    run = Run(tmp_path, config, plan, (), tuple(members), folds=True)
    learn_from_folds(run)
    whole = Operating.of(run)
    assert whole is not None and (whole.images, whole.truths) == (4, {"cell": 4})
    assert 0.3 < whole.thresholds[0] <= 0.5 and whole.classes["cell"].f1 == 1

    (tmp_path / "operating.json").unlink()
    learn_from_folds(replace(run, members=(*members, Run(tmp_path / "none", config, plan, ()))))
    assert Operating.of(run) is None, "one of them has learned nothing"
