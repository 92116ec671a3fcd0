"""The trials of a search: drawn, trained for a short time, stopped early when others were better by then.

OUT/study.log     the journal of the study (Optuna), from which `--resume` continues
OUT/trials.csv    one line per trial: its settings, the best validation, time, what became of it
OUT/search.png    the measures in the order of the trials, and which settings mattered
OUT/best.yaml     the config with the best settings, for `medcli train`
OUT/space.yaml    what was searched, with the config's own values in it; config.yaml: what was started from
OUT/trials/NNN/   of every trial its config and its curve; weights are not kept

Settings are drawn by tree-structured Parzen estimators (Bergstra et al. 2011), the first trial is the config as it is.
Trials are stopped by asynchronous successive halving (Li et al. 2020): after 20 % and after 60 % of its time a trial
goes on when it is among the best third of those that came so far.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic as clock
from typing import Any

from medcli.config.loading import load_config, save_config
from medcli.config.schema import Config
from medcli.errors import MedcliError, RunError, UsageError
from medcli.files import write_text
from medcli.preprocessing.prepared import Prepared
from medcli.run import CHECKPOINTS, MODEL, check_same
from medcli.search.space import Choice, Range, Space, override
from medcli.search.trials import Found, Trial
from medcli.search.write import space_yaml, write_all
from medcli.tasks.choose import task_for
from medcli.training.optimizer import peak_learning_rate
from medcli.training.result import Event
from medcli.training.signals import Stopped
from medcli.training.train import settle, train

JOURNAL, TRIALS, SPACE, CONFIG = "study.log", "trials", "space.yaml", "config.yaml"
PARTS = 10
"""A trial reports by tenths of its time, so that long and short ones can be compared."""
RUNGS = {"min_resource": 2, "reduction_factor": 3}
DEFAULT_TRIALS = 15
"""Trials for which the time is planned when nobody says; those that are stopped early make room for more."""
LEAST_SHARE = 0.5
"""A last trial begins when at least this share of its time is left."""


class StoppedEarly(Exception):
    """A trial that is not worth its time."""


def library() -> Any:
    """Optuna. Raises UsageError when it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "`medcli search` needs Optuna, which is not installed; install it with `pip install 'medcli[search]'`."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def search(
    config_file: Path,
    overrides: list[str],
    space: Space,
    out: Path,
    *,
    prepared_folder: Path,
    minutes: float,
    trial_minutes: float | None = None,
    most: int | None = None,
    resume: bool = False,
    force: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Found:
    """Search within the time, and write what was found.

    Args:
        config_file, overrides: The job; its own settings are the first trial.
        space: What is searched.
        minutes: For all trials together, those before `resume` included.
        trial_minutes: For one that is not stopped early; None: a fifteenth of the time.
        most: Most trials; None: as many as there is time for.

    Raises:
        UsageError: Optuna is missing, or `out` holds something.
        RunError: Nothing was prepared, the time is used up, or no trial was finished.
        Stopped: A signal asked for it; `resume` continues.
    """
    optuna = library()
    config = load_config(config_file, overrides)
    prepared = Prepared.open(prepared_folder)
    if config.data.split.folds:
        from medcli.preprocessing.folds import in_fold

        prepared = in_fold(prepared, config.data.split, config.seed)
    settled, plan = settle(config, prepared, smoke=False)
    if settled.model.fitted_at_once:
        raise UsageError(
            f"{settled.model.fitted_at_once} chooses its own settings by cross-validation; there is nothing to search."
        )
    if plan.cascade is not None:
        raise UsageError(
            "model.cascade: a search tries single networks; add `--set model.cascade=off`, and train a cascade with "
            "the settings that were found."
        )
    own = own_values(settled, space)
    space = {key: one.with_value(own[key]) if key in own else one for key, one in space.items()}
    _make_room(out, resume=resume, force=force)
    _keep_or_check(out, settled, space)
    study = _open(optuna, out, config.seed)
    work = _Work(
        optuna, study, config_file, overrides, space, out, prepared_folder, task_for(settled, plan).monitor,
        trial_minutes or minutes / DEFAULT_TRIALS, on_event,
    )  # fmt: skip
    if not study.trials:
        study.enqueue_trial(own)
    work.settle_interrupted()
    while (most is None or work.count < most) and work.left(minutes) >= LEAST_SHARE * work.trial_minutes:
        work.one(min(work.trial_minutes, work.left(minutes)))
    found = work.found(len(prepared.split("val")))
    write_all(found, space, config_file, overrides)
    return found


def own_values(config: Config, space: Space) -> dict[str, Any]:
    """The config's own value of every setting in the space, `auto` decided as training decides it."""
    found: dict[str, Any] = {}
    for key, one in space.items():
        section, _, name = key.partition(".")
        value: Any = getattr(config, section)
        for part in name.split("."):
            value = getattr(value, part)
        decided = {
            "train.learning_rate": peak_learning_rate(config.train),
            "train.augment": "medium",
            "train.loss": {"segmentation": "dice_cross_entropy", "regression": "huber"}.get(
                config.task, "cross_entropy"
            ),
        }
        value = decided.get(key, value) if value == "auto" else value
        if one.takes(value):
            found[key] = value
    return found


def _make_room(out: Path, *, resume: bool, force: bool) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / JOURNAL).is_file():
            raise UsageError(
                f"{out}: expected an empty folder or that of a search, found other files; choose another --out."
            )
        if force:
            shutil.rmtree(out)
        elif not resume:
            raise UsageError(
                f"{out}: holds a search already; continue it with --resume or replace it with --force."
            )
    out.mkdir(parents=True, exist_ok=True)


def _keep_or_check(out: Path, config: Config, space: Space) -> None:
    """What the search was started with. Raises RunError or UsageError when it is continued with something else."""
    if (out / CONFIG).is_file():
        check_same(load_config(out / CONFIG), config, out)
        if (out / SPACE).read_text(encoding="utf-8") != space_yaml(space):
            raise UsageError(
                f"{out}: the search was started with another space ({SPACE} there); continue with that, or start anew "
                "with --force."
            )
        return
    write_text(out / SPACE, space_yaml(space))
    save_config(config, out / CONFIG)


def _open(optuna: Any, out: Path, seed: int) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    study = optuna.create_study(
        storage=storage,
        study_name="search",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(**RUNGS),
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=6)
    return study


@dataclass
class _Work:
    optuna: Any
    study: Any
    config_file: Path
    overrides: list[str]
    space: Space
    out: Path
    prepared: Path
    monitor: str
    trial_minutes: float
    on_event: Callable[[Event], None]

    @property
    def count(self) -> int:
        """Trials that were carried through."""
        return sum(one.state != "interrupted" for one in self.trials())

    def left(self, minutes: float) -> float:
        return minutes - sum(one.minutes for one in self.trials())

    def settle_interrupted(self) -> None:
        """A trial that a killed search left running is tried again."""
        for trial in self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.RUNNING,)):
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
            self.study.enqueue_trial(trial.params)

    def one(self, minutes: float) -> None:
        """Draw, train, and tell the study."""
        state = self.optuna.trial.TrialState
        trial = self.study.ask()
        values = {key: self._drawn(trial, key) for key in self.space}
        folder = self.out / TRIALS / f"{trial.number:03d}"
        began = clock()
        best: list[float] = []

        def follow(event: Event) -> None:
            self.on_event(event | {"trial": trial.number})
            if event["event"] != "epoch" or f"val_{self.monitor}" not in event:
                return
            best.append(float(event[f"val_{self.monitor}"]))
            trial.set_user_attr("epochs", int(event["epoch"]))
            trial.report(max(best), step=_part(event, minutes))
            if event["epoch"] < event["epochs"] and trial.should_prune():
                raise StoppedEarly

        try:
            train(self._config(values, folder, minutes), self.prepared, folder, force=True, on_event=follow)
            outcome: tuple[Any, Any] = (max(best), state.COMPLETE)
        except StoppedEarly:
            outcome = (None, state.PRUNED)
        except (Stopped, KeyboardInterrupt):
            trial.set_user_attr("interrupted", True)
            self._end(trial, began, None, state.FAIL, folder)
            self.study.enqueue_trial(trial.params)
            raise
        except MedcliError as error:
            trial.set_user_attr("reason", " ".join(str(error).split()))
            outcome = (None, state.FAIL)
        if best:
            trial.set_user_attr("best", max(best))
        self._end(trial, began, *outcome, folder)

    def _end(self, trial: Any, began: float, value: float | None, state: Any, folder: Path) -> None:
        trial.set_user_attr("minutes", (clock() - began) / 60)
        self.study.tell(trial, value, state=state)
        for heavy in (folder / CHECKPOINTS, folder / "logs"):
            shutil.rmtree(heavy, ignore_errors=True)
        (folder / MODEL).unlink(missing_ok=True)

    def _drawn(self, trial: Any, key: str) -> Any:
        match self.space[key]:
            case Choice(values):
                return trial.suggest_categorical(key, list(values))
            case Range(low, high, log) as one if one.whole:
                return trial.suggest_int(key, int(low), int(high), log=log)
            case Range(low, high, log):
                return trial.suggest_float(key, low, high, log=log)

    def _config(self, values: Mapping[str, Any], folder: Path, minutes: float) -> Config:
        """Judged ten times on its way, with the weights of the best validation."""
        chosen = [override(key, value) for key, value in values.items()]
        config = load_config(self.config_file, [*self.overrides, *chosen])
        short = {"max_minutes": minutes, "tensorboard": False, "early_stopping": None}
        return config.model_copy(
            update={
                "train": config.train.model_copy(update=short),
                "prepared": self.prepared,
                "run": folder,
            }
        )

    def trials(self) -> list[Trial]:
        state = self.optuna.trial.TrialState
        names = {state.COMPLETE: "complete", state.PRUNED: "stopped early", state.FAIL: "failed"}
        found = []
        for one in self.study.get_trials(deepcopy=False):
            if one.state not in names:
                continue
            attributes = one.user_attrs
            interrupted = attributes.get("interrupted") or "minutes" not in attributes
            found.append(
                Trial(
                    one.number,
                    "interrupted" if interrupted else names[one.state],
                    one.value if one.value is not None else attributes.get("best"),
                    dict(one.params),
                    attributes.get("minutes", 0.0),
                    attributes.get("epochs", 0),
                    attributes.get("reason", ""),
                )
            )
        return found

    def found(self, validation_cases: int) -> Found:
        trials = self.trials()
        complete = [one for one in trials if one.complete]
        if not complete:
            reasons = [one.reason for one in trials if one.reason]
            told = f"; the first failed: {reasons[0]}" if reasons else ", give it more --minutes"
            raise RunError(f"{self.out}: no trial was finished{told}")
        return Found(
            self.out, self.monitor, trials, list(self.space), validation_cases, self._importance(complete)
        )

    def _importance(self, complete: list[Trial]) -> dict[str, float]:
        if len(complete) < 4 or len({one.value for one in complete}) < 2:
            return {}
        try:
            evaluator = self.optuna.importance.FanovaImportanceEvaluator(seed=0)
            return dict(self.optuna.importance.get_param_importances(self.study, evaluator=evaluator))
        except (ValueError, RuntimeError):
            return {}


def _part(event: Event, minutes: float) -> int:
    """1 to 10: which tenth of the trial is over, by its schedule, which ends when its time does."""
    done = event["epoch"] / max(1, event["epochs"])
    return min(PARTS, max(1, int(PARTS * max(done, event["seconds"] / (60 * minutes)))))
