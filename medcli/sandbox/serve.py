"""The process that may crash: it answers calls until the one that started it is gone."""

import math
import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from typing import IO, Any, NoReturn

from medcli.errors import MedcliError
from medcli.sandbox.transfer import receive, send_answer

serving = False
"""Whether this process is such a one."""


def serve(shared: int | None) -> NoReturn:
    """Answer calls.

    Args:
        shared: Descriptor of the file for large arrays; None: they go through the pipe.
    """
    global serving
    serving = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other process
    requests, answers = _private_streams()
    _end_with_the_other(requests)
    with suppress(EOFError, OSError):
        while True:
            send_answer(answers, _answer(receive(requests)), shared)
    os._exit(0)


def _private_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output under other numbers; what a library prints goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return requests, answers


def _end_with_the_other(requests: IO[bytes]) -> None:
    """End in the middle of a call, too, when nobody waits for the answer any more."""
    if os.name != "posix":
        return
    import select

    end = select.poll()
    end.register(requests, 0)  # wakes for nothing but its end
    threading.Thread(target=lambda: (end.poll(), os._exit(1)), daemon=True).start()


def _answer(request: bytes) -> tuple[bool, Any]:
    """Whether the function returned, and what it returned or raised."""
    try:
        function, arguments, memory, seconds = pickle.loads(request)
        limit(memory, seconds)
        return True, function(*arguments)
    except MedcliError as error:
        return False, type(error)(*error.args)
    except Exception as error:
        return False, _plain(error)


def _plain(error: Exception) -> Exception:
    """The fault as one of Python's own kinds."""
    if isinstance(error, MemoryError):
        return MemoryError()
    if isinstance(error, OSError):
        return OSError(
            error.errno, error.strerror, error.filename and str(error.filename)
        )  # becomes its own kind
    if type(error).__module__ == "builtins" and all(isinstance(value, str) for value in error.args):
        return type(error)(*error.args)
    return RuntimeError(type(error).__name__)


def limit(memory: int, seconds: float) -> None:
    """Bound what this process may take from now on; nothing happens where the system has no such limits."""
    try:
        import resource
    except ImportError:
        return
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, _address_space() + memory)
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))


def _limit(what: int, most: int) -> None:
    """Set the soft limit, which the next call may raise again, within the hard one."""
    import resource

    _, hard = resource.getrlimit(what)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _address_space() -> int:
    """Bytes that are taken already; where the system does not tell, those of a Python with NumPy."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2**30
