"""Training of a task that is fitted in one go: the same run folder as the loop writes, without steps."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from medcli.files import write_json
from medcli.preprocessing.prepared import Prepared, Record
from medcli.run import save_model
from medcli.tasks.base import FittedAtOnce
from medcli.training.log import History, write_curves
from medcli.training.result import Event, Result

ACCOUNT = "fit.json"


class AtOnce:
    """Offers what `medcli.training.loop.Loop` does. Nothing is resumed: a fit takes minutes and is made again."""

    def __init__(self, task: FittedAtOnce, prepared: Prepared, training: Sequence[Record], validation: Sequence[Record],
                 folder: Path, on_event: Callable[[Event], None], started: float):  # fmt: skip
        self.task, self.prepared, self.training, self.validation = task, prepared, training, validation
        self.folder, self.on_event, self.started = folder, on_event, started
        self.model = task.build_model()

    def restore(self) -> None: ...

    def take_over(self, layers: Sequence[keras.layers.Layer]) -> None: ...

    def run(self) -> Result:
        account = self.task.fit(self.model, self.prepared, self.training, progress=self._tell)
        write_json(self.folder / ACCOUNT, account)
        save_model(self.model, self.folder)
        measures = self.task.validate(self.model, self.prepared, self.validation)
        best: dict[str, Any] = {"epoch": 1, **measures}
        history = History(self.folder, tensorboard=False)
        seconds = time.monotonic() - self.started
        history.add({"epoch": 1, "seconds": seconds} | {f"val_{name}": measures[name] for name in measures})
        history.write()
        write_curves(history.rows, self.task.monitor, self.folder / "curves.png")
        result = Result(self.folder, 1, best, time.monotonic() - self.started)
        self.on_event({"event": "end", "seconds": result.seconds} | best)
        return result

    def _tell(self, stage: str, done: int, total: int) -> None:
        self.on_event({"event": "stage", "stage": stage, "done": done, "total": total})
