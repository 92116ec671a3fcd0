"""COCO: a JSON file (or one per part) and the images that it names."""

from pathlib import Path

from medcli.case import Problem
from medcli.config.schema import Data
from medcli.errors import DataError
from medcli.io.annotations.coco import read_coco
from medcli.io.found import Found, existing, known_split, listing, shown
from medcli.io.layouts.boxes import IMAGE_FOLDERS, add_case, annotation_classes
from medcli.io.names import unique_names


def find(data: Data, task: str) -> Found:
    """Cases in the order of `images`. An image without annotations is one known to be empty.

    `data.labels` is the JSON file, or a mapping from train, val and test to one each. Classes are those
    declared, else the categories that occur, by their ids. With `data.classes` as a mapping, its numbers are category
    ids.
    """
    found = Found()
    files = [(split, path, read_coco(path)) for split, path in _json_files(data)]
    renamed = _renamed(data)
    for _, path, coco in files:
        found.problems += [Problem("", shown(path, data.root), fault) for fault in coco.faults]
        if renamed:
            numbers = {name: number for number, name in coco.categories.items()}
            for annotation in coco.annotations:
                annotation.names = [renamed.get(numbers[name], name) for name in annotation.names]
    annotations = [annotation for _, _, coco in files for annotation in coco.annotations]
    listed = dict.fromkeys(name for _, _, coco in files for name in coco.categories.values())
    occurring = {name for annotation in annotations for name in annotation.names}
    found.classes = annotation_classes(data, annotations, [name for name in listed if name in occurring])
    entries = [(split, path, annotation) for split, path, coco in files for annotation in coco.annotations]
    images = [_image(data, path, annotation.image) for _, path, annotation in entries]
    for (split, path, annotation), image, case in zip(entries, images, unique_names(images), strict=True):
        if image.is_file():
            add_case(found, data, case, image, annotation, path, split)
        else:
            found.leave_out(
                case, shown(image, data.root), f"{path.name} lists this image, but there is no such file."
            )
    return found


def _json_files(data: Data) -> list[tuple[str | None, Path]]:
    """(split, file): those of `data.labels`, else those that lie where COCO and Roboflow put them."""
    if isinstance(data.labels, dict):
        return [
            (known_split(part), existing(data.root, name, f"data.labels.{part}"))
            for part, name in data.labels.items()
        ]
    if data.labels:
        return [(None, existing(data.root, data.labels, "data.labels"))]
    patterns = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
    files = [path for pattern in patterns for path in sorted(data.root.glob(pattern))]
    splits = [_split_of(path) for path in files]
    if len(files) == 1 or (files and None not in splits and len(set(splits)) == len(files)):
        return list(zip(splits, files, strict=True))
    raise DataError(
        f"{data.root}: expected one COCO JSON, or one each for train, val and test, found"
        f" {listing(shown(path, data.root) for path in files) or 'none'}; name them in data.labels."
    )


def _split_of(path: Path) -> str | None:
    """`instances_train2017.json` or `train/_annotations.coco.json` is train."""
    if path.name == "_annotations.coco.json":
        return known_split(path.parent.name)
    words = path.stem.replace("-", "_").split("_")
    return next(
        (split for word in reversed(words) if (split := known_split(word.rstrip("0123456789")))), None
    )


def _renamed(data: Data) -> dict[int, str]:
    """Category id to the class name that `data.classes` gives it."""
    if not isinstance(data.classes, dict):
        return {}
    return {i: name for name, ids in data.classes.items() for i in ([ids] if isinstance(ids, int) else ids)}


def _image(data: Data, path: Path, name: str) -> Path:
    """Where the image lies: below `data.images`, the root, the usual folders, or beside the JSON."""
    if isinstance(data.images, str):
        return data.root / data.images / name
    folders = [data.root, *(data.root / folder for folder in IMAGE_FOLDERS), path.parent]
    return next((folder / name for folder in folders if (folder / name).is_file()), data.root / name)
