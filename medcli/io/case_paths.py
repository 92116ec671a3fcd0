"""Files and folders found by a pattern with `{case}`, such as `imagesTr/{case}_0000.nii.gz`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from medcli.errors import ConfigError
from medcli.io.names import natural

CASE = "{case}"


def has_case(pattern: str) -> bool:
    return CASE in pattern


def check_pattern(pattern: str, key: str) -> None:
    """Raises ConfigError, naming the config's key, for a pattern without `{case}`."""
    if not has_case(pattern):
        raise ConfigError(
            f"{key}: expected a pattern with {CASE} in the place of the case's name,"
            f" such as 'images/{CASE}.png', got '{pattern}'."
        )


def find_cases(pattern: str, root: Path) -> dict[str, Path]:
    """All that the pattern matches below `root`, files or folders: case to path, in natural order.

    `{case}` stands for one or more characters within one level of folders and may occur several times, each
    time for the same text; `*` and `?` stand for any characters of one level. Hidden files are never taken.
    Where one case matches several paths (`{case}.*`) the first in order of the path wins.
    """
    return {case: paths[0] for case, paths in find_all(pattern, root).items()}


def find_all(pattern: str, root: Path) -> dict[str, list[Path]]:
    """As `find_cases`, with all paths of each case, in their order."""
    parts = [part for part in PurePath(pattern).parts if part != "."]
    found: dict[str, list[Path]] = {}
    for path, case in _descend(Path(root), parts, None):
        if case is not None:
            found.setdefault(case, []).append(path)
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def fill(pattern: str, case: str) -> str:
    """The pattern with the case's name put in."""
    return pattern.replace(CASE, case)


def _descend(folder: Path, parts: list[str], case: str | None) -> Iterator[tuple[Path, str | None]]:
    """Walk one level per part; folders are listed only where the part leaves something open."""
    part, rest = parts[0], parts[1:]
    for name, bound in _level(folder, part, case):
        path = folder / name
        if not rest:
            yield path, bound
        elif path.is_dir():
            yield from _descend(path, rest, bound)


def _level(folder: Path, part: str, case: str | None) -> Iterator[tuple[str, str | None]]:
    """Names in this folder that match the part, with the case they are of."""
    if "*" not in part and "?" not in part and (case is not None or CASE not in part):
        name = fill(part, case or "")
        if (folder / name).exists():
            yield name, case
        return
    expression = re.compile(_expression(part, case))
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        match = expression.fullmatch(name)
        if match and not name.startswith("."):
            yield name, match.groupdict().get("case", case)


def _expression(part: str, case: str | None) -> str:
    """Regular expression of one level; the first `{case}` becomes a group, later ones refer to it."""
    text = re.escape(part).replace(r"\*", ".*").replace(r"\?", ".")
    marker = re.escape(CASE)
    if case is not None:
        return text.replace(marker, re.escape(case))
    return text.replace(marker, "(?P<case>.+?)", 1).replace(marker, "(?P=case)")
