"""Live progress on stderr. Where stderr is no terminal nothing is drawn."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from medcli.cli.show import duration
from medcli.progress import Progress, ignore

NOT_MEASURES = {"event", "epoch", "epochs", "validated", "seconds", "learning_rate", "loss"}


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Give a `progress(stage, done, total)`; every stage gets a bar with the time left."""
    if not sys.stderr.isatty():
        yield ignore
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    stages: dict[str, Any] = {}
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield progress


class TrainingDisplay:
    """Draws the events of `medcli.training.train`: one moving line, and a line for every validated epoch.

    Use as a context manager and pass the object itself as `on_event`.
    """

    def __enter__(self) -> "TrainingDisplay":
        self._bars: Any = None
        self._task: Any = None
        self._measured = ""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bars

            columns = (BarColumn(), TextColumn("{task.description}", markup=False))
            self._bars = Bars(*columns, console=Console(stderr=True, highlight=False))
            self._bars.start()
            self._task = self._bars.add_task("building the network", total=None)
        return self

    def __exit__(self, *fault: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nothing is drawn any more."""
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._bars is None:
            return
        of = f"fold {event['fold']} of 0 to {event['folds'] - 1}: " if "folds" in event else ""
        of = f"trial {event['trial']}: " if "trial" in event else of
        of += f"coarse network {event['coarse'] + 1} of 2: " if "coarse" in event else ""
        match event["event"]:
            case "start":
                self._bars.console.print(f"{of}{start_line(event)}", markup=False)
                self._measured = ""
            case "skipped":
                self._bars.console.print(f"{of}finished before", markup=False)
            case "failed":
                self._bars.console.print(f"{of}failed: {event['reason']}", markup=False)
            case "groups" if event["left_alone"]:
                listed = "; ".join(f"{name}: {reason}" for name, reason in event["left_alone"].items())
                self._bars.console.print(f"groups left alone: {listed}", markup=False)
            case "step":
                text = f"{of}{step_line(event)}  {self._measured}"
                self._bars.update(self._task, description=text, completed=event["step"], total=event["steps"])
            case "stage":
                self._bars.update(
                    self._task,
                    description=f"{event['stage']} {event['done']}/{event['total']}",
                    completed=event["done"],
                    total=event["total"],
                )
            case "weights":
                self._bars.console.print(
                    f"started from {event['file']}: {event['filled']} of {event['total']} arrays fit",
                    markup=False,
                )
            case "epoch" if event.get("validated"):
                self._bars.console.print(f"{of}{epoch_line(event)}", markup=False)
                self._measured = measures(event)


def start_line(event: Mapping[str, Any]) -> str:
    """>>> start_line({"parameters": 1234567, "epochs": 30, "steps_per_epoch": 10, "batch_size": 8})
    '1,234,567 parameters, 30 epochs of 10 steps with 8 samples'
    """
    return (
        f"{event['parameters']:,} parameters, {event['epochs']} epochs of {event['steps_per_epoch']} steps "
        f"with {event['batch_size']} samples"
    )


def step_line(event: Mapping[str, Any]) -> str:
    rate = event["samples_per_second"]
    return (
        f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.4f}  "
        f"{rate:.{1 if rate < 10 else 0}f} samples/s  {duration(event['seconds_left'])} left"
    )


def epoch_line(event: Mapping[str, Any]) -> str:
    return f"epoch {event['epoch']:>4}  loss {event['loss']:.4f}  {measures(event)}"


def measures(event: Mapping[str, Any]) -> str:
    """What was measured on the validation part."""
    found = {name: value for name, value in event.items() if name not in NOT_MEASURES}
    return "  ".join(f"{name} {value:.4f}" for name, value in found.items() if isinstance(value, int | float))
