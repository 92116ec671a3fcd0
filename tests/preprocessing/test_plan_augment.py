"""Which changes suit which images."""

import pytest

from medcli.config.schema import Config
from medcli.preprocessing.plan_augment import decide_augmentations, decide_mirrors, one_sided
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
    assert whole(grey=False)[0] == common | {"gamma", "erase"} and "any angle" in whole(grey=False)[1]
    assert whole((9, 40, 40), ct=True, modality="CT")[0] == common
    assert whole((9, 40, 40), modality="MR")[0] == common | {"gamma", "bias_field"}
    chosen = Config(task="classification", train={"augmentations": ["erase"]})
    assert whole(config=chosen) == ({"erase"}, "set in the config")


def test_the_config_comes_first_and_detection_has_none():
    chosen = Config(task="segmentation", train={"augmentations": ["noise"]})
    assert decide("CT", ct=True, config=chosen) == (["noise"], "set in the config")
    assert decide(config=Config(task="detection"))[0] is None


UPRIGHT = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
ALL = ["plane", "row", "column"]


@pytest.mark.parametrize(
    ("task", "scan", "color", "patch", "mirrored"),
    [
        ("segmentation", {"shape": (40, 50, 40), "affine": UPRIGHT}, "as_is", (40, 56, 40), ["column"]),
        ("segmentation", {"shape": (40, 50, 40)}, "as_is", (40, 56, 40), ALL),
        ("segmentation", {"shape": (99, 99)}, "grey", (64, 64), ["row", "column"]),
        ("segmentation", {"shape": (99, 99), "modality": "DX"}, "grey", (64, 64), ["column"]),
        ("segmentation", {"shape": (99, 99)}, "rgb", (64, 64), ["row", "column"]),
        ("classification", {"shape": (99, 99)}, "grey", None, ["column"]),
        ("classification", {"shape": (99, 99)}, "rgb", None, ["row", "column"]),
        ("classification", {"shape": (9, 40, 40)}, "as_is", None, ["column"]),
        ("detection", {"shape": (99, 99)}, "grey", (64, 64), ["column"]),
        ("detection", {"shape": (99, 99)}, "rgb", None, ["row", "column"]),
    ],
)
def test_only_what_has_no_upright_is_mirrored_upside_down(task, scan, color, patch, mirrored):
    reasons: dict[str, str] = {}
    assert (
        decide_mirrors(Config(task=task), [Scan("", **scan)] * 3, ["tumour"], color, patch, reasons)
        == mirrored
    )
    assert reasons["mirrored"]
    chosen = Config(task=task, train={"flips": ["row"]})
    assert decide_mirrors(chosen, [Scan("", **scan)] * 3, ["tumour"], color, patch, reasons) == ["row"]


def test_one_volume_of_unknown_orientation_is_enough_to_mirror_all_axes():
    scans = [Scan("", shape=(40, 50, 40), affine=UPRIGHT), Scan("", shape=(40, 50, 40))]
    assert decide_mirrors(CONFIG, scans, ["tumour"], "as_is", (40, 56, 40), {}) == ALL


@pytest.mark.parametrize(
    ("names", "side"),
    [
        (["liver", "kidney_left"], "kidney_left"),
        (["Right Lung"], "Right Lung"),
        (["lungRight", "heart"], "lungRight"),
        (["lung_l", "lung_r"], "lung_l"),
        (["RT kidney", "LT kidney"], "RT kidney"),
        (["lung_l", "heart"], None),
        (["upright", "bright", "cleft", "R2"], None),
        ([], None),
    ],
)
def test_names_of_one_side(names, side):
    assert one_sided(names) == side


def test_what_is_of_one_side_is_not_mirrored_to_the_other():
    reasons: dict[str, str] = {}
    scans = [Scan("", shape=(40, 50, 40), affine=UPRIGHT)] * 3
    names = ["kidney_left", "kidney_right"]
    assert decide_mirrors(CONFIG, scans, names, "as_is", (40, 56, 40), reasons) == []
    assert "kidney_left is of one side" in reasons["mirrored"]
    eyes = [Scan("", shape=(99, 99), grey=False)] * 3
    assert decide_mirrors(Config(task="classification"), eyes, ["left", "right"], "rgb", None, {}) == ["row"]
