"""When a patch sees too little, and what coarse networks then look at."""

import math

import numpy as np
import pytest

from medcli.errors import ConfigError
from medcli.preprocessing.coarse import Answered, coarse_image, on_fine_grid
from medcli.preprocessing.geometry import resize
from medcli.preprocessing.plan_cascade import seen as share_seen
from tests.preprocessing.test_planning import plan_of, seen

LARGE = [seen((80, 120, 100), (3.0, 1.0, 1.0))] * 10
PATCH = {"train": {"patch": [24, 40, 40]}}


def test_a_patch_sees_the_product_of_its_shares_of_the_axes():
    assert share_seen((20, 30), (40, 40)) == pytest.approx(0.5 * 0.75)
    assert share_seen((64, 30), (40, 60)) == pytest.approx(0.5), "no more than there is"


def test_auto_follows_what_a_patch_sees_the_cases_and_the_time():
    plan = plan_of("segmentation", LARGE, **PATCH)
    share = 24 * 40 * 40 / (80 * 120 * 100)
    assert plan.cascade is not None
    assert (
        f"less than 25%; a patch of 24 x 40 x 40 sees {share:.0%} of the median image of 80 x 120 x 100"
        in (plan.reasons["cascade"])
    )
    few = plan_of("segmentation", LARGE[:9], **PATCH)
    assert few.cascade is None and few.input_channels == 1
    assert (
        few.reasons["cascade"].startswith("off;") and "at least 10 training cases" in few.reasons["cascade"]
    )
    hasty = plan_of("segmentation", LARGE, train={**PATCH["train"], "max_minutes": 0.1})
    assert hasty.cascade is None and "fewer than 1000: give more time" in hasty.reasons["cascade"]
    enough = plan_of(
        "segmentation", [seen((40, 48, 48), (1.0, 1.0, 1.0))] * 10, train={"patch": [32, 32, 32]}
    )
    assert enough.cascade is None, "32^3 of 40 x 48 x 48 is 36 %"
    pictures = plan_of("segmentation", [seen((2000, 3000))] * 10)
    assert pictures.cascade is None and pictures.reasons["cascade"].startswith("off;")
    assert plan_of("segmentation", LARGE, model={"cascade": "off"}, **PATCH).cascade is None


def test_the_coarse_grid_is_the_finest_on_which_a_patch_sees_half():
    plan = plan_of("segmentation", LARGE, model={"cascade": "on"}, **PATCH)
    factors = np.array(plan.cascade.factors)
    assert (factors >= 1).all() and factors[0] < factors[1] == factors[2], "fine axes are made coarser first"
    median = [round(n / factor) for n, factor in zip((80, 120, 100), factors, strict=True)]
    assert share_seen(plan.cascade.patch, median) >= 0.5
    finer = [math.ceil(n / (factor / 1.03**2)) for n, factor in zip((80, 120, 100), factors, strict=True)]
    assert share_seen(plan.cascade.patch, finer) < 0.5
    assert plan.patch == [24, 40, 40] and plan.input_channels == 1 + 2
    deep = plan_of("segmentation", LARGE, model={"cascade": "on", "stages": 4}, train={"patch": [24, 40, 40]})
    assert len(deep.strides) == 4 and deep.cascade.stages == len(deep.cascade.strides)
    coarse = plan.of_coarse()
    assert (coarse.cascade, coarse.input_channels, coarse.spacing) == (None, 1, plan.spacing)
    assert coarse.grid == pytest.approx(np.multiply(plan.spacing, factors))


def test_the_time_is_shared():
    settings = {
        "model": {"cascade": "on"},
        "train": {"max_minutes": 10.0, "patch": [24, 40, 40], "batch_size": 2},
    }
    plan = plan_of("segmentation", LARGE, **settings)
    steps = [plan.cascade.cost["steps"], plan.cost["steps"]]
    seconds = [plan.cascade.cost["seconds_per_step"], plan.cost["seconds_per_step"]]
    assert steps[0] * seconds[0] == pytest.approx(0.85 * 0.2 * 600, rel=0.1)
    assert steps[1] * seconds[1] == pytest.approx(0.85 * 0.6 * 600, rel=0.1)
    assert ("give more time" in plan.reasons["cascade"]) == (steps[0] < 1000)
    settings["train"]["max_minutes"] /= 100
    assert "give more time" in plan_of("segmentation", LARGE, **settings).reasons["cascade"]


@pytest.mark.parametrize(
    ("shape", "sections", "message"),
    [
        ((24, 40, 40), PATCH, "sees all of the median image"),
        ((80, 120, 100), {**PATCH, "data": {"objects": "on"}}, "expected data.objects: off"),
        ((80, 120, 100), {"preprocess": {"size": [64, 64, 64]}}, "expected preprocess.size: auto"),
    ],
)
def test_where_it_cannot_be(shape, sections, message):
    scans = [seen(shape, (1.0, 1.0, 1.0))] * 3
    with pytest.raises(ConfigError, match=message):
        plan_of("segmentation", scans, model={"cascade": "on"}, **sections)


def test_it_is_not_for_networks_on_planes():
    scans = [seen((20, 256, 200), (5.0, 1.0, 1.2))] * 3
    with pytest.raises(ConfigError, match=r"expected model\.planes: all"):
        plan_of("segmentation", scans, model={"cascade": "on"})
    assert plan_of("segmentation", scans, model={"cascade": "on", "planes": "all"}).cascade is not None


@pytest.mark.parametrize(
    ("fine", "factors"), [((21, 30, 17), (1.0, 2.5, 2.3)), ((40, 33), (3.1, 2.2)), ((9, 9, 9), (1, 1, 1))]
)
def test_answers_come_back_part_by_part_as_all_at_once(fine, factors):
    random = np.random.default_rng(0)
    image = random.normal(size=(*fine, 2)).astype(np.float32)
    small = coarse_image(image, factors)
    chances = random.dirichlet((1, 1, 1), small.shape[:-1]).astype(np.float32)
    answers = on_fine_grid(iter(np.array_split(chances, 3)), small.shape[:-1], fine, 2)
    assert answers.dtype == np.uint8
    expected = resize(chances[..., 1:], fine)
    np.testing.assert_allclose(answers / 255, expected, atol=0.5001 / 255 + 1e-6)
    both = Answered(image, answers)
    assert both.shape == (*fine, 4) == np.asarray(both).shape
    window = tuple(slice(1, 4 + axis) for axis in range(len(fine)))
    np.testing.assert_array_equal(both[window], np.asarray(both)[window])
    np.testing.assert_array_equal(both[window][..., :2], image[window])
    np.testing.assert_allclose(both[window][..., 2:], answers[window] / 255, rtol=1e-6)
