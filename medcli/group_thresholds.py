"""A threshold for each group of cases: learned on the validation part, kept in calibration.json, used by `predict`.

Hardt et al. 2016 (arXiv 1610.02413) reach exactly equal rates by deciding some cases at random, and so does
fairlearn's ThresholdOptimizer. Here the same case always gets the same answer, so rates are as near as the scores
of the validation part allow. Groups are settled on the training part; which of them have enough patients for a
threshold of their own is seen on the validation part.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from medcli.config.schema import Evaluate
from medcli.grouping import GroupRule, too_few
from medcli.metrics.decision import Aim, choose_threshold, nearest_threshold
from medcli.metrics.known import is_known
from medcli.preprocessing.prepared import Record


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AskedGroups(_Kept):
    """`evaluate.group_thresholds`."""

    columns: list[str]
    aim: Literal["own", "equal_opportunity", "equalized_odds"]
    patients: int

    @classmethod
    def of(cls, settings: Evaluate) -> "AskedGroups | None":
        chosen = settings.group_thresholds
        return cls(**chosen.model_dump()) if chosen.columns else None


class Point(_Kept):
    """A group's threshold and what it does on its validation cases; None where undefined."""

    threshold: float
    sensitivity: float | None
    specificity: float | None
    cases: int
    patients: int


class GroupThresholds(_Kept):
    """Attributes:
    rule: Which group a case belongs to.
    points: Group to class to its threshold.
    common: Group to the reason it keeps the common threshold.
    """

    rule: GroupRule
    points: dict[str, dict[str, Point]]
    common: dict[str, str]

    def at(self, groups: Mapping[str, str], common: Mapping[str, float]) -> dict[str, float]:
        """Class to threshold for a case with these values; `common` has those for all."""
        own = self.points.get(self.rule.key(groups) or "", {})
        return {name: own[name].threshold if name in own else value for name, value in common.items()}

    def whose(self, groups: Mapping[str, str]) -> str:
        """Whose threshold a case gets: `sex=F`, or `all` and why."""
        missing = [one.column for one in self.rule.columns if one.column not in groups]
        if missing:
            return f"all: {', '.join(missing)} not given"
        key = self.rule.key(groups)
        if key is None:
            return f"all: a value of {self.rule.title} that the training part had not"
        return key if key in self.points else f"all: {key} had too few validation cases"


def fit_group_thresholds(
    asked: AskedGroups,
    truth: np.ndarray,
    scores: np.ndarray,
    groups: Sequence[Mapping[str, str]],
    patients: Sequence[str],
    *,
    training: Sequence[Record],
    classes: Mapping[str, int],
    common: Mapping[str, float],
    aim: Aim,
) -> GroupThresholds:
    """
    Args:
        truth, scores: (n, k) of the validation cases; a truth of NaN is unknown.
        groups, patients: One per validation case.
        training: Records of the training part, which settle the groups.
        classes: Class to its column, of those that are decided by a threshold.
        common: Class to the threshold for all.
        aim: Of the common threshold; `own` uses it in every group.
    """
    rule = GroupRule.fit(
        asked.columns,
        [record.groups for record in training],
        [record.patient for record in training],
        fewest=asked.patients,
    )
    keys = np.array([rule.key(one) or "" for one in groups], dtype=str)
    whose = np.asarray(patients, dtype=str)
    points: dict[str, dict[str, Point]] = {}
    too_small: dict[str, str] = {}
    for key in sorted(set(keys) - {""}):
        for name, column in classes.items():
            known = is_known(truth[:, column])
            shown, chances = truth[:, column] == 1, scores[:, column]
            inside = np.flatnonzero((keys == key) & known)
            reason = too_few(shown[inside][:, None], whose[inside], asked.patients)
            if reason:
                too_small[key] = reason
                continue
            value = _threshold(asked.aim, aim, shown, chances, inside, common[name], known)
            called = chances[inside] >= value
            points.setdefault(key, {})[name] = Point(
                threshold=value,
                sensitivity=_share(called[shown[inside]]),
                specificity=_share(~called[~shown[inside]]),
                cases=len(inside),
                patients=len(set(whose[inside])),
            )
    return GroupThresholds(
        rule=rule, points=points, common={key: why for key, why in too_small.items() if key not in points}
    )


def _threshold(
    kind: str,
    aim: Aim,
    shown: np.ndarray,
    scores: np.ndarray,
    inside: np.ndarray,
    common: float,
    known: np.ndarray,
) -> float:
    if kind == "own":
        return choose_threshold(shown[inside], scores[inside], aim).value
    called = scores >= common
    sensitivity, specificity = called[shown].mean(), (~called[known & ~shown]).mean()
    if kind == "equal_opportunity":
        return choose_threshold(shown[inside], scores[inside], {"sensitivity": float(sensitivity)}).value
    return nearest_threshold(
        shown[inside], scores[inside], sensitivity=float(sensitivity), specificity=float(specificity)
    )


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
