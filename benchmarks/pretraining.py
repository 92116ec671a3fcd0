"""What a start from unlabelled images is worth when a tenth of them has labels.

    python benchmarks/pretraining.py [--of pneumoniamnist|sex|view|label] [--data FOLDER] [--seeds 0 1 2] [--share 0.1]

One network is pretrained on all training images without their labels. Then, for each seed, a tenth of the labels is
drawn (in like proportion of the classes), and the network is trained with them from scratch and from the pretrained
weights: the same cases, schedule and augmentation. AUROC on the whole validation part, of the weights at the end, which
are chosen by nothing. Prints a line per training, and means with deviations; --out writes them as JSON.

pneumoniamnist: its own parts, 28 x 28. sex, view and label: columns of nih_cxr64, 64 x 64; a fifth of its patients
validates, and a tenth of the other patients' images has labels.
"""

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from medcli.quiet import import_tensorflow, silence

silence()
import_tensorflow()

from medcli.config.loading import from_dict  # noqa: E402
from medcli.config.schema import Config  # noqa: E402
from medcli.preprocessing.build import preprocess  # noqa: E402
from medcli.training import train  # noqa: E402

STARTS: dict[str, dict] = {
    "scratch": {},
    "pretrained": {"freeze_epochs": 2, "backbone_rate": 0.1},  # the last layer first, the early ones slowly
    "pretrained_at_full_rate": {},  # the default
}
"""How training with labels begins, and its settings beside the common ones."""
NETWORK = {"name": "resnet18", "width": 8, "stages": 3}


class PneumoniaMnist:
    """The arrays of PneumoniaMNIST, 28 x 28."""

    FILE = "pneumoniamnist_trainval.npz"
    data: ClassVar[dict] = {"images": FILE, "classes": ["normal", "pneumonia"]}

    def __init__(self, folder: Path) -> None:
        self.whole = np.load(folder / self.FILE)

    def write(self, folder: Path, share: float, seed: int) -> None:
        """All validation images, and a share of the training images of every class."""
        kept = drawn(self.whole["train_labels"].ravel(), share, seed)
        part = {name: self.whole[name][kept] for name in ("train_images", "train_labels")}
        np.savez(
            folder / self.FILE, **part, **{name: self.whole[name] for name in ("val_images", "val_labels")}
        )


class ChestColumn:
    """A column of nih_cxr64, 64 x 64; every fifth patient by number validates."""

    CLASSES: ClassVar[dict] = {"sex": ["F", "M"], "view": ["AP", "PA"], "label": ["normal", "abnormal"]}

    def __init__(self, folder: Path, column: str) -> None:
        self.folder = folder.absolute()
        with open(folder / "labels.csv", newline="") as stream:
            self.rows = list(csv.DictReader(stream))
        self.column = column
        self.data = {
            "table": "labels.csv",
            "columns": {"image": "file", "label": column, "patient": "patient_id", "split": "part"},
            "classes": self.CLASSES[column],
        }
        patients = sorted({row["patient_id"] for row in self.rows})
        kept_apart = set(patients[::5])
        for row in self.rows:
            row["part"] = "val" if row["patient_id"] in kept_apart else "train"

    def write(self, folder: Path, share: float, seed: int) -> None:
        """All validation images, and a share of the training images of every class."""
        training = [row for row in self.rows if row["part"] == "train"]
        kept = drawn(np.array([row[self.column] for row in training]), share, seed)
        rows = [training[place] for place in kept] + [row for row in self.rows if row["part"] == "val"]
        (folder / "images").symlink_to(self.folder / "images")
        with open(folder / "labels.csv", "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def drawn(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Places of a share of every class, in order."""
    random = np.random.default_rng(seed)
    places = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]
    return np.sort(np.concatenate([random.permutation(part)[: round(share * len(part))] for part in places]))


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--of",
        choices=["pneumoniamnist", *ChestColumn.CLASSES],
        default="pneumoniamnist",
        help="what is told",
    )
    parser.add_argument("--data", type=Path, help="folder of the data set; default: in data/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--share", type=float, default=0.1, help="of the training images whose labels are known"
    )
    parser.add_argument("--epochs", type=int, default=6, help="of pretraining")
    parser.add_argument("--tuning", type=int, default=15, help="epochs of training with labels")
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--keep", type=Path, help="folder for the pretrained run, to be used again")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measure(options: argparse.Namespace, folder: Path) -> list[dict]:
    if options.of == "pneumoniamnist":
        source = PneumoniaMnist(options.data or Path("data/pneumoniamnist"))
    else:
        source = ChestColumn(options.data or Path("data/nih_cxr64"), options.of)
    start = time.process_time()
    pretrained = (options.keep or folder) / "pretrained"
    if not (pretrained / "result.json").is_file():
        everything = folder / "everything"
        everything.mkdir()
        source.write(everything, 1.0, 0)
        job = config(source, everything, options.epochs, 0, learn_from="images")
        preprocess(job, everything / "prepared")
        result = train(job, everything / "prepared", pretrained)
        best = {name: round(value, 3) for name, value in result.best.items()}
        print(f"pretrained: {time.process_time() - start:.0f} s of processor time, {best}", flush=True)
    rows = []
    for seed in options.seeds:
        data = folder / f"share{seed}"
        data.mkdir()
        source.write(data, options.share, seed)
        preprocess(config(source, data, options.tuning, seed), data / "prepared")
        for name in options.starts:
            weights = "none" if name == "scratch" else str(pretrained)
            job = config(source, data, options.tuning, seed, weights=weights, extra=STARTS[name])
            began = time.process_time()
            result = train(job, data / "prepared", data / name)
            took = time.process_time() - began
            rows.append({"seed": seed, "start": name, "auroc": result.best["val_auroc"], "seconds": took})
            print(f"seed {seed}  {name:24s} AUROC {result.best['val_auroc']:.4f}  {took:.0f} s", flush=True)
    for name in dict.fromkeys(row["start"] for row in rows):
        values = [row["auroc"] for row in rows if row["start"] == name]
        print(
            f"{name:24s} mean {np.mean(values):.4f}  deviation {np.std(values, ddof=1):.4f}  n {len(values)}"
        )
    return rows


def config(
    source: PneumoniaMnist | ChestColumn,
    data: Path,
    epochs: int,
    seed: int,
    *,
    weights: str = "none",
    learn_from: str = "labels",
    extra: dict | None = None,
) -> Config:
    settings = {
        "task": "classification",
        "name": "pretraining",
        "seed": seed,
        "data": {"root": data.absolute(), **source.data},
        "preprocess": {"workers": 1},
        "model": NETWORK | {"weights": weights},
        "train": {
            "epochs": epochs,
            "learn_from": learn_from,
            "keep": "last",
            "tensorboard": False,
            "validate_every": max(1, epochs // 4),
        },
    }
    if learn_from == "labels":
        settings["train"] |= {"batch_size": 32} | (extra or {})
    return from_dict(settings, name="pretraining")


if __name__ == "__main__":
    main()
