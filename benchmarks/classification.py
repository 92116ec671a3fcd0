"""Training steps of ResNet-18 against PyTorch's, and the input pipeline with augmentation, in one run, as ratios.

    python benchmarks/classification.py [--peers PYTHON] [--repeats 3] [--only 28] [--xla on]

PYTHON: of an environment with torch and torchvision; without it medcli alone is measured. A step is forward,
cross-entropy, gradients and AdamW with weight decay. Jobs: 28 x 28 pixels, batch 128, where both networks keep the
resolution in the stem (3 x 3 convolution, no pooling, as MedMNIST's baseline does); 224 x 224 pixels, batch 16, where
both quarter it. Both have the widths 64 to 512 of ResNet-18; medcli also with the 32 to 256 that `model.width: auto`
takes. float32, and the precision that `choose_precision` picks; the peer in float32 and, where that is bfloat16, under
bfloat16 autocast (elsewhere a step of it takes minutes; --bfloat16 measures it all the same). On a
GPU, which both use, a step takes milliseconds: --repeats 50.

The pipeline: what `medcli train` feeds, RGB, `augment: medium` and `strong`, pictures in memory.

Every measurement is a process of its own, medcli's and the peer's in turn. Times are medians; processor time counts all
cores and is what to compare on a busy machine.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from segmentation import compare, run, timed  # the benchmark beside this one

HERE = Path(__file__).resolve().parent
CLASSES, CHANNELS = 2, 3
BATCH = {28: 128, 224: 16}
BARS = {28: 5000, 224: 300}
"""Images per second that the pipeline must give."""
PICTURES = 64


def training(size: int, width: int, policy: str, xla: str) -> Callable[[], object]:
    import keras
    import tensorflow as tf

    from medcli.devices import setup_devices, use_xla
    from medcli.losses.classification import cross_entropy
    from medcli.models.resnet import build_resnet18
    from medcli.run import precision

    compiled = use_xla(xla, setup_devices())
    with precision(policy):
        model = build_resnet18((size, size, CHANNELS), CLASSES, width=width)
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=1e-4)
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((BATCH[size], size, size, CHANNELS))
    targets = tf.one_hot(tf.range(BATCH[size]) % CLASSES, CLASSES)

    @tf.function(autograph=False, jit_compile=compiled)
    def step():
        with tf.GradientTape() as tape:
            loss = cross_entropy(targets, model(images, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    return lambda: float(step())


def pipeline(size: int, augment: str) -> Callable[[], object]:
    """Takes so many batches that a call lasts."""
    from medcli.config.loading import save_config
    from medcli.config.schema import Config
    from medcli.datasets.feed import feed
    from medcli.files import write_json
    from medcli.preprocessing.plan import Intensity, Plan, save_plan
    from medcli.preprocessing.prepared import Prepared, write_manifest
    from medcli.tasks.choose import task_for

    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=CHANNELS, color="rgb", size=[size, size],
        intensity=[Intensity(kind="none")] * CHANNELS, batch_size=BATCH[size], stages=4,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = made_up(folder, size)
        save_plan(plan, folder / "plan.yaml")
        save_config(Config(task="classification"), folder / "config.yaml")
        write_json(folder / "fingerprint.json", {})
        write_manifest(folder, records)
        config = Config(task="classification", train={"augment": augment})
        data = task_for(config, plan).training_set(Prepared.open(folder), records)
    stream = iter(feed(data, batch_size=BATCH[size], first_batch=0, last_batch=10**6))
    return lambda: [next(stream) for _ in range(batches(size))]


def batches(size: int) -> int:
    """Of one call of the pipeline."""
    return 40 if size == 28 else 10


def made_up(folder: Path, size: int) -> list:
    import numpy as np

    from medcli.files import write_array
    from medcli.preprocessing.prepared import Record, image_path

    random, records = np.random.default_rng(0), []
    for number in range(PICTURES):
        key = f"case{number}"
        write_array(image_path(folder, key), random.normal(size=(size, size, CHANNELS)).astype(np.float32))
        records.append(
            Record(
                case=key, patient=key, split="train", fold=None, classes=("ab"[number % 2],), key=key,
                shape=(size, size), original_shape=(size, size), spacing=None, objects=0, sources=(f"{key}.png",),
                labels=(), sha256="0" * 64, groups={},
            )
        )  # fmt: skip
    return records


def worker(job: str, repeats: int, xla: str) -> None:
    """Run in a process of its own: measure one job and print JSON."""
    from medcli.quiet import silence

    silence()
    kind, size, *rest = job.split("-", 3)
    if kind == "training":
        call = training(int(size), int(rest[0]), rest[1], xla)
    else:
        call = pipeline(int(size), rest[0])
    wall, processor = timed(call, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": wall, "processor": processor, "peak_gib": peak}))


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--peers", type=Path)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--bfloat16", action="store_true", help="measure the peer in bfloat16 in any case")
    arguments.add_argument("--only", type=int, choices=sorted(BATCH), help="side of the pictures in pixels")
    arguments.add_argument("--xla", choices=("on", "off"), default="off", help="as train.xla")
    arguments.add_argument("--worker", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.worker:
        worker(given.worker, given.repeats, given.xla)
        return

    from medcli.devices import choose_precision

    policies = dict.fromkeys(("float32", choose_precision()[0]))
    theirs = ["float32"] + ["bfloat16"] * (given.bfloat16 or "mixed_bfloat16" in policies)

    def ours(job: str) -> dict:
        return run(sys.executable, __file__, "--worker", job, "--repeats", given.repeats, "--xla", given.xla)

    for size in (given.only,) if given.only else BATCH:
        jobs = {}
        for name in theirs if given.peers else ():
            peer = HERE / "peers" / "classification.py"
            jobs[f"PyTorch, ResNet-18, {name}"] = run(given.peers, peer, f"{size}-{name}", given.repeats)
        for width in (64, 32):
            for policy in policies:
                jobs[f"medcli, {width} filters, {policy}"] = ours(f"training-{size}-{width}-{policy}")
        compare(f"training step: {size}x{size}, batch {BATCH[size]}", "images", BATCH[size], jobs)
        amount = BATCH[size] * batches(size)
        fed = {f"medcli, augment {name}": ours(f"pipeline-{size}-{name}") for name in ("medium", "strong")}
        compare(f"input pipeline: {size}x{size}, bar {BARS[size]} images/s", "images", amount, fed)


if __name__ == "__main__":
    main()
