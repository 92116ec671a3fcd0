"""From the values in label files to ids and names."""

import numpy as np
import pytest

from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError
from medcli.preprocessing.labels import label_rule, map_labels, unknown_ids
from medcli.preprocessing.plan import Intensity, Plan


def rule(found, declared=None, separate_masks=False, **data):
    return label_rule(Data(**data), declared, found, separate_masks=separate_masks)


def mapped(values, label_ids, ignore_label=None):
    plan = Plan(
        task="segmentation",
        dimensions=2,
        classes=["x"] * max(1, len(label_ids)),
        label_ids=label_ids,
        ignore_label=ignore_label,
        channels=1,
        color="grey",
        intensity=[Intensity(kind="none")],
        batch_size=1,
        stages=1,
    )
    result = map_labels(np.array([values], np.int32), plan)
    assert result.dtype == np.uint8
    return result[0].tolist()


def test_masks_of_0_and_255_are_binary():
    found = rule([0, 255])
    assert (found.classes, found.label_ids) == (["foreground"], [])
    assert "0 and 255 only" in found.reason
    assert mapped([0, 255, 1, -1], found.label_ids) == [0, 1, 1, 0]


def test_one_named_class_takes_everything_above_zero():
    assert rule([0, 255], classes=["vessel"]).label_ids == []
    assert rule(range(60), classes=["nucleus"]).label_ids == []


def test_sparse_ids_become_consecutive_and_it_is_said():
    found = rule([0, 3, 205, 420])
    assert found.classes == ["label_3", "label_205", "label_420"]
    assert "mapped to consecutive ids" in found.reason
    assert mapped([0, 205, 420, 3], found.label_ids) == [0, 2, 3, 1]


def test_names_in_the_order_of_sparse_ids():
    found = rule([0, 85, 170], classes=["disc", "cup"])
    assert found.label_ids == [[85], [170]]
    assert "85 = disc, 170 = cup" in found.reason


def test_names_mean_ids_from_one():
    found = rule([0, 1, 2], classes=["anterior", "posterior"])
    assert found.label_ids == [[1], [2]]


def test_a_mapping_joins_ids():
    found = rule([0, 1, 2, 3, 9], classes={"organ": [1, 2], "tumour": 3})
    assert found.classes == ["organ", "tumour"]
    assert mapped([0, 1, 2, 3, 9], found.label_ids) == [0, 1, 1, 2, 0]
    assert unknown_ids(found.label_ids, [0, 1, 2, 3, 9]) == [9]


def test_ids_that_the_data_set_declares():
    found = rule([0, 1, 2], declared={"liver": [2], "spleen": [1]})
    assert (found.classes, found.label_ids) == (["liver", "spleen"], [[2], [1]])


def test_many_values_without_names_are_objects():
    found = rule(range(200))
    assert (found.classes, found.label_ids) == (["foreground"], [])
    assert "number objects" in found.reason


def test_one_file_per_class():
    found = rule([0, 1, 2], classes=["left", "right"], separate_masks=True)
    assert found.label_ids == [[1], [2]]


def test_only_empty_masks():
    with pytest.raises(DataError, match="Every label file is empty"):
        rule([0])


def test_ids_that_never_occur():
    with pytest.raises(DataError, match=r"expected 7, found 1, 2"):
        rule([0, 1, 2], classes={"organ": 7})


def test_two_names_for_binary_masks():
    with pytest.raises(ConfigError, match="expected one name for masks that are binary, got 2"):
        rule([0, 255], classes=["a", "b"], labels_are="binary")


def test_the_ignored_value_is_no_class():
    found = rule([1, 2, 9], ignore_label=9)
    assert (found.classes, found.label_ids, found.ignore_label) == (["label_1", "label_2"], [[1], [2]], 9)
    assert mapped([0, 1, 2, 9], found.label_ids, found.ignore_label) == [0, 1, 2, 255]
    binary = rule([1, 255], ignore_label=255)
    assert mapped([0, 1, 255, 7], binary.label_ids, binary.ignore_label) == [0, 1, 255, 1]


def test_zero_may_mean_unlabelled_where_the_background_has_an_id():
    found = rule([1, 2], classes={"lesion": 2}, ignore_label=0)
    assert mapped([0, 1, 2], found.label_ids, found.ignore_label) == [255, 0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": {"a": 1, "b": 9}}, "the value 9 is also an id of the class b"),
        ({"classes": ["a", "b"], "ignore_label": 0}, "0 needs an id for the background"),
        ({"separate_masks": True}, "expected none with one mask file per class"),
    ],
)
def test_ignored_values_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        rule([1, 2, 9] if "ignore_label" not in settings else [1, 2], **{"ignore_label": 9} | settings)
