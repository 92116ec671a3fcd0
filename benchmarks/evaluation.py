"""What `medcli evaluate` costs beside the prediction itself, for a classifier of small pictures.

    python benchmarks/evaluation.py [RUN IMAGES.npz] [--cases 10000] [--set KEY=VALUE ...] [--profile]

RUN is a run on a MedMNIST-like file, such as configs/pneumoniamnist.yaml makes; it is copied and stays as it is.
IMAGES.npz is that file: its images are repeated until there are enough, two of every patient, with made-up sex, age
and site, so that everything is measured. Without them an untrained network sees noise. The bar: an evaluation takes
at most 1.5 times the prediction plus 60 s on 10,000 images, and less than 4 GiB. Prints what each stage took, on the
clock and of the processor, which says more on a busy machine.
"""

import argparse
import csv
import resource
import shutil
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from medcli.quiet import import_tensorflow, silence

silence()
import_tensorflow()

from medcli.config.loading import load_config, save_config  # noqa: E402
from medcli.config.schema import Config  # noqa: E402
from medcli.evaluation.evaluate import evaluate  # noqa: E402
from medcli.io.cases import discover  # noqa: E402
from medcli.prediction.predictor import Predictor  # noqa: E402
from medcli.preprocessing.plan import Intensity, Plan, save_plan  # noqa: E402
from medcli.preprocessing.prepared import write_manifest  # noqa: E402
from medcli.run import Run, save_model  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402

FACTOR, SECONDS, GIB = 1.5, 60.0, 4.0
"""The bar."""


def repeated(images: Path, folder: Path, like: Config, cases: int, settings: list[str]) -> Config:
    """A config of so many cases, their images those of the file again and again."""
    with np.load(images) as file:
        names = [name for name in file.files if name.endswith("images")]
        pictures = np.concatenate([file[name] for name in names])
        labels = np.concatenate([file[name.replace("images", "labels")].ravel() for name in names])
    index = np.arange(cases) % len(pictures)
    np.savez(folder / "many.npz", images=pictures[index], labels=labels[index])
    random = np.random.default_rng(0)
    with open(folder / "table.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "patient", "sex", "age", "site"])
        for number in range(cases):
            person = np.random.default_rng(number // 2)
            sex, age, site = "FM"[person.integers(2)], person.integers(1, 90), "ABCDE"[random.integers(5)]
            writer.writerow([f"{number:05d}", f"p{number // 2}", sex, age, site])
    content = {
        "root": str(folder), "format": "npz", "images": "many.npz", "table": "table.csv",
        "classes": like.data.classes,
        "columns": {"case": "case", "patient": "patient", "groups": ["sex", "age", "site"]},
    }  # fmt: skip
    path = folder / "many.yaml"
    save_config(like.model_copy(update={"data": type(like.data).model_validate(content, strict=False)}), path)
    return load_config(path, settings)


def untrained(folder: Path, images: Path) -> Run:
    """A run on 28 x 28 pixels whose network has learned nothing, and images for it."""
    random = np.random.default_rng(0)
    pictures, labels = random.integers(0, 255, (2000, 28, 28), dtype=np.uint8), random.integers(0, 2, 2000)
    np.savez(images, train_images=pictures, train_labels=labels)
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=[28, 28],
        intensity=[Intensity(kind="fixed", mean=127, std=60)], batch_size=64, stages=3,
    )  # fmt: skip
    content = {"task": "classification", "data": {"classes": ["a", "b"]}, "model": {"name": "resnet18"}}
    config = Config.model_validate(content)
    folder.mkdir()
    save_plan(plan, folder / "plan.yaml")
    save_config(config, folder / "config.yaml")
    write_manifest(folder, [])
    save_model(task_for(config, plan).build_model(), folder)
    return Run.open(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--profile", action="store_true", help="also the 40 functions that took longest")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.run is None:
            asked.images = folder / "noise.npz"
            run = untrained(folder / "run", asked.images)
        else:
            ignored = shutil.ignore_patterns("evaluate", "checkpoints")
            shutil.copytree(asked.run, folder / "run", ignore=ignored)
            run = Run.open(folder / "run")
        data = repeated(asked.images, folder, run.config, asked.cases, asked.settings)
        predictor, cases = Predictor.load(run), discover(data, for_training=False).cases
        list(predictor.predict_cases(cases[:256]))  # traces the graph
        start, work_start = perf_counter(), process_time()
        list(predictor.predict_cases(cases))
        prediction, work_of_prediction = perf_counter() - start, process_time() - work_start
        told = f"{prediction:.1f} s (processor {work_of_prediction:.1f} s)"
        print(f"prediction of {len(cases)} images: {told}, {_peak():.2f} GiB", flush=True)
        stages: dict[str, tuple[float, float]] = {}
        last = ("before", perf_counter(), process_time())

        def watch(stage: str, done: int, total: int) -> None:
            nonlocal last
            name, wall, work = last
            now = perf_counter(), process_time()
            before = stages.get(name, (0.0, 0.0))
            stages[name] = before[0] + now[0] - wall, before[1] + now[1] - work
            last = (f"after {stage}" if done == total else stage, *now)

        def work() -> None:
            evaluate(run, data=data, name="many", predictor=predictor, progress=watch)

        start, work_start = perf_counter(), process_time()
        if asked.profile:
            import cProfile
            import pstats

            profile = cProfile.Profile()
            profile.runcall(work)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(90)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        else:
            work()
        evaluation, work_of_evaluation = perf_counter() - start, process_time() - work_start
        watch("end", 1, 1)
        for stage, (wall, processor) in stages.items():
            print(f"  {stage:28}{wall:8.1f} s{processor:8.1f} s of the processor")
        peak = _peak()
        for name, spent, base in (
            ("on the clock", evaluation, prediction),
            ("of the processor", work_of_evaluation, work_of_prediction),
        ):
            most = FACTOR * base + SECONDS
            print(
                f"evaluation: {spent:.1f} s {name}, {spent / base:.2f} times the prediction; "
                f"allowed {most:.1f} s: {'met' if spent <= most else 'MISSED'}"
            )
        print(f"peak memory: {peak:.2f} GiB, allowed {GIB:g}: {'met' if peak < GIB else 'MISSED'}")


def _peak() -> float:
    """GiB, of this process since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
