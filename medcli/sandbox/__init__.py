"""Call a function in a process of its own that may crash, with bounded memory and time.

Decoders of compressed images and the HDF5 library are written in C, and a damaged or hostile file may make them
crash, hang, or ask for all memory. They are called here, so that such a file costs one case and not the command:

    values = call(decode, data, subject=str(path), seconds=60, memory=2**30)

The process starts with the first call, serves many, is replaced when it dies, and ends with this one. What it hands
back is taken as data (numbers, text, arrays, medcli's own faults) and as nothing else. It confines faults; it is no
prison: who takes over a library by a file has the rights of the user who runs medcli.
"""

import pickle
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from medcli.errors import FormatError, MedcliError
from medcli.parallel import in_worker
from medcli.sandbox import serve
from medcli.sandbox.children import POOL, Died

Result = TypeVar("Result")

MEMORY = 2**30
"""Bytes that a call may take beyond what its process has taken already."""
SECONDS = 60.0
"""Processor time that a call may take."""
PATIENCE = 4
"""How many times as long it may take by the clock on the wall."""


def call(
    function: Callable[..., Result],
    *arguments: Any,
    subject: str,
    kind: type[MedcliError] = FormatError,
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> Result:
    """function(*arguments), computed where a crash does no harm.

    In a worker process, which is expendable itself, the function is simply called.

    Args:
        function: A function of a module (it is sent by name).
        arguments: Picklable.
        subject: What is read, as a message names it: the file.
        kind: Of the fault that is raised when the process dies.
        memory: Bytes that the call may take. Without effect where the system has no such limit.
        seconds: Of processor time; without such a limit of the system only the clock on the wall counts.

    Raises:
        MedcliError: What the function raised; or `kind`, when its process crashed, took too long or too much memory.
        Exception: A fault of Python's own kinds; those of libraries become a RuntimeError with their name.
    """
    if expendable():
        return function(*arguments)
    request = pickle.dumps((function, arguments, memory, seconds), pickle.HIGHEST_PROTOCOL)
    try:
        with POOL.child() as child:
            returned, value = child.ask(request, PATIENCE * seconds)
            if isinstance(value, MemoryError):
                child.end()  # who knows what it left half done
    except Died as death:
        raise kind(f"{subject}: {_explained(death, seconds)}") from None
    if returned:
        return value
    if isinstance(value, MemoryError):
        raise kind(f"{subject}: reading it takes more than {memory / 2**30:.1f} GiB of memory; {_REFUSED}")
    raise value


def expendable() -> bool:
    """Whether this process may crash, since it works for another one."""
    return serve.serving or in_worker()


def close() -> None:
    """End the processes; the next call starts a new one."""
    POOL.close()


_REFUSED = "refused, as it is damaged or made to harm."


def _explained(death: Died, seconds: float) -> str:
    if death.code is None:
        return f"no process to read it in could be started ({death.reason})."
    name = signal.Signals(-death.code).name if death.code < 0 else ""
    if death.late or name == "SIGXCPU":
        return f"reading it took longer than {seconds:.3g} s; {_REFUSED}"
    if name == "SIGKILL":
        return "the process that read it was killed; the computer may be short of memory."
    if name:
        return f"the library that reads it crashed ({name}); {_REFUSED}"
    return (
        f"the process that read it ended without an answer (exit code {death.code}); it is damaged, or the "
        "installation of medcli is."
    )
