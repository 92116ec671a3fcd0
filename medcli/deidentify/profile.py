"""From options to actions: what happens to each attribute under the Basic Profile with the chosen options."""

from collections.abc import Iterable
from enum import Enum, auto
from functools import lru_cache

from medcli.deidentify.tables import OPTIONS, Row, compound_actions, rows
from medcli.errors import UsageError


class Action(Enum):
    KEEP = auto()
    """Stays; what was collected is still masked in it."""
    CLEAN = auto()
    """Stays; what was collected and what looks like an identifier is masked."""
    SHIFT = auto()
    """A date: moved by the patient's days."""
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    UID = auto()
    """A new UID; in a sequence the items stay and their UIDs are replaced."""


_BASIC = {"X": Action.REMOVE, "Z": Action.EMPTY, "D": Action.DUMMY, "U": Action.UID, "U*": Action.UID}


def check_options(names: Iterable[str]) -> frozenset[str]:
    """The options as a set. Raises UsageError for an unknown name."""
    options = frozenset(name.strip().lower().replace("_", "-") for name in names)
    for name in sorted(options - set(OPTIONS)):
        raise UsageError(f"{name!r} is not an option of the profile; there are {', '.join(OPTIONS)}.")
    return options


@lru_cache(maxsize=4096)
def actions_for(
    options: frozenset[str], sop_class: str, overrides: tuple[tuple[int, Action], ...] = ()
) -> dict[int, Action]:
    """Tag -> action for every row of Table E.1-1, at the top level of an object of this SOP Class."""
    compound = compound_actions(sop_class)
    return {tag: _action(row, options, compound.get(tag)) for tag, row in rows().items()} | dict(overrides)


def _action(row: Row, options: frozenset[str], compound: str | None) -> Action:
    """Cleaning wins over keeping where both are chosen: it keeps all but the identifiers, or moves dates."""
    chosen = {name: code for name, code in row.options.items() if name in options}
    if chosen.get("modified-dates") == "C":
        return Action.SHIFT
    if "C" in chosen.values():
        return Action.CLEAN
    if "K" in chosen.values():
        return Action.KEEP
    return _BASIC[compound or row.basic.split("/")[0]]
