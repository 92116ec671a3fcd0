"""What became of the trials of a search, and what a reader must know of the best."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEW_EPOCHS = 10
"""With fewer the time of a trial is too short for its schedule to be planned well."""


@dataclass(frozen=True)
class Trial:
    """Attributes:
    number: From 0; the first is the config as it is.
    state: complete, stopped early, failed, or interrupted.
    value: The best validation measure; None when there is none.
    settings: Key to value.
    minutes: Time it took.
    epochs: Epochs trained.
    reason: Why it failed.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    minutes: float
    epochs: int = 0
    reason: str = ""

    @property
    def complete(self) -> bool:
        return self.state == "complete" and self.value is not None


@dataclass(frozen=True)
class Found:
    """Attributes:
    folder: Of the search.
    monitor: The measure that chooses, larger is better.
    trials: In order; at least one is complete.
    searched: The settings.
    validation_cases: How many cases choose.
    importance: Setting to its share in the differences between trials; empty with too few.
    """

    folder: Path
    monitor: str
    trials: list[Trial]
    searched: list[str]
    validation_cases: int
    importance: dict[str, float]

    @property
    def ranked(self) -> list[Trial]:
        """The complete ones, the best first; of equals the earlier."""
        return sorted((one for one in self.trials if one.complete), key=lambda one: -(one.value or 0.0))

    @property
    def best(self) -> Trial:
        return self.ranked[0]

    @property
    def minutes(self) -> float:
        return sum(one.minutes for one in self.trials)

    @property
    def notes(self) -> list[str]:
        """How far the best can be believed."""
        best, complete = self.best, self.ranked
        notes = [
            f"The best of {len(self.trials)} trials was chosen on {self.validation_cases} validation cases, which "
            f"makes its {self.monitor} of {best.value:.4f} too good: of so many settings some do well there by luck. "
            "What it is worth shows on the test part, which no trial has seen, or with `medcli train --folds`."
        ]
        own = next((one for one in complete if one.number == 0), None)
        if own is best:
            notes.append("The config as it is was the best; nothing is gained by the others.")
        elif own is not None:
            notes.append(
                f"The config as it is reached {own.value:.4f} in the same time ({own.epochs} epochs; the best "
                f"{best.epochs})."
            )
        fewest = min(one.epochs for one in complete)
        if fewest < FEW_EPOCHS:
            notes.append(
                f"Some trials had time for {fewest} epochs only, so that luck and the load of the machine decided "
                "much; give them more with --minutes or --trial-minutes, or fewer steps with train.steps_per_epoch."
            )
        if len(complete) < 2 * len(self.searched):
            notes.append(
                f"{len(complete)} finished trials for {len(self.searched)} settings are few; take the order of "
                "importance, and which of two close values is better, as a hint."
            )
        return notes

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {
            "trials": [vars(one) for one in self.trials],
            "best": vars(self.best),
            "minutes": self.minutes,
            "notes": self.notes,
        }
