"""Segmentation against nnU-Net and MONAI: the same network, patch, batch and loss, in one run, as ratios.

    python benchmarks/segmentation.py [--peers PYTHON] [--data FOLDER] [--repeats 3] [--xla on]

PYTHON: of an environment with nnunetv2 and monai; without it medcli alone is measured. FOLDER: the data set
msd_hippocampus of data/README.md, for preprocessing. The job is nnU-Net's own plan for that set: patch 40x56x40,
batch 7, four stages of 32 to 256 filters, deep supervision, Dice + cross-entropy, SGD. medcli runs it with the instance
normalisation of nnU-Net and with its own default, in float32 and in the precision that it picks for this machine.
Prediction: a volume of 80x112x80 in windows of that patch, half overlapping, Gaussian weights, not mirrored.

Every measurement is a process of its own, medcli's and the peers' in turn. Times are medians; processor time counts all
cores and is what to compare on a busy machine. Floor: the operations of the convolutions over what one matrix product
of 4096 reaches in the same precision.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PATCH, BATCH, CLASSES, STAGES, WIDTH = (40, 56, 40), 7, 3, 4, 32
VOLUME = (80, 112, 80)
STYLES = {"instance": ("instance", "leaky_relu"), "default": ("batch", "relu")}


def network(style: str, policy: str):
    from medcli.models.unet import build_unet
    from medcli.run import precision

    norm, activation = STYLES[style]
    strides = [[1] * 3] + [[2] * 3] * (STAGES - 1)
    with precision(policy):
        return build_unet(
            (*PATCH, 1), CLASSES, strides=strides, width=WIDTH, norm=norm, activation=activation
        )


def training(style: str, policy: str, xla: str) -> Callable[[], object]:
    import keras
    import tensorflow as tf

    from medcli.devices import setup_devices, use_xla
    from medcli.losses.segmentation import deep_supervision, dice_cross_entropy

    compiled = use_xla(xla, setup_devices())
    model = network(style, policy)
    optimizer = keras.optimizers.SGD(
        1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5, global_clipnorm=12.0
    )
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((BATCH, *PATCH, 1))
    labels = tf.cast(tf.random.uniform((BATCH, *PATCH), 0, CLASSES, tf.int32), tf.uint8)

    @tf.function(autograph=False, jit_compile=compiled)
    def step():
        with tf.GradientTape() as tape:
            loss = deep_supervision(dice_cross_entropy, labels, model(images, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    return lambda: float(step())


def prediction(style: str, policy: str, xla: str) -> Callable[[], object]:
    from functools import partial

    import numpy as np
    import tensorflow as tf

    from medcli.devices import setup_devices
    from medcli.models.fold import fold_norms
    from medcli.sliding import sliding_window
    from medcli.tasks.running import Runner

    setup_devices()
    model = network(style, policy)
    fold_norms(model)
    call = partial(Runner(then=tf.nn.softmax), model)
    image = np.random.default_rng(0).normal(size=(*VOLUME, 1)).astype(np.float32)
    return lambda: sliding_window(call, image, patch=PATCH, num_outputs=CLASSES, batch_size=4).whole()


def windows() -> int:
    from medcli.sliding import window_starts

    return prod(len(window_starts(size, edge, 0.5)) for size, edge in zip(VOLUME, PATCH, strict=True))


def convolution_flops() -> float:
    """Floating-point operations of the convolutions for one patch, forward: two for every multiplication."""
    from keras import layers

    total = 0
    for layer in network("default", "float32").layers:
        if isinstance(layer, layers.Conv3DTranspose):
            total += 2 * layer.kernel.shape.num_elements() * prod(layer.input.shape[1:-1])
        elif isinstance(layer, layers.Conv3D):
            total += 2 * layer.kernel.shape.num_elements() * prod(layer.output.shape[1:-1])
    return float(total)


def peak_flops(policy: str) -> float:
    """Operations per second of one matrix product of 4096."""
    import tensorflow as tf

    dtype = tf.bfloat16 if "bfloat16" in policy else tf.float32
    a = tf.cast(tf.random.normal((4096, 4096)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return 2 * 4096**3 / median(timed(lambda: float(product()), 5)[0])


def timed(call: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    """Wall and processor seconds of every call, after one to warm up."""
    call()
    wall, processor = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return wall, processor


def worker(job: str, repeats: int, xla: str) -> None:
    """Run in a process of its own: measure one job and print JSON."""
    from medcli.quiet import silence

    silence()
    kind, _, rest = job.partition("-")
    style, _, policy = rest.partition("-")
    if kind == "floor":
        print(json.dumps({"flops": convolution_flops(), "peak": peak_flops(style), "windows": windows()}))
        return
    wall, processor = timed(
        {"training": training, "prediction": prediction}[kind](style, policy, xla), repeats
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": wall, "processor": processor, "peak_gib": peak}))


def run(*command: object) -> dict:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def preprocess_seconds(data: Path) -> float:
    """Of `medcli preprocess`, its start, fingerprint and plan included."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [
                sys.executable, "-m", "medcli", "preprocess", HERE.parent / "configs" / "msd_hippocampus.yaml",
                "--out", f"{folder}/prepared", "--set", f"data.root={data}", "--set", "data.split.val=0",
            ],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - began


def compare(title: str, unit: str, amount: float, jobs: dict[str, dict]) -> None:
    """Print a table of what was measured; ratios are over the first row that is not medcli's."""
    print(f"\n{title}")
    head = ("", f"{unit}/s", "wall s", "processor s", "peak GiB", "times as fast", "by processor")
    print("".join(f"{text:>15}" if column else f"{text:40}" for column, text in enumerate(head)))
    peers = [result for name, result in jobs.items() if not name.startswith("medcli")]
    base = peers[0] if peers else next(iter(jobs.values()))
    for name, result in jobs.items():
        wall, used = median(result["seconds"]), median(result["processor"])
        ratios = (median(base["seconds"]) / wall, median(base["processor"]) / used)
        print(
            f"{name:40}{amount / wall:15.2f}{wall:15.2f}{used:15.2f}{result['peak_gib']:15.2f}"
            f"{ratios[0]:15.2f}{ratios[1]:15.2f}"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--peers", type=Path)
    arguments.add_argument("--data", type=Path, default=HERE.parent / "data" / "msd_hippocampus")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--xla", choices=("on", "off"), default="off", help="as train.xla")
    arguments.add_argument("--worker", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.worker:
        worker(given.worker, given.repeats, given.xla)
        return

    from medcli.devices import choose_precision, gpus

    policy = choose_precision()[0]
    policies = dict.fromkeys(("float32", policy))
    peer = HERE / "peers" / "segmentation.py"
    half = ", float16" if gpus() else ", float32"
    floor = run(sys.executable, __file__, "--worker", f"floor-{policy}")
    for kind, unit, amount in (("training", "patches", BATCH), ("prediction", "windows", floor["windows"])):
        jobs = {}
        for name in ("nnunet", "monai") if given.peers else ():
            jobs[{"nnunet": "nnU-Net", "monai": "MONAI"}[name] + half] = run(
                given.peers, peer, f"{kind}-{name}", given.repeats
            )
        for style, (norm, _) in STYLES.items():
            for used in policies:
                jobs[f"medcli, {norm} norm, {used}"] = run(
                    sys.executable, __file__, "--worker", f"{kind}-{style}-{used}",
                    "--repeats", given.repeats, "--xla", given.xla,
                )  # fmt: skip
        compare(f"{kind}: patch 40x56x40", unit, amount, jobs)
        flops = floor["flops"] * amount * (3 if kind == "training" else 1)
        least = flops / floor["peak"]
        best = min(median(result["seconds"]) for name, result in jobs.items() if name.startswith("medcli"))
        print(
            f"floor: {flops / 1e9:.0f} GFLOP of convolutions at {floor['peak'] / 1e9:.0f} GFLOP/s ({policy} matrix "
            f"product) = {least:.2f} s; medcli reaches {least / best:.0%} of it"
        )
    if not (given.data / "imagesTr").is_dir():
        print(f"\npreprocessing: passed over, no {given.data.name} here")
        return
    cases = len(list((given.data / "labelsTr").glob("*.nii.gz")))
    print(f"\npreprocessing of msd_hippocampus, {cases} cases, fingerprint and plan included")
    ours = median(preprocess_seconds(given.data) for _ in range(given.repeats))
    print(f"medcli preprocess                    {ours:8.1f} s {cases / ours:8.2f} cases/s")
    if given.peers:
        theirs = run(given.peers, peer, "preprocess", given.data)["seconds"][0]
        print(f"nnUNetv2_plan_and_preprocess         {theirs:8.1f} s {cases / theirs:8.2f} cases/s")
        print(f"medcli is {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()
