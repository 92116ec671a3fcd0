"""What a cascade is worth where a patch sees too little, and what it costs where it sees enough (made-up volumes).

    python benchmarks/cascade.py [--kind far|near] [--epochs 48 | --minutes 4] [--out FILE]

Volumes of 64 x 64 x 64 hold a body with noise, a bright organ at one of its two ends (drawn for each), and equal balls
all over. Patches are 16 x 16 x 16: they see 1.6 % of the volume. What class a ball is of:

far     by the end on which the organ lies: balls in that half are `near_organ`, the others `far_organ`; most patches do
        not show the organ, so they cannot tell
near    by the ball itself: those of class `bright` are brighter than those of class `dim`, so every patch can tell

A single network and a cascade train for as many steps in all (the coarse networks for a third of `--epochs` of 50 steps
each, the single network for five thirds), or with `--minutes` for the same time, one after the other, in processes of
their own; the processor time of each is told. Dice on test patients by `medcli evaluate`: of the single network, of the
cascade's two coarse networks together, and of the cascade.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

CLASSES = {"far": ["near_organ", "far_organ"], "near": ["bright", "dim"]}
RADIUS, BALLS, ORGAN = 4, 12, 0.12
"""Voxels, balls in a volume, share of the body's length that is organ."""


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        work = options.keep or Path(folder)
        make_data(work / "data", options)
        rows = []
        for cascade in options.networks:
            config = write_config(work, options, cascade)
            rows += measured(work, config, cascade)
            print(*(f"{key}: {value}" for row in rows for key, value in row.items()), sep="\n", flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=list(CLASSES), default="far")
    parser.add_argument("--epochs", type=int, default=48, help="of the cascade's fine network")
    parser.add_argument("--minutes", type=float, help="of training, for each, in place of a number of steps")
    parser.add_argument("--side", type=int, default=64, help="of the volumes, in voxels")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--patients", type=int, nargs=3, default=(24, 2, 12), help="train, val, test")
    parser.add_argument(
        "--noise", type=float, default=0.5, help="deviation; a ball is 1 above its surroundings"
    )
    parser.add_argument("--networks", nargs="+", choices=["off", "on"], default=["off", "on"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for data and runs, to be looked at")
    parser.add_argument("--out", type=Path, help="JSON")
    return parser.parse_args()


def make_data(folder: Path, options: argparse.Namespace) -> None:
    import nibabel as nib

    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    parts = [
        part
        for part, count in zip(("train", "val", "test"), options.patients, strict=True)
        for _ in range(count)
    ]
    lines = ["case,split"]
    for number, part in enumerate(parts):
        random = np.random.default_rng([options.seed, number])
        image, label = volume(options, random)
        name = f"patient{number:03d}"
        for kind, array in (("images", image), ("labels", label)):
            nib.save(nib.Nifti1Image(array, np.diag([1.5, 1.5, 1.5, 1])), folder / kind / f"{name}.nii.gz")
        lines.append(f"{name},{part}")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")


def volume(options: argparse.Namespace, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """float32 image and uint8 labels, (side, side, side)."""
    side = options.side
    grid = np.indices((side,) * 3, np.float32)
    place = (grid + 0.5) / side * 2 - 1  # -1 to 1
    end = random.choice([-1, 1])
    along = place[0] * end  # grows towards the organ
    body = np.abs(place).max(axis=0) < 0.94
    organ = body & (along > 0.94 * (1 - 2 * ORGAN))
    image = np.where(body, 1.0, 0.0) + np.where(organ, 1.0, 0.0)
    label = np.zeros((side,) * 3, np.uint8)
    taken: list[np.ndarray] = []
    while len(taken) < BALLS:
        centre = random.uniform(RADIUS + 0.05 * side, side * 0.95 - RADIUS, 3)
        position = (centre[0] / side * 2 - 1) * end
        between = abs(position) < 2 * RADIUS / side  # the two halves meet there
        inside_organ = position > 0.94 * (1 - 2 * ORGAN) - 2.4 * RADIUS / side
        if between or inside_organ or any(np.linalg.norm(centre - other) < 2 * RADIUS + 2 for other in taken):
            continue
        taken.append(centre)
        ball = ((grid - centre[:, None, None, None]) ** 2).sum(axis=0) < RADIUS**2
        second = position < 0 if options.kind == "far" else random.random() < 0.5
        image[ball] += 1.6 if options.kind == "near" and not second else 1.0
        label[ball] = 2 if second else 1
    return (image + random.normal(0, options.noise, image.shape)).astype(np.float32), label


def write_config(work: Path, options: argparse.Namespace, cascade: str) -> Path:
    epochs = options.epochs if cascade == "on" else round(options.epochs * 5 / 3)
    length = {"epochs": epochs} if options.minutes is None else {"max_minutes": options.minutes}
    content = {
        "task": "segmentation",
        "seed": options.seed,
        "prepared": f"prepared_{cascade}",
        "run": f"run_{cascade}",
        "data": {
            "root": "data", "images": "images/{case}.nii.gz", "labels": "labels/{case}.nii.gz",
            "classes": CLASSES[options.kind], "split": {"file": "data/split.csv"},
        },
        "model": {"width": 8, "cascade": cascade},
        "train": {
            "patch": [options.patch] * 3, "batch_size": 4, "steps_per_epoch": 50,
            "validate_every": 1000, "keep": "last", "tensorboard": False, **length,
        },
        "evaluate": {"robustness": "off", "pictures": 0, "explained": 0},
        "predict": {"overlap": 0.25, "postprocess": "none"},
    }  # fmt: skip
    path = work / f"{cascade}.yaml"
    path.write_text(json.dumps(content))
    return path


def measured(work: Path, config: Path, cascade: str) -> list[dict[str, Any]]:
    """Prepare, train and evaluate; a row for each network, or networks together, that can be measured."""
    medcli("preprocess", str(config))
    if cascade == "on":
        print(
            medcli("plan", str(config), "--yaml")
            .split("reasons:")[0]
            .split("cascade:")[1]
            .split("augment")[0]
        )
    (seconds, processor), _ = timed("train", str(config), "--force")
    names = {
        "off": {"single": work / "run_off"},
        "on": {"coarse": work / "run_on" / "coarse", "cascade": work / "run_on"},
    }
    rows = []
    for name, run in names[cascade].items():
        (_, predicting), text = timed("evaluate", str(run), "--split", "test", "--force", "--json")
        found = json.loads(text)
        rows.append(
            {
                "network": name, "n": found["cases"],
                "training minutes": round(seconds / 60, 2), "training processor s": round(processor),
                "evaluation processor s": round(predicting),
            }
            | {key: round(value, 3) for key, value in found["measures"].items() if key.startswith("dice")}
        )  # fmt: skip
    return rows


def timed(*command: str) -> tuple[tuple[float, float], str]:
    """Wall and processor seconds, and what was printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    text = medcli(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (perf_counter() - start, processor), text


def medcli(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "medcli", *command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
