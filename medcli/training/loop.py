"""The training loop: our own over `batch n`, so that it resumes at any step and ends in time."""

import math
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from medcli.datasets.feed import feed
from medcli.devices import use_xla
from medcli.errors import RunError
from medcli.preprocessing.prepared import Prepared, Record
from medcli.run import CHECKPOINTS, save_model
from medcli.tasks.base import Task
from medcli.tasks.words import learn_words
from medcli.training.averages import BATCHES, Averages, Settling, Statistics
from medcli.training.checkpoint import Checkpoints, State
from medcli.training.fine_tuning import FineTuning, fine_tuning
from medcli.training.length import epochs, steps_per_epoch
from medcli.training.log import History, write_curves
from medcli.training.optimizer import build_optimizer, learning_rate_at, peak_learning_rate
from medcli.training.result import Result
from medcli.training.signals import Stopped, caught_signals

SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_BETWEEN_DRAWINGS = 30.0
"""A drawing takes as long as an epoch of a small data set."""
SECONDS_PER_CALL = 0.5
"""Steps are run in one graph call for about so long: long enough to hide Python, short enough to watch and to stop."""


class Loop:
    """One training: model, optimiser, moving average, state; and the steps that advance them."""

    def __init__(self, task: Task, prepared: Prepared, training: Sequence[Record], validation: Sequence[Record],
                 folder: Path, strategy, policy: str, on_event, started: float, spent: float = 0.0):  # fmt: skip
        self.task, self.prepared, self.validation, self.folder = task, prepared, validation, folder
        self.strategy, self.on_event, self.started, self.spent = strategy, on_event, started - spent, spent
        config, plan = task.config, task.plan
        self.settings = config.train
        self.training_set = task.training_set(prepared, training)
        replicas = strategy.num_replicas_in_sync
        self.batch_size = max(1, min(plan.batch_size, len(training)) // replicas) * replicas
        self.steps_per_epoch = steps_per_epoch(config, plan, len(training), self.batch_size)
        self.epochs = epochs(config, len(training), self.batch_size * self.steps_per_epoch)
        self.training_set.total_samples = self.epochs * self.steps_per_epoch * self.batch_size

        self.model = task.build_model()
        learn_words(self.model, prepared, training, config.seed)
        self.optimizer = build_optimizer(self.settings, plan.task, policy)
        self.optimizer.build(self.model.trainable_variables)
        self.averages = Averages(self.model, ema=self.settings.ema)
        self.settling = Settling(self.model)
        self.statistics: Statistics | None = None
        self.fine_tuning = FineTuning()
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.thawed_at = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.total_steps = tf.Variable(self.epochs * self.steps_per_epoch, dtype=tf.int64, trainable=False)
        self.peak = peak_learning_rate(self.settings)
        self.state = State(planned_epochs=self.epochs)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS)
        self.history = History(folder, tensorboard=self.settings.tensorboard)
        self.signal: int | None = None
        self._is_frozen = False
        self._drawn_at = time.monotonic()
        self.steps_per_call = 1
        self.pace: list[float] = []  # seconds per step of calls in this process
        self._steps = self._compiled()

    # The graph -----------------------------------------------------------------------------------------------------

    def _compiled(self):
        """Several steps as one graph, of the variables that learn at the time of the first call."""
        self._one_step = tf.function(
            self._replica_step, jit_compile=use_xla(self.settings.xla, self.strategy), autograph=False
        )
        return tf.function(self._many_steps)

    def _replica_step(self, images, targets):
        with tf.GradientTape() as tape:
            loss = self.task.loss(targets, self.model(images, training=True))
            scaled = self.optimizer.scale_loss(loss / self.strategy.num_replicas_in_sync)
        learning = self.model.trainable_weights
        self.optimizer.apply(tape.gradient(scaled, learning), learning)
        return loss

    def _many_steps(self, batches, count):
        total = tf.zeros(())
        for _ in tf.range(count):
            self._set_learning_rate()
            self.settling.follow(self.step)
            with self.fine_tuning.slowed(self.model.trainable_weights):
                losses = self.strategy.run(self._one_step, args=next(batches))
            total += self.strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)
            self.step.assign_add(1)
            self.averages.follow(self.step)
        return total

    @tf.autograph.experimental.do_not_convert
    def _set_learning_rate(self):
        total = tf.cast(self.total_steps, tf.float32)
        rate = learning_rate_at(tf.cast(self.step, tf.float32) / total, self.settings, self.peak)
        since = tf.cast(self.step - self.thawed_at, tf.float32)
        again = tf.minimum(1.0, (since + 1) / tf.maximum(1.0, self.settings.warmup * total))
        self.optimizer.learning_rate.assign(tf.where(self.thawed_at > 0, rate * again, rate))

    # The loop ------------------------------------------------------------------------------------------------------

    def take_over(self, layers: Sequence[keras.layers.Layer]) -> None:
        """These layers have been given weights to start from."""
        self.averages.reset()
        self.fine_tuning = fine_tuning(self.task.config, self.model, layers, epochs=self.epochs)
        self._steps = self._compiled()

    def restore(self) -> None:
        """Continue from the newest checkpoint that can be read; from the beginning when there is none."""
        found = self.checkpoints.newest()
        if found is None:
            return
        self.state, arrays = found
        self.started += self.spent  # the state has it
        for variable, array in zip(self._saved_variables(), arrays, strict=True):
            variable.assign(array)
        self.step.assign(self.state.step)
        self.thawed_at.assign(self.state.thawed_at)
        self._adopt_length()
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
        self._begin_epoch()
        last = (state.epoch + 1) * self.steps_per_epoch
        while state.step < last:
            count = min(self.steps_per_call, last - state.step)
            began = time.monotonic()
            with self.settling:
                total = float(self._steps(batches, tf.constant(count)))
            took = time.monotonic() - began
            if not math.isfinite(total):
                raise RunError(
                    f"{self.folder}: the loss is not a number after step {state.step + count}; "
                    "lower train.learning_rate, or look for broken images in the report of `medcli preprocess`."
                )
            state.step += count
            state.epoch_loss += total
            self.pace.append(took / count)
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

    def _begin_epoch(self) -> None:
        """Freeze, thaw or collect; a function of the state, so that a resumed training does the same."""
        state, frozen = self.state, self._frozen()
        if frozen != self._is_frozen:
            self.fine_tuning.freeze(frozen)
            self._steps, self._is_frozen = self._compiled(), frozen
        if self.fine_tuning.epochs and not frozen and not state.thawed_at:
            state.thawed_at = state.step
            self.thawed_at.assign(state.step)
        self.averages.rest(self._collecting())

    def _frozen(self) -> bool:
        return self.state.epoch < min(self.fine_tuning.epochs, self.state.planned_epochs - 1)

    def _collecting(self) -> bool:
        """Whether this epoch's weights are among those that are averaged."""
        planned = self.state.planned_epochs
        first = min(round(planned * (1 - self.settings.swa)), planned - 1)
        return self.settings.swa > 0 and (self.state.collected > 0 or self.state.epoch >= first)

    def _end_epoch(self) -> None:
        state = self.state
        if self._collecting():
            self.averages.collect(state.collected)
            state.collected += 1
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
            if time.monotonic() - self._drawn_at > SECONDS_BETWEEN_DRAWINGS:
                write_curves(self.history.rows, self.task.monitor, self.folder / "curves.png")
                self._drawn_at = time.monotonic()

    def _validate_every(self) -> int:
        if self.settings.validate_every != "auto":
            return self.settings.validate_every
        return max(1, round(self.state.planned_epochs / 20))

    def _validate(self) -> dict[str, float]:
        """Measure the averaged weights; keep them when they are the best so far (of equals, the later), or always."""
        state, began = self.state, time.monotonic()
        with self.averages.swapped(state.collected):
            if state.collected:
                self._estimate_statistics()
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

    def _estimate_statistics(self) -> None:
        if self.statistics is None:
            data = feed(
                self.training_set,
                batch_size=self.batch_size,
                first_batch=0,
                last_batch=min(self.steps_per_epoch, BATCHES),
            )
            self.statistics = Statistics(self.model, lambda: data)
        self.statistics.estimate()

    def _plan_for_time(self) -> None:
        """Shorten the schedule to what the time budget still allows; never lengthen it beyond the config's epochs."""
        if self.settings.max_minutes is None:
            return
        state, elapsed = self.state, self._seconds()
        if state.epoch == 1:
            state.first_epoch_seconds = elapsed  # holds the start-up and compilation: not typical
            per_epoch = elapsed - self.spent
            if len(self.pace) > 2:  # the first calls compile
                per_epoch = min(per_epoch, self.steps_per_epoch * float(np.mean(self.pace[2:])))
        else:
            per_epoch = (elapsed - state.first_epoch_seconds) / (state.epoch - 1)
        left = (
            self.settings.max_minutes * 60
            - elapsed
            - (1.5 + self.task.passes_at_end) * state.validation_seconds
            - 3
        )
        state.planned_epochs = min(self.epochs, state.epoch + max(0, int(left / per_epoch)))
        self._adopt_length()

    def _adopt_length(self) -> None:
        """Tell schedule and training set how long the training is now planned to be."""
        steps = max(1, self.state.planned_epochs * self.steps_per_epoch)
        self.total_steps.assign(steps)
        self.training_set.total_samples = steps * self.batch_size

    def _save(self) -> None:
        self.state.seconds = self._seconds()
        self.started = time.monotonic()
        self.checkpoints.save(self.state, [np.asarray(variable) for variable in self._saved_variables()])

    def _saved_variables(self) -> list:
        """All that a step reads: weights, random generators, optimiser, moving averages, the loss's own state."""
        return [*self.model.variables, *self.optimizer.variables, *self.averages.values, *self.task.state]

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
