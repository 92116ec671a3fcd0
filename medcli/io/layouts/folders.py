"""Class folders: `normal/*.png`, `pneumonia/*.png`, perhaps inside `train`, `val` and `test`."""

from dataclasses import replace
from pathlib import Path

from medcli.case import Case
from medcli.config.schema import Data
from medcli.errors import DataError
from medcli.io.found import Found, as_text, class_order, existing, known_split, listing, shown
from medcli.io.inputs import find_inputs, unique_names
from medcli.io.names import natural


def find(data: Data, task: str) -> Found:
    """Cases in natural order, class by class. Folders are searched to the bottom; a DICOM series is one."""
    name = as_text(data.images, "data.images")
    root = existing(data.root, name, "data.images") if name else data.root
    found = Found()
    folders = _class_folders(root)
    if not folders:
        raise DataError(f"{root}: expected one folder per class, found none; check data.root or data.images.")
    found.classes = class_order((folder.name for _, folder in folders), data.classes)
    cases: list[Case] = []
    for split, folder in folders:
        try:
            inside = find_inputs([folder])
        except DataError:
            found.warn("", shown(folder, data.root), "this class folder holds no images.")
            continue
        if folder.name not in found.classes:
            reason = f"its folder is not one of the classes {listing(found.classes)} (data.classes)."
            for case in inside:
                found.leave_out(case.name, shown(case.images[0].path, data.root), reason)
            continue
        cases += [replace(case, split=split, classes=(folder.name,)) for case in inside]
    found.cases = unique_names(cases)
    return found


def _class_folders(root: Path) -> list[tuple[str | None, Path]]:
    """(split, class folder); splits are folders called train, val, test or the like, when all folders are."""
    first = _folders(root)
    splits = [known_split(folder.name) for folder in first]
    if not first or None in splits:
        return [(None, folder) for folder in first]
    return [(split, inner) for split, folder in zip(splits, first, strict=True) for inner in _folders(folder)]


def _folders(root: Path) -> list[Path]:
    inside = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]
    return sorted(inside, key=natural)
