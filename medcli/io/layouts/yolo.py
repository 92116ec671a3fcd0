"""YOLO: images and text files with the same names, class names in `data.yaml` or `classes.txt`."""

from pathlib import Path

from medcli.config.schema import Data
from medcli.errors import FormatError
from medcli.io.annotations.shapes import image_size
from medcli.io.annotations.yolo import in_pixels, read_yolo
from medcli.io.found import Found, as_text, existing, known_split, shown
from medcli.io.layouts.boxes import add_case, annotation_classes, empty_case, image_files
from medcli.io.names import natural

CLASS_FILES = ("classes.txt", "obj.names", "data.names")


def find(data: Data, task: str) -> Found:
    """Cases in natural order. The text file lies as the image does, with `labels` for `images` in its path.

    An image without text file is one without objects, as YOLO defines it; it is kept and said. Parts come
    from folders called train, val or test above the image.
    """
    found = Found()
    images = image_files(data)
    labels = as_text(data.labels, "data.labels")
    folder = existing(data.root, labels, "data.labels") if labels else None
    names = class_names(data)
    texts = {case: _text_of(image, data.root, folder) for case, image in images.items()}
    annotations = {}
    for case, text in texts.items():
        try:
            annotations[case] = read_yolo(text, names) if text.is_file() else None
        except FormatError as error:
            found.leave_out(case, shown(text, data.root), str(error).removeprefix(f"{text}: "))
    found.classes = annotation_classes(data, filter(None, annotations.values()), names.values())
    for case, annotation in annotations.items():
        image, split = images[case], _split_of(images[case], data.root)
        if annotation is None:
            found.warn(case, shown(image, data.root), "it has no text file, which in YOLO means no objects.")
            found.cases.append(empty_case(case, image, split))
            continue
        try:
            annotation = in_pixels(annotation, image_size(image)) if annotation.names else annotation
            add_case(found, data, case, image, annotation, texts[case], split)
        except FormatError:
            found.leave_out(case, shown(image, data.root), "its size cannot be read; is it an image?")
    _report_orphans(found, data.root, folder, set(texts.values()))
    return found


def class_names(data: Data) -> dict[int, str]:
    """Class number to name: from `data.classes`, `names` of `data.yaml`, or a file with a name per line."""
    if isinstance(data.classes, dict):
        return {
            i: name for name, ids in data.classes.items() for i in ([ids] if isinstance(ids, int) else ids)
        }
    if data.classes:
        return dict(enumerate(data.classes))
    for path in sorted([*data.root.glob("*.yaml"), *data.root.glob("*.yml")]):
        names = _names_in_yaml(path)
        if names:
            return names
    folders = [data.root, data.root / "labels"]
    lists = [folder / name for folder in folders for name in CLASS_FILES if (folder / name).is_file()]
    if not lists:
        return {}
    return dict(
        enumerate(line.strip() for line in lists[0].read_text(encoding="utf-8").splitlines() if line.strip())
    )


def _names_in_yaml(path: Path) -> dict[int, str]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        names = content["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (YAMLError, OSError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        return {}


def _text_of(image: Path, root: Path, folder: Path | None) -> Path:
    """Where the image's text file should lie."""
    parts = list(image.relative_to(root).parts) if image.is_relative_to(root) else list(image.parts)
    below = len(parts) - 1 - parts[::-1].index("images") if "images" in parts[:-1] else None
    if folder is not None:
        inside = Path(*parts[below + 1 :]) if below is not None else Path(image.name)
        nested = (folder / inside).with_suffix(".txt")
        return nested if nested.is_file() else folder / f"{image.stem}.txt"
    if below is not None:
        parts[below] = "labels"
    return (root / Path(*parts)).with_suffix(".txt")


def _split_of(image: Path, root: Path) -> str | None:
    folders = image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ()
    return next((split for folder in folders if (split := known_split(folder))), None)


def _report_orphans(found: Found, root: Path, folder: Path | None, used: set[Path]) -> None:
    """Text files without an image."""
    folders = [folder] if folder else [path for path in root.rglob("labels") if path.is_dir()]
    orphans = {path for place in folders for path in place.rglob("*.txt")} - used
    for path in sorted((path for path in orphans if path.name not in CLASS_FILES), key=natural):
        found.leave_out(path.stem, shown(path, root), "there is no image of this name.")
