"""How long work tells how far it is: a plain call, drawn by whoever listens."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total)."""


def ignore(stage: str, done: int, total: int) -> None:
    """The listener that does not listen."""
