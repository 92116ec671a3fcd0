"""Memory and time of `medcli predict` on a CT-like volume of 512 x 512 x N, by the command that users call.

    python benchmarks/large_volume.py [--planes 400] [--width 4] [--overlap 0.5] [--skip-empty auto] [--cascade]

A made-up body (soft tissue with lungs, air around it, noise) at 0.8 x 0.8 x 1.0 mm is written as NIfTI. A run folder is
made with a plan as for such data (resampled to a target spacing, CT window, 3 classes) and a U-Net with random weights,
narrower than usual so that it ends in minutes on two cores: time depends on the width, memory beyond the network's own
activations does not. With --cascade two coarse networks answer first, on a grid 3.5 times as coarse, of which a patch
sees half. The command runs in a process of its own; its peak resident memory is what the system counted.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from subprocess import Popen
from time import perf_counter

import nibabel as nib
import numpy as np

SPACING = (1.0, 0.8, 0.8)
TARGET = [1.2, 0.9, 0.9]
PATCH, STRIDES = [64, 96, 96], [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
CLASSES = ["liver", "spleen", "kidney"]


def make_volume(path: Path, planes: int) -> None:
    """int16 Hounsfield units, (x, y, z) on disk; the body fills 70 x 45 % of the middle of each plane."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((512, 512)) / 512 - 0.5
    inside = (rows / 0.225) ** 2 + (columns / 0.35) ** 2 <= 1
    lungs = ((rows / 0.13) ** 2 + ((np.abs(columns) - 0.15) / 0.1) ** 2) <= 1
    values = np.empty((planes, 512, 512), np.int16)
    for plane in range(planes):
        picture = np.where(inside, 40.0, -1000.0)
        if plane < planes // 2:
            picture[lungs] = -850
        values[plane] = picture + random.normal(0, 20, picture.shape)
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), path)


def make_run(folder: Path, width: int, cascade: bool) -> None:
    """Untrained; called in a process of its own, so that TensorFlow is not in this one."""
    from medcli.quiet import import_tensorflow, silence

    silence()
    import_tensorflow()
    from medcli.ensemble.assemble import assemble
    from medcli.ensemble.cascade import HALVES
    from medcli.preprocessing.plan import Coarse, Intensity, Plan
    from medcli.run import COARSE

    plan = Plan(
        task="segmentation", dimensions=3, classes=CLASSES, channels=1, color="as_is", reorient=True,
        spacing=TARGET, intensity=[Intensity(kind="fixed", low=-60, high=200, mean=60, std=50)], patch=PATCH,
        batch_size=2, stages=len(STRIDES), strides=STRIDES,
    )  # fmt: skip
    if cascade:
        same = {"patch": PATCH, "batch_size": 2, "stages": len(STRIDES), "strides": STRIDES}
        plan = plan.model_copy(update={"cascade": Coarse(factors=[3.5] * 3, **same)})
        for name in HALVES:
            save_run(plan.of_coarse(), folder / COARSE / name, width)
        assemble(folder / COARSE, HALVES, folds=False)
    save_run(plan, folder, width)


def save_run(plan, folder: Path, width: int) -> None:
    from medcli.config.loading import save_config
    from medcli.config.schema import Config
    from medcli.files import write_json
    from medcli.preprocessing.plan import save_plan
    from medcli.preprocessing.prepared import write_manifest
    from medcli.run import save_model
    from medcli.tasks.choose import task_for

    config = Config.model_validate({"task": "segmentation", "name": "large", "model": {"width": width}})
    folder.mkdir(parents=True, exist_ok=True)
    save_plan(plan, folder / "plan.yaml")
    save_config(config, folder / "config.yaml")
    write_manifest(folder, [])
    write_json(folder / "environment.json", {})
    save_model(task_for(config, plan).build_model(), folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--planes", type=int, default=400)
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--skip-empty", default="auto", choices=["auto", "on", "off"])
    parser.add_argument("--cascade", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_volume(folder / "body.nii.gz", asked.planes)
        child = os.fork()
        if child == 0:
            make_run(folder / "run", asked.width, asked.cascade)
            os._exit(0)
        os.waitpid(child, 0)
        command = [
            sys.executable, "-m", "medcli", "predict", str(folder / "run"), str(folder / "body.nii.gz"),
            "--out", str(folder / "out"), "--set", f"predict.skip_empty={asked.skip_empty}",
            "--set", f"predict.overlap={asked.overlap}",
        ]  # fmt: skip
        start = perf_counter()
        process = Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - start
        labels = nib.load(folder / "out" / "body.nii.gz")
        assert labels.shape == (512, 512, asked.planes), labels.shape
        cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
        print(
            f"512 x 512 x {asked.planes}, {len(CLASSES)} classes, width {asked.width}, overlap {asked.overlap}"
            + (", cascade:" if asked.cascade else ":")
        )
        print(
            f"exit {os.waitstatus_to_exitcode(status)}, peak {memory:.2f} GiB, {seconds:.0f} s, {cpu:.0f} s of CPU"
        )


if __name__ == "__main__":
    main()
