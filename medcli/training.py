"""Training: a loop of our own over `batch n`, so that it resumes at any step and ends in time."""

import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.checkpoint import Checkpoints, State
from medcli.config.loading import load_config
from medcli.config.schema import Config
from medcli.datasets.feed import feed
from medcli.devices import choose_precision, setup_devices, use_xla
from medcli.errors import DataError, RunError
from medcli.optimizer import build_optimizer, learning_rate_at, peak_learning_rate
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.run import create_run, precision, save_model, write_environment
from medcli.tasks.base import Task
from medcli.tasks.choose import task_for
from medcli.training_log import History, write_curves

Event = dict[str, Any]
SMOKE_CASES, SMOKE_STEPS = 16, 3
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


class Stopped(RunError):
    """Training was asked to stop (SIGTERM, SIGUSR1 or Ctrl-C) and saved its state."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.exit_code = 128 + number


def train(
    config: Config,
    prepared_folder: Path,
    run_folder: Path,
    *,
    resume: bool = False,
    force: bool = False,
    smoke: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Result:
    """Train on a prepared folder and write a run folder.

    Args:
        resume: Continue where the last checkpoint was written; the result is that of an undisturbed run.
        force: Replace a run that is there.
        smoke: A few steps on a few cases: does everything work?
        on_event: Called with what happens: {"event": "start" | "step" | "epoch" | "end", ...}.

    Raises:
        RunError: The folders cannot be used, the loss is not a number, or no checkpoint can be read.
        DataError: There is nothing to train or to validate on.
        Stopped: A signal asked for it; the state was saved.
    """
    started = time.monotonic()
    prepared = Prepared.open(prepared_folder)
    config, plan = settle(config, prepared, smoke)
    training, validation = prepared.split("train"), prepared.split("val")
    for part, name in ((training, "training"), (validation, "validation")):
        if not part:
            raise DataError(
                f"{prepared_folder}: no cases in the {name} part; change data.split and preprocess again."
            )
    if smoke:
        training, validation = training[:SMOKE_CASES], validation[:SMOKE_CASES]

    create_run(run_folder, config, plan, prepared.records, resume=resume, force=force)
    strategy = setup_devices(config.train.devices, deterministic=config.deterministic)
    keras.utils.set_random_seed(config.seed)
    policy, why = choose_precision(config.train.mixed_precision)
    task = task_for(config, plan)
    with precision(policy), strategy.scope():
        loop = Loop(task, prepared, training, validation, run_folder, strategy, policy, on_event, started)
    write_environment(
        run_folder,
        {
            "precision": {"policy": policy, "reason": why},
            "devices": [device.name for device in tf.config.list_logical_devices()],
            "replicas": strategy.num_replicas_in_sync,
            "seed": config.seed,
            "deterministic": config.deterministic,
            "smoke": smoke,
            "parameters": loop.model.count_params(),
            "training_cases": len(training),
            "validation_cases": len(validation),
        },
    )
    if resume:
        loop.restore()
    return loop.run()


def settle(config: Config, prepared: Prepared, smoke: bool) -> tuple[Config, Plan]:
    """The config and the plan that this training follows.

    What was done to the data comes from the prepared folder, what is done with them from the config. A config whose
    `data` or `preprocess` section says something else than the prepared folder is refused.
    """
    made_with = load_config(prepared.folder / "config.yaml")
    differing = [
        f"{section}.{key}"
        for section in ("data", "preprocess")
        for key, value in getattr(config, section)
        .model_dump(exclude={"root", "workers", "max_memory_gb"})
        .items()
        if value != getattr(made_with, section).model_dump()[key]
    ] + (["task"] if config.task != made_with.task else [])
    if differing:
        raise RunError(
            f"{prepared.folder}: was prepared with other settings ({', '.join(differing)}); run `medcli preprocess` again."
        )
    plan, settings = prepared.plan, config.train
    update: dict[str, Any] = {}
    if settings.batch_size != "auto":
        update["batch_size"] = settings.batch_size
    if smoke:
        update["batch_size"] = min(update.get("batch_size", plan.batch_size), 4)
        small = settings.model_copy(update={"epochs": 2, "steps_per_epoch": SMOKE_STEPS, "max_minutes": None})
        config = config.model_copy(update={"train": small})
    config = config.model_copy(update={"data": made_with.data, "preprocess": made_with.preprocess})
    return config, plan.model_copy(update=update)


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
        self.checkpoints = Checkpoints(folder / "checkpoints")
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
            row |= self._validate()
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
        """Measure the averaged weights; keep them when they are the best so far (of equals, the later)."""
        state, began = self.state, time.monotonic()
        with self._averaged_weights():
            measures = self.task.validate(self.model, self.prepared, self.validation)
            score = measures[self.task.monitor]
            better = not state.best or score >= state.best[f"val_{self.task.monitor}"]
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
        left = self.settings.max_minutes * 60 - elapsed - 1.5 * state.validation_seconds - 3
        state.planned_epochs = min(self.epochs, state.epoch + max(0, int(left / per_epoch)))
        self.total_steps.assign(max(1, state.planned_epochs * self.steps_per_epoch))

    def _save(self) -> None:
        self.state.seconds = self._seconds()
        self.started = time.monotonic()
        self.checkpoints.save(self.state, [np.asarray(variable) for variable in self._saved_variables()])

    def _saved_variables(self) -> list:
        """Everything that a step reads: weights, random generators, optimiser, moving averages."""
        return [*self.model.variables, *self.optimizer.variables, *self.averages]

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


def steps_per_epoch(config: Config, plan: Plan, cases: int, batch_size: int) -> int:
    """As set; else every case once (at least 1 step), for patches at least 50 steps."""
    if config.train.steps_per_epoch != "auto":
        return config.train.steps_per_epoch
    steps = max(1, cases // batch_size)
    return max(50, steps) if plan.task == "segmentation" else steps


def epochs(config: Config, cases: int, samples_per_epoch: int) -> int:
    """As set; else so that about 100,000 samples are seen, within 30 to 300 epochs."""
    if config.train.epochs != "auto":
        return config.train.epochs
    return int(np.clip(100_000 / samples_per_epoch, 30, 300))


class swapped:
    """Within it, the variables hold these values; the ones before come back at the end. `None` leaves them as they are."""

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


class caught_signals:
    """Within it, the first SIGTERM, SIGUSR1 or Ctrl-C is told to `handler`; a second Ctrl-C acts at once."""

    NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")

    def __init__(self, handler: Callable[[int], None]):
        self.handler = handler

    def __enter__(self) -> None:
        self.before = {}
        try:
            for name in self.NAMES:
                if hasattr(signal, name):
                    number = getattr(signal, name)
                    self.before[number] = signal.signal(number, self._caught)
        except ValueError:  # not in the main thread: whoever runs the thread handles signals
            pass

    def _caught(self, number: int, frame: object) -> None:
        self.handler(number)
        signal.signal(number, self.before[number])

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
