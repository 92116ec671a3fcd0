"""Patches per second of the input pipeline by strength of augmentation, against the training step on the same cores.

    python benchmarks/augmentation.py [--steps 3] [--patches 200] [--only 2D]

For a picture and two volumes: what a patch takes in the training step of the default U-Net (the precision that
`choose_precision` picks; forward, loss, backward, optimiser), what it takes in the input pipeline alone, with
`augment` none, light, medium and strong (all changes that suit MR of equal spacing), and the share of the step that
this is. In processor time of both cores, which other programs change little, and in wall time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from medcli.quiet import silence

silence()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from medcli.config.loading import save_config  # noqa: E402
from medcli.config.schema import Config  # noqa: E402
from medcli.datasets.feed import feed  # noqa: E402
from medcli.devices import choose_precision  # noqa: E402
from medcli.files import write_array, write_json  # noqa: E402
from medcli.models.choose import resolve  # noqa: E402
from medcli.preprocessing.plan import Intensity, Plan, save_plan  # noqa: E402
from medcli.preprocessing.prepared import Prepared, Record, image_path, label_path, write_manifest  # noqa: E402
from medcli.run import precision  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402

JOBS = {
    "2D 256x256": ((256, 256), 8, 5),
    "3D 40x56x40": ((40, 56, 40), 7, 4),
    "3D 64x128x128": ((64, 128, 128), 2, 5),
}
STRENGTHS = ("none", "light", "medium", "strong")
CHANGES = [
    "rotate", "scale", "tilt", "elastic", "bias_field", "blur", "low_resolution", "noise", "brightness", "contrast",
    "gamma", "inverted_gamma",
]  # fmt: skip
CASES = 4


def prepared(folder: Path, patch: tuple[int, ...], batch: int, stages: int) -> Prepared:
    """Made-up cases, half as large again as the patch on every axis."""
    random = np.random.default_rng(0)
    shape = tuple(size * 3 // 2 for size in patch)
    records = []
    for number in range(CASES):
        key = f"case{number}"
        image = random.normal(size=(*shape, 1)).astype(np.float32)
        write_array(image_path(folder, key), image)
        write_array(label_path(folder, key), (image[..., 0] > 1.5).astype(np.uint8))
        records.append(
            Record(
                case=key, patient=key, split="train", fold=None, classes=("object",), key=key, shape=shape,
                original_shape=shape, spacing=None, objects=1, sources=(f"{key}.nii",), labels=(), sha256="0" * 64,
                groups={},
            )
        )  # fmt: skip
    axes = len(patch)
    plan = Plan(
        task="segmentation", dimensions=2 if axes == 2 else 3, classes=["object"], channels=1, color="as_is",
        intensity=[Intensity(kind="none")], patch=list(patch), batch_size=batch, stages=stages,
        strides=[[1] * axes] + [[2] * axes] * (stages - 1), augmentations=CHANGES,
    )  # fmt: skip
    save_plan(plan, folder / "plan.yaml")
    save_config(Config(task="segmentation"), folder / "config.yaml")
    write_json(folder / "fingerprint.json", {})
    write_manifest(folder, records)
    return Prepared.open(folder)


def measured(work: Callable[[], int], patches: int) -> tuple[float, float]:
    """Processor and wall seconds per patch; `work` is called until it has done so many."""
    began, processor, done = time.perf_counter(), time.process_time(), 0
    while done < patches:
        done += work()
    return (time.process_time() - processor) / done, (time.perf_counter() - began) / done


def pipeline(data: Prepared, strength: str, batch: int) -> Callable[[], int]:
    """Draws a batch."""
    config = Config(task="segmentation", train={"augment": strength})
    dataset = task_for(config, data.plan).training_set(data, data.split("train"))
    stream = iter(feed(dataset, batch_size=batch, first_batch=0, last_batch=10**6))
    for _ in range(8):  # compiled, buffers full
        next(stream)
    return lambda: len(next(stream)[0])


def step(data: Prepared, batch: int) -> Callable[[], int]:
    """Trains on a batch."""
    config = Config(task="segmentation")
    config = config.model_copy(update={"model": resolve(config.model, data.plan)})
    with precision(choose_precision()[0]):
        task = task_for(config, data.plan)
        model = task.build_model()
    optimizer = keras.optimizers.AdamW(1e-3, global_clipnorm=12.0)
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((batch, *data.plan.patch, 1))
    labels = tf.cast(images[..., 0] > 1.5, tf.uint8)

    @tf.function(autograph=False, jit_compile=False)
    def train():
        with tf.GradientTape() as tape:
            loss = task.loss(labels, model(images, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    def run() -> int:
        float(train())
        return batch

    run()
    return run


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--steps", type=int, default=3, help="of training; 0: the pipeline alone")
    arguments.add_argument("--patches", type=int, default=200, help="of the pipeline")
    arguments.add_argument("--only", default="", help="jobs whose name begins so")
    given = arguments.parse_args()
    print(f"{'':14s} {'':7s} {'processor ms':>13s} {'wall ms':>9s} {'patches/s':>10s} {'of the step':>12s}")
    for name, (patch, batch, stages) in JOBS.items():
        if not name.startswith(given.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            data = prepared(Path(folder), patch, batch, stages)
            of_step = float("nan")
            for key in ("step", *STRENGTHS) if given.steps else STRENGTHS:
                if key == "step":
                    processor, wall = measured(step(data, batch), given.steps * batch)
                    of_step = processor
                else:
                    processor, wall = measured(pipeline(data, key, batch), given.patches)
                text = f"{name:14s} {key:7s} {1e3 * processor:13.2f} {1e3 * wall:9.2f} {1 / wall:10.1f}"
                print(text + f"{processor / of_step:13.1%}" * (of_step == of_step), flush=True)


if __name__ == "__main__":
    main()
