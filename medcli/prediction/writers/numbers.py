"""The file of predicted numbers."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from medcli.case import Case
from medcli.image import Image
from medcli.prediction.result import Prediction
from medcli.prediction.writers.tables import Decisions, Table


class NumbersWriter:
    """`predictions.csv`: case, predicted (in the unit of the target); of several networks also `spread`, the standard
    deviation of what they say; and decisions."""

    def __init__(
        self, folder: Path, order: Sequence[str], decisions: Decisions | None = None, *, members: int = 1
    ):
        self.folder, self.several = folder, members > 1
        header = ["case", "predicted", *(["spread"] if self.several else [])]
        self.predictions = Table(folder / "predictions.csv", header, order)
        self.decisions = decisions

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.number is not None
        row = [case.name, f"{prediction.number:.7g}"]
        if self.several:
            row.append(f"{prediction.spread:.4g}" if isfinite(prediction.spread) else "")
        self.predictions.rows[case.name] = row
        if self.decisions is not None:
            self.decisions.add(case.name, [], prediction.answer)

    def flush(self) -> None:
        self.predictions.flush()
        if self.decisions is not None:
            self.decisions.flush()

    def keep(self, names: set[str]) -> set[str]:
        names = self.predictions.keep(names)
        return names if self.decisions is None else self.decisions.keep(names)

    def remove(self, names: set[str]) -> None:
        for file in ("predictions.csv", "decisions.csv"):
            (self.folder / file).unlink(missing_ok=True)
