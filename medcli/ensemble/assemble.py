"""From runs to an ensemble: a run folder whose predictions are the mean of theirs.

What the ensemble learns for use (calibration) comes from cases that the networks did not train on: of folds every case
has one such network, so the whole data serve instead of one validation part.
"""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medcli.calibration import FILE as CALIBRATION
from medcli.calibration import TABLE, Validation, learn
from medcli.config.loading import save_config
from medcli.config.schema import Config
from medcli.errors import DataError, UsageError
from medcli.files import write_json
from medcli.operating import FILE as OPERATING
from medcli.operating import learn_from_folds
from medcli.postprocessing.learned import FILE as POSTPROCESSING
from medcli.postprocessing.learned import learn_from_members
from medcli.preprocessing.cases import SHAPING
from medcli.preprocessing.plan import save_plan
from medcli.preprocessing.prepared import Record, write_manifest
from medcli.run import COARSE, ENSEMBLE, MODEL, Run

LEARNED = (TABLE, CALIBRATION, OPERATING, POSTPROCESSING)
COPIED = (
    "config.yaml", "plan.yaml", "manifest.csv", "environment.json", "history.csv", "curves.png", *LEARNED, MODEL,
    f"{MODEL}.sha256",
)  # fmt: skip
"""What an ensemble takes along of each of its runs."""


def ensemble(runs: Sequence[Path], out: Path, *, force: bool = False) -> Run:
    """Make an ensemble of finished runs; ensembles among them give their members.

    The weights are copied, so the ensemble stands by itself.

    Raises:
        UsageError: Fewer than two runs, or `out` is there already.
        RunError: One is no finished run.
        DataError: They differ in task, classes, the preparation of images, or the cases that they know.
    """
    opened = [Run.open(run) for run in runs]
    members = [one for run in opened for one in run.members or (run,)]
    if len(members) < 2:
        raise UsageError(f"expected at least two runs to make an ensemble of, got {len(members)}.")
    check_alike(members)
    _make_room(out, [run.folder for run in opened], force=force)
    names = [f"member_{number}" for number in range(len(members))]
    for name, member in zip(names, members, strict=True):
        (out / name).mkdir(parents=True)
        for file in COPIED:
            if (member.folder / file).is_file():
                shutil.copyfile(member.folder / file, out / name / file)
        if member.coarse is not None:
            shutil.copytree(member.folder / COARSE, out / name / COARSE)
    return assemble(out, names, folds=False)


def assemble(folder: Path, names: Sequence[str], *, folds: bool) -> Run:
    """Write what makes a folder with these runs in it an ensemble, ensemble.json last.

    Raises DataError when they differ in what must be alike.
    """
    members = tuple(Run.open(folder / name) for name in names)
    check_alike(members)
    run = Run(folder, _config(folder, members, folds), members[0].plan, _records(members), members, folds)
    kind = f"the {len(members)} folds of one cross-validation" if folds else f"{len(members)} runs"
    reasons = members[0].plan.reasons | {"ensemble": f"the mean of {kind}"}
    run = replace(run, plan=members[0].plan.model_copy(update={"reasons": reasons}))
    save_config(run.config, folder / "config.yaml")
    save_plan(run.plan, folder / "plan.yaml")
    write_manifest(folder, run.records)
    write_json(folder / "environment.json", _environment(members))
    for name in LEARNED:
        (folder / name).unlink(missing_ok=True)
    _learn(run)
    write_json(folder / ENSEMBLE, {"members": list(names), "folds": folds})
    return run


def _learn(run: Run) -> None:
    """What can be learned for use from what the members learned; the rest `evaluate` learns."""
    match run.plan.task:
        case "classification" if (validation := _pooled(run)) is not None:
            learn(run.folder, validation, run.config, run.plan, model=run.weights_digest)
        case "detection" if run.folds:
            learn_from_folds(run)
        case "segmentation":
            learn_from_members(run)


def check_alike(members: Sequence[Run]) -> None:
    """Raises DataError when the runs cannot answer together."""
    first, *others = members
    for other in others:
        pair = f"{first.folder} and {other.folder}"
        if other.plan.task != first.plan.task:
            raise DataError(
                f"{pair}: one is for {first.plan.task}, the other for {other.plan.task}; an ensemble needs one task."
            )
        if other.plan.classes != first.plan.classes or other.plan.multi_label != first.plan.multi_label:
            raise DataError(
                f"{pair}: one knows the classes {', '.join(first.plan.classes)}, the other "
                f"{', '.join(other.plan.classes)}; an ensemble needs the same ones in the same order."
            )
        shaping = [*SHAPING, "regions", "clinical", "coarser"]
        differing = [name for name in shaping if getattr(other.plan, name) != getattr(first.plan, name)]
        if differing:
            raise DataError(
                f"{pair}: images are prepared differently for them ({', '.join(differing)} of plan.yaml); train them "
                "from one prepared folder."
            )
        if _known(other) != _known(first):
            raise DataError(
                f"{pair}: they were made with other cases, so it cannot be told which ones all have not seen; train "
                "them from one prepared folder."
            )


def _known(run: Run) -> dict[str, str]:
    return {record.case: record.sha256 for record in run.records}


def _make_room(out: Path, sources: Sequence[Path], *, force: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise UsageError(f"{out}: is there already; choose another with --out, or replace it with --force.")
    inside = any(out.resolve() in (source.resolve(), *source.resolve().parents) for source in sources)
    if inside or not (out / ENSEMBLE).is_file():
        raise UsageError(f"{out}: is no ensemble that can be replaced; choose another folder with --out.")
    shutil.rmtree(out)


def _config(folder: Path, members: Sequence[Run], folds: bool) -> Config:
    """That of the first, with the time of all folds together."""
    config = members[0].config
    minutes = config.train.max_minutes
    if folds and minutes is not None:
        config = config.model_copy(
            update={"train": config.train.model_copy(update={"max_minutes": minutes * len(members)})}
        )
    return config.model_copy(update={"run": folder})


def _records(members: Sequence[Run]) -> tuple[Record, ...]:
    """The cases: test where no member learned from it in any way, val where some did not train on it, else train."""
    parts: dict[str, set[str]] = defaultdict(set)
    for member in members:
        for record in member.records:
            parts[record.case].add(record.split)

    def part(found: set[str]) -> str:
        return "test" if found == {"test"} else "train" if found == {"train"} else "val"

    return tuple(replace(record, split=part(parts[record.case])) for record in members[0].records)


def _environment(members: Sequence[Run]) -> dict[str, Any]:
    """That of the first, with the parameters of all."""
    found = [member.environment() for member in members]
    sizes = [one.get("parameters") or 0 for one in found]
    total = {"parameters": sum(sizes)} if all(sizes) else {}
    return found[0] | total | {"members": len(members)}


def _pooled(run: Run) -> Validation | None:
    """Of every case that some members did not train on the mean of what they say; None: it is not known."""
    if not all((member.folder / TABLE).is_file() for member in run.members):
        return None
    held_out = {record.case for record in run.records if record.split == "val"}
    truth: dict[str, np.ndarray] = {}
    patients: dict[str, str] = {}
    chances: dict[str, list[np.ndarray]] = defaultdict(list)
    for member in run.members:
        table = Validation.load(member.folder, run.plan.classes)
        for number, case in enumerate(table.cases):
            if case in held_out:
                truth[case], patients[case] = table.truth[number], table.patients[number]
                chances[case].append(table.probabilities[number])
    if not truth:
        return None
    return Validation(
        list(truth),
        [patients[case] for case in truth],
        np.stack(list(truth.values())),
        np.stack([np.mean(chances[case], axis=0) for case in truth]),
    )
