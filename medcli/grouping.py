"""Which group a case belongs to: values as they are, numbers in bands, nothing known as a group of its own.

The rules, in this order:

- An empty cell, or a word for it (`UNKNOWN_WORDS`), is the group `unknown`.
- A column is one of numbers when all that is known are numbers (DICOM ages such as 045Y among them) and there
  are more than `MOST_CODES` different ones; fewer are taken for codes, each a group, and so are the numbers of sites.
- Ages (a column with the word `age` in its name, up to 120) are cut at 18, 40, 60 and 80; other numbers at their
  quartiles.
  A band with too few patients is joined with the smaller of its neighbours.
- A column with more than `MOST_GROUPS` values keeps those with most patients; the rest is the group `other`.
- Every pair of columns gives the groups of their intersections.

`ColumnRule` and `GroupRule` keep what was settled on some cases (the cut points, the values that are groups), so that
new cases are put into the same groups.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pydantic import BaseModel, ConfigDict

UNKNOWN = "unknown"
UNKNOWN_WORDS = {
    "",
    "unknown",
    "unk",
    "nan",
    "na",
    "n/a",
    "none",
    "null",
    "missing",
    "not available",
    "?",
    "-",
}
OTHER = "other"
MOST_CODES = 8
MOST_GROUPS = 20
AGES = (18.0, 40.0, 60.0, 80.0)
OLDEST = 120.0

_SITE = re.compile(
    r"(^|[^a-z])(site|hospital|clinic|cent(er|re)|institut(e|ion)|facility|scanner|manufacturer|vendor|device|station)"
    r"s?([^a-z]|$)"
)
_BODY = re.compile(r"(^|[^a-z])(anatom\w*|body|lesion|tumou?r|biopsy|primary|view)([^a-z]|$)")
_AGE = re.compile(r"(^|[^A-Za-z])[Aa][Gg][Ee]([^a-z]|$)|[a-z]Age([^a-z]|$)")
_NUMBER = re.compile(r"^[<>≥≤]?\s*(?P<number>[-+]?\d+(\.\d+)?)\s*(?P<unit>[YMWD+]?)$", re.IGNORECASE)
_YEARS = {"M": 1 / 12, "W": 1 / 52.18, "D": 1 / 365.25}


@dataclass(frozen=True, eq=False)
class Grouping:
    """Attributes:
    columns: One, or two whose intersections these are.
    names: Of the groups, in the order to show them.
    codes: (n,) int, the group of every case.
    """

    columns: tuple[str, ...]
    names: list[str]
    codes: np.ndarray

    @property
    def title(self) -> str:
        return " & ".join(self.columns)

    def key(self, group: int) -> str:
        """As gates and files name it: `sex=F`, `sex=F & age=40-59`."""
        return " & ".join(
            f"{column}={part}"
            for column, part in zip(self.columns, self.names[group].split(_AND), strict=True)
        )


_AND = " & "


class ColumnRule(BaseModel):
    """How the values of one column become groups, settled on some cases and then applied to any others.

    Attributes:
        column: Its name.
        names: The groups in the order to show them; `unknown` comes last, where it occurred.
        cuts: Of a column of numbers, where its bands meet; None: values are groups as they are written.
        whole: All numbers were whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    names: list[str]
    cuts: list[float] | None = None
    whole: bool = True

    @classmethod
    def fit(
        cls, column: str, values: Sequence[str], patients: Sequence[str] | np.ndarray, *, fewest: int
    ) -> "ColumnRule":
        """See the module for the rules; `patients` has one entry per value."""
        texts = [_plain(value) for value in values]
        known = np.array([_is_known(text) for text in texts], bool)
        whose = np.asarray(patients, dtype=str)[known]
        numbers = [as_number(text) for text, there in zip(texts, known, strict=True) if there]
        rest = [] if known.all() else [UNKNOWN]
        if numbers and None not in numbers and len(set(numbers)) > MOST_CODES and not is_site(column):
            values_known = np.array(numbers, float)
            cuts = _cuts(column, values_known, whose, fewest)
            whole = bool((values_known == np.round(values_known)).all())
            return cls(column=column, names=_band_names(cuts, whole) + rest, cuts=cuts, whole=whole)
        labels = [_as_name(text) for text, there in zip(texts, known, strict=True) if there]
        return cls(column=column, names=_most_common(labels, whose) + rest)

    def group(self, value: str) -> str | None:
        """The group of a value; None: the cases that the rule was settled on had nothing like it."""
        text = _plain(value)
        if not _is_known(text):
            return UNKNOWN if UNKNOWN in self.names else None
        if self.cuts is not None:
            number = as_number(text)
            return None if number is None else self.names[int(np.searchsorted(self.cuts, number, "right"))]
        name = _as_name(text)
        if name in self.names:
            return name
        return OTHER if OTHER in self.names else None


class GroupRule(BaseModel):
    """How cases become groups by the values of one or more columns together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: list[ColumnRule]

    @classmethod
    def fit(
        cls,
        columns: Sequence[str],
        groups: Sequence[Mapping[str, str]],
        patients: Sequence[str],
        *,
        fewest: int,
    ) -> "GroupRule":
        """
        Args:
            columns: To divide by.
            groups: Column to value, one mapping per case.
            patients: One per case.
            fewest: Bands of numbers hold at least so many patients where that is possible.
        """
        values = {name: [one.get(name, "") for one in groups] for name in columns}
        return cls(columns=[ColumnRule.fit(name, values[name], patients, fewest=fewest) for name in columns])

    def key(self, groups: Mapping[str, str]) -> str | None:
        """Such as `sex=F & age=40-59`; None: a column is missing, or its value is like none that is known."""
        parts = []
        for rule in self.columns:
            name = rule.group(groups[rule.column]) if rule.column in groups else None
            if name is None:
                return None
            parts.append(f"{rule.column}={name}")
        return _AND.join(parts)

    @property
    def title(self) -> str:
        return _AND.join(rule.column for rule in self.columns)


def too_few(shown: np.ndarray | None, patients: Sequence[str] | np.ndarray, fewest: int) -> str:
    """Why a group is too small for numbers, or "".

    Args:
        shown: (n, k) bool, the classes to tell apart: of some class at least half as many patients must show it, and
            as many not. None: nothing is told apart.
        patients: (n,) of the group's cases.
        fewest: Patients that are needed.
    """
    names = np.asarray(patients, dtype=str)
    count = len(set(names))
    if count < fewest:
        return f"too few: {count} of at least {fewest} patients"
    if shown is None:
        return ""
    half = math.ceil(fewest / 2)
    sides = [(len(set(names[column])), len(set(names[~column]))) for column in np.asarray(shown, bool).T]
    if any(min(side) >= half for side in sides):
        return ""
    if len(sides) > 1:
        return f"too few: no class that at least {half} patients show and {half} do not"
    positive, negative = sides[0]
    return f"too few: {positive} patients with the class and {negative} without, of at least {half}"


def group_cases(
    groups: Sequence[Mapping[str, str]], patients: Sequence[str], *, fewest: int
) -> list[Grouping]:
    """Every column that any case has, then every pair of columns.

    Args:
        groups: Column to value, one mapping per case.
        patients: One per case.
        fewest: Bands of numbers hold at least so many patients where that is possible.
    """
    columns = list(dict.fromkeys(column for one in groups for column in one))
    names = np.asarray(patients, dtype=str)
    alone = [
        group_column(column, [one.get(column, "") for one in groups], names, fewest=fewest)
        for column in columns
    ]
    several = [one for one in alone if len(one.names) > 1]
    return alone + [intersect(first, second) for first, second in combinations(several, 2)]


def group_column(column: str, values: Sequence[str], patients: np.ndarray, *, fewest: int) -> Grouping:
    """One column; see the module for the rules."""
    rule = ColumnRule.fit(column, values, patients, fewest=fewest)
    place = {name: number for number, name in enumerate(rule.names)}
    return Grouping((column,), rule.names, np.array([place[rule.group(value) or ""] for value in values]))


def intersect(first: Grouping, second: Grouping) -> Grouping:
    """The pairs of groups that occur."""
    width = len(second.names)
    pairs, codes = np.unique(first.codes * width + second.codes, return_inverse=True)
    names = [f"{first.names[pair // width]}{_AND}{second.names[pair % width]}" for pair in pairs]
    return Grouping(first.columns + second.columns, names, codes)


def is_site(column: str) -> bool:
    """Whether a column names hospitals or machines; the site of a body or a lesion is none.

    Example:
        >>> [is_site(name) for name in ("site", "ScannerModel", "hospital_id", "anatom_site", "opposite")]
        [True, True, True, False, False]
    """
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", column).lower()
    return bool(_SITE.search(words)) and not _BODY.search(words)


def as_number(text: str) -> float | None:
    """`45`, `45.5`, `90+`, and ages as DICOM writes them (`045Y`, `018M`) in years; None: no number."""
    found = _NUMBER.match(text)
    if found is None:
        return None
    return float(found["number"]) * _YEARS.get(found["unit"].upper(), 1.0)


def _plain(value: str) -> str:
    return " ".join(str(value).split())


def _is_known(text: str) -> bool:
    return text.lower() not in UNKNOWN_WORDS


def _as_name(text: str) -> str:
    """Without the sign that joins the names of two groups."""
    return text.replace(_AND, "&")


def _cuts(column: str, numbers: np.ndarray, patients: np.ndarray, fewest: int) -> list[float]:
    """Where the bands meet: a number that is a cut belongs to the band above it."""
    if _AGE.search(column) and numbers.min() >= 0 and numbers.max() <= OLDEST:
        cuts = list(AGES)
    else:
        cuts = sorted({float(f"{cut:.3g}") for cut in np.quantile(numbers, [0.25, 0.5, 0.75])})
    while cuts:
        band = np.searchsorted(cuts, numbers, side="right")
        sizes = [len(set(patients[band == number])) for number in range(len(cuts) + 1)]
        smallest = int(np.argmin(sizes))
        if sizes[smallest] >= fewest:
            break
        # Cut i stands between bands i and i + 1.
        sides = [cut for cut in (smallest - 1, smallest) if 0 <= cut < len(cuts)]
        del cuts[min(sides, key=lambda cut: sizes[cut] if cut < smallest else sizes[cut + 1])]
    return cuts


def _band_names(cuts: Sequence[float], whole: bool) -> list[str]:
    return [_band_name(number, cuts, whole) for number in range(len(cuts) + 1)]


def _band_name(number: int, cuts: Sequence[float], whole: bool) -> str:
    if not cuts:
        return "any number"
    if number == 0:
        return f"<{cuts[0]:g}"
    if number == len(cuts):
        return f"{cuts[-1]:g}+"
    low, high = cuts[number - 1], cuts[number]
    if not whole or high != round(high):
        return f"{low:g} to <{high:g}"
    return f"{low:g}-{high - 1:g}" if high - 1 > low else f"{low:g}"


def _most_common(labels: Sequence[str], patients: np.ndarray) -> list[str]:
    """The groups by name; of very many those with most patients, and `other` for the rest."""
    names = sorted(set(labels), key=_natural)
    if len(names) <= MOST_GROUPS:
        return names
    members: dict[str, set[str]] = {}
    for label, patient in zip(labels, patients, strict=True):
        members.setdefault(label, set()).add(patient)
    kept = set(sorted(names, key=lambda name: -len(members[name]))[: MOST_GROUPS - 1])
    return [name for name in names if name in kept and name != OTHER] + [OTHER]


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by size before words by letter."""
    number = as_number(text)
    return number is None, number or 0.0, text
