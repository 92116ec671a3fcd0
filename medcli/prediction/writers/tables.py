"""Tables with a row per case."""

import csv
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path

from medcli.errors import RunError
from medcli.files import atomic_path
from medcli.refusal.learned import Answer


class Table:
    """A CSV with a row per case, in the order of the cases."""

    def __init__(self, path: Path, header: Sequence[str], order: Sequence[str]):
        self.path = path
        self.header = list(header)
        self.order = order
        self.rows: dict[str, list[str]] = {}

    def flush(self) -> None:
        with atomic_path(self.path) as path, open(path, "w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(self.header)
            table.writerows(self.rows[name] for name in self.order if name in self.rows)

    def keep(self, names: set[str]) -> set[str]:
        if not self.path.is_file():
            return set()
        with open(self.path, newline="", encoding="utf-8") as stream:
            header, *rows = [*csv.reader(stream)] or [[]]
        if header != self.header:
            raise RunError(f"{self.path}: the columns are not this model's classes; start anew with --force.")
        self.rows = {row[0]: row for row in rows if len(row) == len(header) and row[0] in names}
        return set(self.rows)


LABELS, BOXES, MASKS = ("decision", "set"), ("found", "controlled"), ("labels",)
"""Columns of decisions.csv that only one task has: the decision by the threshold and the labels that cannot be
excluded; how many boxes are in either file; which labels occur."""


class Decisions(Table):
    """`decisions.csv`, for every task: the columns of the task, then

    refer      why the case is referred to a person, codes of `medcli.refusal.codes` joined by `|`; empty: answered
    p_unlike   how often a usual case is as unlike the training cases
    quality    classification: probability of the answer; else expected F1 or Dice
    note       what the gate found, with its numbers
    """

    def __init__(self, folder: Path, order: Sequence[str], own: Sequence[str]):
        super().__init__(
            folder / "decisions.csv", ["case", *own, "refer", "p_unlike", "quality", "note"], order
        )

    def add(
        self,
        case: str,
        own: Sequence[str],
        answer: Answer | None,
        reasons: Sequence[str] = (),
        quality: float = nan,
    ) -> None:
        """`reasons` and `quality` are those of the task itself, in front of what the answer says."""
        answer = answer or Answer()
        quality = quality if isfinite(quality) else answer.quality
        codes = dict.fromkeys([*filter(None, reasons), *answer.reasons])
        numbers = [f"{value:.4g}" if isfinite(value) else "" for value in (answer.p, quality)]
        self.rows[case] = [case, *own, "|".join(codes), *numbers, " ".join(answer.notes)]
