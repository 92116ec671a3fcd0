"""The answers for a reader in a hurry, from hand-made numbers."""

from types import SimpleNamespace

import pytest

from medcli.evaluation import short

NAN = float("nan")


def found(**content):
    """Findings with these entries of metrics.json."""
    return SimpleNamespace(
        content={"cases": 200, "patients": 100} | content,
        title=lambda name: {"dice": "Dice", "auroc": "AUROC"}[name],
        measured=SimpleNamespace(overall={"accuracy": 0.8}, intervals={"accuracy": (0.7, 0.9)}),
    )


def plain(texts):
    return [text.replace("\u00a0", " ") for text in texts]


def gap(value, p, *, beyond, worst="F", best="M"):
    return {
        "columns": ["sex"], "gap": "equal_opportunity", "value": value, "low": value - 0.1, "high": value + 0.1,
        "measure": "sensitivity", "worst": worst, "best": best, "p": p, "p_holm": p, "beyond_chance": beyond,
    }  # fmt: skip


def group(name, patients, too_few=None):
    return {
        "columns": ["sex"],
        "group": name,
        "cases": 2 * patients,
        "patients": patients,
        "too_few": too_few,
    }


def test_for_whom_it_is_worse():
    groups = [group("F", 50), group("M", 46), group("unknown", 4, "too few: 4 of at least 10 patients")]
    texts = short._worse(found(groups={"groups": groups, "gaps": [gap(0.2, 0.004, beyond=True)]}))
    assert texts == [
        "More than chance: sex: difference in sensitivity 0.200 (0.100 to 0.300), worst F, best M (p = 0.004, "
        "corrected).",
        "Too few patients to say: sex unknown (4 patients).",
    ]
    texts = short._worse(found(groups={"groups": groups[:2], "gaps": [gap(0.2, 0.4, beyond=False)]}))
    assert len(texts) == 1 and texts[0].startswith("No gap between groups is larger than chance explains")
    texts = short._worse(found(groups={"groups": groups, "gaps": [gap(NAN, NAN, beyond=False, worst="")]}))
    assert texts[0].startswith("Not known: fewer than two groups")
    assert short._worse(found()) == [short.NO_COLUMNS]


def test_when_it_refuses():
    bounds = {"answered": (0.6, 0.8), "accuracy_answered": (0.85, 0.95), "set_coverage": (0.88, 0.94)}
    sets = {"asked_coverage": 0.9, "answered": 0.7, "accuracy_answered": 0.92, "set_coverage": 0.91}
    sets |= {"intervals": bounds, "referred": {"several_labels": 50, "no_label": 10}}
    assert plain(short._refuses(found(refusal={"sets": sets}))) == [
        "It answers 70 % (60 % to 80 %) of the cases and refers the others to a person: several_labels 25 % (50) and "
        "no_label 5.0 % (10).",
        "Of those answered 92.0 % (85 % to 95.0 %) are right, against 80 % (70 % to 90 %) of all.",
        "Its label sets hold the truth in 91.0 % (88 % to 94.0 %) of the cases; 90 % were asked for.",
    ]
    assert short._refuses(found()) == [short.NEVER]


def test_when_it_refuses_by_all_rules():
    referral = {
        "referred": {
            "share": {"value": 0.2, "interval": (0.15, 0.25), "cases": 200},
            "by_reason": {"modality": 30, "low_quality": 10},
            "quality_answered": {"value": 0.9, "interval": (0.88, 0.92), "cases": 160},
            "quality_referred": {"value": NAN, "interval": (NAN, NAN), "cases": 0},
        },
        "promises": {
            "liver": {"promised": True, "asked": 0.1, "missed": 0.05, "interval": (0.02, 0.08)},
            "spleen": {"promised": False, "asked": 0.1, "missed": 0.3, "interval": (0.2, 0.4)},
        },
    }
    assert plain(short._refuses(found(task="segmentation", referral=referral))) == [
        "It refers 20 % (15 % to 25 %) of the cases to a person: modality 15 % (30) and low_quality 5.0 % (10).",
        "Mean Dice of the 160 answered: 0.900 (0.880 to 0.920).",
        "Of liver its cautious answer misses 5.0 % (2.0 % to 8.0 %); at most 10 % were asked for.",
        "Of spleen it cannot promise to miss at most 10 %.",
    ]


def change(value, difference, low, high):
    entry = {"value": value, "difference": difference, "difference_low": low, "difference_high": high}
    return [{"strength": strength, "level": "much", "measures": {"dice": entry}} for strength in (1, 3, 5)]


@pytest.mark.parametrize("harmless", [False, True])
def test_what_makes_it_worse(harmless):
    corruptions = {"blur": {"title": "Blur", "strengths": change(0.9, 0.0, -0.01, 0.01)}}
    if not harmless:
        corruptions["noise"] = {"title": "Noise", "strengths": change(0.5, -0.4, -0.5, -0.3)}
    robustness = {"measures": ["dice"], "cases": 20, "patients": 10, "clean": {"dice": {"value": 0.9}}}
    texts = short._disturbed(found(robustness=robustness | {"corruptions": corruptions, "notes": []}))
    assert texts[0].startswith(
        f"Images were disturbed in {'1 way' if harmless else '2 ways'}, on 20 cases of 10"
    )
    assert texts[1:] == (
        ["None lowers Dice by more than chance at strength 3 of 5."]
        if harmless
        else ["Noise (much, strength 3 of 5): Dice 0.500, a change of -0.400 (-0.500 to -0.300)."]
    )
    assert short._disturbed(found())[0].startswith("Not measured")
    note = "Robustness was not measured: it would take an hour."
    assert short._disturbed(found(robustness={"corruptions": {}, "notes": [note]})) == [note]
