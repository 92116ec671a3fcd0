"""Files that appear whole or not at all: write beside the target, flush to disk, rename."""

import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def atomic_path(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside the target; on success it replaces the target, on any fault it is removed.

    The temporary name starts with a dot and keeps the target's suffixes, as several writers choose by suffix.
    `durable`: flush to disk first, so that a power cut cannot leave an empty file; without it only the death
    of the process is survived, which for small files takes a tenth of the time.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix="-" + target.name, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk_names(target):
            yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        if durable:
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, target)
        if durable:
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_names(target: Path) -> Iterator[None]:
    """Put the file or folder into the fault when the disk is full, of which Python says only that."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) and error.filename is None:
            error.filename = str(target)
        raise


def sweep(folder: Path, *, age: float = 0.0) -> None:
    """Remove the temporary files and folders that a killed process left here, untouched for `age` seconds."""
    for path in folder.glob(".partial-*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= age:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut (a no-op where folders cannot be opened)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def unnamed_file() -> Iterator[str]:
    """The path of a file for a library that wants one: only in memory, where the system has such files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("medcli")
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="medcli-") as folder:
            yield os.path.join(folder, "file")


def write_text(target: Path, text: str) -> None:
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write JSON, keys in the order given; NumPy numbers and arrays become plain ones, NaN becomes null."""
    write_text(target, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def write_array(target: Path, array: np.ndarray, *, durable: bool = True) -> None:
    """Write one `.npy` file (never pickled)."""
    with atomic_path(target, durable=durable) as path, open(path, "wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)


def write_csv(target: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV; the columns are those given, else those of the rows in order of first appearance."""
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(target) as path, open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(columns), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV or TSV (by suffix) with a header line; a byte-order mark is dropped."""
    delimiter = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    with open(path, newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plain(content: Any) -> Any:
    """Turn NumPy values, paths, tuples and sets into what JSON and YAML hold; NaN and infinity: None."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, (set, frozenset)):
        return sorted(plain(value) for value in content)
    if isinstance(content, np.ndarray):
        return plain(content.tolist())
    if isinstance(content, np.generic):
        return plain(content.item())
    if isinstance(content, float):
        return content if np.isfinite(content) else None
    if isinstance(content, Path):
        return str(content)
    return content
