"""What a training tells while it runs, and what it gave."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcli.files import write_json
from medcli.run import RESULT

Event = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a training gave.

    Attributes:
        folder: The run folder.
        epochs: Epochs done.
        best: Validation measures of the epoch whose weights were kept, with its number as `epoch`.
        seconds: Time spent training, over all resumptions.
    """

    folder: Path
    epochs: int
    best: dict[str, float]
    seconds: float

    def save(self) -> None:
        """Into the run folder, as the sign that the training is finished."""
        write_json(self.folder / RESULT, {"epochs": self.epochs, "best": self.best, "seconds": self.seconds})

    @classmethod
    def load(cls, folder: Path) -> "Result | None":
        """None: the training is not finished."""
        try:
            content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            return cls(folder, content["epochs"], content["best"], content["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
