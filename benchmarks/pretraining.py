"""What a start from unlabelled images is worth when a tenth of them has labels (PneumoniaMNIST, 28 x 28).

    python benchmarks/pretraining.py [--data data/pneumoniamnist] [--seeds 0 1 2] [--share 0.1] [--epochs 6]

One network is pretrained on all training images without their labels. Then, for each seed, a tenth of the labels is
drawn (in like proportion of the classes), and the network is trained with them from scratch and from the pretrained
weights: the same cases, schedule and augmentation. AUROC on the whole validation part, of the weights at the end, which
are chosen by nothing. Prints a line per training, and means with deviations; --out writes them as JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from medcli.quiet import import_tensorflow, silence

silence()
import_tensorflow()

from medcli.config.loading import from_dict  # noqa: E402
from medcli.config.schema import Config  # noqa: E402
from medcli.preprocessing.build import preprocess  # noqa: E402
from medcli.training import train  # noqa: E402

FILE = "pneumoniamnist_trainval.npz"
STARTS: dict[str, dict] = {
    "scratch": {},
    "pretrained": {"freeze_epochs": 2, "backbone_rate": 0.1},  # the last layer first, the early ones slowly
    "pretrained_at_full_rate": {},  # the default
}
"""How training with labels begins, and its settings beside the common ones."""
NETWORK = {"name": "resnet18", "width": 8, "stages": 3}


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/pneumoniamnist"))
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
    whole = np.load(options.data / FILE)
    start = time.process_time()
    pretrained = (options.keep or folder) / "pretrained"
    if not (pretrained / "result.json").is_file():
        job = config(options.data, options.epochs, 0, learn_from="images")
        preprocess(job, folder / "all")
        result = train(job, folder / "all", pretrained)
        best = {name: round(value, 3) for name, value in result.best.items()}
        print(f"pretrained: {time.process_time() - start:.0f} s of processor time, {best}", flush=True)
    rows = []
    for seed in options.seeds:
        data = folder / f"share{seed}"
        data.mkdir()
        np.savez(data / FILE, **part_of(whole, options.share, seed))
        preprocess(config(data, options.tuning, seed), data / "prepared")
        for name in options.starts:
            weights = "none" if name == "scratch" else str(pretrained)
            job = config(data, options.tuning, seed, weights=weights, extra=STARTS[name])
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


def part_of(whole, share: float, seed: int) -> dict[str, np.ndarray]:
    """All validation images, and a share of the training images of every class."""
    labels = whole["train_labels"].ravel()
    random = np.random.default_rng(seed)
    kept = np.concatenate(
        [
            random.permutation(places)[: round(share * len(places))]
            for places in (np.flatnonzero(labels == kind) for kind in np.unique(labels))
        ]
    )
    kept.sort()
    return {
        "train_images": whole["train_images"][kept],
        "train_labels": whole["train_labels"][kept],
        "val_images": whole["val_images"],
        "val_labels": whole["val_labels"],
    }


def config(
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
        "data": {"root": data.absolute(), "images": FILE, "classes": ["normal", "pneumonia"]},
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
