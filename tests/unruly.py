"""Functions that misbehave, for the tests of the process in which such functions are called."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from medcli import sandbox
from medcli.errors import FormatError


def own_process(*_: object) -> int:
    return os.getpid()


def same(*values: object) -> tuple:
    return values


def ones(count: int) -> np.ndarray:
    return np.ones(count, np.uint8)


def largest(count: int) -> int:
    """Takes so many bytes."""
    return int(np.ones(count, np.uint8).max())


def get_signal(number: int) -> None:
    os.kill(os.getpid(), number)


def crash(*_: object) -> None:
    get_signal(signal.SIGSEGV)


def leave(code: int) -> None:
    os._exit(code)


def sleep(seconds: float, marker: Path | None = None) -> None:
    if marker is not None:
        marker.write_text(str(os.getpid()), encoding="ascii")
    time.sleep(seconds)


def work_forever() -> None:
    while True:
        pass


def complain(fault: Exception) -> None:
    raise fault


def complain_like_a_library() -> None:
    raise type("LibraryError", (Exception,), {})("the header's content")


def refuse(name: str) -> None:
    raise FormatError(f"{name}: a picture was expected.")


def chatter() -> str:
    print("on stdout", flush=True)
    print("on stderr", file=sys.stderr, flush=True)
    os.write(1, b"below Python's stdout\n")
    os.write(2, b"below Python's stderr\n")
    return "done"


def call_again() -> bool:
    """Whether a call from within stays in this process."""
    return sandbox.call(own_process, subject="x") == os.getpid()


class Hostile:
    """Does something while it is unpickled."""

    def __reduce__(self):
        return print, ("taken over",)


def hostile() -> Hostile:
    return Hostile()
