"""A MedMNIST-like `.npz`: arrays `train_images`, `train_labels`, `val_images`, ... or just `images` and `labels`."""

import zipfile
from pathlib import Path

import numpy as np

from medcli.case import Case, Source
from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError, FormatError
from medcli.io.found import Found, as_text, existing, known_split, listing


def npz_file(data: Data) -> Path:
    """The file that `data.images` names, or the root itself, or the only `.npz` in it."""
    name = as_text(data.images, "data.images")
    if name is not None:
        return existing(data.root, name, "data.images")
    if data.root.is_file():
        return data.root
    files = sorted(data.root.glob("*.npz"))
    if len(files) != 1:
        what = f"{len(files)} of them" if files else "none"
        raise DataError(f"{data.root}: expected one .npz file, found {what}; name it in data.images.")
    return files[0]


def find(data: Data, task: str) -> Found:
    """Cases are named `train_00012`: the part and the image's index; without parts `image_00012`.

    Labels (n,) or (n, 1) are class numbers: they take the names of `data.classes`, else `0`, `1`, ...; labels (n, k) of
    0 and 1 are k classes that may apply together. For segmentation `train_masks` or `masks` hold the labels. Only the
    labels are read; of images no more than the arrays' headers.
    """
    path = npz_file(data)
    shapes = array_shapes(path)
    parts = [name for name in shapes if name == "images" or name.endswith("_images")]
    if not parts:
        raise DataError(
            f"{path}: expected arrays named like train_images or images, found {listing(shapes) or 'none'}."
        )
    if task == "detection":
        raise ConfigError("data.format: boxes cannot come from a .npz file; use voc, coco, yolo or table.")
    found = Found()
    if task == "segmentation":
        _add_masks(found, path, parts, shapes)
    else:
        _add_labels(found, path, parts, shapes, data)
    return found


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays, from their headers only. Raises FormatError for anything but a sound `.npz`."""
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".npy"):
                    with archive.open(member) as stream:
                        version = np.lib.format.read_magic(stream)
                        read = (
                            np.lib.format.read_array_header_1_0
                            if version == (1, 0)
                            else np.lib.format.read_array_header_2_0
                        )
                        shapes[member.removesuffix(".npy")] = read(stream)[0]
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise FormatError(
            f"{path}: not a readable .npz file ({type(error).__name__}); get it again."
        ) from None
    return shapes


def _case(path: Path, part: str, index: int, **label) -> Case:
    prefix = part.removesuffix("images").removesuffix("_")
    return Case(
        name=f"{prefix or 'image'}_{index:05d}",
        images=(Source(path, f"{part}[{index}]"),),
        split=known_split(prefix),
        **label,
    )


def _add_masks(found: Found, path: Path, parts: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    for part in parts:
        masks = part.removesuffix("images") + "masks"
        if shapes.get(masks, (0,))[0] != shapes[part][0]:
            raise DataError(
                f"{path}: expected an array {masks} with one mask per image of {part}, found none or another number."
            )
        for index in range(shapes[part][0]):
            found.cases.append(_case(path, part, index, masks=(Source(path, f"{masks}[{index}]"),)))


def _add_labels(
    found: Found, path: Path, parts: list[str], shapes: dict[str, tuple[int, ...]], data: Data
) -> None:
    labels = {part: _read_labels(path, part, shapes) for part in parts}
    width = {array.shape[1] for array in labels.values()}
    if len(width) != 1:
        raise DataError(
            f"{path}: the parts hold labels of different widths ({listing(map(str, sorted(width)))})."
        )
    found.multi_label = width.pop() > 1
    numbers = _class_numbers(labels, found.multi_label, data, path)
    found.classes = list(numbers.values())
    for part in parts:
        for index, row in enumerate(labels[part].tolist()):
            values = [number for number, applies in enumerate(row) if applies] if found.multi_label else row
            case = _case(path, part, index, classes=tuple(numbers.get(value, "") for value in values))
            if "" in case.classes:
                found.leave_out(
                    case.name,
                    path.name,
                    f"its label is {listing(map(str, row))}, which data.classes has no name for.",
                )
            else:
                found.cases.append(case)


def _read_labels(path: Path, part: str, shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    """(n, k) integers."""
    name = part.removesuffix("images") + "labels"
    if name not in shapes:
        raise DataError(f"{path}: expected an array {name} beside {part}, found {listing(shapes)}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = archive[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{path}: the array {name} cannot be read ({type(error).__name__}); get the file again."
        ) from None
    array = array.reshape(len(array), -1)
    if len(array) != shapes[part][0]:
        raise DataError(f"{path}: {part} holds {shapes[part][0]} images but {name} {len(array)} labels.")
    if not np.issubdtype(array.dtype, np.integer) and not np.array_equal(array, np.round(array)):
        raise DataError(f"{path}: {name} is expected to hold class numbers, found fractions.")
    return array.astype(np.int64)


def _class_numbers(
    labels: dict[str, np.ndarray], multi_label: bool, data: Data, path: Path
) -> dict[int, str]:
    """Label value to class name."""
    values = (
        range(next(iter(labels.values())).shape[1])
        if multi_label
        else np.unique(np.concatenate(list(labels.values())))
    )
    if isinstance(data.classes, dict):
        return {
            i: name for name, ids in data.classes.items() for i in ([ids] if isinstance(ids, int) else ids)
        }
    if data.classes:
        if len(data.classes) < len(values):
            raise ConfigError(
                f"data.classes: expected {len(values)} names, one per label value in {path.name}, got {len(data.classes)}."
            )
        return dict(enumerate(data.classes))
    return {int(value): str(value) for value in values}
