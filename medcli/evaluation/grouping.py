"""Which group a case belongs to: values as they are, numbers in bands, nothing known as a group of its own.

The rules, in this order:

- An empty cell, or a word for it (`UNKNOWN_WORDS`), is the group `unknown`.
- A column is one of numbers when all that is known are numbers (DICOM ages such as 045Y among them) and there
  are more than `MOST_CODES` different ones; fewer are taken for codes, each a group.
- Ages (a column with the word `age` in its name, up to 120) are cut at 18, 40, 60 and 80; other numbers at their
  quartiles.
  A band with too few patients is joined with the smaller of its neighbours.
- A column with more than `MOST_GROUPS` values keeps those with most patients; the rest is the group `other`.
- Every pair of columns gives the groups of their intersections.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

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
    texts = [" ".join(str(value).split()) for value in values]
    known = np.array([text.lower() not in UNKNOWN_WORDS for text in texts], bool)
    numbers = [as_number(text) for text, there in zip(texts, known, strict=True) if there]
    if numbers and None not in numbers and len(set(numbers)) > MOST_CODES:
        labels, order = _bands(column, np.array(numbers, float), patients[known], fewest)
    else:
        labels = [text.replace(_AND, "&") for text, there in zip(texts, known, strict=True) if there]
        labels, order = _most_common(labels, patients[known])
    if not known.all():
        order = [*order, UNKNOWN]
    place = {name: number for number, name in enumerate(order)}
    codes = np.full(len(texts), place.get(UNKNOWN, -1))
    codes[known] = [place[label] for label in labels]
    return Grouping((column,), order, codes)


def intersect(first: Grouping, second: Grouping) -> Grouping:
    """The pairs of groups that occur."""
    width = len(second.names)
    pairs, codes = np.unique(first.codes * width + second.codes, return_inverse=True)
    names = [f"{first.names[pair // width]}{_AND}{second.names[pair % width]}" for pair in pairs]
    return Grouping(first.columns + second.columns, names, codes)


def as_number(text: str) -> float | None:
    """`45`, `45.5`, `90+`, and ages as DICOM writes them (`045Y`, `018M`) in years; None: no number."""
    found = _NUMBER.match(text)
    if found is None:
        return None
    return float(found["number"]) * _YEARS.get(found["unit"].upper(), 1.0)


def _bands(
    column: str, numbers: np.ndarray, patients: np.ndarray, fewest: int
) -> tuple[list[str], list[str]]:
    """The band of every number, and the bands in order."""
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
    band = np.searchsorted(cuts, numbers, side="right")
    whole = bool((numbers == np.round(numbers)).all())
    names = [_band_name(number, cuts, whole) for number in range(len(cuts) + 1)]
    return [names[number] for number in band], names


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


def _most_common(labels: Sequence[str], patients: np.ndarray) -> tuple[list[str], list[str]]:
    """Labels with the rare ones of very many called `other`, and the groups by name."""
    names = sorted(set(labels), key=_natural)
    if len(names) > MOST_GROUPS:
        members: dict[str, set[str]] = {}
        for label, patient in zip(labels, patients, strict=True):
            members.setdefault(label, set()).add(patient)
        kept = set(sorted(names, key=lambda name: -len(members[name]))[: MOST_GROUPS - 1])
        labels = [label if label in kept else OTHER for label in labels]
        names = [name for name in names if name in kept and name != OTHER] + [OTHER]
    return list(labels), names


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by size before words by letter."""
    number = as_number(text)
    return number is None, number or 0.0, text
