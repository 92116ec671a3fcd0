"""Which cases a run is judged on, with their truth in the run's own classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case, Source
from medcli.config.schema import Config
from medcli.errors import ConfigError, DataError, UsageError
from medcli.io.cases import Discovery, discover
from medcli.preprocessing.objects import kind_of_objects
from medcli.preprocessing.plan import Plan
from medcli.run import Run

PARTS = ("train", "val", "test", "all")
OUT_OF_FOLD = "out_of_fold"
"""Name of the validation part of folds, which is every case but those of the test part."""


@dataclass(frozen=True)
class Selection:
    """Attributes:
    name: Of the folder for the results: the part, or the name of the other data.
    part: "train", "val", "test" or "all".
    cases: To be judged, in the order of the data; boxes and masks follow the classes of `plan`.
    plan: The run's, with the label ids of these data.
    split: Case to its part, "" when unknown.
    failed: Case to reason, of those that should be here and are not usable.
    notes: What a reader of the result must know.
    """

    name: str
    part: str
    cases: list[Case]
    plan: Plan
    split: dict[str, str]
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def select_cases(run: Run, *, data: Config | None = None, split: str | None = None) -> Selection:
    """Find the cases of the run's own data in the part wanted, or those of other data.

    Args:
        run: An open run.
        data: Other data; None: the run's own.
        split: A part; "auto" or None: of the run's own data test if there is one, else val; of others all.

    Raises:
        UsageError: No such part.
        ConfigError: The other data are for another task.
        DataError: Nothing is left to judge.
    """
    if split not in (None, "auto", *PARTS):
        raise UsageError(f"--split: expected one of {', '.join(PARTS)}, got '{split}'.")
    wanted = None if split == "auto" else split
    selection = _other(run, data, wanted) if data is not None else _own(run, wanted)
    if not selection.cases:
        known = ", ".join(f"{count} {name or 'without a part'}" for name, count in _parts(selection).items())
        raise DataError(f"No case of part '{selection.part}' to evaluate on (found: {known or 'none'}).")
    return selection


def _parts(selection: Selection) -> Counter[str]:
    return Counter(selection.split.values())


def _own(run: Run, wanted: str | None) -> Selection:
    records = {record.case: record for record in run.records}
    parts = {record.split for record in run.records}
    part = wanted or ("test" if "test" in parts else "val")
    names = {name for name, record in records.items() if part in ("all", record.split)}
    discovery = discover(run.config)
    cases = [
        replace(case, patient=records[case.name].patient)
        for case in _in_the_runs_classes(discovery, run.plan)
        if case.name in names
    ]
    gone = names - {case.name for case in cases}
    reasons = {problem.case: problem.reason for problem in discovery.problems if problem.left_out}
    missing = "Was there when the run was trained and is not found now; bring it back or train again."
    notes = []
    trained = sum(records[case.name].split == "train" for case in cases)
    if trained:
        notes.append(
            f"{trained} of these {len(cases)} cases were used to train: the result flatters the run."
        )
    name = part
    if run.members and part in ("val", "all"):
        notes.append(_held_out_note(run))
        name = OUT_OF_FOLD if run.folds and part == "val" else part
    elif part == "val" and run.validation_chose_weights:
        notes.append("The validation part also chose the best weights, so the result is a little too good.")
    return Selection(
        name,
        part,
        cases,
        run.plan,
        {record.case: record.split for record in run.records},
        {name: reasons.get(name, missing) for name in sorted(gone)},
        notes,
    )


def _held_out_note(run: Run) -> str:
    if run.folds:
        who = f"by the one of {len(run.members)} networks that did not train on it (out of fold)"
        what = "the networks one by one, not their mean, which is mostly a little better"
    else:
        who = f"by those of the {len(run.members)} networks that did not train on it"
        what = "their mean"
    said = f"Every case was predicted {who}, so this measures {what}."
    if run.validation_chose_weights:
        said += " The same cases also chose each network's best weights, so the result is a little too good."
    return said


def _other(run: Run, data: Config, wanted: str | None) -> Selection:
    if data.task != run.plan.task:
        raise ConfigError(
            f"--data: the run is for {run.plan.task}, the config for {data.task}; give one for the same task."
        )
    if run.config.data.planes:
        planes = {"planes": run.config.data.planes}
        data = data.model_copy(update={"data": data.data.model_copy(update=planes)})
    if run.config.model.one_class:
        data = data.model_copy(update={"model": data.model.model_copy(update={"one_class": True})})
    if run.plan.clinical:
        clinical = {"clinical": run.config.data.clinical}
        data = data.model_copy(update={"data": data.data.model_copy(update=clinical)})
    discovery = discover(data, for_training=False)
    part = wanted or "all"
    plan = run.plan
    if plan.task == "segmentation":
        plan = plan.model_copy(
            update={"label_ids": _label_ids(discovery, plan), "ignore_label": discovery.ignore_label}
            | ({"objects": _single_objects(data, plan)} if plan.single_objects else {})
        )
    if plan.task == "detection" and any(case.masks for case in discovery.cases):
        plan = plan.model_copy(
            update={"label_ids": _label_ids(discovery, plan), "objects": _objects(discovery, data, plan)}
        )
    cases = [case for case in _in_the_runs_classes(discovery, plan) if part in ("all", case.split)]
    seen = _trained_on(run)
    known = sum(any(_place(source) in seen for source in case.images) for case in cases)
    notes = []
    if known:
        notes.append(f"{known} of these {len(cases)} cases were used to train: the result flatters the run.")
    return Selection(
        data.name or "data",
        part,
        [replace(case, patient=case.patient or case.name) for case in cases],
        plan,
        {case.name: case.split or "" for case in discovery.cases},
        {problem.case: problem.reason for problem in discovery.problems if problem.left_out and problem.case},
        notes,
    )


def _in_the_runs_classes(discovery: Discovery, plan: Plan) -> list[Case]:
    """Boxes carry indices into the classes of the data; bring them to those of the run."""
    if plan.task != "detection" or discovery.classes is None or discovery.classes == plan.classes:
        return discovery.cases
    unknown = set(discovery.classes) - set(plan.classes)
    if unknown:
        raise DataError(
            f"The data have classes that the run does not know ({', '.join(sorted(unknown))}); "
            f"it knows {', '.join(plan.classes)}. Rename them in the annotations."
        )
    index = np.array([plan.classes.index(name) for name in discovery.classes], np.int32)
    return [
        case if case.boxes is None else replace(case, boxes=_renumbered(case.boxes, index))
        for case in discovery.cases
    ]


def _renumbered(boxes: Boxes, index: np.ndarray) -> Boxes:
    return replace(boxes, classes=index[boxes.classes])


def _label_ids(discovery: Discovery, plan: Plan) -> list[list[int]]:
    """The values in the masks of the other data for every label of the run, by the names.

    Data that name no classes are taken to have the run's ids.
    """
    labels = plan.label_names
    if discovery.classes is None:
        return plan.label_ids
    if set(discovery.classes) != set(labels):
        raise DataError(
            f"The data have the classes {', '.join(discovery.classes)}, the run {', '.join(labels)}; "
            "name them alike in data.classes."
        )
    if discovery.label_ids == {}:
        return []
    if plan.task == "detection" and any(case.classes for case in discovery.cases):
        return []  # the files tell the classes
    if plan.task == "segmentation" and any(len(case.masks) > 1 for case in discovery.cases):
        return [[discovery.classes.index(name) + 1] for name in labels]
    if discovery.label_ids is None:
        return plan.label_ids
    return [discovery.label_ids[name] for name in labels]


def _single_objects(data: Config, plan: Plan) -> str | None:
    """What one object is in the masks of other data: as they say, else as in the run's own."""
    if data.data.labels_are == "auto":
        return plan.objects
    return "instances" if data.data.labels_are == "instances" else "parts"


def _objects(discovery: Discovery, data: Config, plan: Plan) -> str:
    """What one object is in the masks of other data: as they say, else as in the run's own."""
    files = [Counter(case.classes or [""] * len(case.masks)) for case in discovery.cases]
    most = max(max(count.values(), default=0) for count in files)
    if data.data.labels_are == "auto" and most == 1 and plan.objects:
        return plan.objects
    return kind_of_objects(data.data, [], most)[0]


def _place(source: Source) -> tuple[Path, str]:
    return source.path.resolve(), source.part


def _trained_on(run: Run) -> set[tuple[Path, str]]:
    """The images that the run learned from."""
    root = run.config.data.root
    found: set[tuple[Path, str]] = set()
    for record in run.records:
        if record.split == "train":
            found |= {_from_manifest(text, root) for text in record.sources}
    return found


def _from_manifest(text: str, root: Path) -> tuple[Path, str]:
    path, _, part = text.partition("::")
    return (root / path).resolve(), part


def patients_of(cases: Sequence[Case]) -> list[str]:
    return [case.patient or case.name for case in cases]
