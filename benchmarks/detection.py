"""Detection against Ultralytics' YOLOv8n: the same photographs (bccd), input 320, from scratch, in one run, as ratios.

    python benchmarks/detection.py [--peers PYTHON] [--data FOLDER] [--steps 4] [--minutes M | --epochs N]

PYTHON: of an environment with ultralytics, which is only run, as a program; without it medcli alone is measured.
FOLDER: the data set bccd of data/README.md. Both networks see 320 x 320 pixels in training, batch 16, with their own
loading, augmentation (mosaics), assignment, loss, optimiser and moving average; in prediction 256 x 320, from arrays in
memory to boxes in pixels of the photograph: fitting, network, decoding, suppression. The networks are untrained there,
and boxes count from 0.25 on, so suppression has nothing to do; what it costs is measured by itself (parts), with a
thousand candidates. Parts: processor time of the pieces of medcli's step.

With --minutes or --epochs both also train for so long (only one of them at a time), and the average precision of both
on the 87 validation photographs is computed by medcli, whose numbers are those of pycocotools.

Every measurement is a process of its own. Times are medians; processor time counts all cores and is what to compare on
a busy machine.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
BATCH = 16
TRAINING_SIZE, PREDICTION_SIZE = (320, 320), (256, 320)


def settings(data: Path, size: tuple[int, int], *more: str):
    from medcli.config.loading import load_config

    return load_config(
        HERE.parent / "configs" / "bccd.yaml",
        [f"data.root={data}", f"preprocess.size={list(size)}", f"train.batch_size={BATCH}", *more],
    )


def photographs(data: Path, part: str):
    """Cases with their boxes and pixels."""
    from medcli.io.cases import discover
    from medcli.io.readers import read_channels

    return [
        (case, read_channels(case.images))
        for case in discover(settings(data, TRAINING_SIZE)).cases
        if case.split == part
    ]


def the_plan(size: tuple[int, int]):
    from medcli.preprocessing.plan import Intensity, Plan

    channel = Intensity(kind="fixed", mean=180.0, std=45.0)
    return Plan(
        task="detection", dimensions=2, classes=["RBC", "WBC", "Platelets"], channels=3, color="rgb",
        size=list(size), intensity=[channel] * 3, batch_size=BATCH, stages=3,
    )  # fmt: skip


class Training:
    """One step of `medcli.training.loop`: loading, augmentation, network, loss, optimiser, moving average."""

    def __init__(self, data: Path):
        import keras
        import numpy as np

        from medcli.datasets.detection import STRENGTHS, DetectionSamples
        from medcli.datasets.feed import feed
        from medcli.datasets.store import ArrayStore
        from medcli.preprocessing.prepare import prepare
        from medcli.tasks.detection import Detection
        from medcli.training.optimizer import build_optimizer

        plan, arrays, labels = the_plan(TRAINING_SIZE), [], []
        for case, image in photographs(data, "train"):
            array, placement = prepare(image, plan)
            boxes = placement.boxes(case.boxes)
            arrays.append(array)
            labels.append(np.concatenate([boxes.corners, boxes.classes[:, None]], 1).astype(np.float32))
        config = settings(data, TRAINING_SIZE)
        self.task = Detection(config, plan)
        store = ArrayStore(arrays, dtype="float16", in_memory=True)
        samples = DetectionSamples(
            store, labels, seed=0, strength=STRENGTHS["medium"], flips=("row", "column")
        )
        self.model = self.task.build_model()
        self.optimizer = build_optimizer(config.train, "detection", keras.config.dtype_policy().name)
        self.optimizer.build(self.model.trainable_variables)
        self.averages = [np.asarray(variable) for variable in self.model.weights]
        self.batches = iter(feed(samples, batch_size=BATCH, first_batch=0, last_batch=10_000))

    def step(self) -> Callable[[], object]:
        import tensorflow as tf

        averages = [tf.Variable(value, trainable=False) for value in self.averages]

        @tf.function(autograph=False, reduce_retracing=True)
        def learn(images, targets):
            with tf.GradientTape() as tape:
                loss = self.task.loss(targets, self.model(images, training=True))
            self.optimizer.apply(
                tape.gradient(loss, self.model.trainable_weights), self.model.trainable_weights
            )
            for average, variable in zip(averages, self.model.weights, strict=True):
                average.assign_sub(0.01 * (average - variable.value))
            return loss

        return lambda: float(learn(*next(self.batches)))

    def parts(self) -> dict[str, Callable[[], object]]:
        """The pieces by themselves, on one batch."""
        import numpy as np
        import tensorflow as tf

        from medcli.losses.detection import assign
        from medcli.metrics.nms import candidates, suppress
        from medcli.models.anchors import decode

        images, targets = next(self.batches)
        outputs = tf.constant(self.model(images, training=False))
        points, steps = self.task.points, self.task.steps

        @tf.function(autograph=False)
        def assigned():
            corners, scores = decode(outputs, points, steps)
            return assign(targets, corners, scores, points, steps)[1]

        @tf.function(autograph=False)
        def lost():
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                loss = self.task.loss(targets, outputs)
            return tape.gradient(loss, outputs)

        @tf.function(autograph=False)
        def forward():
            return self.model(images, training=False)

        @tf.function(autograph=False)
        def both_ways():
            with tf.GradientTape() as tape:
                total = tf.reduce_mean(self.model(images, training=True))
            return tf.add_n([tf.norm(one) for one in tape.gradient(total, self.model.trainable_weights)])

        random = np.random.default_rng(0)
        corners = np.repeat(random.uniform(0, 280, (1000, 2)), 2, axis=0).reshape(-1, 4).astype(np.float32)
        corners[:, 2:] += random.uniform(8, 60, (1000, 2))
        scores = random.uniform(0, 1, (1000, 3)).astype(np.float32)
        return {
            "loading and augmentation, 8 batches": lambda: [next(self.batches) for _ in range(8)],
            "network, forward": lambda: forward().numpy(),
            "network, forward and backward": lambda: both_ways().numpy(),
            "assignment": lambda: assigned().numpy(),
            "assignment, loss and its gradient": lambda: lost().numpy(),
            "suppression of 1000 candidates": lambda: suppress(
                candidates(corners, scores, score_threshold=0.01), iou=0.6, max_detections=300
            ),
        }


def prediction(data: Path, batch: int) -> tuple[Callable[[], object], int]:
    """The call, and the parameters of the network."""
    from medcli.boxes import Boxes
    from medcli.models.fold import fold_norms
    from medcli.preprocessing.prepare import prepare
    from medcli.tasks.detection import Detection

    plan = the_plan(PREDICTION_SIZE)
    config = settings(
        data,
        PREDICTION_SIZE,
        f"predict.batch_size={batch}",
        "predict.flips=false",
        "predict.score_threshold=0.25",
    )
    task = Detection(config, plan)
    model = task.build_model()
    parameters = model.count_params()
    fold_norms(model)
    images = [image for _, image in photographs(data, "val")[:batch]]

    def call() -> list[Boxes]:
        prepared = [prepare(image, plan) for image in images]
        found = task.predict(model, [array for array, _ in prepared])
        return [place.restore_boxes(boxes) for (_, place), boxes in zip(prepared, found, strict=True)]

    return call, parameters


def timed(call: Callable[[], object], repeats: int) -> dict[str, list[float]]:
    """Wall and processor seconds of every call, after two to warm up."""
    call()
    call()
    wall, used = [], []
    for _ in range(repeats):
        began, began_used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - began)
        used.append(time.process_time() - began_used)
    return {"seconds": wall, "processor": used}


def worker(job: str, data: Path, repeats: int) -> None:
    """Run in a process of its own: measure one job and print JSON."""
    from medcli.quiet import silence

    silence()
    if job == "parts":
        training = Training(data)
        print(json.dumps({name: timed(call, repeats) for name, call in training.parts().items()}))
        return
    if job == "training":
        training = Training(data)
        result: dict = timed(training.step(), repeats) | {"parameters": training.model.count_params()}
    else:
        call, parameters = prediction(data, int(job.split("-")[1]))
        result = timed(call, repeats) | {"parameters": parameters}
    print(json.dumps(result | {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))


def run(*command: object) -> dict:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_for_peer(data: Path, folder: Path) -> None:
    """The same photographs and boxes in YOLO's layout: images, labels and data.yaml."""
    for part in ("train", "val"):
        (folder / "images" / part).mkdir(parents=True)
        (folder / "labels" / part).mkdir(parents=True)
        for case, image in photographs(data, part):
            file = case.images[0].path
            shutil.copy(file, folder / "images" / part / file.name)
            rows, columns = image.shape
            lines = []
            for (x0, y0, x1, y1), kind in zip(case.boxes.corners, case.boxes.classes, strict=True):
                centre = ((x0 + x1) / 2 / columns, (y0 + y1) / 2 / rows)
                size = ((x1 - x0) / columns, (y1 - y0) / rows)
                lines.append(f"{kind} " + " ".join(f"{value:.6f}" for value in (*centre, *size)))
            (folder / "labels" / part / f"{file.stem}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [RBC, WBC, Platelets]\n"
    )


def compare(title: str, images: int, jobs: dict[str, dict]) -> None:
    """Print a table of what was measured; ratios are over the first row."""
    print(f"\n{title}")
    head = (
        "",
        "images/s",
        "wall s",
        "processor s",
        "peak GiB",
        "parameters",
        "times as fast",
        "by processor",
    )
    print("".join(f"{text:>15}" if column else f"{text:22}" for column, text in enumerate(head)))
    base = next(iter(jobs.values()))
    for name, result in jobs.items():
        wall, used = median(result["seconds"]), median(result["processor"])
        ratios = (median(base["seconds"]) / wall, median(base["processor"]) / used)
        print(
            f"{name:22}{images / wall:15.1f}{wall:15.3f}{used:15.3f}{result['peak_gib']:15.2f}"
            f"{result.get('parameters', ''):>15}{ratios[0]:15.2f}{ratios[1]:15.2f}"
        )


def accuracy(data: Path, found: dict) -> tuple[float, float]:
    """AP at IoU 0.5 and from 0.5 to 0.95, mean over the classes, in percent."""
    import numpy as np

    from medcli.boxes import Boxes
    from medcli.metrics.detection import average_precision, match_images

    cases = [case for case, _ in photographs(data, "val")]
    boxes = [Boxes.of(*(found[case.name][key] for key in ("corners", "classes", "scores"))) for case in cases]
    values = np.stack(
        [
            average_precision(match_images(boxes, [case.boxes for case in cases], kind)).ravel()
            for kind in range(3)
        ]
    )
    return float(100 * values[:, 0].mean()), float(100 * values.mean())


def learned(data: Path, folder: Path, length: list[str]) -> tuple[dict, float]:
    """medcli trained for so long by its commands, and the boxes that it finds; seconds of the training."""
    config, prepared, out = HERE.parent / "configs" / "bccd.yaml", folder / "prepared", folder / "run"
    common = [f"data.root={data}", f"preprocess.size={list(PREDICTION_SIZE)}"]

    def medcli(*command: object) -> None:
        subprocess.run(
            [sys.executable, "-m", "medcli", *map(str, command)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def given(values: list[str]) -> list[str]:
        return [part for value in values for part in ("--set", value)]

    medcli("preprocess", config, "--out", prepared, *given(common))
    began = time.perf_counter()
    medcli("train", config, "--prepared", prepared, "--run", out, *given(common + length))
    seconds = time.perf_counter() - began
    files = [case.images[0].path for case, _ in photographs(data, "val")]
    medcli(
        "predict", out, *files, "--out", folder / "predictions",
        *given(["predict.score_threshold=0.001", "predict.flips=false"]),
    )  # fmt: skip
    found: dict = {file.stem: {"corners": [], "classes": [], "scores": []} for file in files}
    for row in json.loads((folder / "predictions" / "predictions.json").read_text()):
        one = found[Path(str(row["image"])).stem]
        x, y, width, height = row["bbox"]
        one["corners"].append([x, y, x + width, y + height])
        one["classes"].append(["RBC", "WBC", "Platelets"].index(row["category"]))
        one["scores"].append(row["score"])
    return found, seconds


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--peers", type=Path)
    arguments.add_argument("--data", type=Path, default=HERE.parent / "data" / "bccd")
    arguments.add_argument("--steps", type=int, default=4)
    arguments.add_argument("--minutes", type=float, default=0)
    arguments.add_argument("--epochs", type=int, default=0)
    arguments.add_argument("--worker", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    data = given.data.resolve()
    if given.worker:
        worker(given.worker, data, given.steps)
        return
    if not (data / "Annotations").is_dir():
        sys.exit(f"{given.data}: no such data set; see data/README.md, or name its folder with --data.")
    peer = HERE / "peers" / "detection.py"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.peers:
            write_for_peer(data, folder / "peer")
        for job, images in (("training", BATCH), ("prediction-1", 1), ("prediction-16", 16)):
            repeats = given.steps * (5 if images == 1 else 1)
            jobs = {}
            if given.peers:
                jobs["YOLOv8n"] = run(given.peers, peer, job, folder / "peer", repeats)
            jobs["medcli nano"] = run(
                sys.executable, __file__, "--worker", job, "--data", data, "--steps", repeats
            )
            compare(f"{job}, {images} image{'s' * (images > 1)}", images, jobs)
        print("\nparts of medcli's training step, processor s")
        parts = run(sys.executable, __file__, "--worker", "parts", "--data", data, "--steps", given.steps)
        for part, result in parts.items():
            print(f"{part:40}{median(result['processor']):10.3f}")
        if not (given.minutes or given.epochs):
            return
        length = [f"train.max_minutes={given.minutes:g}"] if given.minutes else ["train.max_minutes=600"]
        length += [f"train.epochs={given.epochs or 1000}"]
        print(
            f"\nvalidation part after {given.minutes or given.epochs:g} {'minutes' if given.minutes else 'epochs'}"
        )
        print(f"{'':22}{'AP .50':>15}{'AP .50:.95':>15}{'trained s':>15}")
        if given.peers:
            theirs = run(
                given.peers, peer, "learned", folder / "peer", 1, given.minutes, given.epochs or 1000
            )
            half, whole = accuracy(data, theirs["found"])
            print(f"{'YOLOv8n':22}{half:15.1f}{whole:15.1f}{theirs['seconds'][0]:15.0f}")
        found, seconds = learned(data, folder, length)
        half, whole = accuracy(data, found)
        print(f"{'medcli nano':22}{half:15.1f}{whole:15.1f}{seconds:15.0f}")


if __name__ == "__main__":
    main()
