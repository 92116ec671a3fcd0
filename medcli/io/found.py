"""What a layout finds: cases, classes and problems, and the few helpers that every layout needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medcli.case import Case, Problem
from medcli.errors import ConfigError, DataError

SPLITS = {
    "train": "train", "training": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip
"""What data sets call the parts, and what they are called here."""


@dataclass
class Found:
    """Filled by one layout.

    Attributes:
        cases: In the order of the data (rows of a table, natural order of names).
        classes: Class names in order; None when only the masks can tell.
        problems: Cases left out and faults in those kept.
        label_ids: Segmentation: for each class the ids in the label files; empty: every value above zero is
            the one class; None when only the masks can tell.
        multi_label: Classification: several classes, or none, may apply to one case.
        ignore_label, regions: Segmentation: what the data themselves say in place of the settings of these names.
    """

    cases: list[Case] = field(default_factory=list)
    classes: list[str] | None = None
    problems: list[Problem] = field(default_factory=list)
    label_ids: dict[str, list[int]] | None = None
    multi_label: bool = False
    ignore_label: int | None = None
    regions: dict[str, list[str]] | None = None

    def leave_out(self, case: str, file: str, reason: str) -> None:
        self.problems.append(Problem(case, file, reason))

    def warn(self, case: str, file: str, reason: str) -> None:
        self.problems.append(Problem(case, file, reason, left_out=False))


def shown(path: Path, root: Path) -> str:
    """The path as problems show it: relative to the root where it lies below it, with forward slashes."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def known_split(text: str) -> str | None:
    """train, val or test for what a data set calls it; None for anything else."""
    return SPLITS.get(text.strip().lower())


def existing(root: Path, name: str, key: str) -> Path:
    """The path below root; raises DataError when it does not exist."""
    path = root / name
    if not path.exists():
        raise DataError(f"{path}: not found; expected what {key} names. Check {key} and data.root.")
    return path


def as_text(value: str | Mapping[str, str] | None, key: str) -> str | None:
    """The setting as one path; raises ConfigError for a mapping, which this layout cannot use."""
    if value is None or isinstance(value, str):
        return value
    raise ConfigError(f"{key}: expected one path for this data.format, got a mapping.")


def listing(names: Iterable[str], most: int = 12) -> str:
    """`a, b, c, ...` for messages."""
    names = list(names)
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def class_order(found: Iterable[str], declared: Sequence[str] | Mapping[str, object] | None) -> list[str]:
    """The declared class names in their order, else those found, sorted."""
    return list(declared) if declared else sorted(set(found))
