"""Names of cases from the paths of their images, as `predict` names them too."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from medcli.io.inputs import natural, safe_name
from medcli.io.readers import SUFFIXES, stem_of

__all__ = ["is_image", "natural", "safe_name", "stem", "unique_names"]


def stem(path: PurePath | str) -> str:
    """The file's name without an image's suffix: `a/b.c.nii.gz` gives `b.c`."""
    return stem_of(Path(path))


def is_image(path: PurePath) -> bool:
    """Does the name look like an image's? Hidden files never do."""
    return not path.name.startswith(".") and path.name.lower().endswith(SUFFIXES)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """One name per path: its stem, with as many parent folders before it (`parent_stem`) as make it unique.

    Equal paths get equal names; so do files that differ in their suffix only.
    """
    names = [safe_name(stem(path)) for path in paths]
    places = [path.with_name(stem(path)) for path in paths]
    for depth in range(1, max((len(path.parts) for path in paths), default=1)):
        counts = Counter(name for name, _ in set(zip(names, places, strict=True)))
        if max(counts.values(), default=1) < 2:
            break
        names = [
            safe_name("_".join([*path.parts[-1 - depth : -1], stem(path)])) if counts[name] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names
