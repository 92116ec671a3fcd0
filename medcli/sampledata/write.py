"""Writing a sample data set: pictures, labels, a table and a config, all at once or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

from medcli.errors import UsageError
from medcli.files import full_disk_names, sync_folder, write_csv, write_text
from medcli.progress import Progress, ignore
from medcli.sampledata.configs import HEADER, config_text
from medcli.sampledata.faults import add_faults
from medcli.sampledata.kinds import KINDS, Row
from medcli.sampledata.people import Picture, pictures

CONFIG = "config.yaml"


def write_sample(
    kind: str,
    out: Path,
    *,
    cases: int | None = None,
    seed: int = 0,
    format: str = "auto",
    faulty: bool = False,
    force: bool = False,
    progress: Progress = ignore,
) -> Path:
    """Write a made-up data set with known truth; the same seed gives the same files.

    Args:
        kind: classification, regression, detection, segmentation or volumes.
        out: Folder to make. It appears whole or not at all.
        cases: Number of pictures, of people with one to three each; None: what suits a short demo.
        seed: A longer set begins with the shorter one of the same seed.
        format: png or dicom (classification, regression), voc or coco (detection), png (segmentation), nifti or dicom
            (volumes); auto: the first of these.
        faulty: Add broken cases, one fault each, listed in `faults.csv`.
        force: Replace a sample data set that is already there.

    Returns:
        The path of `config.yaml`, which runs as it is. Beside it `table.csv` has case, image, label (the
        class, or the label's file; regression: ctr, the number), patient, sex, age and site.

    Raises:
        UsageError: Unknown kind or format, no cases, or a folder that is not empty.
    """
    format = _checked(kind, format, cases)
    out = Path(out)
    _check_target(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".partial-{out.name}-", dir=out.parent))
    try:
        folder = temporary / "data"
        folder.mkdir()
        with full_disk_names(out):
            _fill(folder, kind, format, KINDS[kind].cases if cases is None else cases, seed, faulty, progress)
            write_text(folder / CONFIG, config_text(kind, format, f"{out.as_posix()}/{CONFIG}"))
        _move(folder, out, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out / CONFIG


def _fill(
    folder: Path, kind: str, format: str, cases: int, seed: int, faulty: bool, progress: Progress
) -> None:
    rows: list[Row] = []
    for picture in pictures(cases, seed, kind):
        rows.append(_row(picture, *KINDS[kind].write(folder, picture, format)))
        progress("drawing", len(rows), cases)
    if faulty:
        rows += add_faults(folder, kind, format, seed, rows, _row)
    KINDS[kind].finish(folder, rows, format)
    label = KINDS[kind].label
    write_csv(
        folder / "table.csv", [{label if key == "label" else key: row[key] for key in row} for row in rows]
    )


def _row(picture: Picture, image: str, label: str) -> Row:
    person = picture.person
    return {
        "case": picture.name,
        "image": image,
        "label": label,
        "patient": person.name,
        "sex": person.sex,
        "age": str(person.age),
        "site": person.site,
    }


def _checked(kind: str, format: str, cases: int | None) -> str:
    """The format, when all is known."""
    if kind not in KINDS:
        raise UsageError(f"kind: expected one of {', '.join(KINDS)}, got '{kind}'.")
    formats = KINDS[kind].formats
    if format != "auto" and format not in formats:
        raise UsageError(f"format: {kind} can be written as {' or '.join(formats)}, got '{format}'.")
    if cases is not None and cases < 1:
        raise UsageError(f"cases: expected at least 1, got {cases}.")
    return formats[0] if format == "auto" else format


def _check_target(out: Path, force: bool) -> None:
    if out.is_file():
        raise UsageError(f"{out}: expected a folder to write to, found a file.")
    if not out.exists() or not any(out.iterdir()):
        return
    config = out / CONFIG
    ours = config.is_file() and config.read_text(encoding="utf-8", errors="replace").startswith(HEADER)
    if not ours:
        raise UsageError(f"{out}: this folder holds other files; name a new one.")
    if not force:
        raise UsageError(
            f"{out}: this folder already holds sample data; replace it with --force or name a new one."
        )


def _move(folder: Path, out: Path, temporary: Path) -> None:
    """Put the finished folder in its place; what was there goes with the temporary folder."""
    os.chmod(folder, 0o777 & ~_umask())
    if out.exists():
        os.replace(out, temporary / "before")
    os.replace(folder, out)
    sync_folder(out.parent)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
