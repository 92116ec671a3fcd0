"""Stopping in good order: a signal lets the step under way end, and the state be saved."""

import signal
from collections.abc import Callable

from medcli.errors import RunError


class Stopped(RunError):
    """Training was asked to stop (SIGTERM, SIGUSR1 or Ctrl-C) and saved its state."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.exit_code = 128 + number


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
