"""nnU-Net and Medical Segmentation Decathlon folders: `dataset.json`, `imagesTr`, `labelsTr`.

nnU-Net names each channel's file `CASE_0000.nii.gz`, `CASE_0001.nii.gz`, ... and gives `labels` as name to
id; the Decathlon has one file per case and gives `labels` as id to name. Both are told apart by what is
there. nnU-Net's label `ignore` and labels that overlap (regions) are taken as they are meant.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medcli.case import Case, Source
from medcli.config.schema import Data
from medcli.errors import DataError, FormatError
from medcli.io.case_paths import find_cases
from medcli.io.found import Found, as_text, shown
from medcli.io.layouts.masks import segmentation_classes
from medcli.io.names import natural, safe_name


def find(data: Data, task: str) -> Found:
    """Cases of the training part in natural order; `imagesTs`, whose labels are rarely there, is not used."""
    path = data.root / "dataset.json"
    content = _read(path)
    found = Found()
    found.classes, found.label_ids = _classes(content, data, found)
    ending = str(content.get("file_ending", ".nii.gz"))
    folder = as_text(data.images, "data.images") or "imagesTr"
    label_folder = as_text(data.labels, "data.labels") or "labelsTr"
    images = _images(data.root, folder, ending, _channels(content))
    labels = find_cases(f"{label_folder}/{{case}}{ending}", data.root)
    if not images:
        raise DataError(
            f"{data.root / folder}: expected images named CASE_0000{ending} or CASE{ending}, found none."
        )
    for case in sorted(labels.keys() - images.keys(), key=natural):
        found.leave_out(case, shown(labels[case], data.root), "there is no image for this mask.")
    for case, files in images.items():
        missing = [file for file in files if not file.exists()]
        if missing:
            found.leave_out(case, shown(missing[0], data.root), "this channel is missing.")
        elif case not in labels:
            found.leave_out(
                case,
                shown(files[0], data.root),
                f"its mask is missing; expected {label_folder}/{case}{ending}.",
            )
        else:
            found.cases.append(
                Case(name=safe_name(case), images=tuple(map(Source, files)), masks=(Source(labels[case]),))
            )
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: expected nnU-Net's dataset.json, found no such file; check data.root."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: broken JSON ({type(error).__name__}); write it again.") from None
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise FormatError(f"{path}: expected an object with 'labels' (name to id), found none.")
    return content


def _channels(content: Mapping[str, Any]) -> int:
    return len(content.get("channel_names") or content.get("modality") or {"0": ""})


def _images(root: Path, folder: str, ending: str, channels: int) -> dict[str, list[Path]]:
    """Case to its files, one per channel, whether there or not; one file when the channels are inside it."""
    first = find_cases(f"{folder}/{{case}}_0000{ending}", root)
    if first:
        return {
            case: [path.with_name(f"{case}_{channel:04d}{ending}") for channel in range(channels)]
            for case, path in first.items()
        }
    return {case: [path] for case, path in find_cases(f"{folder}/{{case}}{ending}", root).items()}


def _classes(
    content: Mapping[str, Any], data: Data, found: Found
) -> tuple[list[str] | None, dict[str, list[int]] | None]:
    if data.classes or data.labels_are in ("binary", "instances"):
        return segmentation_classes(data)
    ids: dict[str, list[int]] = {}
    try:
        for key, value in content["labels"].items():
            name, number = (str(value), key) if str(key).isdecimal() else (str(key), value)
            ids[name] = [int(part) for part in (number if isinstance(number, list) else [number])]
    except (TypeError, ValueError):
        raise FormatError(
            f"{data.root / 'dataset.json'}: 'labels' is expected to map names to whole numbers."
        ) from None
    found.ignore_label = next(iter(ids.pop("ignore", [])), None)
    ids = {name: numbers for name, numbers in ids.items() if numbers != [0]}
    every = [number for numbers in ids.values() for number in numbers]
    if len(set(every)) < len(every):
        found.regions = {
            name: [f"label_{number}" for number in sorted(numbers)] for name, numbers in ids.items()
        }
        ids = {f"label_{number}": [number] for number in every}
    ids = dict(sorted(ids.items(), key=lambda item: item[1]))
    return list(ids), ids
