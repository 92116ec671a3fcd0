"""What is searched: settings and the values that each may take."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcli.config.document import read_document
from medcli.config.loading import load_config
from medcli.config.reference import settings
from medcli.config.schema import Config
from medcli.errors import ConfigError

FIXED = {
    "train.patch": "it is decided when the data are prepared",
    "train.max_minutes": "the search gives every trial its time",
    "train.validate_every": "a trial is judged while it trains",
    "train.early_stopping": "a trial is judged while it trains",
    "train.devices": "it is no matter of how well a network learns",
    "train.tensorboard": "it is no matter of how well a network learns",
    "train.cache_gb": "it is no matter of how well a network learns",
}
"""Settings of `model` and `train` that cannot be searched, and why."""


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def takes(self, value: Any) -> bool:
        return isinstance(value, str | int | float | bool)

    def with_value(self, value: Any) -> "Choice":
        """That holds this value as well."""
        return self if value in self.values else Choice((*self.values, value))

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True)
class Range:
    """From low to high, both included; `log`: evenly over the orders of magnitude. Whole numbers when both are."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def takes(self, value: Any) -> bool:
        return isinstance(value, int | float) and (value > 0 or not self.log)

    def with_value(self, value: float) -> "Range":
        return Range(min(self.low, value), max(self.high, value), self.log)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


Space = dict[str, Choice | Range]


def default_space(config: Config) -> Space:
    """By task: what moves the result most for networks trained from scratch on few images."""
    rate = (1e-3, 1e-1) if config.train.optimizer == "sgd" else (2e-4, 1e-2)
    space: Space = {
        "train.learning_rate": Range(*rate, log=True),
        "train.weight_decay": Range(1e-5, 1e-1, log=True),
        "train.augment": Choice(("light", "medium", "strong")),
    }
    match config.task:
        case "classification":
            space |= {
                "model.dropout": Choice((0.0, 0.2, 0.4)),
                "train.label_smoothing": Choice((0.0, 0.05, 0.1)),
            }
            if config.model.name in ("auto", "cnn", "resnet18"):
                space["model.width"] = Choice((16, 32, 48))
        case "regression":
            space |= {
                "model.dropout": Choice((0.0, 0.2, 0.4)),
                "train.loss": Choice(("huber", "mae", "mse")),
            }
            if config.model.name in ("auto", "cnn", "resnet18"):
                space["model.width"] = Choice((16, 32, 48))
        case "detection":
            space |= {"train.ema": Choice((0.98, 0.99, 0.999)), "model.size": Choice(("nano", "small"))}
        case "segmentation":
            space |= {
                "model.width": Choice((16, 24, 32)),
                "train.foreground": Choice((0.33, 0.5, 0.75)),
                "train.loss": Choice(("dice_cross_entropy", "tversky_cross_entropy")),
            }
    return space


def read_space(path: Path, config_file: Path) -> Space:
    """A space from YAML: `setting: [values]` or `setting: {low: ..., high: ..., log: true}`.

    Raises ConfigError with file, line and key for an unknown setting, one that cannot be searched, or values that the
    config would not take.
    """
    document = read_document(path)
    space: Space = {}
    for key, value in flattened(document.values).items():
        parts = tuple(key.split("."))
        line = next(
            (document.lines[known] for known in ((key,), parts, parts[:1]) if known in document.lines), 1
        )
        where = f"{path}:{line}: {key}"
        check_key(key, where)
        space[key] = parse(value, where)
        for tried in extremes(space[key]):
            try:
                load_config(config_file, [override(key, tried)])
            except ConfigError as error:
                raise ConfigError(f"{where}: the config does not take {tried}: {error}") from None
    if not space:
        raise ConfigError(
            f"{path}: expected settings to search, such as `train.learning_rate: [0.001, 0.01]`."
        )
    return space


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys, however they were written; a mapping with low and high is a range."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and not {"low", "high"} & set(value):
            found |= flattened(value, f"{key}.")
        else:
            found[key] = value
    return found


def check_key(key: str, where: str) -> None:
    """Raises ConfigError when the key is no setting that can be searched."""
    known = [
        name for name, setting in settings().items()
        if name.partition(".")[0] in ("model", "train") and not setting.is_section and name not in FIXED
    ]  # fmt: skip
    if key in FIXED:
        raise ConfigError(f"{where}: cannot be searched, since {FIXED[key]}.")
    if key in settings() and key not in known:
        raise ConfigError(
            f"{where}: cannot be searched; settings of `model` and `train` can, the others need other prepared data or "
            "say how a result is used."
        )
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        raise ConfigError(f"{where}: unknown setting" + (f"; did you mean `{close[0]}`?" if close else "."))


def parse(value: Any, where: str) -> Choice | Range:
    if isinstance(value, list) and value:
        if all(isinstance(one, str | int | float | bool) for one in value):
            return Choice(tuple(value))
        raise ConfigError(
            f"{where}: expected single numbers, words, true or false to choose from, got {value}."
        )
    if isinstance(value, Mapping):
        low, high, log = value.get("low"), value.get("high"), value.get("log", False)
        numbers = isinstance(low, int | float) and isinstance(high, int | float)
        if numbers and set(value) <= {"low", "high", "log"} and isinstance(log, bool):
            assert low is not None and high is not None
            if low < high and (low > 0 or not log):
                return Range(low, high, log)
            raise ConfigError(
                f"{where}: expected low below high{', and above 0 for log' if log else ''}, got {value}."
            )
    raise ConfigError(f"{where}: expected [values] or {{low: ..., high: ..., log: true}}, got {value}.")


def extremes(one: Choice | Range) -> tuple[Any, ...]:
    """The values that the config must take, so that it takes all."""
    return one.values if isinstance(one, Choice) else (one.low, one.high)


def override(key: str, value: Any) -> str:
    """`key=value` as `--set` takes it."""
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return f"{key}={text}"
