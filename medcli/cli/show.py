"""Results on stdout: tables for people, JSON for programs."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_json(content: Any) -> None:
    """Pure JSON; NumPy values become plain ones, NaN becomes null, paths become text."""
    from medcli.files import plain

    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    print(json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def facts(title: str, pairs: Mapping[str, Any]) -> None:
    """Names with their values, in two columns."""
    table(title, [{"": name, "value": value} for name, value in pairs.items()], header=False)


def table(title: str, rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> None:
    """Rows as a table; columns in order of first appearance, numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(name for row in rows for name in row))
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=header)
    for name in columns:
        numeric = all(isinstance(row.get(name, 0), int | float) for row in rows)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(text(row.get(name)) for name in columns))
    width = None if sys.stdout.isatty() else 120
    Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False).print(drawn)


def text(value: Any) -> str:
    """A value for people: 4 significant digits, lists joined, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "undefined" if value != value else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(item)}" for name, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(text(item) for item in value)
    return str(value)


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def note(message: str) -> None:
    """A remark for people, on stderr."""
    print(f"medcli: {message}", file=sys.stderr)
