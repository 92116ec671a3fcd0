"""Model files are programs: nothing of a `.keras` file reaches Keras before it was checked here.

Checked in this order: the kind of file, its checksum, the members of the archive (names, sizes, compression),
the network's description (see `safe_config`), and the weights' HDF5 file (links, sizes; then every array is read).
All of it happens in a process of its own with bounded memory and time (`medcli.sandbox`), so a file on which the
unpacking or the HDF5 library crashes is refused like any other.

What remains for this process: Keras reads the unpacked weights with the same library, which has read all of them once
without harm; a foreign network is rebuilt by Keras from a description that names only what is on the list, after a
count of its parameters without memory. Rebuilding needs TensorFlow, whose start would take longer than all else, so it
is done here. And a fault that makes a library do the file's bidding, instead of crashing, is beyond these checks:
open models only from people you trust.
"""

import errno
import math
import re
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from medcli import sandbox
from medcli.errors import RunError
from medcli.files import sha256, write_text
from medcli.models.safe_config import check_config

if TYPE_CHECKING:
    import h5py
    import keras

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEGABYTE = 2**20
MAX_MEMBER_BYTES = {CONFIG: 16 * MEGABYTE, METADATA: MEGABYTE, WEIGHTS: 4096 * MEGABYTE}
MAX_RATIO = 100
"""How many times larger than stored a member or an array may become."""
MAX_PARAMETERS = 500_000_000
MAX_OBJECTS = 100_000
"""Groups and arrays in the weights' file."""
_READ_BYTES = 64 * MEGABYTE
_BYTES_PER_SECOND = 4 * MEGABYTE
"""A tenth of what a slow computer unpacks and checks."""


@dataclass(frozen=True)
class CheckedFile:
    """What passed the checks: the network's description, and its weights as a temporary HDF5 file.

    Attributes:
        config: Content of config.json without the training state.
        weights: Path of the weights; exists only inside `checked`.
        parameters: Numbers held in the weights' file.
    """

    config: dict[str, Any]
    weights: Path
    parameters: int


def check_model_file(path: Path | str) -> int:
    """Check a `.keras` file without building anything; return the number of parameters it holds.

    Raises:
        RunError: One sentence that says what is wrong with the file.
    """
    with checked(path) as file:
        return file.parameters


@contextmanager
def checked(path: Path | str) -> Iterator[CheckedFile]:
    """Check the file and give its parts; the weights lie in a private temporary folder until the end."""
    path = _local_keras_file(path)
    with tempfile.TemporaryDirectory(prefix="medcli-") as folder:
        weights = Path(folder) / WEIGHTS
        seconds = sandbox.SECONDS + path.stat().st_size / _BYTES_PER_SECOND
        config, parameters = sandbox.call(
            _unpack, path, weights, subject=str(path), kind=RunError, seconds=seconds
        )
        yield CheckedFile(config, weights, parameters)


def _unpack(path: Path, weights: Path) -> tuple[dict[str, Any], int]:
    """Check everything; write the weights there; give the network's description and the number of parameters."""
    verify_checksum(path)
    with _archive(path) as archive:
        config = check_config(archive.read(CONFIG), str(path))
        with archive.open(WEIGHTS) as member:
            _copy(member, weights)
    return config, _check_weights(weights, path)


def load_weights_safely(model: "keras.Model", path: Path | str) -> None:
    """Fill a network that our own code built with the weights of a checked `.keras` file.

    Raises:
        RunError: The file fails a check, or its weights have other shapes than the network's.
    """
    with checked(path) as file:
        try:
            _load_weights(model, file.weights)
        except (ValueError, KeyError, OSError, TypeError) as error:
            layer = re.search(r"<\w+ name=(\w+)", str(error))
            where = f"layer {layer[1]}" if layer else "other shapes"
            raise RunError(
                f"{path}: the weights do not fit this network ({where}); "
                "the file belongs to another configuration, or the run folder was changed after training."
            ) from None


def transfer_weights(model: "keras.Model", path: Path | str) -> tuple[int, int]:
    """Fill what fits of a network with the weights of a checked `.keras` file: how many arrays, of how many.

    Layers whose shapes differ (another number of classes or channels) keep their own values.

    Raises:
        RunError: The file fails a check, or nothing of it fits.
    """
    before = [np.asarray(variable) for variable in model.weights]
    with checked(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names every layer that does not fit
        with suppress(ValueError, KeyError, OSError, TypeError):
            model.load_weights(str(file.weights), skip_mismatch=True)
    filled = sum(not np.array_equal(old, new) for old, new in zip(before, model.weights, strict=True))
    if filled == 0:
        raise RunError(
            f"{path}: none of its weights fit this network; use the weights of the same kind of network."
        )
    return filled, len(before)


def load_model_safely(path: Path | str) -> "keras.Model":
    """Build the network that a foreign `.keras` file describes, after all checks, and load its weights.

    The network is first built without memory to count its parameters, which the file must hold.
    """
    import keras

    with checked(path) as file:
        wanted = _count_parameters(deepcopy(file.config), path)  # Keras changes what it reads
        if wanted > MAX_PARAMETERS or wanted > file.parameters:
            raise RunError(
                f"{path}: the network asks for {wanted:,} parameters, the file holds {file.parameters:,} and "
                f"at most {MAX_PARAMETERS:,} are allowed; refused as unsafe."
            )
        try:
            model = keras.saving.deserialize_keras_object(file.config, safe_mode=True)
            _load_weights(model, file.weights)
        except Exception as error:  # Keras raises what it likes while rebuilding
            raise RunError(f"{path}: Keras cannot rebuild this network ({_first_line(error)}).") from None
        return model


def checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def write_checksum(path: Path) -> Path:
    """Write `<file>.sha256` beside the file, in the format of `sha256sum`; return its path."""
    write_text(checksum_path(path), f"{sha256(path)}  {path.name}\n")
    return checksum_path(path)


def verify_checksum(path: Path) -> None:
    """Compare the file with its `.sha256`; nothing happens when there is none.

    Raises:
        RunError: They differ, or the checksum cannot be read.
    """
    beside = checksum_path(path)
    if not beside.is_file():
        return
    found = re.match(r"[0-9a-fA-F]{64}\b", beside.read_text(encoding="utf-8", errors="replace")[:200])
    if found is None:
        raise RunError(f"{beside}: expected a SHA-256 checksum; restore the file from a copy, or delete it.")
    if found[0].lower() != sha256(path):
        raise RunError(
            f"{path}: the content does not match {beside.name}; it is damaged or was changed; restore it."
        )


def _local_keras_file(path: Path | str) -> Path:
    if "://" in str(path) or str(path).startswith("hf:"):
        raise RunError(
            f"{path}: expected a file on this computer; download the model and check where it comes from."
        )
    path = Path(path)
    if path.is_dir():
        raise RunError(f"{path}: expected a .keras file, found a folder; SavedModel folders may carry code.")
    if not path.is_file():
        raise RunError(f"{path}: no such model file; train first, or point to a .keras file.")
    if path.suffix.lower() != ".keras":
        raise RunError(
            f"{path}: expected a .keras file; {path.suffix or 'other'} files may carry code; save as .keras."
        )
    return path


def _copy(member: IO[bytes], weights: Path) -> None:
    try:
        with open(weights, "wb") as target:
            shutil.copyfileobj(member, target, MEGABYTE)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(error.errno, error.strerror, str(weights)) from None
        raise


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The opened archive with its directory checked; faults while reading become a RunError."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise RunError(
            f"{path}: not a whole .keras file ({_first_line(error)}); it is damaged or cut short."
        ) from None


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    if sorted(member.filename for member in members) != sorted(MAX_MEMBER_BYTES):
        names = ", ".join(repr(member.filename[:60]) for member in members[:6])
        raise RunError(
            f"{path}: expected {', '.join(MAX_MEMBER_BYTES)} and nothing else inside, found {names}."
        )
    for member in members:
        limit = MAX_MEMBER_BYTES[member.filename]
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RunError(
                f"{path}: {member.filename} is encrypted or packed in an unusual way; save the model again."
            )
        if member.file_size > limit:
            raise RunError(
                f"{path}: {member.filename} would take {member.file_size / MEGABYTE:.0f} MiB, at most "
                f"{limit // MEGABYTE} are allowed; refused as unsafe."
            )
        if member.file_size > MEGABYTE and member.file_size > MAX_RATIO * member.compress_size:
            raise RunError(
                f"{path}: {member.filename} grows more than {MAX_RATIO} times when unpacked; refused."
            )


def _check_weights(weights: Path, path: Path) -> int:
    """Walk the HDF5 file without following links and read every array; return how many numbers it holds."""
    import h5py

    try:
        with h5py.File(weights, "r") as file:
            arrays = _walk(file, path)
            for array in arrays:
                _read(array)
            return sum(array.size for array in arrays)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: the weights inside cannot be read ({type(error).__name__}); it is damaged."
        ) from None


def _walk(file: "h5py.File", path: Path) -> "list[h5py.Dataset]":
    """The arrays, each of them checked."""
    import h5py

    arrays: list[h5py.Dataset] = []
    seen: set[int] = set()
    waiting: list[h5py.Group] = [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            if len(seen) >= MAX_OBJECTS:
                raise RunError(
                    f"{path}: more than {MAX_OBJECTS:,} entries in the weights; refused as unsafe."
                )
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise RunError(
                    f"{path}: the weights hold a link to another place or file; refused as unsafe."
                )
            entry = group[name]
            address = h5py.h5o.get_info(entry.id).addr
            if address in seen:
                raise RunError(f"{path}: the weights hold one entry under two names; refused as unsafe.")
            seen.add(address)
            if isinstance(entry, h5py.Group):
                waiting.append(entry)
            elif isinstance(entry, h5py.Dataset):
                _check_dataset(entry, path)
                arrays.append(entry)
            else:
                raise RunError(f"{path}: the weights hold something other than arrays; refused as unsafe.")
    parameters = sum(array.size for array in arrays)
    size = sum(array.size * array.dtype.itemsize for array in arrays)
    if parameters > MAX_PARAMETERS or size > MAX_MEMBER_BYTES[WEIGHTS]:
        raise RunError(
            f"{path}: the weights hold {parameters:,} numbers, at most {MAX_PARAMETERS:,} are allowed."
        )
    return arrays


def _read(array: "h5py.Dataset") -> None:
    """Read all of an array, some rows at a time, for no other purpose than to see whether that works."""
    if not array.shape:
        array[()]
        return
    row = math.prod(array.shape[1:]) * array.dtype.itemsize
    step = max(1, _READ_BYTES // max(row, 1))
    for start in range(0, array.shape[0], step):
        array[start : start + step]


def _check_dataset(dataset: "h5py.Dataset", path: Path) -> None:
    if dataset.external or dataset.is_virtual:
        raise RunError(f"{path}: an array of the weights lies in another file; refused as unsafe.")
    if dataset.shape is None or dataset.dtype.kind not in "fiubV" or dataset.dtype.hasobject:
        raise RunError(f"{path}: an array of the weights is not made of numbers; refused as unsafe.")
    filters = dataset.id.get_create_plist().get_nfilters()
    if filters and not (dataset.compression in (None, "gzip") and filters <= 3):
        raise RunError(f"{path}: an array of the weights is packed in an unusual way; save the model again.")
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    if declared > MEGABYTE and declared > MAX_RATIO * dataset.id.get_storage_size():
        raise RunError(
            f"{path}: an array of the weights claims far more than the file holds; refused as unsafe."
        )


def _load_weights(model: "keras.Model", weights: Path) -> None:
    """Every layer must find its weights; Keras' warning that one did not is followed by an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.load_weights(str(weights))


def _count_parameters(config: dict[str, Any], path: Path | str) -> int:
    """Build the network with variables that have a shape but no memory, and add up the shapes."""
    import keras
    from keras.src.backend.common import global_state  # no public way to forget the unbuilt variables

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
            return sum(math.prod(weight.shape) for weight in model.weights)
    except Exception as error:  # Keras raises what it likes while rebuilding
        raise RunError(f"{path}: Keras cannot rebuild this network ({_first_line(error)}).") from None
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])


def _first_line(error: BaseException) -> str:
    """The first sentence of a foreign message, short and printable."""
    text = str(error).strip().splitlines()
    return "".join(c for c in (text[0] if text else type(error).__name__)[:120] if c.isprintable())
