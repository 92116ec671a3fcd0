"""Recognising a layout from the settings and the folder, for `data.format: auto`."""

from pathlib import Path

from medcli.config.schema import Data
from medcli.errors import ConfigError
from medcli.io.case_paths import has_case


def recognise(data: Data, task: str) -> str:
    """One of the names of `data.format`. Raises ConfigError, which says what was sought, when nothing fits.

    What the settings say comes first, then what lies in the folder.
    """
    layout = _by_settings(data, task) or _by_folder(data, task)
    if layout is None:
        raise ConfigError(
            f"data.format: the layout of {data.root} is not recognised for {task};"
            f" looked for {_LOOKED_FOR[task]}."
            " Say which it is with data.format, data.images, data.labels or data.table."
        )
    return layout


_LOOKED_FOR = {
    "classification": "class folders, a CSV table (data.table), a .npz file",
    "regression": "a CSV table (data.table) with a column of numbers (data.columns.target)",
    "detection": "VOC XML (Annotations/*.xml), COCO JSON, YOLO text (data.yaml, labels/*.txt),"
    " a table of boxes (data.table), masks of objects (a pattern with {case} in data.labels)",
    "segmentation": "patterns with {case} in data.images and data.labels, nnU-Net's dataset.json,"
    " a table with a mask column (data.columns.mask)",
}


def _by_settings(data: Data, task: str) -> str | None:
    labels = data.labels
    if (isinstance(data.images, str) and data.images.endswith(".npz")) or data.root.suffix == ".npz":
        return "npz"
    if task == "segmentation":
        if isinstance(labels, dict) or (labels and has_case(labels)):
            return "masks"
        return "table" if data.table and data.columns.mask else None
    if task == "detection" and data.table and data.columns.mask:
        return "table"
    if task == "detection" and isinstance(labels, dict):
        return "masks" if all(map(has_case, labels.values())) else None
    if task == "detection" and isinstance(labels, str) and labels:
        if has_case(labels) and not labels.endswith((".xml", ".txt", ".json")):
            return "masks"
        if labels.endswith(".json"):
            return "coco"
        folder = data.root / labels
        return (
            "voc"
            if labels.endswith(".xml") or _holds(folder, ".xml")
            else "yolo"
            if _holds(folder, ".txt")
            else None
        )
    return "table" if task in ("classification", "regression") and data.table else None


def _by_folder(data: Data, task: str) -> str | None:
    root = data.root
    if task == "segmentation":
        return "nnunet" if (root / "dataset.json").is_file() else None
    if task == "detection":
        if any(_holds(root / name, ".xml") for name in ("Annotations", "annotations", "labels", "")):
            return "voc"
        if (
            (root / "data.yaml").is_file()
            or _holds(root / "labels", ".txt")
            or _holds(root / "labels/train", ".txt")
        ):
            return "yolo"
        if (
            any(root.glob("*.json"))
            or any(root.glob("annotations/*.json"))
            or any(root.glob("*/_annotations.coco.json"))
        ):
            return "coco"
        return "table" if data.table else None
    if (root / "data_batch_1").is_file():
        return "cifar"
    if len(list(root.glob("*.npz"))) == 1:
        return "npz"
    return (
        "folders" if any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir()) else None
    )


def _holds(folder: Path, suffix: str) -> bool:
    """Does a file with this suffix lie anywhere below the folder?"""
    return folder.is_dir() and next(folder.rglob(f"*{suffix}"), None) is not None
