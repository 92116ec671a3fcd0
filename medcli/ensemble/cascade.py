"""`medcli train`: one network, or where the plan says so the coarse networks of a cascade and then the fine one.

RUN/coarse/half_0/ half_1/   each a run folder as any other, trained on one half of the training patients
RUN/coarse/...               the two as an ensemble: `medcli evaluate RUN/coarse` measures them by themselves
RUN/...                      the run of the fine network

and while it is trained, gone at the end,

RUN/coarse/prepared/         the prepared folder on the coarse grid
RUN/coarse/answers/KEY.npy   uint8 (spatial shape + class): what they say of each training and validation case

Training cases are answered by the network that did not train on their patient, all others by both. The coarse networks
keep their last weights, so the cases that they answer have chosen nothing either.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from medcli.config.loading import load_config, save_config
from medcli.config.schema import Config, Split
from medcli.ensemble.assemble import assemble
from medcli.errors import DataError
from medcli.files import sweep, write_array
from medcli.prediction.predictor import folded
from medcli.preprocessing.coarse import coarse_image, coarse_shape
from medcli.preprocessing.folds import folds_of
from medcli.preprocessing.geometry import resize_labels
from medcli.preprocessing.labels import IGNORE
from medcli.preprocessing.plan import Plan, save_plan
from medcli.preprocessing.plan_cascade import COARSE_SHARE, of_the_time
from medcli.preprocessing.prepared import (
    Prepared,
    Record,
    answer_path,
    image_path,
    label_path,
    write_manifest,
)
from medcli.run import COARSE, ENSEMBLE, Run, create_run
from medcli.tasks.cascade import coarse_answer
from medcli.training.length import epochs, steps_per_epoch
from medcli.training.result import Event, Result
from medcli.training.train import SMOKE_CASES, opened, settle, train_on

PREPARED, ANSWERS = "prepared", "answers"
HALVES = ("half_0", "half_1")


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
    """As `medcli.training.train`; in a cascade all networks one after the other, within the one time budget.

    Events of a coarse network have its number as `coarse`. Resuming trains no finished network again.

    Raises DataError: fewer than two training patients for a cascade; and as `medcli.training.train`.
    """
    began = time.monotonic()
    prepared = opened(config, prepared_folder)
    settled, plan = settle(config, prepared, smoke)
    if plan.cascade is None:
        return train_on(
            config, prepared, run_folder, resume=resume, force=force, smoke=smoke, on_event=on_event
        )
    work = _Coarse(config, plan, prepared, run_folder / COARSE, smoke, on_event)
    if len({record.patient for record in work.cases if record.split == "train"}) < 2:
        raise DataError(
            f"{prepared_folder}: a cascade needs at least 2 training patients, whose halves the coarse networks learn "
            "from; set model.cascade: off."
        )
    create_run(run_folder, settled, plan, prepared.records, resume=resume, force=force)
    work.train()
    answers = work.answer()
    spent = work.seconds() + time.monotonic() - began - work.training
    keras.utils.clear_session()
    result = train_on(
        config, replace(prepared, answers=answers), run_folder,
        resume=True, smoke=smoke, on_event=on_event, spent=spent,
    )  # fmt: skip
    work.tidy()
    return result


class _Coarse:
    """The coarse networks of one run.

    Args:
        prepared: The cases on the grid of the fine network.
        folder: RUN/coarse.

    Attributes:
        cases: Those that are needed for training and validation; in a smoke test few.
        training: Seconds that this process trained.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        prepared: Prepared,
        folder: Path,
        smoke: bool,
        on_event: Callable[[Event], None],
    ):
        self.config, self.plan, self.prepared, self.folder = config, plan, prepared, folder
        self.smoke, self.on_event = smoke, on_event
        self.training = 0.0
        most = SMOKE_CASES if smoke else None
        self.cases = (*prepared.split("train")[:most], *prepared.split("val")[:most])

    def seconds(self) -> float:
        """Spent training networks that are finished, over all resumptions."""
        results = [Result.load(self.folder / name) for name in HALVES]
        return sum(result.seconds for result in results if result is not None)

    def train(self) -> None:
        if (self.folder / ENSEMBLE).is_file():
            return
        small = self._prepare()
        for number, name in enumerate(HALVES):

            def tell(event: Event, number: int = number) -> None:
                self.on_event(event | {"coarse": number})

            if Result.load(self.folder / name) is not None:
                tell({"event": "skipped"})
                continue
            keras.utils.clear_session()
            began, mine = time.monotonic(), half(small, self.config, number)
            train_on(
                self._config(number, mine), mine, self.folder / name,
                resume=True, smoke=self.smoke, on_event=tell,
            )  # fmt: skip
            self.training += time.monotonic() - began
        assemble(self.folder, HALVES, folds=False)

    def _prepare(self) -> Prepared:
        """The cases on the coarse grid; what is there already is not made again."""
        folder, plan = self.folder / PREPARED, self.plan.of_coarse()
        sweep(folder / "cases")
        records = []
        for number, record in enumerate(self.cases, 1):
            label = self.prepared.label(record, mapped=True)
            if not label_path(folder, record.key).is_file():
                small = coarse_image(self.prepared.picture(record), plan.coarser or ())
                ignore = None if plan.ignore_label is None else IGNORE
                write_array(image_path(folder, record.key), small, durable=False)
                small_label = resize_labels(np.asarray(label), small.shape[:-1], ignore)
                write_array(label_path(folder, record.key), small_label, durable=False)
            small_label = np.load(label_path(folder, record.key), mmap_mode="r")
            records.append(replace(record, shape=small_label.shape))
            self._tell("coarse grid", number)
        factors = plan.coarser or ()
        for record in self.prepared.split("test"):
            records.append(replace(record, shape=coarse_shape(record.shape, factors)))
        save_config(load_config(self.prepared.folder / "config.yaml"), folder / "config.yaml")
        save_plan(plan, folder / "plan.yaml")
        write_manifest(folder, records)
        return Prepared(folder, plan, tuple(records))

    def _config(self, number: int, mine: Prepared) -> Config:
        """A coarse network's: its share of the time or else of the epochs, a start of its own, and the last weights."""
        config = of_the_time(self.config, COARSE_SHARE)
        length: dict[str, int] = {}
        if config.train.max_minutes is None and not self.smoke:
            cases = len(mine.split("train"))
            batch = max(1, min(mine.plan.batch_size, cases))
            samples = batch * steps_per_epoch(config, mine.plan, cases, batch)
            share = COARSE_SHARE / (1 - len(HALVES) * COARSE_SHARE)
            length["epochs"] = max(1, round(share * epochs(config, cases, samples)))
        return config.model_copy(
            update={
                "run": self.folder / HALVES[number],
                "seed": config.seed + number,
                "model": config.model.model_copy(update={"cascade": "off", "stages": "auto"}),
                "train": config.train.model_copy(
                    update={"patch": mine.plan.patch, "keep": "last", "early_stopping": None} | length
                ),
            }
        )

    def answer(self) -> Path:
        """The folder with an answer for every case; those that are there already are not computed again."""
        folder = self.folder / ANSWERS
        sweep(folder)
        missing = [record for record in self.cases if not answer_path(folder, record.key).is_file()]
        if not missing:
            return folder
        keras.utils.clear_session()
        run = Run.open(self.folder)
        task, models = run.task, folded(run.load_model())
        for number, record in enumerate(missing, 1 + len(self.cases) - len(missing)):
            image = self.prepared.picture(record)
            said = coarse_answer(task, run.unseen_by(record.case), models, image, self.plan)  # type: ignore[arg-type]
            write_array(answer_path(folder, record.key), said, durable=False)
            self._tell("coarse answers", number)
        return folder

    def tidy(self) -> None:
        """Without what only training needs."""
        for name in (PREPARED, ANSWERS):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _tell(self, stage: str, done: int) -> None:
        self.on_event({"event": "stage", "stage": stage, "done": done, "total": len(self.cases)})


def half(prepared: Prepared, config: Config, number: int) -> Prepared:
    """For the coarse network of this number: half of the training patients are set aside, and it answers them later.

    Patients, and those who share an image, are in one half.
    """
    training = prepared.split("train")
    settings = Split(folds=len(HALVES), stratify=config.data.split.stratify)
    fold = folds_of(replace(prepared, records=training), settings, config.seed)
    records: Sequence[Record] = [
        replace(record, split="test") if fold.get(record.case) == number else record
        for record in prepared.records
    ]
    return replace(prepared, records=tuple(records))
