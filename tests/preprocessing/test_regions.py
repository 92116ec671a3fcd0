"""Regions that overlap: from names to label ids, and from probabilities to label images."""

import numpy as np
import pytest

from medcli.errors import ConfigError
from medcli.preprocessing.labels import LabelRule, with_regions
from medcli.preprocessing.plan import Intensity, Plan, load_plan, save_plan
from medcli.preprocessing.regions import class_mask, decoded, explained, label_ids_of, told_by_labels

LABELS = ["necrosis", "edema", "enhancing"]
BRATS = {"whole": LABELS, "core": ["necrosis", "enhancing"], "enhancing": ["enhancing"]}
CROSSED = {"left": ["necrosis", "edema"], "right": ["edema", "enhancing"]}


def plan_of(regions, labels=LABELS):
    return Plan(
        task="segmentation", dimensions=2, classes=list(regions), labels=labels,
        regions=label_ids_of(regions, labels), label_ids=[[n] for n in range(1, len(labels) + 1)], channels=1,
        color="grey", intensity=[Intensity(kind="none")], batch_size=1, stages=1,
    )  # fmt: skip


def with_background(*regions):
    """(voxels, 1 + regions) of one row of probabilities for each region."""
    chances = np.array(regions, np.float32).T
    return np.concatenate([1 - chances.max(-1, keepdims=True), chances], -1)


def test_names_become_label_ids():
    rule = with_regions(LabelRule(LABELS, [[1], [2], [4]], "as told"), BRATS)
    assert rule.classes == ["whole", "core", "enhancing"]
    assert (rule.labels, rule.regions) == (LABELS, [[1, 2, 3], [1, 3], [3]])
    assert rule.label_ids == [[1], [2], [4]]


def test_later_regions_overwrite_and_each_writes_what_the_next_leaves():
    plan = plan_of(BRATS)
    chances = with_background([0.1, 0.9, 0.9, 0.9, 0.2], [0.1, 0.1, 0.8, 0.9, 0.2], [0.1, 0.1, 0.2, 0.7, 0.6])
    # nothing; whole only: edema; core: necrosis; enhancing; enhancing alone, which the others doubt
    assert decoded(chances, plan.regions).tolist() == [0, 2, 1, 3, 3]
    assert plan.num_outputs == 3
    masks = [
        class_mask(chances, decoded(chances, plan.regions), index, plan.regions).tolist()
        for index in range(3)
    ]
    assert masks == [
        [False, True, True, True, True],
        [False, False, True, True, True],
        [False, False, False, True, True],
    ]


def test_nested_regions_come_back_from_a_label_image_and_crossed_ones_do_not():
    assert told_by_labels(plan_of(BRATS).regions)
    crossed = plan_of(CROSSED)
    assert not told_by_labels(crossed.regions)
    chances = with_background([0.9, 0.1], [0.1, 0.9])
    assert class_mask(chances, decoded(chances, crossed.regions), 1, crossed.regions).tolist() == [
        False,
        True,
    ]


def test_the_reason_names_order_and_loss():
    assert explained([[1, 2, 3], [1, 3], [3]], list(BRATS), LABELS) == (
        "one sigmoid each; written in this order, later over earlier: whole as edema, core as necrosis, "
        "enhancing as enhancing"
    )
    assert "cannot tell the regions of enhancing" in explained([[1, 2], [2, 3]], list(CROSSED), LABELS)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"whole": ["oedema"]}, r"data.regions.whole: expected names of labels \(`necrosis`, .*got `oedema`"),
        ({"core": ["enhancing"], "whole": LABELS}, "every label of it is also in a later region"),
    ],
)
def test_regions_that_cannot_be(regions, message):
    with pytest.raises(ConfigError, match=message):
        label_ids_of(regions, LABELS)


def test_exclusive_classes_are_decoded_as_ever():
    plan = plan_of(BRATS).model_copy(update={"regions": [], "labels": [], "classes": LABELS})
    assert decoded(np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]), plan.regions).tolist() == [0, 3]
    assert (plan.num_outputs, plan.members(1), plan.label_names) == (4, [2], LABELS)


def test_plans_go_to_a_file_and_those_of_before_still_load(tmp_path):
    save_plan(plan_of(BRATS), tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan_of(BRATS)
    old = plan_of(BRATS).model_dump(exclude={"labels", "regions", "ignore_label"})
    assert Plan.model_validate(old).regions == []
