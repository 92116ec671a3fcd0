"""Look at every case once: can it be read, what does it hold, is it known. Runs in worker processes."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medcli.case import Case, Source
from medcli.errors import MedcliError
from medcli.files import sha256
from medcli.image import Image
from medcli.preprocessing.geometry import foreground_box
from medcli.preprocessing.intensity import is_grey, to_grey

SCAN_VERSION = 1
"""Raise it when a scan of the same file would come out differently."""

LEVELS = (0, 0.1, 0.5, 1, 2, 5, *range(10, 95, 5), 95, 98, 99, 99.5, 99.9, 100)
"""Percentiles that describe the values of one image."""
SAMPLE = 25_000
"""Numbers that percentiles are taken of when there are more."""


@dataclass(frozen=True)
class Values:
    """Summary of many numbers: how many, their sums and percentiles (at `LEVELS`)."""

    count: int
    total: float
    squares: float
    percentiles: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> "Values":
        """Count and sums are exact; the percentiles of many numbers are those of a sample, but for the ends."""
        values = np.ravel(values)
        if values.size == 0:
            return cls(0, 0.0, 0.0, ())
        some = values if values.size <= SAMPLE else values[_some(values.size)]
        some = np.sort(some).astype(np.float64)
        some[[0, -1]] = values.min(), values.max()
        place = np.array(LEVELS) / 100 * (some.size - 1)
        below = np.minimum(place.astype(int), max(0, some.size - 2))
        percentiles = some[below] + (place - below) * (
            some[np.minimum(below + 1, some.size - 1)] - some[below]
        )
        numbers = values.astype(np.float64)
        return cls(
            values.size,
            float(numbers.sum()),
            float(np.square(numbers).sum()),
            tuple(float(f"{value:.7g}") for value in percentiles),
        )


@lru_cache(maxsize=8)
def _some(size: int) -> np.ndarray:
    """The same indices for every image of a size."""
    return np.random.default_rng(0).integers(0, size, SAMPLE)


@dataclass(frozen=True)
class Scan:
    """What was seen of one case.

    Attributes:
        signature: Paths, sizes and times of its files, to tell whether they are still the same.
        fault: Why the case cannot be used, or "".
        digest: Over the content of its files, images and masks.
        content: Over the decoded image alone: two cases with the same are duplicates.
        shape, spacing, affine, modality, dtype, channels, notes: Of the image as read.
        files: Names of all image files read (a DICOM series has many).
        grey: Its colour channels are all the same (or there is only one).
        constant: All its values are the same.
        foreground: Share of a volume in the box around all that is above the lowest value; 1 for pictures.
        values: Per channel; `grey_values` of its luminance when it has colours.
        inside: Per channel, of the voxels with a label above zero but `data.ignore_label`; empty when there are none.
        labels: Voxels per value in the mask, largest values cut at 1,000 kinds.
        parts, joined: Detection: connected parts of the masks as `medcli.preprocessing.objects.Parts.rows`, of each
            value and of all values together.
    """

    signature: str
    fault: str = ""
    digest: str = ""
    content: str = ""
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    modality: str = ""
    dtype: str = ""
    channels: int = 0
    notes: tuple[str, ...] = ()
    grey: bool = True
    constant: bool = False
    foreground: float = 1.0
    values: tuple[Values, ...] = ()
    grey_values: Values | None = None
    inside: tuple[Values, ...] = ()
    labels: dict[int, int] = field(default_factory=dict)
    parts: tuple[tuple[int, ...], ...] = ()
    joined: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """A case and what was seen of it."""

    case: Case
    scan: Scan


def scan_cases(
    job: Sequence[tuple[Case, str]], *, objects: bool = False, ignore_label: int | None = None
) -> list[Scan]:
    """Scan some cases, each given with its signature; a fault in one never stops the others."""
    return [_scan_safely(case, signature, objects, ignore_label) for case, signature in job]


def _scan_safely(case: Case, signature: str, objects: bool, ignore_label: int | None) -> Scan:
    try:
        return scan_case(case, signature, objects=objects, ignore_label=ignore_label)
    except MedcliError as error:
        return Scan(signature, fault=str(error))
    except MemoryError:
        return Scan(signature, fault=f"{case.images[0].path}: does not fit into memory.")
    except Exception as error:  # whatever a library makes of one odd file, the others go on
        return Scan(signature, fault=f"{case.images[0].path}: cannot be examined ({type(error).__name__}).")


def scan_case(case: Case, signature: str, *, objects: bool = False, ignore_label: int | None = None) -> Scan:
    """Read image and masks and describe them; FormatError when one is unreadable or does not fit.

    Args:
        objects: Also find the connected parts of the masks.
        ignore_label: Value in the masks of voxels that nobody labelled; they do not belong to `Scan.inside`.
    """
    from medcli.io.readers import read_channels

    image = read_channels(case.images)
    mask = read_labels(case, image)
    array = image.array
    grey = image.ndim == 2 and is_grey(array)
    inside = array[labelled(mask, ignore_label)] if mask is not None else array[:0]
    start, stop = foreground_box(array) if image.ndim == 3 else ((0, 0), image.shape)
    kept = math.prod(b - a for a, b in zip(start, stop, strict=True)) / max(1, math.prod(image.shape))
    values = tuple(Values.of(array[..., channel]) for channel in range(image.channels))
    content = content_of(array)
    return Scan(
        signature=signature,
        digest=_digest(case, image, content, mask),
        content=content,
        shape=image.shape,
        spacing=image.spacing,
        affine=None if image.affine is None else tuple(tuple(row) for row in image.affine.tolist()),
        modality=image.modality,
        dtype=str(array.dtype),
        channels=image.channels,
        notes=image.notes,
        grey=grey or image.channels == 1,
        constant=all(v.percentiles[0] == v.percentiles[-1] for v in values),
        foreground=kept,
        values=values,
        grey_values=Values.of(to_grey(array))
        if image.ndim == 2 and image.channels == 3 and not grey
        else None,
        inside=tuple(Values.of(inside[..., c]) for c in range(image.channels)) if inside.size else (),
        labels=_counts(mask) if mask is not None else {},
        parts=_parts(case, image, values_differ=True) if objects else (),
        joined=_parts(case, image, values_differ=False) if objects else (),
    )


def _parts(case: Case, image: Image, *, values_differ: bool) -> tuple[tuple[int, ...], ...]:
    from medcli.preprocessing.objects import parts_in

    return tuple(map(tuple, parts_in(case, image, values_differ=values_differ).rows))


def read_labels(case: Case, image: Image) -> np.ndarray | None:
    """The case's masks as values, on the image's grid; None when it has none."""
    if not case.masks:
        return None
    from medcli.io.masks import read_mask
    from medcli.io.planes import read_mask_planes, volume_of

    if volume_of(case.images[0]) is None:
        return read_mask(case.masks, image)
    masks = read_mask_planes(case)
    return (
        masks[0]
        if len(masks) == 1
        else np.max([number * (m > 0) for number, m in enumerate(masks, 1)], axis=0)
    )


def labelled(mask: np.ndarray, ignore_label: int | None) -> np.ndarray:
    """Where a mask holds a value above zero that says something."""
    return mask > 0 if ignore_label is None else (mask > 0) & (mask != ignore_label)


def _counts(mask: np.ndarray) -> dict[int, int]:
    ids, counts = np.unique(mask, return_counts=True)
    return {int(value): int(count) for value, count in list(zip(ids, counts, strict=True))[:1000]}


def content_of(array: np.ndarray) -> str:
    head = f"{array.shape}{array.dtype}".encode()
    return _sha(head, np.ascontiguousarray(array))


def _sha(head: bytes, array: np.ndarray) -> str:
    digest = hashlib.sha256(head)
    digest.update(array.data)
    return digest.hexdigest()


def _digest(case: Case, image: Image, content: str, mask: np.ndarray | None) -> str:
    """Over the files; over the array for a part of an `.npz`, since that file holds all cases."""
    stacked = [source for source in case.images if source.part and source.path.is_file()]
    parts = [content] if stacked else [sha256(path) for path in image.sources]
    if mask is not None:
        parts.append(content_of(mask))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# ---- remembering scans, so that a second run need not read the files


class Signatures:
    """Describes the files of cases by path, size and time of change.

    Args:
        objects: The scans are to hold connected parts.
        ignore_label: As for `scan_case`.
    """

    def __init__(self, *, objects: bool = False, ignore_label: int | None = None) -> None:
        self._known: dict[Path, str] = {}
        self._start = f"{SCAN_VERSION}" + (" with parts" if objects else "")
        self._start += "" if ignore_label is None else f" without {ignore_label}"

    def of(self, case: Case) -> str:
        parts = [self._start]
        for source in (*case.images, *case.masks):
            parts.append(f"{source.path}::{source.part}:{self._stamp(source)}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def size(self, case: Case) -> int:
        """Bytes of its files on disk (of the whole file for a part of one)."""
        return sum(int(self._stamp(source).split("@")[0] or 0) for source in (*case.images, *case.masks))

    def _stamp(self, source: Source) -> str:
        if source.path not in self._known:
            self._known[source.path] = _stamp(source.path)
        return self._known[source.path]


def _stamp(path: Path) -> str:
    """Total size, @, digest of sizes and times: of a file or all in a folder; "" when it is not there."""
    try:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        stats = [(str(file), file.stat()) for file in files]
    except OSError:
        return ""
    text = "\n".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)
    return f"{sum(stat.st_size for _, stat in stats)}@{hashlib.sha256(text.encode()).hexdigest()}"


def load_scans(path: Path) -> dict[str, Scan]:
    """Earlier scans by signature; a broken last line (the run was killed) and old kinds are passed over."""
    found: dict[str, Scan] = {}
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            scan = _from_plain(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        found[scan.signature] = scan
    return found


def append_scans(path: Path, scans: Iterable[Scan]) -> None:
    """Add lines to the memory; nothing is lost but the last line when the process is killed meanwhile."""
    with open(path, "a", encoding="utf-8") as stream:
        for scan in scans:
            stream.write(json.dumps(vars(scan), default=vars, separators=(",", ":")) + "\n")


def _from_plain(row: dict[str, Any]) -> Scan:
    def values(entry: dict[str, Any]) -> Values:
        return Values(entry["count"], entry["total"], entry["squares"], tuple(entry["percentiles"]))

    return Scan(
        **row
        | {
            "shape": tuple(row["shape"]),
            "spacing": None if row["spacing"] is None else tuple(row["spacing"]),
            "affine": None if row["affine"] is None else tuple(tuple(line) for line in row["affine"]),
            "notes": tuple(row["notes"]),
            "values": tuple(values(entry) for entry in row["values"]),
            "grey_values": values(row["grey_values"]) if row["grey_values"] else None,
            "inside": tuple(values(entry) for entry in row["inside"]),
            "labels": {int(key): count for key, count in row["labels"].items()},
            "parts": tuple(map(tuple, row.get("parts", ()))),
            "joined": tuple(map(tuple, row.get("joined", ()))),
        }
    )
