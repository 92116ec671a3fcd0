"""Gates."""

import math

import pytest

from medcli.errors import UsageError
from medcli.evaluation.gates import check_known, parse_gate, unmet


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dice>=0.85", "dice>=0.85"),
        ("auroc > 0.9", "auroc>0.9"),
        ("hd95<=5", "hd95<=5"),
        ("dice/left lung < .5", "dice/left lung<0.5"),
        ("dice/a>b>=1e-1", "dice/a>b>=0.1"),
    ],
)
def test_what_a_gate_looks_like(text, shown):
    gate = parse_gate(text)
    assert str(gate) == shown


@pytest.mark.parametrize("text", ["", "dice", "dice=0.8", "dice>=", ">=0.8", "dice>=good", "dice>=nan"])
def test_what_is_none(text):
    with pytest.raises(UsageError, match=r"expected a measure, one of >= > <= < and a number"):
        parse_gate(text)


@pytest.mark.parametrize(
    ("gate", "value", "met"),
    [
        ("dice>=0.5", 0.5, True),
        ("dice>0.5", 0.5, False),
        ("dice<=0.5", 0.5, True),
        ("dice<0.5", 0.5, False),
        ("dice<0.5", math.nan, False),
    ],
)
def test_when_it_is_met(gate, value, met):
    assert (unmet([parse_gate(gate)], {"dice": value}) == []) is met


def test_a_message_says_what_was_found():
    assert unmet([parse_gate("dice>=0.85")], {"dice": 0.81324}) == ["dice>=0.85 (found 0.8132)"]


def test_unknown_measures_list_the_known():
    with pytest.raises(
        UsageError, match=r"'dise' \(did you mean 'dice'\?\); the measures .* are dice, iou\."
    ):
        check_known([parse_gate("dise>0")], ["dice", "iou"])
