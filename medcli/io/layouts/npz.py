"""An `.npz` as of MedMNIST (`train_images`, `train_labels`; or `images`, `labels`) or Keras (`x_train`, `y_train`)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from medcli.case import Case, Source
from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError
from medcli.io.found import Found, as_text, existing, known_split, listing
from medcli.io.inputs import called_by_keras, holds_images, npz_case, part_of
from medcli.io.numpy_file import array_shapes, load_numpy

Shapes = Mapping[str, tuple[int, ...]]


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
    """Cases are named `train_00012`: the part and the image's index.

    Labels (n,) or (n, 1) are class numbers: they take the names of `data.classes`, else `0`, `1`, ...; labels
    (n, k) of 0 and 1 are k classes that may apply together. For segmentation `train_masks` or `masks` hold
    the labels. Only the labels are read; of images no more than the arrays' headers.
    """
    path = npz_file(data)
    shapes = array_shapes(path)
    parts = [name for name in shapes if holds_images(name)]
    if not parts:
        raise DataError(
            f"{path}: expected arrays named like train_images, images or x_train, found {listing(shapes) or 'none'}."
        )
    found = Found()
    if task == "segmentation":
        _add_masks(found, path, parts, shapes)
    else:
        _add_labels(found, path, parts, shapes, data)
    return found


def _case(path: Path, part: str, index: int) -> Case:
    return replace(npz_case(path, part, index), split=known_split(part_of(part)))


def _add_masks(found: Found, path: Path, parts: list[str], shapes: Shapes) -> None:
    for part in parts:
        masks = _sibling(path, part, "masks", shapes)
        for index in range(shapes[part][0]):
            found.cases.append(replace(_case(path, part, index), masks=(Source(path, f"{masks}[{index}]"),)))


def _add_labels(found: Found, path: Path, parts: list[str], shapes: Shapes, data: Data) -> None:
    labels = {part: _read_labels(path, part, shapes) for part in parts}
    widths = sorted({array.shape[1] for array in labels.values()})
    if len(widths) != 1:
        raise DataError(f"{path}: the parts hold labels of different widths ({listing(map(str, widths))}).")
    found.multi_label = widths[0] > 1
    names = _class_names(labels, found.multi_label, data, path)
    found.classes = list(names.values())
    for part in parts:
        for index, row in enumerate(labels[part].tolist()):
            numbers = [i for i, applies in enumerate(row) if applies] if found.multi_label else row
            case = _case(path, part, index)
            if set(numbers) <= names.keys():
                found.cases.append(replace(case, classes=tuple(names[number] for number in numbers)))
            else:
                reason = f"its label is {numbers[0]}; data.classes has names for {listing(map(str, names))}."
                found.leave_out(case.name, path.name, reason)


def _read_labels(path: Path, part: str, shapes: Shapes) -> np.ndarray:
    """(n, k) integers."""
    name = _sibling(path, part, "labels", shapes)
    array = load_numpy(Source(path, name))
    array = array.reshape(len(array), -1)
    if array.dtype.kind not in "biuf" or (
        array.dtype.kind == "f" and not np.array_equal(array, np.round(array))
    ):
        raise DataError(f"{path}: {name} is expected to hold class numbers, found an array of {array.dtype}.")
    return array.astype(np.int64)


def _sibling(path: Path, part: str, kind: str, shapes: Shapes) -> str:
    """`train_labels` for `train_images`, `y_train` for `x_train`; as long."""
    keras = called_by_keras(part) and kind == "labels"
    name = "y" + part[1:] if keras else part.removesuffix("images") + kind
    if name not in shapes:
        raise DataError(f"{path}: expected an array {name} beside {part}, found {listing(shapes)}.")
    if shapes[name][:1] != shapes[part][:1]:
        raise DataError(
            f"{path}: {part} and {name} differ in length ({shapes[part][0]} and {shapes[name][0]})."
        )
    return name


def _class_names(
    labels: Mapping[str, np.ndarray], multi_label: bool, data: Data, path: Path
) -> dict[int, str]:
    """Label value to class name."""
    if isinstance(data.classes, dict):
        return {
            i: name for name, ids in data.classes.items() for i in ([ids] if isinstance(ids, int) else ids)
        }
    arrays = list(labels.values())
    values = range(arrays[0].shape[1]) if multi_label else np.unique(np.concatenate(arrays)).tolist()
    if not data.classes:
        return {value: str(value) for value in values}
    if len(data.classes) < len(values):
        raise ConfigError(
            f"data.classes: expected {len(values)} names, one per label value in {path.name},"
            f" got {len(data.classes)}."
        )
    return dict(enumerate(data.classes))
