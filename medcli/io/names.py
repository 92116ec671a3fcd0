"""Names of cases: taken from files, unique in a data set, safe as file names, in natural order."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

COMPRESSED = {".gz", ".bz2", ".zst"}
IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".dcm",
        ".dicom",
        ".ima",
        ".nii",
        ".nii.gz",
        ".nrrd",
        ".nhdr",
        ".mha",
        ".mhd",
        ".npy",
    ]
)
"""Suffixes by which a folder's images are told from its other files."""


def suffix(path: PurePath) -> str:
    """The suffix in lower case, with a compressed file's inner one: `.nii.gz`; "" without one."""
    last = path.suffix.lower()
    if last in COMPRESSED:
        return PurePath(path.stem).suffix.lower() + last
    return last


def stem(path: PurePath | str) -> str:
    """The file's name without its suffix: `a/b.c.nii.gz` gives `b.c`."""
    path = PurePath(path)
    ending = suffix(path)
    return path.name[: len(path.name) - len(ending)] if ending else path.name


def is_image(path: PurePath) -> bool:
    """Does the name look like an image's? Hidden files never do."""
    return not path.name.startswith(".") and suffix(path) in IMAGE_SUFFIXES


def safe_name(name: str) -> str:
    """The name without what file systems refuse: separators, reserved and control characters, leading dots."""
    return re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "_", name.strip()).lstrip(".").rstrip(". ") or "_"


def unique_names(paths: Sequence[Path]) -> list[str]:
    """One name per path: its stem, with as many parent folders before it (`parent_stem`) as make it unique.

    Equal paths get equal names; so do files that differ in their suffix only.
    """
    names = [safe_name(stem(path)) for path in paths]
    deepest = max((len(path.parts) for path in paths), default=1)
    for depth in range(1, deepest):
        places = Counter(
            name for name, _ in set(zip(names, (path.with_suffix("") for path in paths), strict=True))
        )
        clashing = {name for name, count in places.items() if count > 1}
        if not clashing:
            break
        names = [
            safe_name("_".join([*path.parts[-1 - depth : -1], stem(path)])) if name in clashing else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `case_2` before `case_10`."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part
    ]
