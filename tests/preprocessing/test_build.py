"""From raw files to a prepared folder: complete, explained, repeatable, resumable."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.case import Source
from medcli.config.loading import from_dict
from medcli.errors import DataError, MedcliError, RunError
from medcli.files import read_csv
from medcli.io.masks import read_mask
from medcli.io.readers import read_image
from medcli.preprocessing import folder
from medcli.preprocessing.build import plan_only, preprocess
from medcli.preprocessing.cases import made_by
from medcli.preprocessing.labels import map_labels
from medcli.preprocessing.plan import load_plan
from medcli.preprocessing.prepare import prepare
from medcli.preprocessing.prepared import Prepared


def blob(random, shape=(24, 32)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture with a bright rectangle, and its mask of 0 and 255."""
    mask = np.zeros(shape, np.uint8)
    row, column = random.integers(2, shape[0] - 10), random.integers(2, shape[1] - 12)
    mask[row : row + 8, column : column + 10] = 255
    return (random.integers(0, 90, shape) + 0.6 * mask).astype(np.uint8), mask


def write_pictures(root: Path, count: int = 8) -> None:
    """Two pictures for each patient, images/p00_0.png with masks/p00_0.png."""
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(count):
        image, mask = blob(random)
        Pillow.fromarray(image).save(root / f"images/p{number // 2:02d}_{number % 2}.png")
        Pillow.fromarray(mask).save(root / f"masks/p{number // 2:02d}_{number % 2}.png")


def pictures_config(root: Path, **sections):
    data = {
        "root": str(root),
        "images": "images/{case}.png",
        "labels": "masks/{case}.png",
        "patient": r"^(p\d+)_",
        "split": {"val": 0.25},
    }
    data |= sections.pop("data", {})
    return from_dict({"task": "segmentation", "data": data, **sections}, folder=root, name="pictures")


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the memory of scans, whose lines come in the order in which workers finish."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in ("scans.jsonl", ".lock")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root)
    return root


@pytest.fixture(scope="module")
def built(pictures):
    out = pictures / "prepared"
    stages = []
    summary = preprocess(pictures_config(pictures), out, progress=lambda *call: stages.append(call))
    return summary, out, stages


def test_the_folder_holds_what_it_promises(built):
    summary, out, stages = built
    assert (summary.cases, summary.left_out, summary.reused) == (8, 0, 0)
    assert summary.splits == {"train": 6, "val": 2, "test": 0}
    for name in (
        "manifest.csv",
        "plan.yaml",
        "config.yaml",
        "fingerprint.json",
        "problems.csv",
        "report.html",
    ):
        assert (out / name).is_file(), name
    assert {stage for stage, _, _ in stages} == {"scan", "prepare", "report"}
    assert ("prepare", 8, 8) in stages
    numbers = json.loads((out / "fingerprint.json").read_text())
    assert numbers["cases"] == 8
    assert (
        numbers["class balance"]
        if "class balance" in numbers
        else numbers["classes"]["voxels"]["255"] == 8 * 80
    )
    assert "<html" in (out / "report.html").read_text()


def test_arrays_are_what_prepare_makes_of_the_files(built, pictures):
    _, out, _ = built
    prepared = Prepared.open(out)
    assert prepared.plan.label_ids == []
    assert prepared.plan.patch == [24, 32]  # rows halved twice to 6, columns three times to 4
    for record in prepared.records:
        image = read_image(pictures / record.sources[0])
        array, placement = prepare(image, prepared.plan)
        mask = read_mask([Source(pictures / record.labels[0])], image)
        assert np.array_equal(prepared.image(record), array)
        assert np.array_equal(prepared.label(record), placement.labels(map_labels(mask, prepared.plan)))
        assert (record.objects, record.classes) == (80, ("foreground",))


def test_a_plan_that_says_otherwise_than_the_arrays_is_told_apart(built):
    prepared = Prepared.open(built[1])
    for record in prepared.records:
        assert made_by(prepared.plan, record)
        for edit in ({"contrast": "clahe"}, {"spacing": [1.0, 1.0]}, {"ignore_label": 7}):
            assert not made_by(prepared.plan.model_copy(update=edit), record)
        assert made_by(prepared.plan.model_copy(update={"patch": [8, 8], "batch_size": 3}), record)


def test_patients_are_not_divided(built):
    prepared = Prepared.open(built[1])
    assert {record.patient for record in prepared.split("train")}.isdisjoint(
        record.patient for record in prepared.split("val")
    )


def test_the_mean_and_std_are_those_of_the_training_part(built, pictures):
    prepared = Prepared.open(built[1])
    values = np.concatenate(
        [read_image(pictures / r.sources[0]).array.ravel() for r in prepared.split("train")]
    )
    assert prepared.plan.intensity[0].mean == pytest.approx(values.mean(), rel=1e-5)
    assert prepared.plan.intensity[0].std == pytest.approx(values.std(), rel=1e-5)


def test_a_second_run_does_nothing(built, pictures):
    _, out, _ = built
    before = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"
    }
    summary = preprocess(pictures_config(pictures), out)
    assert summary.reused == 8
    after = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"
    }
    assert after == before


def test_two_folders_from_the_same_input_are_equal(built, pictures, tmp_path):
    preprocess(pictures_config(pictures), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(built[1])


def test_an_interrupted_run_ends_like_an_undisturbed_one(built, pictures, tmp_path):
    """No manifest, arrays missing and cut short, a temporary file, half a line of the scans' memory."""
    out = tmp_path / "broken"
    preprocess(pictures_config(pictures), out)
    (out / "manifest.csv").unlink()
    arrays = sorted((out / "cases").glob("*.image.npy"))
    arrays[0].unlink()
    arrays[1].write_bytes(arrays[1].read_bytes()[:200])
    arrays[2].write_bytes(b"")
    (out / "cases" / ".partial-abc-x.image.npy").write_bytes(b"half")
    scans = out / "scans.jsonl"
    scans.write_text(scans.read_text()[:-300])
    with pytest.raises(RunError, match="no finished prepared folder"):
        Prepared.open(out)
    summary = preprocess(pictures_config(pictures), out)
    assert summary.reused == 5
    assert contents(out) == contents(built[1])


def test_killed_for_real(tmp_path):
    """kill -9 in the middle of writing; the next run completes it, and uses what was done."""
    write_pictures(tmp_path / "data", 96)
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent("""
            import os, signal, sys
            from pathlib import Path
            from test_build import pictures_config
            from medcli.preprocessing.build import plan_only, preprocess

            def progress(stage, done, total):
                if stage == "prepare" and done > 20:
                    os.kill(os.getpid(), signal.SIGKILL)

            if __name__ == "__main__":
                preprocess(pictures_config(Path(sys.argv[1])), Path(sys.argv[2]), progress=progress)
        """)
    )
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "data"), str(out)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == -9, run.stderr
    assert not (out / "manifest.csv").exists()
    summary = preprocess(pictures_config(tmp_path / "data"), out)
    assert 20 < summary.reused < 96
    assert len(Prepared.open(out).records) == 96
    assert not list((out / "cases").glob(".partial-*"))


def test_only_what_changed_is_done_again(pictures, tmp_path):
    root = tmp_path / "data"
    write_pictures(root)
    config = pictures_config(root, preprocess={"normalize": "zscore"})
    preprocess(config, tmp_path / "out")
    image, mask = blob(np.random.default_rng(99))
    Pillow.fromarray(image).save(root / "images/p00_0.png")
    Pillow.fromarray(mask).save(root / "masks/p00_0.png")
    assert preprocess(config, tmp_path / "out").reused == 7
    assert len(list((tmp_path / "out/cases").glob("*.image.npy"))) == 8  # the old array is gone
    other = pictures_config(root, preprocess={"normalize": "zscore"}, train={"batch_size": 3})
    assert preprocess(other, tmp_path / "out").reused == 8
    assert Prepared.open(tmp_path / "out").plan.batch_size == 3
    assert preprocess(other, tmp_path / "out", force=True).reused == 0


def test_bad_cases_are_left_out_and_the_others_go_on(tmp_path):
    root = tmp_path / "data"
    write_pictures(root, 16)
    whole = (root / "images/p00_0.png").read_bytes()
    (root / "images/p00_0.png").write_bytes(whole[: len(whole) // 2])
    (root / "images/p00_1.png").write_bytes(b"")
    Pillow.fromarray(np.zeros((5, 5), np.uint8)).save(root / "masks/p01_0.png")
    Pillow.fromarray(np.zeros((24, 32), np.uint8)).save(root / "masks/p01_1.png")
    Pillow.fromarray(np.full((24, 32), 9, np.uint8)).save(root / "images/p02_0.png")
    (root / "images/p07_0.png").write_bytes((root / "images/p06_0.png").read_bytes())
    summary = preprocess(pictures_config(root), tmp_path / "out")
    assert (summary.cases, summary.left_out) == (13, 3)
    rows = {row["case"]: row for row in read_csv(tmp_path / "out/problems.csv")}
    assert set(rows) == {"p00_0", "p00_1", "p01_0", "p01_1", "p02_0", "p06_0"}
    assert {case for case, row in rows.items() if row["left_out"] == "yes"} == {"p00_0", "p00_1", "p01_0"}
    assert all(row["file"].startswith("images/") for row in rows.values())
    assert "truncated" in rows["p00_0"]["reason"] or "damaged" in rows["p00_0"]["reason"]
    assert "(24, 32)" in rows["p01_0"]["reason"] and "(5, 5)" in rows["p01_0"]["reason"]
    assert "empty" in rows["p01_1"]["reason"]
    assert "constant" in rows["p02_0"]["reason"]
    assert rows["p06_0"]["reason"].startswith("the same image as p07_0; their patients are kept in one split")
    assert str(tmp_path) not in (tmp_path / "out/problems.csv").read_text()
    split = {record.case: record.split for record in Prepared.open(tmp_path / "out").records}
    assert split["p06_0"] == split["p06_1"] == split["p07_0"] == split["p07_1"]


def test_nothing_usable(tmp_path):
    root = tmp_path / "data"
    write_pictures(root, 2)
    for path in (root / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"No usable case is left; 2 problems, the first: \S+: "):
        preprocess(pictures_config(root), tmp_path / "out")
    assert not (tmp_path / "out/manifest.csv").exists()


def test_volumes_of_two_spacings(tmp_path):
    """Patients with 2 and 4 mm planes in two orientations: one grid of median spacing, ids mapped."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number in range(5):
        step = 4.0 if number == 0 else 2.0
        flip = -1 if number == 1 else 1
        affine = np.diag([flip * 1.0, 1.0, step, 1.0])
        shape = (20, 24, 12 if number == 0 else 24)
        mask = np.zeros(shape, np.int16)
        mask[5:12, 6:14, shape[2] // 3 : shape[2] // 2] = 7
        mask[13:17, 6:14, shape[2] // 3 : shape[2] // 2] = 42
        image = random.normal(0, 1, shape).astype(np.float32) + mask / 10
        nibabel.save(
            nibabel.Nifti1Image(image.astype(np.float32), affine), tmp_path / f"images/v{number}.nii.gz"
        )
        nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / f"labels/v{number}.nii.gz")
    config = from_dict(
        {
            "task": "segmentation",
            "data": {
                "root": str(tmp_path),
                "images": "images/{case}.nii.gz",
                "labels": "labels/{case}.nii.gz",
            },
        },
        folder=tmp_path,
    )
    preprocess(config, tmp_path / "out")
    prepared = Prepared.open(tmp_path / "out")
    assert prepared.plan.spacing == [2.0, 1.0, 1.0]
    assert prepared.plan.label_ids == [[7], [42]]
    assert {record.shape for record in prepared.records} == {(24, 24, 20)}
    for record in prepared.records:
        labels = prepared.label(record)
        voxels = [int((labels == n).sum()) for n in (1, 2)]
        assert voxels == [7 * 8 * 4, 4 * 8 * 4]
        assert abs(float(prepared.image(record).mean())) < 1e-5
    assert {record.spacing for record in prepared.records} == {(4.0, 1.0, 1.0), (2.0, 1.0, 1.0)} or {
        record.spacing for record in prepared.records
    } == {(1.0, 1.0, 4.0), (1.0, 1.0, 2.0)}


def test_an_npz_with_given_splits(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (60, 12, 12), dtype=np.uint8)
    images[41] = images[3]
    np.savez(
        tmp_path / "set.npz",
        train_images=images[:40],
        train_labels=np.arange(40)[:, None] % 2,
        val_images=images[40:],
        val_labels=np.arange(20)[:, None] % 2,
    )
    config = from_dict(
        {
            "task": "classification",
            "data": {"root": str(tmp_path), "images": "set.npz"},
            "preprocess": {"contrast": "clahe"},
        },
        folder=tmp_path,
    )
    stages = set()
    summary = preprocess(config, tmp_path / "out", progress=lambda stage, *_: stages.add(stage))
    assert summary.splits == {"train": 40, "val": 20, "test": 0}
    assert "measure" in stages
    prepared = Prepared.open(tmp_path / "out")
    train = np.stack([prepared.image(record) for record in prepared.split("train")])
    assert abs(train.mean()) < 1e-3
    assert abs(train.std() - 1) < 1e-3
    assert [problem.reason for problem in summary.problems] == [
        "the same image as val_00001, in different given splits (train, val): measures on them are too good."
    ]


def test_boxes_are_scaled_and_cut(tmp_path):
    """100 x 200 pixels into 96 x 192, both 0.96 times: one box inside, one over the edge."""
    random = np.random.default_rng(0)
    lines = ["image,xmin,ymin,xmax,ymax,label"]
    for number in range(5):
        Pillow.fromarray(random.integers(0, 255, (100, 200), dtype=np.uint8)).save(
            tmp_path / f"i{number}.png"
        )
        lines += [f"i{number}.png,50,25,100,50,cell", f"i{number}.png,180,10,230,20,cell"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    config = from_dict(
        {
            "task": "detection",
            "data": {"root": str(tmp_path), "format": "table", "table": "boxes.csv"},
            "preprocess": {"size": [96, 192]},
        },
        folder=tmp_path,
    )
    preprocess(config, tmp_path / "out")
    prepared = Prepared.open(tmp_path / "out")
    label = prepared.label(prepared.records[0])
    assert label.dtype == np.float32
    assert np.allclose(label[0], [48, 24, 96, 48, 0])
    assert np.allclose(label[1, 2], 192)
    assert prepared.records[0].classes == ("cell",)


# ---- the folder


def test_a_folder_with_other_things_is_left_alone(tmp_path, pictures):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="holds other things than prepared data"):
        preprocess(pictures_config(pictures), tmp_path, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_two_runs_in_one_folder(tmp_path, pictures):
    out = tmp_path / "out"
    (out / "cases").mkdir(parents=True)
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another `medcli preprocess` is at work"):
            preprocess(pictures_config(pictures), out)


def test_too_little_space_is_said_before_anything_is_written(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(MedcliError, match="free some space or choose another --out"):
        preprocess(pictures_config(pictures), tmp_path / "out")
    assert not list((tmp_path / "out/cases").iterdir())


def test_a_full_disk_is_one_sentence(tmp_path):
    fault = folder.disk_fault(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert (
        str(fault) == f"{tmp_path}: the disk is full; free some space and run again, finished cases are kept."
    )
    denied = folder.disk_fault(PermissionError(errno.EACCES, "Permission denied", "x.npy"), tmp_path)
    assert "x.npy: cannot be used (Permission denied)" in str(denied)


def test_out_is_a_file(tmp_path, pictures):
    (tmp_path / "out").write_text("")
    with pytest.raises(RunError, match="expected a folder, found a file"):
        preprocess(pictures_config(pictures), tmp_path / "out")


def test_dicom_and_nifti_of_the_same_scans_are_prepared_alike(tmp_path, shared_data):
    """PET of three patients as DICOM series with RTSTRUCT, and as NIfTI with masks: an oracle for geometry."""
    patterns = {
        "dicom": ("dicom/{case}/PET/image", "dicom/{case}/PET/mask"),
        "nifti": ("nifti/{case}/PET_image.nii.gz", "nifti/{case}/PET_mask.nii.gz"),
    }
    prepared = {}
    for kind, (images, labels) in patterns.items():
        data = {
            "root": str(shared_data / "sts_pet_mr"),
            "images": images,
            "labels": labels,
            "labels_are": "binary",
            "include": "^STS_0(08|19|25)$",
        }
        sections = {"task": "segmentation", "data": data, "preprocess": {"spacing": [3.0, 4.0, 4.0]}}
        preprocess(from_dict(sections, folder=tmp_path), tmp_path / kind)
        prepared[kind] = Prepared.open(tmp_path / kind)
    assert len(prepared["dicom"].records) == 3
    for one, other in zip(prepared["dicom"].records, prepared["nifti"].records, strict=True):
        assert np.allclose(prepared["dicom"].image(one), prepared["nifti"].image(other), atol=1e-5)
        a, b = prepared["dicom"].label(one), prepared["nifti"].label(other)
        assert 2 * np.sum(a & b) / (a.sum() + b.sum()) > 0.97  # contours filled by two programs


def test_planning_alone_gives_the_plan_of_preprocess_and_no_arrays(tmp_path):
    write_pictures(tmp_path / "data")
    config = pictures_config(tmp_path / "data")
    planned = plan_only(config, tmp_path / "prepared")
    assert not (tmp_path / "prepared" / "manifest.csv").exists()
    preprocess(config, tmp_path / "prepared")
    assert load_plan(tmp_path / "prepared" / "plan.yaml") == planned


def test_another_fold_needs_no_other_arrays(pictures, tmp_path):
    """The plan of folds rests on the cases of all of them."""
    plans, splits = [], []
    for fold in range(2):
        config = pictures_config(
            pictures, data={"split": {"folds": 2, "fold": fold}}, preprocess={"workers": 1}
        )
        summary = preprocess(config, tmp_path / "out")
        prepared = Prepared.open(tmp_path / "out")
        plans.append(prepared.plan.model_copy(update={"reasons": {}}))
        splits.append({record.case: record.split for record in prepared.records})
    assert summary.reused == 8
    assert plans[0] == plans[1]
    assert all({splits[0][case], splits[1][case]} == {"train", "val"} for case in splits[0])
