"""What a segmentation run learned about its labels' objects: RUN/postprocessing.json.

`train` writes it at its end, from a prediction of the validation part on the prepared grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from medcli.errors import RunError
from medcli.files import sha256, write_text
from medcli.image import Image
from medcli.postprocessing.choose import KINDS, candidates, choose, dice_of_rules
from medcli.postprocessing.rules import Rule, apply_rules
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.preprocessing.regions import most_probable

if TYPE_CHECKING:
    import keras

    from medcli.run import Run
    from medcli.tasks.base import Task

FILE = "postprocessing.json"
VOXELS = "voxels"
OVERLAP = 0.25
"""Most overlap of the windows when the validation part is predicted to choose by."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Label(_Kept):
    """One label: see `medcli.postprocessing.choose.Chosen`."""

    name: str
    rule: Rule
    gain: float
    before: float
    after: float
    why: str


class Learned(_Kept):
    """Attributes:
    model: SHA-256 of the weights that it belongs to.
    unit: Of sizes: mm3, mm2, or voxels.
    cases, patients: Of the validation part.
    """

    model: str
    unit: str
    cases: int
    patients: int
    labels: list[Label]


@dataclass(frozen=True)
class Postprocessing:
    """Rules for the label ids 1, 2, ..."""

    rules: tuple[Rule, ...]
    unit: str = VOXELS

    @classmethod
    def of(cls, run: "Run") -> "Postprocessing | None":
        """As `predict.postprocess` says; None: labels stay as they are. RunError: the file is damaged."""
        asked = run.config.predict.postprocess
        if run.plan.task != "segmentation" or asked == "none":
            return None
        if asked == "largest":
            ids = max(map(max, run.plan.regions)) if run.plan.regions else run.plan.num_classes
            return cls((Rule(kind="largest"),) * ids)
        kept = load(run)
        if kept is None or all(label.rule.kind == "none" for label in kept.labels):
            return None
        return cls(tuple(label.rule for label in kept.labels), kept.unit)

    def __call__(self, labels: np.ndarray, image: Image) -> np.ndarray:
        """`labels` (uint8, spatial shape of the image) by the rules; the array itself is changed.

        Sizes in mm say nothing of an image without a spacing: there rules about sizes are left out.
        """
        rules, size = self.rules, 1.0
        if self.unit != VOXELS and image.spacing is not None:
            size = float(np.prod(image.spacing))
        elif self.unit != VOXELS:
            rules = tuple(Rule() if rule.kind == "min_size" else rule for rule in rules)
        return apply_rules(labels, rules, size)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """The mask (bool) of one of several regions that overlap, for which only `largest` can be asked."""
        return apply_rules(mask.astype(np.uint8), self.rules[:1], 1.0).astype(bool)

    @property
    def used(self) -> dict[str, Any]:
        """What shapes an output, for the record beside the output."""
        return {"unit": self.unit, "rules": [rule.model_dump(mode="json") for rule in self.rules]}


def load(run: "Run") -> Learned | None:
    """What the run learned; None when it has learned nothing, or with other weights. RunError: it is damaged."""
    path = run.folder / FILE
    if not path.is_file():
        return None
    try:
        kept = Learned.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise RunError(
            f"{path}: not what medcli learned about objects; remove it, and labels stay as the network gives them."
        ) from None
    weights = run.weights_digest
    other = weights is not None and kept.model != weights
    return None if other or [label.name for label in kept.labels] != run.plan.classes else kept


def learn_after_training(
    folder: Path, task: "Task", model: "keras.Model", prepared: Prepared, records: Sequence[Record]
) -> None:
    """Give the network the best weights and choose by the validation part; for segmentation, of exclusive classes."""
    if task.plan.task != "segmentation" or task.plan.regions or task.plan.single_objects:
        return
    from medcli.models.safety import load_weights_safely
    from medcli.run import MODEL

    load_weights_safely(model, folder / MODEL)
    plan = task.plan
    unit, voxel_sizes = _voxel_sizes(plan, records)
    counts = [
        np.bincount(prepared.label(record).ravel(), minlength=plan.num_classes + 1) for record in records
    ]
    true_sizes = (
        np.array([count[1 : plan.num_classes + 1] for count in counts]) * np.array(voxel_sizes)[:, None]
    )
    rules = [candidates(sizes[sizes > 0]) for sizes in true_sizes.T]
    fast = quick(task)
    dice: list[list[np.ndarray]] = [[] for _ in rules]
    for record, size in zip(records, voxel_sizes, strict=True):
        (slabs,) = fast.predict(model, [prepared.image(record)])
        predicted = np.concatenate([most_probable(part) for part in slabs])
        truth = prepared.label(record)
        for label, tried in enumerate(rules, start=1):
            dice[label - 1].append(dice_of_rules(truth, predicted, label, tried, size))
    patients = [record.patient for record in records]
    labels = []
    for name, found, tried in zip(plan.classes, dice, rules, strict=True):
        chosen = choose(np.array(found), tried, patients, seed=task.config.seed)
        labels.append(Label(name=name, **vars(chosen)))
    kept = Learned(
        model=sha256(folder / MODEL),
        unit=unit,
        cases=len(records),
        patients=len(set(patients)),
        labels=labels,
    )
    write_text(folder / FILE, kept.model_dump_json(indent=1) + "\n")


def learn_from_members(run: "Run") -> None:
    """For an ensemble: the rule that more than half of its networks chose, of sizes their median; else none."""
    found = [load(member) for member in run.members]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found) or len({one.unit for one in known}) > 1:
        return
    labels = [_by_vote(one) for one in zip(*(one.labels for one in known), strict=True)]
    kept = Learned(
        model=run.weights_digest or "",
        unit=known[0].unit,
        cases=sum(one.cases for one in known),
        patients=sum(one.patients for one in known),
        labels=labels,
    )
    write_text(run.folder / FILE, kept.model_dump_json(indent=1) + "\n")


def _by_vote(labels: Sequence[Label]) -> Label:
    kinds = [label.rule.kind for label in labels]
    kind = max(set(kinds), key=kinds.count)
    chosen = [label for label in labels if label.rule.kind == kind]
    rule, same = Rule(), labels
    if 2 * len(chosen) > len(labels) and kind != "none":
        rule = chosen[0].rule.model_copy(update={"size": float(np.median([one.rule.size for one in chosen]))})
        same = chosen
    return Label(
        name=labels[0].name,
        rule=rule,
        gain=float(np.mean([one.gain for one in same])),
        before=float(np.mean([one.before for one in same])),
        after=float(np.mean([one.after for one in same])),
        why=f"the rule of {len(chosen)} of {len(labels)} networks",
    )


def quick(task: "Task") -> "Task":
    """The same with little overlap and without mirrored images: the time of a validation or two."""
    from medcli.tasks.choose import task_for

    settings = task.config.predict
    update = {"overlap": min(settings.overlap, OVERLAP), "flips": False, "uncertainty": False}
    changed = {"predict": settings.model_copy(update=update)}
    return task_for(task.config.model_copy(update=changed), task.plan)


def _voxel_sizes(plan: Plan, records: Sequence[Record]) -> tuple[str, list[float]]:
    """The unit of sizes, and how large a voxel of each prepared case is."""
    measured = all(record.spacing is not None for record in records)
    unit = ("mm3" if plan.dimensions == 3 else "mm2") if measured else VOXELS
    sizes = []
    for record in records:
        size = float(np.prod(record.spacing)) if measured and record.spacing is not None else 1.0
        if plan.grid is not None and measured:
            size = float(np.prod(plan.grid))
        elif plan.size is not None:  # cropping is for volumes, which keep their spacing
            size *= float(np.prod(record.original_shape) / np.prod(record.shape))
        sizes.append(size)
    return unit, sizes


def in_words(kept: Learned) -> list[str]:
    """A sentence for each label with a rule, and one for the rest."""
    sentences = [
        f"Of {label.name}, {KINDS[label.rule.kind].format(size=label.rule.size, unit=kept.unit)}: chosen on "
        f"{kept.patients} validation patients, whose Dice went from {label.before:.3f} to {label.after:.3f} "
        f"({label.why})."
        for label in kept.labels
        if label.rule.kind != "none"
    ]
    rest = [label.name for label in kept.labels if label.rule.kind == "none"]
    if rest and sentences:
        sentences.append(f"All predicted objects of {', '.join(rest)} are kept.")
    return sentences
