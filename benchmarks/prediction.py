"""How fast prediction is, and how much of it is not the network: sliding windows, folded norms, small images.

    python benchmarks/prediction.py

Networks have random weights; only the speed counts. Every number is the best of three.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image as Pillow

from medcli.quiet import import_tensorflow, silence

silence()
import_tensorflow()

from medcli.config.loading import save_config  # noqa: E402
from medcli.config.schema import Config  # noqa: E402
from medcli.devices import choose_precision  # noqa: E402
from medcli.models.choose import build_model  # noqa: E402
from medcli.models.fold import fold_norms  # noqa: E402
from medcli.models.resnet import build_resnet18  # noqa: E402
from medcli.models.unet import build_unet  # noqa: E402
from medcli.prediction.inputs import cases_for  # noqa: E402
from medcli.prediction.predict import predict  # noqa: E402
from medcli.prediction.predictor import Predictor  # noqa: E402
from medcli.preprocessing.plan import Intensity, Plan, save_plan  # noqa: E402
from medcli.preprocessing.prepared import write_manifest  # noqa: E402
from medcli.run import Run, precision, save_model  # noqa: E402
from medcli.sliding import sliding_window  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.tasks.running import Runner  # noqa: E402

WINDOWED = {
    # name: patch, strides, channels, classes, shape of the image
    "fundus picture 999 x 960": ([256, 256], [[1, 1], *[[2, 2]] * 4], 3, 1, (960, 999)),
    "small volume 36 x 50 x 35": ([40, 56, 40], [[1, 1, 1], [2, 2, 2], [2, 2, 2]], 1, 2, (36, 50, 35)),
    "volume 64 x 128 x 128": ([32, 64, 64], [[1, 1, 1], [2, 2, 2], [2, 2, 2]], 1, 2, (64, 128, 128)),
}


def best_of_three(work: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(3):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def windows() -> None:
    policy, reason = choose_precision()
    print(f"U-Nets in {policy} ({reason})")
    print(f"{'':28}{'windows':>8}{'network s':>11}{'total s':>9}{'own share':>11}")
    for name, (patch, strides, channels, classes, shape) in WINDOWED.items():
        plan = Plan(
            task="segmentation", dimensions=len(patch), classes=[str(n) for n in range(classes)],
            channels=channels, color="as_is", intensity=[Intensity(kind="none")] * channels, patch=patch,
            batch_size=2, stages=len(strides), strides=strides,
        )  # fmt: skip
        with precision(policy):
            model = build_model(Config(task="segmentation"), plan)
        runner = Runner()
        image = np.random.default_rng(0).normal(size=(*shape, channels)).astype(np.float32)
        seen: list[np.ndarray] = []

        def whole(network, image=image, patch=patch, classes=classes):
            return sliding_window(network, image, patch=patch, num_outputs=classes + 1, batch_size=4).whole()

        def watched(batch, model=model, runner=runner, seen=seen):
            seen.append(batch.copy())
            return runner(model, batch)

        whole(watched)  # traces the graph, and notes the batches
        batches = list(seen)
        network = best_of_three(lambda: [runner(model, batch) for batch in batches])  # noqa: B023
        total = best_of_three(lambda: whole(lambda batch: runner(model, batch)))  # noqa: B023
        answer = np.ones((4, *patch, classes + 1), np.float32)
        own = best_of_three(lambda: whole(lambda batch: answer[: len(batch)]))  # noqa: B023
        count = sum(len(batch) for batch in batches)
        print(f"{name:28}{count:8}{network:11.2f}{total:9.2f}{own / total:10.1%}", flush=True)


def folding() -> None:
    """The same network before and after its batch normalisation was folded into the convolutions."""
    networks = {
        "2D U-Net, 4 x 256 x 256": (
            lambda: build_unet((256, 256, 1), 2, strides=[[1, 1], *[[2, 2]] * 4], width=32),
            (4, 256, 256, 1),
        ),
        "3D U-Net, 2 x 40 x 56 x 40": (
            lambda: build_unet((40, 56, 40, 1), 3, strides=[[1] * 3, *[[2] * 3] * 3], width=16),
            (2, 40, 56, 40, 1),
        ),
        "ResNet-18, 8 x 224 x 224": (lambda: build_resnet18((224, 224, 1), 2, width=32), (8, 224, 224, 1)),
    }
    policy, _ = choose_precision()
    print(f"\n{'batch normalisation folded':28}{'before s':>11}{'after s':>11}{'times as fast':>15}")
    for name, (build, shape) in networks.items():
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        with precision(policy):
            model = build()
        times = []
        for fold in (False, True):
            if fold:
                fold_norms(model)
            runner = Runner()
            runner(model, images)  # traces the graph
            times.append(best_of_three(lambda: runner(model, images)))  # noqa: B023
        print(f"{name:28}{times[0]:11.3f}{times[1]:11.3f}{times[0] / times[1]:15.2f}", flush=True)


def small_images() -> None:
    print(f"\n{'':28}{'images':>8}{'read s':>11}{'total s':>9}{'images/s':>11}")
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = random.integers(0, 255, (2000, 28, 28), dtype=np.uint8)
        np.savez_compressed(folder / "set.npz", test_images=images)
        _report("28 x 28 in an .npz, cnn", _run(folder / "a", [28, 28], "cnn"), folder / "set.npz")
        (folder / "png").mkdir()
        for number in range(64):
            picture = random.integers(0, 255, (600, 800), dtype=np.uint8)
            Pillow.fromarray(picture).save(folder / "png" / f"{number}.png")
        _report("600 x 800 PNG, resnet18", _run(folder / "b", [224, 224], "resnet18"), folder / "png")


def _run(folder: Path, size: list[int], model: str) -> Run:
    """An untrained run."""
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=size,
        intensity=[Intensity(kind="fixed", mean=127, std=60)], batch_size=8, stages=4,
    )  # fmt: skip
    config = Config.model_validate({"task": "classification", "model": {"name": model}})
    folder.mkdir()
    save_plan(plan, folder / "plan.yaml")
    save_config(config, folder / "config.yaml")
    write_manifest(folder, [])
    save_model(task_for(config, plan).build_model(), folder)
    return Run.open(folder)


def _report(name: str, run: Run, inputs: Path) -> None:
    predictor = Predictor.load(run)
    cases = cases_for(run, [inputs])
    list(predictor.predict_cases(cases[:64]))  # traces the graph
    reading = best_of_three(lambda: [predictor._read(case) for case in cases])
    total = best_of_three(lambda: list(predictor.predict_cases(cases)))
    print(f"{name:28}{len(cases):8}{reading:11.2f}{total:9.2f}{len(cases) / total:11.0f}", flush=True)
    with tempfile.TemporaryDirectory() as out:
        start = perf_counter()
        predict(run, [inputs], Path(out))
        print(f"{'  with loading and files':28}{'':19}{perf_counter() - start:9.2f}", flush=True)


if __name__ == "__main__":
    windows()
    folding()
    small_images()
