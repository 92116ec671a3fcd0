"""What goes between the two processes: requests and answers through pipes, large arrays through shared memory."""

import builtins
import io
import os
import pickle
import struct
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from medcli import errors

LARGE = 2**16
"""Arrays of at least so many bytes go through shared memory: 0.4 ms instead of 1.1 ms for 512 x 512 values of 16 bit,
0.15 s instead of 0.4 s for 100 MB."""
KEPT = 2**25
"""So much of it is kept for the next array, which saves half of the time."""


def send(stream: IO[bytes], content: bytes) -> None:
    stream.write(struct.pack("<Q", len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Raises EOFError when the other process is gone."""
    (length,) = struct.unpack("<Q", _read(stream, 8))
    return _read(stream, length)


def _read(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


# ---- answers


def send_answer(stream: IO[bytes], answer: Any, shared: int | None) -> None:
    """`shared`: Descriptor of the file for large arrays, if there is one."""
    large: list[pickle.PickleBuffer] = []

    def inside(buffer: pickle.PickleBuffer) -> bool:
        if shared is None or buffer.raw().nbytes < LARGE:
            return True
        large.append(buffer)
        return False

    content = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL, buffer_callback=inside)
    if shared is not None:
        _write_shared(shared, large)
    send(stream, struct.pack(f"<{len(large)}Q", *(buffer.raw().nbytes for buffer in large)))
    send(stream, content)


def receive_answer(stream: IO[bytes], shared: IO[bytes] | None) -> Any:
    """Raises EOFError when the other process is gone; UnpicklingError when the answer is more than data."""
    sizes = receive(stream)
    content = receive(stream)
    large = _read_shared(shared, struct.unpack(f"<{len(sizes) // 8}Q", sizes)) if shared and sizes else []
    return _Data(io.BytesIO(content), buffers=large).load()


class _Data(pickle.Unpickler):
    """Reads plain values, arrays and faults; nothing that acts while it is read."""

    _MODULES = ("numpy", "numpy._core.multiarray", "numpy._core.numeric")
    _NAMES = ("ndarray", "dtype", "_reconstruct", "_frombuffer", "scalar")

    def find_class(self, module: str, name: str) -> Any:
        of_array = module in self._MODULES and name in self._NAMES
        if of_array or _is_fault(module, name):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _is_fault(module: str, name: str) -> bool:
    """Whether it is a kind of fault, by its plain name: a dotted one may lead anywhere."""
    known = {"builtins": (builtins, Exception), "medcli.errors": (errors, errors.MedcliError)}
    if module not in known or "." in name:
        return False
    where, base = known[module]
    kind = getattr(where, name, None)
    return isinstance(kind, type) and issubclass(kind, base)


# ---- shared memory


def shared_file() -> IO[bytes] | None:
    """A file without a name, so that nothing of it is left behind; None where processes cannot share it."""
    if os.name != "posix":
        return None
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("medcli"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _write_shared(shared: int, buffers: Sequence[pickle.PickleBuffer]) -> None:
    offset = 0
    for buffer in buffers:
        rest = buffer.raw()
        while rest.nbytes:
            count = os.pwrite(shared, rest, offset)
            rest, offset = rest[count:], offset + count


def _read_shared(shared: IO[bytes], sizes: Sequence[int]) -> list[memoryview]:
    """Copies of what the other process wrote, one after the other."""
    handle, offset = shared.fileno(), 0
    if sum(sizes) > os.fstat(handle).st_size:
        raise EOFError
    buffers = []
    for size in sizes:
        buffer = np.empty(size, np.uint8).data
        rest = buffer
        while rest.nbytes:
            count = os.preadv(handle, [rest], offset)
            rest, offset = rest[count:], offset + count
        buffers.append(buffer)
    if offset > KEPT:
        os.ftruncate(handle, 0)
    return buffers
