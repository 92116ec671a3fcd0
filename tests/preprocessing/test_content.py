"""Where a prepared volume holds something."""

import numpy as np

from medcli.preprocessing.content import content_mask
from medcli.preprocessing.plan import Intensity
from tests.preprocessing.test_geometry import plan_of

LIVER = Intensity(kind="fixed", low=-50, high=200, mean=75, std=50)
WIDE = Intensity(kind="fixed", low=-1024, high=1500, mean=-100, std=400)
ZSCORE = Intensity(kind="zscore")


def prepared(values, rule):
    if rule.kind != "fixed":
        return (values[..., None] - values.mean()) / values.std()
    return (np.clip(values[..., None], rule.low, rule.high) - rule.mean) / rule.std


def body():
    """Two planes: noise of air around a ring of tissue with air in it, and air alone."""
    values = np.random.default_rng(0).normal(-1000, 20, (2, 12, 14)).astype(np.float32)
    values[0, 3:9, 4:11] = 60
    values[0, 5:7, 6:9] = -900
    return values, np.pad(np.ones((1, 6, 7), bool), ((0, 1), (3, 3), (4, 3)))


def test_the_body_of_a_ct_with_the_air_in_it_is_content():
    values, expected = body()
    for rule in (LIVER, WIDE):
        np.testing.assert_array_equal(
            content_mask(prepared(values, rule), plan_of(intensity=[rule])), expected
        )


def test_of_other_volumes_only_a_border_of_the_lowest_value_is_none():
    values, expected = body()
    noisy = prepared(values + 1100, ZSCORE)
    found = content_mask(noisy, plan_of(intensity=[ZSCORE]))
    assert found is None or found.mean() > 0.9
    empty = np.where(expected, values + 1100, 0)
    np.testing.assert_array_equal(
        content_mask(prepared(empty, ZSCORE), plan_of(intensity=[ZSCORE])), expected
    )


def test_every_channel_counts():
    values = np.zeros((2, 5, 6, 2), np.float32)
    values[0, 1, 2, 0] = values[0, 3, 4, 1] = 1
    found = content_mask(values, plan_of(channels=2, intensity=[ZSCORE, ZSCORE]))
    assert np.argwhere(found).tolist() == [[0, 1, 2], [0, 3, 4]]


def test_a_constant_or_a_full_volume_leaves_nothing_out():
    assert content_mask(np.zeros((2, 3, 4, 1), np.float32), plan_of(intensity=[ZSCORE])) is None
    full = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1) + 1
    full[0, 1, 1] = 0  # enclosed
    assert content_mask(full, plan_of(intensity=[ZSCORE])) is None
