"""Files of single objects: an image of their numbers per case, and one table of all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medcli.case import Case
from medcli.errors import RunError
from medcli.files import read_csv, write_csv
from medcli.image import Image
from medcli.instances.table import columns, object_rows
from medcli.prediction.result import Prediction
from medcli.prediction.writers.labels import LabelsWriter
from medcli.prediction.writers.tables import Decisions
from medcli.preprocessing.plan import Plan

FILE = "objects.csv"


class ObjectsWriter(LabelsWriter):
    """As `LabelsWriter`, with numbers 1, 2, ... of objects in the image, and `objects.csv`, a line per object.

    A number in an image and the same in the table's line of that case mean one object.
    """

    def __init__(self, folder: Path, plan: Plan, order: Sequence[str], decisions: Decisions | None = None):
        super().__init__(folder, plan, decisions)
        self.order = order
        self.columns = ["case", *columns(plan.dimensions)]
        self.rows: dict[str, list[dict]] = {}

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        super().add(case, image, prediction)
        assert prediction.objects is not None
        rows = object_rows(prediction.objects, self.plan.classes, image.spacing)
        self.rows[case.name] = [{"case": case.name, **row} for row in rows]

    def flush(self) -> None:
        super().flush()
        rows = [row for name in self.order for row in self.rows.get(name, [])]
        write_csv(self.folder / FILE, rows, self.columns)

    def keep(self, names: set[str]) -> set[str]:
        path = self.folder / FILE
        if not path.is_file():
            return set()
        names = super().keep(names)
        self.rows = {name: [] for name in names}
        for row in read_csv(path):
            if list(row) != self.columns:
                raise RunError(f"{path}: not a table of objects of this model; start anew with --force.")
            if row["case"] in self.rows:
                self.rows[row["case"]].append(row)
        return names

    def remove(self, names: set[str]) -> None:
        super().remove(names)
        (self.folder / FILE).unlink(missing_ok=True)

    def _values(self, prediction: Prediction) -> np.ndarray:
        assert prediction.objects is not None
        return prediction.objects.ids
