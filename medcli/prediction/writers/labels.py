"""Segmentation: label images, and maps of probabilities where they are asked for."""

from pathlib import Path

import numpy as np

from medcli.case import Case
from medcli.image import Image
from medcli.io.writers import write_labels, write_map, write_probabilities
from medcli.prediction.result import Prediction
from medcli.prediction.writers.tables import Decisions
from medcli.preprocessing.plan import Plan

MAPS = ("uncertainty", "disagreement")
"""Fields of `Prediction` that become one image each."""


class LabelsWriter:
    """One label image per case, named like the case; probabilities and outer masks beside it when asked for.

    An outer mask is 0 or 1: `CASE_outer`, with several labels one file each, `CASE_outer_LABEL`. So is the mask of a
    region, `CASE_region_NAME`: of those that may overlap when asked for, or where the label image cannot tell them.
    """

    def __init__(self, folder: Path, plan: Plan, decisions: Decisions | None = None):
        self.folder = folder
        self.plan = plan
        self.ids = output_ids(plan)
        self.decisions = decisions

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.labels is not None
        if prediction.label_probabilities is not None:
            write_probabilities(self.folder / case.name, prediction.label_probabilities, image)
        for name, values in self._maps(case.name, prediction).items():
            write_map(self.folder / name, values, image)
        for names, masks in (
            (self._outer(case.name), prediction.outer),
            (self._regions(case.name), prediction.region_masks),
        ):
            for name, mask in zip(names, masks or (), strict=False):
                write_labels(self.folder / name, mask.astype(np.uint8), image)
        write_labels(self.folder / case.name, self._values(prediction), image)
        if self.decisions is not None:
            self.decisions.add(case.name, ["|".join(self._present(prediction))], prediction.answer)

    def flush(self) -> None:
        """Every label image is on disk already."""
        if self.decisions is not None:
            self.decisions.flush()

    def keep(self, names: set[str]) -> set[str]:
        names = {name for name in names if any(path.is_file() for path in self._files(name))}
        return names if self.decisions is None else self.decisions.keep(names)

    def remove(self, names: set[str]) -> None:
        for name in names:
            values = (
                self.folder / f"{name}_{kind}{suffix}"
                for kind in ("prob", *MAPS)
                for suffix in (".nii.gz", ".npy")
            )
            masks = (
                path for file in (*self._outer(name), *self._regions(name)) for path in self._files(file)
            )
            for path in (*self._files(name), *values, *masks):
                path.unlink(missing_ok=True)
        (self.folder / "decisions.csv").unlink(missing_ok=True)

    def _values(self, prediction: Prediction) -> np.ndarray:
        """What the image of a case holds."""
        return self.ids[prediction.labels]

    @staticmethod
    def _maps(case: str, prediction: Prediction) -> dict[str, np.ndarray]:
        maps = {f"{case}_{kind}": getattr(prediction, kind) for kind in MAPS}
        return {name: values for name, values in maps.items() if values is not None}

    def _outer(self, case: str) -> list[str]:
        if self.plan.num_classes == 1:
            return [f"{case}_outer"]
        return [f"{case}_outer_{safe_name(name)}" for name in self.plan.classes]

    def _regions(self, case: str) -> list[str]:
        return [f"{case}_region_{safe_name(name)}" for name in self.plan.classes if self.plan.regions]

    def _present(self, prediction: Prediction) -> list[str]:
        """Names of the classes that occur."""
        if prediction.region_masks is not None:
            there = [bool(mask.any()) for mask in prediction.region_masks]
        else:
            assert prediction.labels is not None
            occur = set(np.unique(prediction.labels).tolist())
            there = [not occur.isdisjoint(self.plan.members(index)) for index in range(self.plan.num_classes)]
        return [name for name, yes in zip(self.plan.classes, there, strict=True) if yes]

    def _files(self, name: str) -> tuple[Path, ...]:
        return tuple(self.folder / f"{name}{suffix}" for suffix in (".nii.gz", ".png"))


def safe_name(text: str) -> str:
    """With underscores for what does not belong into a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)


def output_ids(plan: Plan) -> np.ndarray:
    """(1 + labels,) value in the file for every label: the id that it has in the user's own files.

    When several ids mean one label, or masks are 0/255, they are 1, 2, ... in the order of the labels.
    """
    count = len(plan.label_names)
    ids = [values[0] for values in plan.label_ids if len(values) == 1]
    if len(ids) != count or len(set(ids)) != len(ids) or min(ids) < 1 or max(ids) > 65_535:
        ids = list(range(1, count + 1))
    return np.array([0, *ids], np.uint8 if max(ids) < 256 else np.uint16)
