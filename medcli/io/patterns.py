"""Path patterns with `{case}` in them, matched against the ends of paths."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

Key = tuple[str, ...]
"""What tells cases of one pattern apart: the folders before the matching end, then the case's name."""


class Pattern:
    """A pattern such as `nifti/{case}/PET_image.nii.gz`; `*` and `?` match within one folder or file name.

    The pattern is tried whole first, then without its leading folders up to the one that holds `{case}`, so
    that data stored elsewhere are still recognised.
    """

    def __init__(self, text: str):
        parts = PurePosixPath(text.replace("\\", "/")).parts
        first = next(number for number, part in enumerate(parts) if "{case}" in part)
        self.tails = [parts[start:] for start in range(first + 1)]

    def find(self, paths: Iterable[Path]) -> dict[Key, Path]:
        """Key to path for the longest tail that matches any of these paths."""
        paths = list(paths)
        for tail in self.tails:
            found: dict[Key, Path] = {}
            for path in paths:
                matched = _expression(tail).fullmatch(path.as_posix())
                if matched:
                    found.setdefault((matched["before"], matched["case"]), path)
            if found:
                return found
        return {}

    def case_of(self, path: Path) -> str | None:
        """The case's name when the path ends as the pattern does."""
        found = self.find([path])
        return next(iter(found))[-1] if found else None

    def expected(self, other: "Pattern", found: Path) -> Path:
        """Where this pattern's file should lie, given the file of another channel of the same case."""
        for own, tail in zip(self.tails, other.tails, strict=False):
            matched = _expression(tail).fullmatch(found.as_posix())
            if matched:
                return Path(matched["before"], *(part.replace("{case}", matched["case"]) for part in own))
        return Path(*(part.replace("{case}", found.stem) for part in self.tails[-1]))


def _expression(tail: tuple[str, ...]) -> re.Pattern[str]:
    text = re.escape("/".join(tail)).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    before, *rest = text.split(re.escape("{case}"))
    named = before + "(?P<case>[^/]+?)" + "(?P=case)".join(rest)  # later ones must repeat the first
    return re.compile(r"(?P<before>(?:.*/)?)" + named)
