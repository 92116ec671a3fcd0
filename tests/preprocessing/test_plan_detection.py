"""What the detector sees and at how many resolutions, decided from the sizes of pictures and boxes."""

import numpy as np
import pytest

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing.plan_augment import decide_detection_augmentations
from medcli.preprocessing.plan_detection import Input, decide_input


def decided(shape, sides, **sections) -> tuple[Input, dict[str, str]]:
    reasons: dict[str, str] = {}
    config = Config.model_validate({"task": "detection", **sections})
    boxes = np.array(sides, float).reshape(-1, 2)
    return decide_input(config, [shape] * 3, [boxes] * 3, reasons), reasons


def test_ordinary_pictures_are_seen_whole_at_three_resolutions():
    seen, reasons = decided((480, 640), [(40, 60), (100, 90)])
    assert seen == Input((480, 640), None, 0, 3)
    assert "sees 0% of the boxes smaller than 16 pixels" in reasons["stages"]


def test_a_quarter_of_small_boxes_asks_for_a_fourth():
    sides = [(12, 12), (50, 50), (50, 50), (50, 50)]
    assert decided((480, 640), sides)[0].stages == 4
    assert decided((480, 640), [*sides, (50, 50)])[0].stages == 3
    # Shrunk to half of its size the picture shows them all below 16 pixels (root of the area).
    assert decided((480, 640), [(30, 33)], preprocess={"size": [256, 320]})[0].stages == 4
    assert decided((480, 640), [(30, 36)], preprocess={"size": [256, 320]})[0].stages == 3
    assert decided((480, 640), [])[0].stages == 3


def test_the_number_of_resolutions_can_be_set():
    assert decided((480, 640), [(90, 90)], model={"stages": 4})[0].stages == 4
    assert decided((480, 640), [(9, 9)], model={"stages": 3})[0].stages == 3
    with pytest.raises(ConfigError, match=r"model\.stages: expected 3 or 4 .*, got 5"):
        decided((480, 640), [(9, 9)], model={"stages": 5})


def test_tiles_are_cut_when_boxes_would_vanish_in_the_whole_picture():
    seen, reasons = decided((2000, 3000), [(20, 30), (30, 44)])
    assert seen == Input(None, (512, 512), 44, 3)  # shrunk 4.7 times the median box would be 6.5 pixels
    assert "4.7 times as long as 448 x 640" in reasons["patch"]
    assert decided((2000, 3000), [(200, 300)])[0].tile is None  # still large enough
    assert decided((700, 900), [(10, 10)])[0].tile is None  # shrunk by 1.4 only
    assert decided((2000, 3000), [])[0].tile is None
    assert decided((2000, 3000), [(20, 30)], preprocess={"size": [640, 960]})[0].tile is None
    assert decided((300, 3000), [(9, 30)])[0].tile == (320, 512)  # no longer than the picture


def test_tiles_overlap_by_the_usual_box_within_limits():
    assert decided((2000, 3000), [(5, 6)])[0].overlap == 32
    assert decided((9000, 9000), [(60, 100), (8, 8), (8, 8)])[0].overlap == 100
    assert decided((480, 640), [(400, 500)], train={"patch": [128, 128]})[0].overlap == 64


def test_tiles_can_be_set():
    assert decided((480, 640), [(90, 90)], train={"patch": [128, 256]})[0] == Input(None, (128, 256), 64, 3)
    fixed = {"train": {"patch": [128, 256]}, "preprocess": {"size": [480, 640]}}
    assert decided((960, 1280), [(90, 90)], **fixed)[0].size == (480, 640)
    with pytest.raises(
        ConfigError, match=r"train\.patch: expected rows and columns that are multiples of 32"
    ):
        decided((480, 640), [(90, 90)], train={"patch": [100, 128]})
    with pytest.raises(ConfigError, match=r"train\.patch: expected at most preprocess\.size \(64 x 64\)"):
        decided((480, 640), [(90, 90)], train={"patch": [96, 64]}, preprocess={"size": [64, 64]})


def test_objects_are_pasted_where_they_or_a_class_are_rare_and_mixed_for_large_networks():
    def names(kinds, classes=2, **sections):
        config = Config.model_validate({"task": "detection", **sections})
        return decide_detection_augmentations(config, kinds, classes, {})

    assert names([[0, 0, 1, 1]] * 5) == ["mosaic", "scale", "brightness", "contrast"]
    assert "paste" in names([[0, 1], [0]])  # 1.5 a case
    assert "paste" in names([[0] * 30, [0] * 29 + [1] * 2])  # 2 of 61 are 6.6 % of an even share
    assert "paste" not in names([[0] * 30, [0] * 29 + [1] * 4])
    assert "mixup" in names([[0, 0, 1, 1]] * 5, model={"size": "large"})
    assert names([[0]], train={"augmentations": ["scale"]}) == ["scale"]
