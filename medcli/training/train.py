"""`medcli train`: from a prepared folder to a run folder."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.calibration import check_group_thresholds, learn_after_training, positive_index
from medcli.config.loading import load_config
from medcli.config.schema import Config
from medcli.datasets.cells import FILE as GROUPS
from medcli.devices import choose_precision, setup_devices
from medcli.errors import DataError, RunError
from medcli.files import write_json
from medcli.instances.learn import learn as learn_objects
from medcli.io.cases import ONE_CLASS
from medcli.io.layouts.unlabelled import UNLABELLED
from medcli.models.choose import resolve
from medcli.models.safety import load_weights_safely, transfer_weights
from medcli.operating import learn_operating_point
from medcli.postprocessing.learned import learn_after_training as learn_postprocessing
from medcli.postprocessing.learned import quick
from medcli.preprocessing.cases import made_by
from medcli.preprocessing.folds import in_fold
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.plan_cascade import LEAST_STEPS, coarse_steps
from medcli.preprocessing.prepared import Prepared
from medcli.run import MODEL, new_run, precision, write_environment
from medcli.tasks.base import FittedAtOnce, Task
from medcli.tasks.choose import task_for
from medcli.tasks.fairness import groups_of
from medcli.training.at_once import AtOnce
from medcli.training.fine_tuning import changed, published, weighty
from medcli.training.loop import Loop
from medcli.training.result import Event, Result

SMOKE_CASES, SMOKE_STEPS = 16, 3
COMPARED = 128
"""Images of a step, each in two views, when learning from images alone: features are told apart over a batch."""


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
    """Train one network on a prepared folder and write a run folder; `medcli.ensemble.cascade` trains several.

    Args:
        resume: Continue where the last checkpoint was written; the result is that of an undisturbed run.
        force: Replace a run that is there.
        smoke: A few steps on a few cases: does everything work?
        on_event: Called with what happens: {"event": "groups" | "start" | "step" | "epoch" | "end", ...}.

    Raises:
        RunError: The folders cannot be used, the loss is not a number, or no checkpoint can be read.
        DataError: There is nothing to train or to validate on.
        Stopped: A signal asked for it; the state was saved.
    """
    return train_on(
        config, opened(config, prepared_folder), run_folder,
        resume=resume, force=force, smoke=smoke, on_event=on_event,
    )  # fmt: skip


def opened(config: Config, folder: Path) -> Prepared:
    """The prepared folder, with the parts that the config's folds ask for.

    Raises DataError when there is nothing to train or to validate on.
    """
    prepared = Prepared.open(folder)
    if config.data.split.folds:
        prepared = in_fold(prepared, config.data.split, config.seed)
    for part, name in (("train", "training"), ("val", "validation")):
        if not prepared.split(part):
            raise DataError(f"{folder}: no cases in the {name} part; change data.split and preprocess again.")
    return prepared


def train_on(
    config: Config,
    prepared: Prepared,
    run_folder: Path,
    *,
    resume: bool = False,
    force: bool = False,
    smoke: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
    spent: float = 0.0,
) -> Result:
    """As `train`, on a prepared folder that was opened.

    Args:
        spent: Seconds of the time budget that are used up before.
    """
    started = time.monotonic()
    config, plan = settle(config, prepared, smoke)
    if plan.cascade is not None and prepared.answers is None:
        raise RunError(
            "model.cascade: expected the answers of coarse networks; train with medcli.ensemble.cascade.train, as "
            "`medcli train` does."
        )
    prepared = replace(prepared, plan=prepared.plan.model_copy(update={"clinical": plan.clinical}))
    training, validation = prepared.split("train"), prepared.split("val")
    alone = config.train.learn_from == "images"
    if plan.classes == [UNLABELLED] and not alone:
        raise DataError(
            f"{prepared.folder}: holds images without labels (data.format: images), so nothing can be learned from "
            "labels; use `medcli pretrain`."
        )
    if plan.task == "classification" and not alone:
        positive_index(plan, config.evaluate.positive)  # a wrong name is told before the work, not after it
        if config.evaluate.group_thresholds.columns:
            check_group_thresholds(plan)
    if smoke:
        training, validation = training[:SMOKE_CASES], validation[:SMOKE_CASES]
    weights = given_weights(config)
    config = after_pretraining(config, weights)
    groups = groups_of(config, plan, prepared, training, validation, smoke=smoke)

    with new_run(run_folder, config, plan, prepared.records, resume=resume, force=force):
        if groups is not None:
            write_json(run_folder / GROUPS, groups)
            on_event({"event": "groups", "left_alone": groups["left_alone"]})
        strategy = setup_devices(config.train.devices, deterministic=config.deterministic)
        keras.utils.set_random_seed(config.seed)
        policy, why = choose_precision(config.train.mixed_precision)
        task = task_for(config, plan)
        with precision(policy), strategy.scope():
            loop: Loop | AtOnce
            if isinstance(task, FittedAtOnce):
                loop = AtOnce(task, prepared, training, validation, run_folder, on_event, started)
            else:
                loop = Loop(
                    task, prepared, training, validation, run_folder, strategy, policy, on_event, started, spent
                )  # fmt: skip
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
        if weights is not None:
            start_from(loop, weights)
        elif config.model.weights == "imagenet":
            loop.take_over(published(loop.model))
        if resume:
            loop.restore()
    result = loop.run()
    if alone:
        result.save()
        return result
    learn_after_training(run_folder, task, loop.model, prepared, validation)
    learn_operating_point(run_folder, task, loop.model, prepared, validation)
    learn_postprocessing(run_folder, task, loop.model, prepared, validation)
    if plan.single_objects:
        load_weights_safely(loop.model, run_folder / MODEL)
        learn_objects(run_folder, partial(_maps, quick(task), loop.model), prepared, validation)
    result.save()
    return result


def _maps(task: Task, model: keras.Model, image: np.ndarray) -> np.ndarray:
    return task.predict(model, [image])[0].whole()


def given_weights(config: Config) -> Path | None:
    """The file to start from, of an earlier run (its folder) or a model.keras; None: not from a file."""
    if config.model.weights in ("none", "imagenet"):
        return None
    path = Path(config.model.weights)
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"{file}: no such weights; model.weights names a run folder or a model.keras.")
    return file


def after_pretraining(config: Config, weights: Path | None) -> Config:
    """With weights that `medcli pretrain` learned, from such images and by this network, `auto` means that all layers
    learn alike from the first step: slow early layers held them back (docs/results.md)."""
    told = weights.parent / "config.yaml" if weights is not None else None
    if told is None or not told.is_file() or load_config(told).train.learn_from != "images":
        return config
    alike = {"freeze_epochs": 0, "backbone_rate": 1.0}
    automatic = {name: value for name, value in alike.items() if getattr(config.train, name) == "auto"}
    return config.model_copy(update={"train": config.train.model_copy(update=automatic)})


def start_from(loop: Loop | AtOnce, file: Path) -> None:
    """Take over the weights of a file as far as they fit."""
    layers = weighty(loop.model)
    before = [layer.get_weights() for layer in layers]
    filled, total = transfer_weights(loop.model, file)
    loop.take_over(changed(layers, before))
    loop.on_event({"event": "weights", "file": str(file), "filled": filled, "total": total})


def settle(config: Config, prepared: Prepared, smoke: bool) -> tuple[Config, Plan]:
    """The config and the plan that this training follows.

    What was done to the data comes from the prepared folder, what is done with them from the config. A config whose
    `data` or `preprocess` section says something else than the prepared folder is refused; but folds may be others,
    which is no matter of what was done to the images.
    """
    made_with = load_config(prepared.folder / "config.yaml")
    if config.task != made_with.task:
        raise RunError(
            f"{prepared.folder}: was prepared for {made_with.task}, the config is for {config.task}; name the prepared "
            "folder of this config, or run `medcli preprocess` with it."
        )
    data = made_with.data
    if config.data.split.folds:
        chosen = {name: getattr(config.data.split, name) for name in ("folds", "fold")}
        data = data.model_copy(update={"split": data.split.model_copy(update=chosen)})
    differing = [
        f"{section}.{key}"
        for section, made in (("data", data), ("preprocess", made_with.preprocess))
        for key, value in getattr(config, section)
        .model_dump(exclude={"root", "workers", "max_memory_gb"})
        .items()
        if value != made.model_dump()[key]
    ]
    if differing:
        raise RunError(
            f"{prepared.folder}: was prepared with other settings ({', '.join(differing)}); "
            "run `medcli preprocess` again."
        )
    plan, settings = prepared.plan, config.train
    if not made_by(plan, prepared.records[0]):
        raise RunError(
            f"{prepared.folder / 'plan.yaml'}: says something else of how images are prepared than these were (edited, "
            "or of another version of medcli); set that in the config and run `medcli preprocess` again."
        )
    planes = config.model.planes
    if planes != "auto" and plan.planes != (None if planes == "all" else planes):
        raise RunError(
            f"{prepared.folder}: was planned for model.planes: {plan.planes or 'all'}, the config says {planes}; "
            "run `medcli preprocess` again, which takes only a moment."
        )
    if settings.patch not in (made_with.train.patch, plan.patch):
        raise RunError(
            f"{prepared.folder}: was planned for train.patch: {made_with.train.patch}, the config says "
            f"{settings.patch}; run `medcli preprocess` again, which takes only a moment."
        )
    if config.model.cascade == "on" and plan.cascade is None:
        raise RunError(
            f"{prepared.folder}: was planned without a cascade, the config says model.cascade: on; run `medcli "
            "preprocess` again, which takes only a moment."
        )
    if config.model.one_class and plan.classes != [ONE_CLASS]:
        raise RunError(
            f"{prepared.folder}: was prepared with {plan.num_classes} classes, the config says model.one_class; "
            "run `medcli preprocess` again."
        )
    image_alone = config.model.inputs == "image" or settings.learn_from == "images"
    update: dict[str, Any] = {"clinical": []} if image_alone else {}
    hasty = plan.cascade is not None and coarse_steps(config, plan.cascade.cost) < LEAST_STEPS
    if config.model.cascade == "off" or (config.model.cascade == "auto" and hasty):
        update["cascade"] = None
        why = (
            "set in the config"
            if config.model.cascade == "off"
            else f"too little time for {LEAST_STEPS} coarse steps"
        )
        update["reasons"] = plan.reasons | {"cascade": f"off; {why}"}
    if plan.task == "detection" and config.model.stages in (3, 4):
        update["stages"] = config.model.stages
    if settings.batch_size != "auto":
        update["batch_size"] = settings.batch_size
    elif settings.learn_from == "images":
        update["batch_size"] = max(plan.batch_size, COMPARED)
    if smoke:
        update["batch_size"] = min(update.get("batch_size", plan.batch_size), 4)
        small = settings.model_copy(
            update={"epochs": 2, "steps_per_epoch": SMOKE_STEPS, "max_minutes": None}
            | {"fairness": settings.fairness.model_copy(update={"patients": 1})}
        )
        config = config.model_copy(update={"train": small})
    plan = plan.model_copy(update=update)
    config = config.model_copy(
        update={
            "data": data,
            "preprocess": made_with.preprocess,
            "model": resolve(config.model, plan),
        }
    )
    return config, plan
