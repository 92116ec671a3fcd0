"""CIFAR-10 as `keras.datasets.cifar10` leaves it: `data_batch_1` to `data_batch_5`, `test_batch`, `batches.meta`."""

from pathlib import Path

from medcli.case import Case
from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError
from medcli.io.cifar import load_batch, load_plain
from medcli.io.found import Found, class_order, existing
from medcli.io.inputs import batch_case, natural


def find(data: Data, task: str) -> Found:
    """Cases are named `data_batch_1_00012`: the file and the image's index.

    The batches train, `test_batch` tests; the validation part comes from the training part. Names of the classes:
    those of `data.classes`, else of `batches.meta`, else 0, 1, ...
    """
    root = data.root if data.images is None else existing(data.root, str(data.images), "data.images")
    files = batch_files(root)
    if not files:
        raise DataError(
            f"{root}: expected CIFAR's files data_batch_1, data_batch_2, ..., test_batch; found none."
        )
    labels = {path: load_batch(path)[1] for path in files}
    names = _class_names(root, data, 1 + max(max(numbers) for numbers in labels.values()))
    found = Found(classes=names)
    for path in files:
        split = "test" if path.name.startswith("test") else "train"
        for index, number in enumerate(labels[path]):
            case = batch_case(path, index)
            found.cases.append(Case(case.name, case.images, split=split, classes=(names[number],)))
    return found


def batch_files(root: Path) -> list[Path]:
    """Training batches in natural order, then the test batch."""
    training = sorted((path for path in root.glob("data_batch_*") if path.is_file()), key=natural)
    test = root / "test_batch"
    return training + ([test] if test.is_file() else [])


def _class_names(root: Path, data: Data, count: int) -> list[str]:
    names = class_order([], data.classes)
    meta = root / "batches.meta"
    if not names and meta.is_file():
        stored = load_plain(meta).get("label_names") or []
        names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in stored]
    names = names or [str(number) for number in range(count)]
    if len(names) < count:
        raise ConfigError(f"data.classes: expected {count} names, one per label value, got {len(names)}.")
    return names
