"""How often the cases with rare classes are drawn: from how many training cases show each class."""

from collections.abc import Sequence
from math import sqrt

from medcli.config.schema import Config
from medcli.preprocessing.labels import LabelRule
from medcli.preprocessing.scan import Scan

RARE_BELOW = 0.25
"""`auto` of `train.rare_below`."""


def decide_oversampling(
    config: Config, rule: LabelRule, training: Sequence[Scan], reasons: dict[str, str]
) -> dict[str, float]:
    """Class to how many times as often its cases are drawn, of the rare classes only.

    The repeat factor of Gupta et al. 2019 ("LVIS", CVPR, section 6.1): sqrt(t / f) for a class in a share f of the
    cases that is below t. A case is drawn by the largest factor of its classes.
    """
    if config.task != "segmentation":
        return {}
    limit = RARE_BELOW if config.train.rare_below == "auto" else config.train.rare_below
    counts = {
        name: sum(_shows(scan, index, rule) for scan in training) for index, name in enumerate(rule.classes)
    }
    total = len(training)
    factors = {
        name: round(sqrt(limit * total / count), 3)
        for name, count in counts.items()
        if 0 < count < limit * total
    }
    listed = ", ".join(f"{name} in {count}" for name, count in counts.items())
    reasons["oversampling"] = (
        f"of {total} training cases {listed}; with a class in fewer than {limit:.0%} of them a case is drawn "
        "root(that share / its own) times as often"
    )
    if config.train.fairness.method == "sampling" and factors:
        reasons["oversampling"] += "; not used, since train.fairness draws the cases"
        return {}
    return factors


def _shows(scan: Scan, index: int, rule: LabelRule) -> bool:
    """Whether a mask holds a class, or one label of a region."""
    if not rule.label_ids:
        return any(value > 0 and value != rule.ignore_label for value in scan.labels)
    labels = rule.regions[index] if rule.regions else [index + 1]
    return any(scan.labels.get(value) for label in labels for value in rule.label_ids[label - 1])
