"""What must have stayed in the outputs of a planted corpus: values, references, intervals, pixels, clinical words."""

import datetime
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from deidentify.leaks_reading import Output, pixels, volume, walk_json
from deidentify.planted_key import Keep, Key
from deidentify.planted_pixels import unpack

STEP = re.compile(r"^([0-9A-F]{8})(?:\[(\d+)\])?$")
CELL = 8  # columns of a piece of text that is looked at by itself
LOSSY = 24  # grey values that recompression may change in a JPEG file


def lookup(one: Output, where: str) -> str | None:
    """The value at a path of an output, as text; None where there is none."""
    data: Any = one.dataset
    if data is None:
        if where == "affine":
            return str(volume(one.raw).affine.round(3).tolist())
        return next(
            (
                str(value)
                for path, value in walk_json(json.loads(one.raw))
                if path == where and value != where
            ),
            None,
        )
    for step in where.split("."):
        found = STEP.match(step)
        if found is None:
            return None
        tag = int(found[1], 16)
        owner = data.file_meta if tag >> 16 == 2 else data
        if tag not in owner:
            return None
        value = owner[tag].value
        if found[2] is None:
            return as_text(value)
        if owner[tag].VR != "SQ" or int(found[2]) >= len(value):
            return None
        data = value[int(found[2])]
    return None


def as_text(value: Any) -> str:
    """Values of attributes that pydicom does not know come as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip(" \0")
    return "" if value is None else str(value)


def pairs(key: Key, outputs: list[Output], mapping: dict[str, str]) -> dict[str, Output]:
    """Input name to output."""
    return {mapping[one.name]: one for one in outputs if one.name in mapping}


def check_kept(
    key: Key, outputs: list[Output], mapping: dict[str, str], options: Collection[str]
) -> list[str]:
    """Violations, one line each."""
    found, wrong = pairs(key, outputs, mapping), []
    days = dict(shifts(key, found))
    dates = key.keep.get("modified-dates", []) if {"modified-dates"} <= set(options) else []
    moved = {
        (keep.file, keep.where) for keep in dates
    }  # also where another option would keep them as they are
    for option in ("basic", *options):
        if option == "modified-dates" and "full-dates" in options:
            continue
        for keep in key.keep.get(option, []):
            if keep.file in found and not (option != "modified-dates" and (keep.file, keep.where) in moved):
                value = lookup(found[keep.file], keep.where)
                if not fits(keep, value, days.get(key.files[keep.file].patient, set())):
                    wrong.append(
                        f"{option}: {keep.file}: {keep.where}: {keep.relation} {keep.value!r}, found {value!r}"
                    )
    return wrong


def fits(keep: Keep, value: str | None, days: set[int]) -> bool:
    if value is None:
        return False
    if keep.relation == "present":
        return value != ""
    if keep.relation == "shifted":
        shift = days_between(keep.value, value)
        return shift is not None and shift in days and shift != 0 and value[8:] == keep.value[8:]
    return value == keep.value or same_number(value, keep.value)


def same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def days_between(before: str, after: str) -> int | None:
    try:
        first, second = (datetime.datetime.strptime(date[:8], "%Y%m%d") for date in (before, after))
    except ValueError:
        return None
    return (second - first).days


def shifts(key: Key, found: dict[str, Output]) -> Iterator[tuple[str, set[int]]]:
    """For every patient the days by which dates moved."""
    moved: dict[str, set[int]] = defaultdict(set)
    for name, one in found.items():
        for where, date in key.files[name].dates.items():
            value = lookup(one, where)
            shift = days_between(date, value) if value else None
            if shift is not None:
                moved[key.files[name].patient].add(shift)
    yield from moved.items()


def check_consistency(
    key: Key, outputs: list[Output], mapping: dict[str, str], options: Collection[str]
) -> list[str]:
    """Violations: UIDs not one to one, broken references, patients mixed or split, uneven shifts of dates."""
    found = pairs(key, outputs, mapping)
    wrong = list(_uids(key, found, "uids" in options)) + list(_patients(key, found))
    for name, one in found.items():
        if one.dataset is not None and "SOPInstanceUID" in one.dataset:
            meta = lookup(one, "00020003")
            if meta != str(one.dataset.SOPInstanceUID):
                wrong.append(f"{name}: the file meta names another instance")
    if "modified-dates" in options and "full-dates" not in options:
        for patient, days in shifts(key, found):
            if len(days) != 1 or 0 in days:
                wrong.append(f"{patient}: dates moved by {sorted(days)} days")
    return wrong


def _uids(key: Key, found: dict[str, Output], retained: bool) -> Iterator[str]:
    forth: dict[str, set[str]] = defaultdict(set)
    back: dict[str, set[str]] = defaultdict(set)
    for uid, places in key.references.items():
        for name, where in places:
            new = lookup(found[name], where) if name in found else None
            if new:
                forth[uid].add(new)
                back[new].add(uid)
                if retained and new != uid:
                    yield f"{name}: {where}: the UID was to stay"
                if not retained and new == uid:
                    yield f"{name}: {where}: the UID is the old one"
                if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", new) or len(new) > 64:
                    yield f"{name}: {where}: not a UID"
    for table, title in ((forth, "one UID became several"), (back, "several UIDs became one")):
        for uid, others in table.items():
            if len(others) > 1:
                yield f"{title}: {uid}: {sorted(others)}"


def _patients(key: Key, found: dict[str, Output]) -> Iterator[str]:
    forth: dict[str, set[str]] = defaultdict(set)
    back: dict[str, set[str]] = defaultdict(set)
    for name, one in found.items():
        new = lookup(one, "00100020") if one.dataset is not None else None
        if new:
            forth[key.files[name].patient].add(new)
            back[new].add(key.files[name].patient)
    for patient, ids in forth.items():
        if len(ids) > 1:
            yield f"{patient} became {len(ids)} patients"
    for patients in back.values():
        if len(patients) > 1:
            yield f"one patient made of {sorted(patients)}"


def check_words(key: Key, outputs: list[Output], mapping: dict[str, str]) -> tuple[int, int]:
    """Clinical words that are still in their attribute, of how many in the files that came out."""
    found, kept, total = pairs(key, outputs, mapping), 0, 0
    for row in key.words:
        if row["file"] in found:
            words = re.split(r"[\s,()^;]+", lookup(found[row["file"]], row["where"]) or "")
            total += len(row["words"])
            kept += sum(word in words for word in row["words"])
    return kept, total


def check_pixels(key: Key, files: Path, outputs: list[Output], mapping: dict[str, str]) -> dict[str, Any]:
    """Burned-in texts that are still there, and how much else of the pictures changed."""
    found = pairs(key, outputs, mapping)
    result: dict[str, Any] = {
        "texts": 0, "left": [], "pictures": 0, "changed": [], "without text": 0, "without text changed": [],
        "broken": [],
    }  # fmt: skip
    for name, file in key.files.items():
        before = pixels(name, (files / name).read_bytes(), file)
        if before is None or name not in found:
            continue
        try:
            after = pixels(name, found[name].raw, file)
        except Exception as fault:
            result["broken"].append(f"{name}: {type(fault).__name__}")
            continue
        if after is None or after.shape != before.shape:
            result["broken"].append(name)
            continue
        _compare(key, name, before, after, result, tolerance=LOSSY if file.format == "jpeg" else 0)
    return result


def _compare(
    key: Key, name: str, before: np.ndarray, after: np.ndarray, result: dict[str, Any], *, tolerance: int
) -> None:
    texts = [text for text in key.texts if text.file == name]
    distance = np.abs(before.astype(np.int32) - after.astype(np.int32))
    changed: np.ndarray = np.asarray((distance > tolerance).any(axis=-1))
    if not texts:
        result["without text"] += 1
        if changed.any():
            result["without text changed"].append(f"{name}: {changed.mean():.4f}")
        return
    result["pictures"] += 1
    elsewhere = np.ones_like(changed)
    for text in texts:
        x0, y0, x1, y1 = text.box
        frames = range(len(changed)) if text.frame is None else [text.frame]
        for frame in frames:
            elsewhere[frame, max(y0 - 4, 0) : y1 + 4, max(x0 - 4, 0) : x1 + 4] = False
        if text.identifies:
            result["texts"] += len(frames)
            mask = unpack(text.mask, text.box)
            result["left"] += [
                f"{name}: frame {frame}: {text.value}"
                for frame in frames
                if share_left(changed[frame, y0:y1, x0:x1], mask) > 0.1
            ]
    share = (changed & elsewhere).sum() / max(elsewhere.sum(), 1)
    if share > 0.01:
        result["changed"].append(f"{name}: {share:.4f}")


def share_left(changed: np.ndarray, mask: np.ndarray) -> float:
    """The share of a text's pieces in which no pixel changed: 1: the text is untouched, 0: all of it is blanked."""
    pieces = [slice(x, x + CELL) for x in range(0, mask.shape[1], CELL) if mask[:, x : x + CELL].any()]
    return sum(not changed[:, piece].any() for piece in pieces) / max(len(pieces), 1)
