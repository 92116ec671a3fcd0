"""CIFAR-10's Python batches, as `keras.datasets.cifar10` leaves them on disk: pickles, read without running them.

A pickle is a small program, and a stranger's may do anything. Here only plain values are let through; what the file
calls an array becomes a stand-in that keeps shape, type and bytes, and no function that a file names is ever called.
"""

import io
import pickle
import pickletools
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image

ROWS = COLUMNS = 32
MOST_BYTES = 2**28


def read_cifar(source: Source) -> Image:
    """The image that `source.part` names, "[12]"; (row, column, 3) uint8."""
    images, _ = load_batch(source.path)
    found = re.fullmatch(r"\[(\d+)\]", source.part)
    if not found or int(found[1]) >= len(images):
        raise FormatError(
            f"{source.path}: it holds {len(images)} images, of which one such as [12] must be named; got "
            f"{source.part or 'none'}."
        )
    return Image(images[int(found[1])], sources=(source.path,))


def load_batch(path: Path) -> tuple[np.ndarray, list[int]]:
    """Images (n, 32, 32, 3) uint8 and their labels. Raises FormatError when the file is no such batch."""
    return _load_batch(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=6)
def _load_batch(path: Path, changed: int) -> tuple[np.ndarray, list[int]]:
    """Kept, since the images are asked for one by one; `changed` renews it."""
    content = load_plain(path)
    data, labels = content.get("data"), content.get("labels")
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise FormatError(
            f"{path}: a batch with `data` and `labels` was expected, found {', '.join(content) or 'neither'}."
        )
    array = data.array()
    if array is None or array.ndim != 2 or array.shape[1] != 3 * ROWS * COLUMNS or len(array) != len(labels):
        raise FormatError(
            f"{path}: `data` is expected to hold {3 * ROWS * COLUMNS} bytes for each of the {len(labels)} labels."
        )
    if not all(isinstance(label, int) and 0 <= label < 1000 for label in labels):
        raise FormatError(f"{path}: `labels` is expected to be a list of class numbers.")
    images = array.reshape(-1, 3, ROWS, COLUMNS).transpose(0, 2, 3, 1)  # stored channel by channel
    images = np.ascontiguousarray(images)
    images.setflags(write=False)
    return images, labels


def load_plain(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle, keys as text: numbers, texts, bytes, lists, and arrays as stand-ins."""
    if path.stat().st_size > MOST_BYTES:
        raise FormatError(
            f"{path}: a batch of at most {MOST_BYTES // 2**20} MiB was expected, the file is larger."
        )
    data = path.read_bytes()
    try:
        for operation, argument, _ in pickletools.genops(data):
            if "PUT" in operation.name and isinstance(argument, int) and argument > len(data):
                raise pickle.UnpicklingError("a place in memory beyond the file's length")
        content = _Plain(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damaged, or it names a function
        raise FormatError(
            f"{path}: a batch of images in Python's format was expected; the file is damaged or holds more than plain "
            "values and arrays, which medcli does not run."
        ) from error
    if not isinstance(content, dict):
        raise FormatError(f"{path}: a dictionary was expected in the batch.")
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()
    }


class _Type:
    """Stands in for numpy.dtype."""

    def __init__(self, name: Any = b"", *_: object):
        self.name = name.decode("latin1") if isinstance(name, bytes) else str(name)

    def __setstate__(self, state: object) -> None:
        """Byte order and fields: nothing that single bytes have."""


class _Array:
    """Stands in for numpy.ndarray."""

    shape: Any = None
    type: Any = None
    data: Any = None

    def __init__(self, *_: object):
        pass

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, _, self.data = state

    def array(self) -> np.ndarray | None:
        """As uint8, or None when it is something else."""
        fits = (
            isinstance(self.type, _Type) and self.type.name in ("u1", "|u1") and isinstance(self.data, bytes)
        )
        if not fits or not all(isinstance(n, int) and n > 0 for n in self.shape):
            return None
        if int(np.prod(self.shape)) != len(self.data):
            return None
        return np.frombuffer(self.data, np.uint8).reshape(self.shape)


class _FromBuffer:
    """Stands in for `numpy._core.numeric._frombuffer`, with which protocol 5 writes an array."""

    def __new__(cls, data: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
        array = _Array()
        array.shape, array.type = shape, kind
        array.data = bytes(data) if order == "C" and isinstance(data, (bytes, bytearray)) else None
        return array

    def __setstate__(self, state: object) -> None:
        """Every stand-in has one, so that a file cannot set attributes of the class."""


class _Encoded:
    """Stands in for `_codecs.encode`, with which Python 3 writes bytes in an old protocol."""

    def __new__(cls, text: str, encoding: str = "latin1") -> Any:
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        """Every stand-in has one, so that a file cannot set attributes of the class."""


class _Plain(pickle.Unpickler):
    """Gives stand-ins for the names that an array needs, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _Array
            case (("numpy.core.numeric" | "numpy._core.numeric"), "_frombuffer"):
                return _FromBuffer
            case "numpy", "ndarray":
                return _Array
            case "numpy", "dtype":
                return _Type
            case "_codecs", "encode":
                return _Encoded
        raise pickle.UnpicklingError("a name that no batch needs")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference that no batch needs")
