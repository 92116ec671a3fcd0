"""What the layouts of detection share: the folder's images, and annotations that become cases."""

from collections.abc import Iterable
from pathlib import Path

from medcli.boxes import Boxes
from medcli.case import Case, Source
from medcli.config.schema import Data
from medcli.errors import DataError, FormatError
from medcli.io.annotations.shapes import Annotation, image_size, to_boxes
from medcli.io.case_paths import find_cases, has_case
from medcli.io.found import Found, as_text, existing, shown
from medcli.io.names import is_image, natural, safe_name, unique_names

IMAGE_FOLDERS = ("JPEGImages", "images", "imgs", "img")


def folder_of_images(data: Data) -> Path:
    """The folder that `data.images` names, else the first of the usual ones, else the root."""
    name = as_text(data.images, "data.images")
    if name is not None:
        return existing(data.root, name, "data.images")
    return next((data.root / name for name in IMAGE_FOLDERS if (data.root / name).is_dir()), data.root)


def image_files(data: Data) -> dict[str, Path]:
    """Case to image, in natural order: what the pattern matches, or all images below the folder."""
    name = as_text(data.images, "data.images")
    if name is not None and has_case(name):
        return find_cases(name, data.root)
    folder = folder_of_images(data)
    paths = sorted((path for path in folder.rglob("*") if is_image(path)), key=lambda path: natural(path))
    found: dict[str, Path] = {}
    for case, path in zip(unique_names(paths), paths, strict=True):
        found.setdefault(case, path)
    if not found:
        raise DataError(f"{folder}: no images found; name their folder in data.images.")
    return found


def annotation_classes(data: Data, annotations: Iterable[Annotation], known: Iterable[str] = ()) -> list[str]:
    """The declared class names, else those that the format lists, else those that occur, sorted."""
    if data.classes:
        return list(data.classes)
    return list(known) or sorted({name for annotation in annotations for name in annotation.names})


def add_case(
    found: Found,
    data: Data,
    case: str,
    image: Path,
    annotation: Annotation,
    file: Path,
    split: str | None = None,
) -> None:
    """Turn one annotation into a case of `found`, whose classes are set. Boxes at fault become warnings.

    Args:
        file: The annotation file, for the warnings.
    """
    size = annotation.size
    if size is None and annotation.names:
        try:
            size = image_size(image)
        except FormatError:
            found.leave_out(
                case,
                shown(image, data.root),
                "its size cannot be read, so its boxes cannot be checked; is it an image?",
            )
            return
    boxes, faults = to_boxes(annotation, found.classes or [], size)
    for fault in faults:
        found.warn(case, shown(file, data.root), fault)
    found.cases.append(Case(name=safe_name(case), images=(Source(image),), boxes=boxes, split=split))


def empty_case(case: str, image: Path, split: str | None) -> Case:
    """An image known to hold nothing."""
    return Case(name=safe_name(case), images=(Source(image),), boxes=Boxes.empty(), split=split)
