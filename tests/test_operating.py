"""From which score on boxes count as found: learned, kept in the run, asked again under another goal."""

from dataclasses import replace

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.config.schema import Config, Predict
from medcli.errors import RunError
from medcli.metrics.detection import match_images
from medcli.operating import (
    FILE,
    TABLE,
    UNLEARNED,
    Operating,
    is_found,
    learn,
    thresholds_of,
    together,
)
from tests.fake_run import fake_run

TRUE = Boxes.of([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 60, 20]], [0, 0, 1])
"""Two of class a, one of class b."""
AWAY = [80, 80, 90, 90]
FOUND = Boxes.of(
    [TRUE.corners[0], AWAY, TRUE.corners[1], AWAY, TRUE.corners[2], AWAY],
    [0, 0, 0, 0, 1, 1],
    [0.9, 0.6, 0.5, 0.2, 0.3, 0.1],
)
"""Class a: hit .9, false .6, hit .5, false .2; class b: hit .3, false .1."""


def learned(folder, **predict):
    run = fake_run(folder, "detection", size=[32, 32], predict=predict)
    learn(run.folder, [FOUND, Boxes.empty()], [TRUE, Boxes.empty()], run.config, run.plan.classes)
    return run


def asked(run, **predict):
    return replace(run, config=Config(task="detection", predict=Predict(**predict)))


def test_the_best_f1_of_every_class_is_the_default(tmp_path):
    operating = Operating.of(learned(tmp_path / "run"))
    # Class a: F1 is 2/3 from .9, 1/2 from .6, 4/5 from .5, 2/3 from .2 on.
    np.testing.assert_allclose(operating.thresholds, [0.5, 0.3], atol=1e-6)
    a = operating.classes["a"]
    assert (a.precision, a.recall, a.f1) == pytest.approx((2 / 3, 1, 4 / 5))
    assert operating.false_positives == 1 / 2 and operating.images == 2
    assert operating.truths == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("auto", [0.5, 0.3]),
        (0.2, [0.5, 0.3]),
        ({"f1": "all"}, [0.3, 0.3]),  # 4/5 and 1; from .5 on 4/5 and 0
        ({"false_positives": 0.5}, [0.3, 0.3]),  # from .2 on there are two false boxes in two images
        ({"false_positives": 0.4}, [0.9, 0.9]),
        ({"score": 0.123}, [0.123, 0.123]),
    ],
)
def test_another_goal_needs_no_new_prediction(tmp_path, goal, expected):
    run = learned(tmp_path / "run")
    operating = Operating.of(asked(run, score_threshold=goal))
    np.testing.assert_allclose(operating.thresholds, expected, atol=1e-6)


def test_what_is_found_are_the_boxes_from_the_threshold_of_their_class_on(tmp_path):
    operating = Operating.of(learned(tmp_path / "run"))
    assert is_found(FOUND, operating.thresholds).tolist() == [True, True, True, False, True, False]


def test_other_weights_or_other_boxes_have_none(tmp_path):
    run = learned(tmp_path / "run")
    assert Operating.of(asked(run, nms="soft")) is None
    assert Operating.of(asked(run, flips=True)) is None
    (run.folder / "model.keras").write_bytes(b"others")
    assert Operating.of(run) is None
    assert thresholds_of(None, 2).tolist() == [UNLEARNED] * 2


def test_a_class_without_a_hit_takes_the_score_that_is_best_for_all(tmp_path):
    run = fake_run(tmp_path / "run", "detection", size=[32, 32])
    nothing_of_b = FOUND.take(FOUND.classes == 0)
    learn(run.folder, [nothing_of_b], [TRUE], run.config, run.plan.classes)
    np.testing.assert_allclose(Operating.of(run).thresholds, [0.5, 0.5], atol=1e-6)
    learn(run.folder, [Boxes.empty()], [TRUE], run.config, run.plan.classes)
    np.testing.assert_allclose(Operating.of(run).thresholds, [UNLEARNED] * 2, atol=1e-6)


def test_damaged_files_are_told(tmp_path):
    run = learned(tmp_path / "run")
    (run.folder / TABLE).write_text("class,image\na,x\n")
    with pytest.raises(RunError, match=r"validation\.csv: not what medcli learned .* evaluate again"):
        Operating.of(asked(run, score_threshold={"f1": "all"}))
    (run.folder / FILE).write_text("{")
    with pytest.raises(RunError, match=r"operating\.json: not what medcli learned"):
        Operating.of(run)


def test_parts_put_together_are_as_if_learned_at_once():
    half = np.array([0.5])
    more = Boxes.of(TRUE.corners, TRUE.classes, [0.7, 0.3, 0.8])
    parts = [match_images([one], [TRUE], 0, thresholds=half) for one in (FOUND, more)]
    both, expected = together(parts), match_images([FOUND, more], [TRUE, TRUE], 0, thresholds=half)
    for name in ("image", "score", "hit", "truths"):
        np.testing.assert_array_equal(getattr(both, name), getattr(expected, name))
