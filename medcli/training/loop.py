"""The training loop: our own over `batch n`, so that it resumes at any step and ends in time."""

import json
import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.datasets.feed import feed
from medcli.devices import use_xla
from medcli.errors import RunError
from medcli.files import write_json
from medcli.preprocessing.prepared import Prepared, Record
from medcli.run import CHECKPOINTS, RESULT, save_model
from medcli.tasks.base import Task
from medcli.training.checkpoint import Checkpoints, State
from medcli.training.length import epochs, steps_per_epoch
from medcli.training.log import History, write_curves
from medcli.training.optimizer import build_optimizer, learning_rate_at, peak_learning_rate
from medcli.training.signals import Stopped, caught_signals

Event = dict[str, Any]
SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_PER_CALL = 0.5
"""Steps are run in one graph call for about so long: long enough to hide Python, short enough to watch and to stop."""


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


class Loop:
    """One training: model, optimiser, moving average, state; and the steps that advance them."""

    def __init__(self, task: Task, prepared: Prepared, training: Sequence[Record], validation: Sequence[Record],
                 folder: Path, strategy, policy: str, on_event, started: float):  # fmt: skip
        self.task, self.prepared, self.validation, self.folder = task, prepared, validation, folder
        self.strategy, self.on_event, self.started = strategy, on_event, started
        config, plan = task.config, task.plan
        self.settings = config.train
        self.training_set = task.training_set(prepared, training)
        replicas = strategy.num_replicas_in_sync
        self.batch_size = max(1, min(plan.batch_size, len(training)) // replicas) * replicas
        self.steps_per_epoch = steps_per_epoch(config, plan, len(training), self.batch_size)
        self.epochs = epochs(config, len(training), self.batch_size * self.steps_per_epoch)
        self.training_set.total_samples = self.epochs * self.steps_per_epoch * self.batch_size

        self.model = task.build_model()
        self.optimizer = build_optimizer(self.settings, plan.task, policy)
        self.optimizer.build(self.model.trainable_variables)
        self.averages = [tf.Variable(variable.value, trainable=False) for variable in self._averaged()]
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.total_steps = tf.Variable(self.epochs * self.steps_per_epoch, dtype=tf.int64, trainable=False)
        self.peak = peak_learning_rate(self.settings)
        self.state = State(planned_epochs=self.epochs)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS)
        self.history = History(folder, tensorboard=self.settings.tensorboard)
        self.signal: int | None = None
        self.steps_per_call = 1
        self._one_step = tf.function(
            self._replica_step, jit_compile=use_xla(self.settings.xla, strategy), autograph=False
        )
        self._steps = tf.function(self._many_steps)

    # The graph -----------------------------------------------------------------------------------------------------

    def _replica_step(self, images, targets):
        with tf.GradientTape() as tape:
            loss = self.task.loss(targets, self.model(images, training=True))
            scaled = self.optimizer.scale_loss(loss / self.strategy.num_replicas_in_sync)
        gradients = tape.gradient(scaled, self.model.trainable_weights)
        self.optimizer.apply(gradients, self.model.trainable_weights)
        return loss

    def _many_steps(self, batches, count):
        total = tf.zeros(())
        for _ in tf.range(count):
            self._set_learning_rate()
            losses = self.strategy.run(self._one_step, args=next(batches))
            total += self.strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)
            self.step.assign_add(1)
            self._update_averages()
        return total

    @tf.autograph.experimental.do_not_convert
    def _set_learning_rate(self):
        progress = tf.cast(self.step, tf.float32) / tf.cast(self.total_steps, tf.float32)
        self.optimizer.learning_rate.assign(learning_rate_at(progress, self.settings, self.peak))

    def _averaged(self) -> list[keras.Variable]:
        """Weights and moving statistics, not the counters of random generators."""
        return [variable for variable in self.model.weights if keras.backend.is_float_dtype(variable.dtype)]

    @tf.autograph.experimental.do_not_convert
    def _update_averages(self):
        """Exponential moving average; in the beginning over fewer steps, so that the first weights are forgotten."""
        if self.settings.ema == 0:
            return
        step = tf.cast(self.step, tf.float32)
        keep = tf.minimum(self.settings.ema, (1 + step) / (10 + step))
        for average, variable in zip(self.averages, self._averaged(), strict=True):
            average.assign_sub((1 - keep) * (average - variable.value))

    # The loop ------------------------------------------------------------------------------------------------------

    def reset_averages(self) -> None:
        """Start the moving average from the weights as they are now."""
        for average, variable in zip(self.averages, self._averaged(), strict=True):
            average.assign(variable.value)

    def restore(self) -> None:
        """Continue from the newest checkpoint that can be read; from the beginning when there is none."""
        found = self.checkpoints.newest()
        if found is None:
            return
        self.state, arrays = found
        for variable, array in zip(self._saved_variables(), arrays, strict=True):
            variable.assign(array)
        self.step.assign(self.state.step)
        self.total_steps.assign(self.state.planned_epochs * self.steps_per_epoch)
        self.history.rows = self.state.history

    def run(self) -> Result:
        self.on_event(
            {
                "event": "start", "epoch": self.state.epoch, "epochs": self.state.planned_epochs,
                "steps_per_epoch": self.steps_per_epoch, "batch_size": self.batch_size,
                "parameters": self.model.count_params(), "folder": str(self.folder),
            }
        )  # fmt: skip
        batches = self._batches()
        with caught_signals(self._on_signal):
            while self.state.epoch < self.state.planned_epochs and not self.state.stopped_early:
                self._epoch(batches)
        self.history.write()
        write_curves(self.history.rows, self.task.monitor, self.folder / "curves.png")
        result = Result(self.folder, self.state.epoch, self.state.best, self._seconds())
        self.on_event(
            {"event": "end", "seconds": result.seconds, "epoch": self.state.epoch} | self.state.best
        )
        return result

    def _batches(self):
        data = feed(
            self.training_set,
            batch_size=self.batch_size,
            first_batch=self.state.step,
            last_batch=self.epochs * self.steps_per_epoch,
        )
        return iter(self.strategy.experimental_distribute_dataset(data) if self._several() else data)

    def _epoch(self, batches) -> None:
        state = self.state
        last = (state.epoch + 1) * self.steps_per_epoch
        while state.step < last:
            count = min(self.steps_per_call, last - state.step)
            began = time.monotonic()
            total = float(self._steps(batches, tf.constant(count)))
            took = time.monotonic() - began
            if not math.isfinite(total):
                raise RunError(
                    f"{self.folder}: the loss is not a number after step {state.step + count}; "
                    "lower train.learning_rate, or look for broken images in the report of `medcli preprocess`."
                )
            state.step += count
            state.epoch_loss += total
            self._tell(count, took, total / count)
            self.steps_per_call = int(np.clip(SECONDS_PER_CALL / max(took / count, 1e-6), 1, 200))
            if self.signal is not None:
                self._save()
                name = signal.Signals(self.signal).name
                raise Stopped(
                    f"{self.folder}: stopped by {name} at step {state.step}; continue with --resume.",
                    self.signal,
                )
        self._end_epoch()

    def _end_epoch(self) -> None:
        state = self.state
        row: dict[str, float] = {
            "epoch": state.epoch + 1,
            "loss": state.epoch_loss / self.steps_per_epoch,
            "learning_rate": float(self.optimizer.learning_rate.numpy()),
        }
        state.epoch += 1
        state.epoch_loss = 0.0
        self._plan_for_time()
        final = state.epoch >= state.planned_epochs
        validated = final or state.epoch - state.validated_at >= self._validate_every()
        if validated:
            row |= self._validate() | self.task.followed()
        row["seconds"] = round(self._seconds(), 1)
        self.history.add(row)
        state.history = self.history.rows
        self.on_event({"event": "epoch", "epochs": state.planned_epochs, "validated": validated} | row)
        if validated or time.monotonic() - self.checkpoints.saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            self._save()
            self.history.write()
            write_curves(self.history.rows, self.task.monitor, self.folder / "curves.png")

    def _validate_every(self) -> int:
        if self.settings.validate_every != "auto":
            return self.settings.validate_every
        return max(1, round(self.state.planned_epochs / 20))

    def _validate(self) -> dict[str, float]:
        """Measure the averaged weights; keep them when they are the best so far (of equals, the later), or always."""
        state, began = self.state, time.monotonic()
        with self._averaged_weights():
            measures = self.task.validate(self.model, self.prepared, self.validation)
            score = measures[self.task.monitor]
            better = not state.best or score >= state.best[f"val_{self.task.monitor}"]
            better = better or self.settings.keep == "last"
            measures = {f"val_{name}": value for name, value in measures.items()}
            if better:
                state.best = {"epoch": state.epoch} | measures
                state.best_epoch = state.epoch
                save_model(self.model, self.folder)
        state.validated_at = state.epoch
        state.validations_since_best = 0 if better else state.validations_since_best + 1
        patience = self.settings.early_stopping
        state.stopped_early = patience is not None and state.validations_since_best >= patience
        state.validation_seconds = time.monotonic() - began
        return measures

    def _averaged_weights(self):
        return swapped(self._averaged(), self.averages if self.settings.ema else None)

    def _plan_for_time(self) -> None:
        """Shorten the schedule to what the time budget still allows; never lengthen it beyond the config's epochs."""
        if self.settings.max_minutes is None:
            return
        state, elapsed = self.state, self._seconds()
        if state.epoch == 1:
            state.first_epoch_seconds = elapsed  # holds the start-up and compilation: not typical
            per_epoch = elapsed
        else:
            per_epoch = (elapsed - state.first_epoch_seconds) / (state.epoch - 1)
        left = (
            self.settings.max_minutes * 60
            - elapsed
            - (1.5 + self.task.passes_at_end) * state.validation_seconds
            - 3
        )
        state.planned_epochs = min(self.epochs, state.epoch + max(0, int(left / per_epoch)))
        self.total_steps.assign(max(1, state.planned_epochs * self.steps_per_epoch))

    def _save(self) -> None:
        self.state.seconds = self._seconds()
        self.started = time.monotonic()
        self.checkpoints.save(self.state, [np.asarray(variable) for variable in self._saved_variables()])

    def _saved_variables(self) -> list:
        """All that a step reads: weights, random generators, optimiser, moving averages, the loss's own state."""
        return [*self.model.variables, *self.optimizer.variables, *self.averages, *self.task.state]

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self.started

    def _several(self) -> bool:
        return self.strategy.num_replicas_in_sync > 1

    def _on_signal(self, number: int) -> None:
        self.signal = number

    def _tell(self, count: int, took: float, loss: float) -> None:
        state = self.state
        done = state.step / max(1, state.planned_epochs * self.steps_per_epoch)
        elapsed = self._seconds()
        self.on_event(
            {
                "event": "step", "epoch": state.epoch + 1, "epochs": state.planned_epochs, "step": state.step,
                "steps": state.planned_epochs * self.steps_per_epoch, "loss": loss,
                "samples_per_second": count * self.batch_size / max(took, 1e-9),
                "seconds": elapsed, "seconds_left": elapsed / done - elapsed,
            }
        )  # fmt: skip


class swapped:
    """Within it, the variables hold these values, and the ones before come back at the end. `None` changes nothing."""

    def __init__(self, variables: Sequence, values: Sequence | None):
        self.variables, self.values = variables, values

    def __enter__(self) -> None:
        if self.values is not None:
            self.before = [np.asarray(variable) for variable in self.variables]
            for variable, value in zip(self.variables, self.values, strict=True):
                variable.assign(value)

    def __exit__(self, *_: object) -> None:
        if self.values is not None:
            for variable, value in zip(self.variables, self.before, strict=True):
                variable.assign(value)
