"""Pascal VOC: a folder of images (`JPEGImages`) and one of XML files (`Annotations`) with the same names."""

from pathlib import Path

from medcli.config.schema import Data
from medcli.errors import DataError, FormatError
from medcli.io.annotations.shapes import Annotation
from medcli.io.annotations.voc import read_voc
from medcli.io.case_paths import find_cases, has_case
from medcli.io.found import Found, as_text, existing, shown
from medcli.io.layouts.boxes import add_case, annotation_classes, image_files
from medcli.io.names import safe_name

ANNOTATION_FOLDERS = ("Annotations", "annotations", "labels", "xml")


def find(data: Data, task: str) -> Found:
    """Cases in natural order of their names; an image and its XML belong together by their names."""
    found = Found()
    images = image_files(data)
    files = _annotation_files(data)
    annotations: dict[str, Annotation] = {}
    for case, path in files.items():
        try:
            annotations[case] = read_voc(path)
        except FormatError as error:
            found.leave_out(case, shown(path, data.root), str(error).removeprefix(f"{path}: "))
    for case in files.keys() - images.keys():
        found.leave_out(case, shown(files[case], data.root), "there is no image of this name.")
    found.classes = annotation_classes(data, annotations.values())
    for case, image in images.items():
        if case in annotations:
            add_case(found, data, case, image, annotations[case], files[case])
        elif case not in files:
            found.leave_out(case, shown(image, data.root), "there is no XML file of this name.")
    return found


def _annotation_files(data: Data) -> dict[str, Path]:
    name = as_text(data.labels, "data.labels")
    if name is not None and has_case(name):
        return find_cases(name, data.root)
    if name is not None:
        folder = existing(data.root, name, "data.labels")
    else:
        folder = next(
            (data.root / name for name in ANNOTATION_FOLDERS if (data.root / name).is_dir()), data.root
        )
    files = {safe_name(path.stem): path for path in sorted(folder.rglob("*.xml"))}
    if not files:
        raise DataError(
            f"{folder}: expected XML files of Pascal VOC, found none; name their folder in data.labels."
        )
    return files
