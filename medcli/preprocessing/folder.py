"""The prepared folder while it is being made: whose it is, what is already there, what must go."""

import errno
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from medcli.config.loading import to_yaml
from medcli.config.schema import Config
from medcli.errors import MedcliError, RunError
from medcli.files import read_csv
from medcli.preprocessing.plan import Plan, load_plan
from medcli.preprocessing.prepared import MANIFEST, Record, image_path, label_path, read_manifest

SCANS = "scans.jsonl"
LOCK = ".lock"
FILES = (MANIFEST, "plan.yaml", "config.yaml", "fingerprint.json", "problems.csv", "report.html", SCANS)


@contextmanager
def owned(out: Path) -> Iterator[None]:
    """Make the folder and hold it against other runs; the system lets go of it however this process ends.

    Raises RunError when it is a file, holds other things, or another run is at work there.
    """
    if out.is_file():
        raise RunError(f"{out}: expected a folder, found a file; choose another --out.")
    ours = (*FILES, "cases", LOCK)
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise RunError(
            f"{out}: the folder holds other things than prepared data; choose an empty or new one."
        )
    (out / "cases").mkdir(parents=True, exist_ok=True)
    with open(out / LOCK, "w") as lock:
        try:
            import fcntl
        except ImportError:  # pragma: no cover - Windows
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"{out}: another `medcli preprocess` is at work in this folder; wait for it."
            ) from None
        yield


def clear(out: Path) -> None:
    """Remove everything that `preprocess` wrote."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    sweep(out, set())


def sweep(out: Path, keys: set[str]) -> None:
    """Remove arrays that no case uses, and what a killed run left half-written."""
    for path in [*(out / "cases").glob("*.npy"), *out.glob(".partial-*")]:
        if path.name.split(".")[0] not in keys:
            path.unlink(missing_ok=True)


def earlier_records(out: Path) -> dict[str, Record]:
    """Records of a finished run by key; none when there is no finished run."""
    try:
        return {record.key: record for record in read_manifest(out)}
    except RunError:
        return {}


def is_intact(record: Record, plan: Plan, out: Path) -> bool:
    """Whether the arrays of a finished case are still there, told by their sizes alone."""
    try:
        whole = image_path(out, record.key).stat().st_size > 4 * plan.channels * math.prod(record.shape)
        return whole and (plan.whole_images or label_path(out, record.key).stat().st_size > 0)
    except OSError:
        return False


def is_up_to_date(
    out: Path,
    config: Config,
    plan: Plan,
    records: Sequence[Record],
    problems: Sequence[Mapping[str, str]],
) -> bool:
    """Whether a finished folder already holds exactly this."""
    if not all((out / name).is_file() for name in FILES):
        return False
    try:
        return (
            read_manifest(out) == list(records)
            and load_plan(out / "plan.yaml") == plan
            and (out / "config.yaml").read_text(encoding="utf-8") == to_yaml(config)
            and read_csv(out / "problems.csv") == list(problems)
        )
    except (RunError, OSError):
        return False


def check_space(out: Path, needed: float) -> None:
    """Raises MedcliError when the disk has not `needed` bytes left."""
    free = shutil.disk_usage(out).free
    if needed > 0.98 * free:
        raise MedcliError(
            f"{out}: the prepared cases need about {_size(needed)}, {_size(free)} are free; "
            f"free some space or choose another --out."
        )


def disk_fault(error: OSError, out: Path) -> MedcliError:
    """One sentence for what the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MedcliError(
            f"{out}: the disk is full; free some space and run again, finished cases are kept."
        )
    what = error.strerror or type(error).__name__
    return MedcliError(f"{error.filename or out}: cannot be used ({what}); correct this and run again.")


def _size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
