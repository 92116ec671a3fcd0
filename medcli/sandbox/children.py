"""The calling side: processes that answer one call at a time, and how many of them there are."""

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import IO, Any

from medcli.parallel import default_workers
from medcli.sandbox.transfer import receive_answer, send, shared_file

WORTH = 2.0
"""Seconds that calls wait, all together, before one more process is started: a few times what starting it takes."""


class Died(Exception):
    """A process ended, or had to be ended, before it answered.

    Attributes:
        code: Its exit code, negative: the signal that ended it; None: it could not be started.
        late: It was ended here for taking too long.
        reason: Why it could not be started.
    """

    def __init__(self, code: int | None, *, late: bool = False, reason: str = ""):
        super().__init__(code, late, reason)
        self.code, self.late, self.reason = code, late, reason


class Child:
    """A process that answers calls."""

    def __init__(self) -> None:
        self._shared = shared_file()
        shared = None if self._shared is None else self._shared.fileno()
        start = (
            f"import sys; sys.path[:] = {sys.path!r}; from medcli.sandbox.serve import serve; serve({shared})"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=() if shared is None else (shared,),
                env=os.environ
                | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # they take address space
            )
        except OSError as error:
            raise Died(None, reason=error.strerror or type(error).__name__) from None
        assert self._process.stdin and self._process.stdout
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: bytes, patience: float) -> tuple[bool, Any]:
        """Whether the function returned, and what it returned or raised.

        Raises:
            Died: The process ended, took longer than `patience` seconds, or answered nonsense.
        """
        late = False
        try:
            send(self._requests, request)
            late = os.name == "posix" and not wait([self._answers.fileno()], patience)
            if not late:
                return receive_answer(self._answers, self._shared)
        except (OSError, EOFError):
            self.end(after=5)
        except (MemoryError, KeyboardInterrupt):
            self.end()  # its answer would be taken for that to the next call
            raise
        except Exception:  # nonsense may look like anything
            self.end()
            raise Died(0) from None
        raise Died(self.end(), late=late)

    def end(self, *, after: float = 0) -> int:
        """End the process, if it does not end by itself in so many seconds; its exit code."""
        try:
            self._process.wait(after)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for stream in (self._requests, self._answers, self._shared):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        return self._process.wait()


class Pool:
    """As many processes as calls at one time are worth: one, and more when calls have waited for it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know of no process. After a fork, where they are those of the other one."""
        self._free = threading.Condition()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._starting = 0
        self._waited = 0.0

    @contextmanager
    def child(self) -> Iterator[Child]:
        """A process for one call; one that is dead afterwards is forgotten."""
        child = self._take() or self._start()
        try:
            yield child
        finally:
            with self._free:
                self._busy.discard(child)
                if child.alive:
                    self._idle.append(child)
                self._free.notify()

    def _take(self) -> Child | None:
        """A process that is free; None: one is to be started."""
        most = default_workers()
        began = time.monotonic()
        with self._free:
            while True:
                while self._idle:
                    child = self._idle.pop()
                    if child.alive:
                        self._waited += time.monotonic() - began
                        self._busy.add(child)
                        return child
                    child.end()
                count = len(self._busy) + self._starting
                if count == 0 or (count < most and self._waited + time.monotonic() - began > WORTH):
                    self._waited = 0.0
                    self._starting += 1
                    return None
                self._free.wait(WORTH / 4)

    def _start(self) -> Child:
        try:
            child = Child()
            self._busy.add(child)
            return child
        finally:
            with self._free:
                self._starting -= 1

    def close(self) -> None:
        """End the processes."""
        with self._free:
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.end()


POOL = Pool()
atexit.register(POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
