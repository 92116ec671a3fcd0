"""Which changes suit which images."""

import pytest

from medcli.config.schema import Config
from medcli.preprocessing.plan_augment import decide_augmentations
from medcli.preprocessing.scan import Scan

CONFIG = Config(task="segmentation")


def decide(modality="", spacing=(1.5, 1, 1), patch=(40, 56, 40), ct=False, config=CONFIG):
    reasons: dict[str, str] = {}
    names = decide_augmentations(config, [Scan("", modality=modality)] * 3, spacing, patch, ct, reasons)
    return names, reasons.get("augmentations", "")


def test_ct_keeps_its_units():
    names, why = decide("CT", ct=True)
    assert {"gamma", "inverted_gamma", "bias_field"}.isdisjoint(names)
    assert "CT: no gamma" in why


def test_bias_field_is_for_mr_alone():
    assert "bias_field" in decide("MR")[0]
    assert "bias_field" not in decide("PT")[0]
    assert "bias_field" not in decide("")[0]


@pytest.mark.parametrize(
    ("spacing", "patch", "tilted"),
    [((2, 1, 1), (40, 56, 40), True), ((2.1, 1, 1), (40, 56, 40), False), ((1, 1, 1), (15, 56, 40), False),
     (None, (40, 56, 40), False), (None, (256, 256), False)],
)  # fmt: skip
def test_only_nearly_isotropic_volumes_are_turned_out_of_their_planes(spacing, patch, tilted):
    assert ("tilt" in decide(spacing=spacing, patch=patch)[0]) == tilted


def whole(shape=(28, 28), ct=False, config=None, **scan):
    reasons: dict[str, str] = {}
    config = config or Config(task="classification")
    names = decide_augmentations(config, [Scan("", shape=shape, **scan)] * 3, None, None, ct, reasons)
    return set(names), reasons["augmentations"]


def test_whole_images_are_changed_by_their_kind():
    common = {"rotate", "scale", "shift", "noise", "brightness", "contrast"}
    assert whole()[0] == common | {"gamma", "erase"} and "radiographs" in whole()[1]
    assert whole(grey=False)[0] == common | {"gamma", "erase"} and "no side is up" in whole(grey=False)[1]
    assert whole((9, 40, 40), ct=True, modality="CT")[0] == common
    assert whole((9, 40, 40), modality="MR")[0] == common | {"gamma", "bias_field"}
    chosen = Config(task="classification", train={"augmentations": ["erase"]})
    assert whole(config=chosen) == ({"erase"}, "set in the config")


def test_the_config_comes_first_and_detection_has_none():
    chosen = Config(task="segmentation", train={"augmentations": ["noise"]})
    assert decide("CT", ct=True, config=chosen) == (["noise"], "set in the config")
    assert decide(config=Config(task="detection"))[0] is None
