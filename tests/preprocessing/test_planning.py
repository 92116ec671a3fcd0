"""What `auto` becomes."""

import numpy as np
import pytest

from medcli.config.schema import Config
from medcli.errors import ConfigError, DataError
from medcli.preprocessing.labels import LabelRule
from medcli.preprocessing.plan import load_plan, save_plan
from medcli.preprocessing.planning import Evidence, make_plan
from medcli.preprocessing.scan import Scan, Values

RULE = LabelRule(["a", "b"], [[1], [2]], "test")


def seen(shape, spacing=None, *, channels=1, grey=True, low=0.0, high=255.0, **settings) -> Scan:
    ramp = Values.of(np.linspace(low, high, 1001))
    return Scan(
        "", shape=shape, spacing=spacing, channels=channels, grey=grey, values=(ramp,) * channels, **settings
    )


def plan_of(task, scans, *, stacked=False, **sections):
    return make_plan(Config(task=task, **sections), Evidence(scans, scans, stacked), RULE)


def test_small_grey_pictures():
    plan = plan_of("classification", [seen((28, 28), dtype="uint8")] * 3)
    assert (plan.color, plan.channels, plan.size, plan.batch_size) == ("grey", 1, [28, 28], 64)
    rule = plan.intensity[0]
    assert rule.kind == "fixed"
    assert rule.mean == pytest.approx(127.5)
    assert rule.std == pytest.approx(255 / 12**0.5, rel=1e-2)  # of a uniform distribution
    assert set(plan.reasons) >= {"classes", "color", "size", "spacing", "crop", "intensity", "batch_size"}


@pytest.mark.parametrize(
    ("shape", "size"),
    [((256, 300), [224, 224]), ((300, 600), [112, 224]), ((100, 110), [108, 108]), ((50, 200), [52, 200])],
)
def test_classification_size(shape, size):
    assert plan_of("classification", [seen(shape)]).size == size


@pytest.mark.parametrize(
    ("shape", "size"),
    [((480, 640), [480, 640]), ((960, 1280), [480, 640]), ((470, 630), [480, 640]), ((64, 90), [64, 96])],
)
def test_detection_size(shape, size):
    plan = plan_of("detection", [seen(shape, channels=3, grey=False)])
    assert (plan.size, plan.batch_size, plan.color) == (size, 8, "rgb")


def test_rgb_files_that_are_all_grey_become_grey():
    assert plan_of("classification", [seen((28, 28), channels=3, grey=True)]).channels == 1
    assert (
        plan_of(
            "classification", [seen((28, 28), channels=3), seen((28, 28), channels=3, grey=False)]
        ).channels
        == 3
    )


def test_stacked_channels_are_no_colours():
    plan = plan_of("segmentation", [seen((64, 64), channels=2, grey=False)], stacked=True)
    assert (plan.color, plan.channels, len(plan.intensity)) == ("as_is", 2, 2)


def test_hippocampus_like_volumes():
    """36 x 50 x 35: halved three times to at least 4, so multiples of 8, rounded up: 40 x 56 x 40."""
    plan = plan_of("segmentation", [seen((36, 50, 35), (1.0, 1.0, 1.0), modality="MR")])
    assert (plan.patch, plan.stages, plan.strides) == ([40, 56, 40], 4, [[1, 1, 1]] + [[2, 2, 2]] * 3)
    assert plan.batch_size == 7  # 600,000 / 89,600
    assert plan.intensity[0].kind == "zscore"
    assert plan.reorient
    assert plan.size is None


def test_anisotropic_volumes():
    """5 mm planes wait until rows and columns have reached 2.8 mm, which 5 is not more than twice of."""
    scans = [seen((30, 320, 320), (5.0, 0.7, 0.7))] * 4
    assert plan_of("segmentation", scans).planes == 3
    plan = plan_of("segmentation", scans, model={"planes": "all"})
    assert plan.spacing == [5.0, 0.7, 0.7]
    assert plan.strides[:3] == [[1, 1, 1], [1, 2, 2], [1, 2, 2]]
    assert plan.strides[3] == [2, 2, 2]
    assert np.prod(plan.patch) <= 300_000 * 1.1
    assert all(
        edge % total == 0 for edge, total in zip(plan.patch, np.prod(plan.strides, axis=0), strict=True)
    )
    assert all(
        edge / total >= 4 for edge, total in zip(plan.patch, np.prod(plan.strides, axis=0), strict=True)
    )


def test_spacing_of_a_very_coarse_axis():
    """Median 6 mm against 1 mm, few planes: its 10th percentile. Of 3, 6, 6, 6, 6: 3 + 0.4 * 3 = 4.2."""
    scans = [seen((20, 200, 200), (step, 1.0, 1.0)) for step in (3.0, 6.0, 6.0, 6.0, 6.0)]
    plan = plan_of("segmentation", scans)
    assert plan.spacing == [4.2, 1.0, 1.0]
    assert "10th percentile" in plan.reasons["spacing"]


def test_ct_is_clipped_to_the_labelled_voxels():
    inside = Values.of(np.linspace(0, 200, 1001))
    plan = plan_of(
        "segmentation",
        [seen((20, 20, 20), (1.0,) * 3, low=-1000, high=1500, modality="CT", inside=(inside,))],
    )
    rule = plan.intensity[0]
    assert (rule.kind, rule.low, rule.high, rule.mean) == ("fixed", 1.0, 199.0, 100.0)


def test_values_like_hounsfield_units_are_taken_for_ct():
    assert plan_of("segmentation", [seen((9, 9, 9), low=-1024, high=1500)]).intensity[0].kind == "fixed"
    assert plan_of("segmentation", [seen((9, 9, 9), low=0, high=1500)]).intensity[0].kind == "zscore"
    assert (
        plan_of("segmentation", [seen((9, 9, 9), low=-1024, high=1500, modality="PT")]).intensity[0].kind
        == "zscore"
    )


def test_a_named_window():
    plan = plan_of(
        "segmentation", [seen((9, 9, 9), modality="CT", low=-1000, high=900)], preprocess={"window": "lung"}
    )
    assert (plan.intensity[0].low, plan.intensity[0].high) == (-1350, 150)


@pytest.mark.parametrize("window", ["lungs", [5.0, 5.0], [1.0]])
def test_a_bad_window(window):
    with pytest.raises(ConfigError, match=r"preprocess\.window: expected \[low, high\]"):
        plan_of("segmentation", [seen((9, 9, 9))], preprocess={"window": window})


def test_volumes_with_a_wide_empty_border_are_cropped():
    full, bordered = seen((40, 40, 40), foreground=1.0), seen((40, 40, 40), foreground=0.2)
    assert not plan_of("segmentation", [full]).crop
    assert plan_of("segmentation", [bordered, bordered, full]).crop


def test_two_dimensional_patches():
    plan = plan_of("segmentation", [seen((960, 999), channels=3, grey=False)])
    assert (plan.patch, plan.stages, plan.batch_size) == ([256, 256], 5, 8)


def test_a_patch_is_no_larger_than_the_images():
    """100 x 70: halved four times leaves 6 and 4, so multiples of 16."""
    assert plan_of("segmentation", [seen((100, 70))]).patch == [112, 80]


def test_settings_win_and_say_so():
    plan = plan_of(
        "segmentation", [seen((96, 96, 96), (1.0,) * 3)],
        train={"patch": [32, 48, 64], "batch_size": 3}, model={"stages": 3}, preprocess={"spacing": "native"},
    )  # fmt: skip
    assert (plan.patch, plan.batch_size, plan.stages, plan.spacing) == ([32, 48, 64], 3, 3, None)
    assert {plan.reasons[name] for name in ("patch", "batch_size", "stages", "spacing")} == {
        "set in the config"
    }


def test_more_stages_than_the_patch_allows():
    with pytest.raises(ConfigError, match=r"model\.stages: a patch of 8 x 8 x 8 .*at most 4 stages, got 6"):
        plan_of("segmentation", [seen((32, 32, 32))], train={"patch": [8, 8, 8]}, model={"stages": 6})


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"train": {"patch": [32, 32]}}, r"train\.patch: expected 3 numbers"),
        ({"preprocess": {"spacing": [1.0, 1.0]}}, r"preprocess\.spacing: expected 3 numbers"),
        ({"preprocess": {"size": [64, 64]}}, r"preprocess\.size: expected 3 numbers"),
        ({"preprocess": {"normalize": "fixed", "mean": [1.0, 2.0]}}, r"preprocess\.mean: expected 1 number"),
    ],
)
def test_settings_that_do_not_fit_volumes(section, fault):
    with pytest.raises(ConfigError, match=fault):
        plan_of("segmentation", [seen((32, 32, 32), (1.0,) * 3)], **section)


def test_detection_needs_pictures_in_steps_of_32():
    with pytest.raises(ConfigError, match="expected multiples of 32 for detection, got 100 x 64"):
        plan_of("detection", [seen((64, 64))], preprocess={"size": [100, 64]})
    with pytest.raises(DataError, match="Detection works on pictures"):
        plan_of("detection", [seen((64, 64, 64))])


def test_native_size_needs_one_size():
    with pytest.raises(ConfigError, match="found 2 sizes from 10 x 10 to 12 x 10"):
        plan_of("classification", [seen((10, 10)), seen((12, 10))], preprocess={"size": "native"})


def test_a_plan_comes_back_from_its_file(tmp_path):
    plan = plan_of("segmentation", [seen((30, 320, 320), (5.0, 0.7, 0.7))])
    save_plan(plan, tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan


def labelled(*values):
    return seen((40, 50), labels={0: 100, **dict.fromkeys(values, 10)})


def test_cases_with_a_class_in_few_of_them_are_drawn_more_often():
    scans = [labelled(1, 2)] + [labelled(1)] * 14 + [labelled()]
    plan = plan_of("segmentation", scans)
    assert plan.oversampling == {"b": 2.0}  # root of (1/4) / (1/16)
    assert (
        "of 16 training cases a in 15, b in 1; with a class in fewer than 25%" in plan.reasons["oversampling"]
    )
    assert plan_of("segmentation", scans, train={"rare_below": 0}).oversampling == {}
    assert plan_of("segmentation", scans, train={"rare_below": 1.0}).oversampling == {"a": 1.033, "b": 4.0}
    assert plan_of("segmentation", [labelled(1, 2)] * 4).oversampling == {}


def test_a_region_is_as_rare_as_all_of_its_labels():
    rule = LabelRule(["whole", "core"], [[1], [2]], "test", labels=["a", "b"], regions=[[1, 2], [2]])
    scans = [labelled(2)] + [labelled(1)] * 15
    plan = make_plan(Config(task="segmentation"), Evidence(scans, scans), rule)
    assert plan.oversampling == {"core": 2.0}
