"""What an audit says: one sentence each, with the numbers and the cases behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["leak", "warning", "note"]
LEVELS: tuple[Level, ...] = ("leak", "warning", "note")
"""leak: the measures of this division would be too good; warning: look before training; note: to know."""


@dataclass(frozen=True)
class Finding:
    """Attributes:
    level: See `LEVELS`.
    check: What was looked for.
    text: What was found, and what to do.
    cases: Names of those concerned, the most telling first.
    numbers: Behind the text.
    """

    level: Level
    check: str
    text: str
    cases: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Leaks first, notes last; otherwise as they came."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def some(names: Sequence[str], most: int = 4) -> str:
    """The first few names."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def plural(count: int, noun: str) -> str:
    """>>> plural(1, "pair"), plural(2, "pair")
    ('1 pair', '2 pairs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
