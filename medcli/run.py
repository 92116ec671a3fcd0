"""The run folder: everything that evaluating, predicting and explaining need of a training.

config.yaml        the resolved configuration
plan.yaml          what `auto` became, for the data and for the network
manifest.csv       the cases and the part each was in
environment.json   versions, device, precision, git commit, seed
model.keras        the best weights by validation, with model.keras.sha256
checkpoints/       full state for `--resume`
groups.json        with `train.fairness`: the groups, how they were settled, how often they are drawn
validation.csv  calibration.json   classifiers: see `medcli.calibration`
validation.csv  operating.json     detectors: see `medcli.operating`
postprocessing.json   segmentation: see `medcli.postprocessing.learned`
refusal.json  refusal.npz   written by the first `evaluate`: see `medcli.refusal.learned`
objects.json       segmentation of single objects: see `medcli.instances.learn`
history.csv  curves.png  logs/
result.json        written at the end: epochs, the best validation, seconds

An ensemble is a run folder too: config.yaml, plan.yaml, manifest.csv, what evaluation writes, and

ensemble.json      its members, in order, and whether they are the folds of one cross-validation
fold_0/  fold_1/ ...   the members, each a run folder as above

A cascade (`plan.cascade`) is a run folder as the first, and beside its network

coarse/            its two coarse networks, an ensemble as above: see `medcli.ensemble.cascade`
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medcli.config.loading import load_config, save_config
from medcli.config.schema import Config
from medcli.errors import RunError, UsageError
from medcli.files import atomic_path, sha256, sweep, write_json, write_text
from medcli.preprocessing.plan import Plan, load_plan, save_plan
from medcli.preprocessing.prepared import Record, read_manifest, write_manifest

if TYPE_CHECKING:
    import keras

    from medcli.tasks.base import Ensembled, Task

MODEL = "model.keras"
CHECKPOINTS = "checkpoints"
ENSEMBLE = "ensemble.json"
RESULT = "result.json"
COARSE = "coarse"


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder, opened for reading.

    Attributes:
        members: The runs of an ensemble, whose predictions are averaged; none: it has weights of its own.
        folds: The members are the folds of one cross-validation: each trained on what the others validate on.
        coarse: Of a cascade the coarse networks, an ensemble.
    """

    folder: Path
    config: Config
    plan: Plan
    records: tuple[Record, ...]
    members: "tuple[Run, ...]" = ()
    folds: bool = False
    coarse: "Run | None" = None

    @classmethod
    def open(cls, folder: Path, *, weights: bool = True) -> "Run":
        """Raises RunError when the folder is no run or (`weights`) was not trained yet."""
        folder = Path(folder)
        if (folder / ENSEMBLE).is_file():
            return cls._open_ensemble(folder, weights=weights)
        if not folder.is_dir():
            raise RunError(
                f"{folder}: no such run folder; run `medcli train` first, or give the folder that it named."
            )
        if not (folder / "config.yaml").is_file():
            if any(folder.glob("fold_*/config.yaml")):
                raise RunError(
                    f"{folder}: not all folds are trained yet; finish them with `medcli train CONFIG --folds K "
                    "--resume`, or give one of them."
                )
            raise RunError(
                f"{folder}: not a run folder (config.yaml is missing); give the folder that `medcli train` wrote."
            )
        if weights and not (folder / MODEL).is_file():
            raise RunError(
                f"{folder}: the run has no weights ({MODEL} is missing); finish it with `medcli train --resume`."
            )
        plan = load_plan(folder / "plan.yaml")
        return cls(
            folder,
            load_config(folder / "config.yaml"),
            plan,
            tuple(read_manifest(folder)),
            coarse=cls._open_coarse(folder / COARSE) if plan.cascade and weights else None,
        )

    @classmethod
    def _open_coarse(cls, folder: Path) -> "Run":
        if not (folder / ENSEMBLE).is_file():
            raise RunError(
                f"{folder}: the coarse networks of this cascade are missing; copy run folders whole, or train it again "
                "with `medcli train`."
            )
        return cls._open_ensemble(folder, weights=True)

    @classmethod
    def _open_ensemble(cls, folder: Path, *, weights: bool) -> "Run":
        try:
            content = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
            names, folds = [str(name) for name in content["members"]], bool(content["folds"])
            if not names:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(
                f"{folder / ENSEMBLE}: not an ensemble of medcli; make it again with `medcli train --folds` or "
                "`medcli ensemble`."
            ) from None
        return cls(
            folder,
            load_config(folder / "config.yaml"),
            load_plan(folder / "plan.yaml"),
            tuple(read_manifest(folder)),
            tuple(cls.open(folder / name, weights=weights) for name in names),
            folds,
        )

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL

    @property
    def weights_digest(self) -> str | None:
        """SHA-256 of the weights; of several networks (ensemble, cascade) over theirs; None: there are none."""
        if self.members:
            digests = [member.weights_digest or "" for member in self.members]
        else:
            digests = [sha256(self.model_path) if self.model_path.is_file() else ""]
            if self.coarse is None:
                return digests[0] or None
            digests.append(self.coarse.weights_digest or "")
        return hashlib.sha256("".join(digests).encode()).hexdigest() if all(digests) else None

    @property
    def validation_chose_weights(self) -> bool:
        """Whether the weights are those of the best validation; what is fitted at once never looks at it."""
        return self.config.train.keep == "best" and not self.config.model.fitted_at_once

    def unseen_by(self, case: str) -> tuple[int, ...]:
        """Which members did not train on this case of the run's own data; all, when every one did."""
        held_out = tuple(number for number, trained in enumerate(self._trained_on) if case not in trained)
        return held_out or tuple(range(len(self.members)))

    @cached_property
    def _trained_on(self) -> list[set[str]]:
        return [
            {record.case for record in member.records if record.split == "train"} for member in self.members
        ]

    @property
    def task(self) -> "Task":
        if self.members:
            from medcli.tasks.ensemble import Ensemble

            tasks = [self._as_asked(member).task for member in self.members]
            return cast("Task", Ensemble(self.config, self.plan, tasks))  # what prediction needs of one
        from medcli.tasks.choose import task_for

        task = task_for(self.config, self.plan)
        if self.coarse is None:
            return task
        from medcli.tasks.cascade import Cascade

        asked = self.config.predict.model_copy(update={"uncertainty": False})
        config = self.coarse.config.model_copy(update={"predict": asked})
        coarse = cast("Ensembled", replace(self.coarse, config=config).task)
        return cast("Task", Cascade(self.config, self.plan, task, coarse))  # as above

    def _own_task(self) -> "Task":
        """Of the network that the folder itself holds. All weights come from the run, so none that training started
        from are asked for (ImageNet's, which may not be there)."""
        from medcli.tasks.choose import task_for

        model = self.config.model.model_copy(update={"weights": "none"})
        return task_for(self.config.model_copy(update={"model": model}), self.plan)

    def _as_asked(self, member: "Run") -> "Run":
        """A member that predicts under the settings of the ensemble."""
        return replace(member, config=member.config.model_copy(update={"predict": self.config.predict}))

    def check_answers(self) -> None:
        """Raises UsageError for a run of `medcli pretrain`, which answers nothing."""
        if self.config.train.learn_from == "images":
            raise UsageError(
                f"{self.folder}: was trained from images alone and has no answers; start a training from it "
                f"(model.weights: {self.folder}), or look at it with `medcli embed`."
            )

    def environment(self) -> dict[str, Any]:
        path = self.folder / "environment.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def load_model(self, policy: str | None = None) -> Any:
        """The network built by our own code, with the weights of the checked file; of an ensemble one per member.

        Args:
            policy: Keras dtype policy, such as "float32"; None: the precision of this device.

        Returns:
            A `keras.Model`, or a tuple of them; of a cascade the fine network and the tuple of the coarse ones.
        """
        if self.members:
            return tuple(member.load_model(policy) for member in self.members)
        from medcli.devices import choose_precision
        from medcli.models.safety import load_weights_safely

        task = self._own_task()
        with precision(policy or choose_precision(self.config.train.mixed_precision)[0]):
            model = task.build_model()
        load_weights_safely(model, self.model_path)
        return model if self.coarse is None else (model, self.coarse.load_model(policy))


class precision:
    """Within it, new layers get this Keras dtype policy; the one before comes back at the end."""

    def __init__(self, policy: str):
        self.policy = policy

    def __enter__(self) -> None:
        import keras

        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_: object) -> None:
        import keras

        keras.config.set_dtype_policy(self.before)


@contextmanager
def new_run(
    folder: Path, config: Config, plan: Plan, records: Sequence[Record], *, resume: bool, force: bool
) -> Iterator[None]:
    """As `create_run`; a folder in which nothing was trained goes again when the preparations within fail."""
    create_run(folder, config, plan, records, resume=resume, force=force)
    try:
        yield
    except BaseException:
        if not any((folder / name).exists() for name in (MODEL, CHECKPOINTS, COARSE)):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def create_run(
    folder: Path, config: Config, plan: Plan, records: Sequence[Record], *, resume: bool, force: bool
) -> None:
    """Make the folder, or check that it may be continued or replaced.

    Raises UsageError when it holds a run and neither `resume` nor `force` is given; RunError when it was started with
    other settings than those to resume with.
    """
    started = (folder / "config.yaml").is_file()
    if started and resume:
        check_same(load_config(folder / "config.yaml"), config, folder)
        sweep(folder)
        sweep(folder / CHECKPOINTS)
        return
    if folder.exists() and {path.name for path in folder.iterdir()} - {"manifest.csv", "plan.yaml"}:
        if not started:
            raise UsageError(
                f"{folder}: expected an empty or a run folder, found other files; choose another with --run."
            )
        if not force:
            raise UsageError(
                f"{folder}: holds a run already; continue it with --resume or replace it with --force."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, records)
    save_plan(plan, folder / "plan.yaml")
    save_config(config, folder / "config.yaml")


FREE_TO_CHANGE = {"prepared", "run", "name", "evaluate", "predict", "card"}


def check_same(before: Config, now: Config, folder: Path) -> None:
    """Raises RunError when what is to be continued was started with settings that give something else."""
    old, new = before.model_dump(exclude=FREE_TO_CHANGE), now.model_dump(exclude=FREE_TO_CHANGE)
    old["data"].pop("root"), new["data"].pop("root")
    changed = sorted(
        f"{section}.{key}"
        for section in ("data", "preprocess", "model", "train")
        for key in old[section]
        if old[section][key] != new[section][key]
    ) + [key for key in ("task", "seed", "deterministic") if old[key] != new[key]]
    if changed:
        raise RunError(
            f"{folder}: the run was started with other settings ({', '.join(changed)}); "
            "resume with the same, or start anew with --force."
        )


def save_model(model: "keras.Model", folder: Path) -> None:
    """Write model.keras whole or not at all, and its checksum."""
    with atomic_path(folder / MODEL) as path:
        model.save(path)
        digest = sha256(path)
    write_text(folder / f"{MODEL}.sha256", f"{digest}  {MODEL}\n")


def write_environment(folder: Path, extra: dict[str, Any]) -> None:
    """Versions, device, git commit of the working directory where there is one, and what the caller adds."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    names = (
        "medcli",
        "tensorflow",
        "tensorflow-cpu",
        "keras",
        "numpy",
        "scipy",
        "scikit-image",
        "pydicom",
        "nibabel",
    )
    write_json(
        folder / "environment.json",
        {
            "versions": {"python": platform.python_version()}
            | {name: found for name in names if (found := installed(name))},
            "platform": platform.platform(terse=True),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "git_commit": git_commit(),
        }
        | extra,
    )


def git_commit() -> str | None:
    """Commit of the working directory, or None outside a repository or without git."""
    import subprocess

    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
