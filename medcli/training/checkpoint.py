"""Checkpoints: one file with everything that the next training step depends on, written whole or not at all."""

import json
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medcli.errors import RunError
from medcli.files import atomic_path, plain

KEPT = 2


@dataclass
class State:
    """How far training is. Together with the arrays it decides every later step.

    Attributes:
        step, epoch: Steps and whole epochs done.
        planned_epochs: Epochs of the schedule; shortened when the time budget asks for it.
        epoch_loss: Sum of the losses of the epoch under way.
        best, best_epoch: Validation measures of the weights that were kept, and their epoch.
        validated_at: Epoch of the last validation.
        validations_since_best, stopped_early: For early stopping.
        collected: Epochs whose weights are in the mean (SWA).
        thawed_at: The step before which the layers that were taken over were frozen.
        seconds, first_epoch_seconds, validation_seconds: Time spent, for the time budget.
        history: One row per epoch.
    """

    step: int = 0
    epoch: int = 0
    planned_epochs: int = 0
    epoch_loss: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    validated_at: int = 0
    validations_since_best: int = 0
    stopped_early: bool = False
    collected: int = 0
    thawed_at: int = 0
    seconds: float = 0.0
    first_epoch_seconds: float = 0.0
    validation_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Checkpoints:
    """`step-00001234.npz` files in a folder; the newest two are kept."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.saved_at = time.monotonic()

    def save(self, state: State, arrays: list[np.ndarray]) -> None:
        text = json.dumps(plain(asdict(state)))
        content: dict[str, Any] = {f"array{index:05d}": array for index, array in enumerate(arrays)}
        with atomic_path(self.folder / f"step-{state.step:08d}.npz") as path, open(path, "wb") as stream:
            np.savez(stream, state=np.array(text), **content)
        for old in sorted(self.folder.glob("step-*.npz"))[:-KEPT]:
            old.unlink()
        self.saved_at = time.monotonic()

    def newest(self) -> tuple[State, list[np.ndarray]] | None:
        """State and arrays of the newest checkpoint that is whole; None when there is none at all.

        Raises RunError when there are checkpoints and none can be read.
        """
        paths = sorted(self.folder.glob("step-*.npz"), reverse=True)
        for path in paths:
            try:
                with np.load(path, allow_pickle=False) as content:
                    names = sorted(name for name in content.files if name.startswith("array"))
                    return State(**json.loads(str(content["state"]))), [content[name] for name in names]
            except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
                continue
        if paths:
            raise RunError(
                f"{self.folder}: none of the {len(paths)} checkpoints can be read; start anew with --force."
            )
        return None
