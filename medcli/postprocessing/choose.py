"""Which rule raises the Dice on the validation part by more than chance would."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.metrics.bootstrap import divide
from medcli.postprocessing.rules import Kind, Rule, holes, kept_objects, sized_objects
from medcli.preprocessing.labels import IGNORE

SHARES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Least sizes that are tried, as shares of the label's median true size in a case."""
FEW_PATIENTS = 8
"""Of fewer validation patients with or without predicted label nothing is learned."""
FOLDS = 5
LEAST_GAIN = 0.002
ERRORS = 2.0
"""So many standard errors must the gain be; where there is none one choice in twenty passes."""


@dataclass(frozen=True)
class Chosen:
    """Attributes:
    rule: For one label.
    gain: Mean gain in Dice for cases that did not choose (cross-validation); 0 when nothing was tried.
    before, after: Mean Dice over the validation cases without and with the rule.
    why: In words.
    """

    rule: Rule
    gain: float
    before: float
    after: float
    why: str


def candidates(sizes: Sequence[float] | np.ndarray) -> list[Rule]:
    """Rules to try for a label, the simplest first.

    Args:
        sizes: Its true size in the cases that have it, in the unit of the rules.
    """
    rules = [Rule(), Rule(kind="largest"), Rule(kind="fill_holes")]
    if len(sizes):
        middle = float(np.median(sizes))
        rules += [Rule(kind="min_size", size=float(f"{middle * share:.2g}")) for share in SHARES]
    return rules


def dice_of_rules(
    truth: np.ndarray, predicted: np.ndarray, label: int, rules: Sequence[Rule], voxel_size: float
) -> np.ndarray:
    """(rules,) Dice of one case after each rule; 1 where neither truth nor prediction has the label.

    Args:
        truth: Label ids; what is `IGNORE` does not count.
        predicted: Label ids, as the network gives them.
    """
    known = truth != IGNORE
    true = truth == label
    mask = predicted == label
    objects, sizes = sized_objects(mask)
    counted = np.bincount(objects[known], minlength=len(sizes))
    hit = np.bincount(objects[true], minlength=len(sizes))
    counted[0] = hit[0] = 0
    values = []
    for rule in rules:
        both, size = hit.sum(), counted.sum()
        if rule.kind == "fill_holes":
            filled = holes(mask) & (predicted == 0) & known
            both, size = both + (filled & true).sum(), size + filled.sum()
        elif rule.kind != "none":
            kept = kept_objects(sizes * voxel_size, rule)
            both, size = hit[kept].sum(), counted[kept].sum()
        values.append(np.nan_to_num(divide(2 * both, size + true.sum()), nan=1.0))
    return np.array(values, float)


def choose(dice: np.ndarray, rules: Sequence[Rule], patients: Sequence[str], *, seed: int = 0) -> Chosen:
    """The best rule, if its choice by other cases raises the Dice of a case clearly; else the first: nothing is done.

    Patients are divided into folds; for each fold the others choose (ties: the simpler rule). The mean gain of all
    cases by what others chose must be at least `LEAST_GAIN` and `ERRORS` standard errors, cases clustered by patient.

    Args:
        dice: (n, rules).
    """
    before = float(dice[:, 0].mean()) if len(dice) else float("nan")
    names, code = np.unique(np.asarray(patients, str), return_inverse=True)
    if len(names) < FEW_PATIENTS:
        why = f"fewer than {FEW_PATIENTS} validation patients, too few to choose by"
        return Chosen(rules[0], 0.0, before, before, why)
    fold = np.random.default_rng(seed).permutation(len(names))[code] % FOLDS
    gains = np.empty(len(dice))
    for number in range(FOLDS):
        own = fold == number
        best = int(dice[~own].mean(0).argmax())
        gains[own] = dice[own, best] - dice[own, 0]
    gain, best = float(gains.mean()), int(dice.mean(0).argmax())
    sums = np.bincount(code, gains - gain)
    error = float(np.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(dice))
    if best == 0 or gain < max(LEAST_GAIN, ERRORS * error):
        why = f"no rule raises the Dice of cases that did not choose it clearly (best {gain:+.4f} +- {error:.4f})"
        return Chosen(rules[0], gain, before, before, why)
    why = f"cases that did not choose it gain {gain:+.4f} +- {error:.4f}"
    return Chosen(rules[best], gain, before, float(dice[:, best].mean()), why)


KINDS: dict[Kind, str] = {
    "none": "all is kept",
    "largest": "only the largest object is kept",
    "min_size": "objects below {size:g} {unit} are removed",
    "fill_holes": "holes are filled",
}
"""Rules in words."""
