"""From files to a table: regions by label, one bad file, settings, and what the command says."""

import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.cli import faults
from medcli.cli.app import app
from medcli.config.loading import from_dict
from medcli.config.schema import Features
from medcli.errors import DataError, FormatError
from medcli.features.extract import extract
from medcli.features.region import region_of
from medcli.features.work import Regions, cases_of_config, cases_of_inputs, rows_of

ONE_WORKER = ("--set", "preprocess.workers=1")


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(faults, "silence", lambda **_: None)
    monkeypatch.setattr(faults, "debug", False)


@pytest.fixture
def medcli(capfd):
    def medcli(*arguments):
        code = faults.run(app, [str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return medcli


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def volume(tmp_path):
    """A volume stored as (column, row, plane) with 2 x 3 x 4 mm, two labels, and its values as (plane, row, column)."""
    values = np.random.default_rng(0).normal(100, 20, (6, 8, 10)).astype(np.float32)
    labels = np.zeros(values.shape, np.uint8)
    labels[1:4, 2:6, 2:5], labels[2:5, 2:6, 6:9] = 1, 3
    for name, array in (("image", values), ("labels", labels)):
        affine = np.diag([-2.0, -3.0, 4.0, 1.0])  # axes towards right-to-left, anterior-to-posterior, up
        nibabel.save(nibabel.Nifti1Image(array.T, affine), tmp_path / f"{name}_a.nii.gz")
    return values, labels


def test_pictures_one_of_them_broken(medcli, tmp_path):
    pictures = tmp_path / "in"
    pictures.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (20, 24, 3), np.uint8)
        Pillow.fromarray(noise).save(pictures / f"p{number}.png")
    (pictures / "p1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "f.csv"
    code, text, err = medcli("features", pictures, "--out", out, "--json", *ONE_WORKER)
    assert code == 3 and "1 of 3 cases failed" in err and list(json.loads(text)["failed"]) == ["p1"]
    rows = table(out)
    assert [row["case"] for row in rows] == ["p0", "p1", "p2"]
    assert rows[0]["status"] == "ok" and "p1.png" in rows[1]["status"] and rows[1]["glcm_contrast"] == ""
    meaning = json.loads((tmp_path / "f.json").read_text())
    assert list(meaning["columns"]) == list(rows[0])[5:]
    assert meaning["columns"]["glcm_contrast"] == {
        "family": "glcm", "unit": "level^2", "definition": "sum (i - j)^2 p(i,j)", "ibsi": "ACUI",
        "source": "IBSI manual 3.6",
    }  # fmt: skip
    assert meaning["aggregation"] == ["2d_slice_merged"] and meaning["settings"]["bins"] == 32
    assert "color_red_mean" in rows[0] and "shape2d_area" not in rows[0]

    code, _, err = medcli("features", pictures, "--out", out)
    assert code == 2 and "--force" in err
    (case, *_), regions = cases_of_inputs([pictures], None)
    assert len(rows_of(case, regions, Features(families=["intensity"]))[0].values) == 18


def test_every_case_broken(medcli, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = medcli("features", tmp_path / "a.png", "--out", tmp_path / "f.csv", *ONE_WORKER)
    assert (code, out) == (1, "") and "No case has features" in err and not (tmp_path / "f.csv").exists()


def test_labels_of_a_config_are_regions(medcli, tmp_path, volume):
    values, labels = volume
    (tmp_path / "job.yaml").write_text(
        "task: segmentation\n"
        'data: {images: "image_{case}.nii.gz", labels: "labels_{case}.nii.gz",'
        " classes: {left: 1, right: 3, both: [1, 3], none: 9}}\n"
    )
    out = tmp_path / "f.csv"
    code, _, err = medcli("features", tmp_path / "job.yaml", "--out", out, *ONE_WORKER)
    assert (code, err) == (0, "")
    rows = {row["region"]: row for row in table(out)}
    assert list(rows) == ["left", "right", "both", "none"]
    assert rows["none"]["status"] == "the region is empty" and rows["none"]["shape_volume"] == "0"
    assert float(rows["left"]["shape_volume_voxels"]) == (labels == 1).sum() * 24
    assert float(rows["both"]["intensity_mean"]) == pytest.approx(values[labels > 0].mean(), rel=1e-6)
    expected = extract(region_of(values, labels == 3, (4, 3, 2)), Features())
    found = {name: float(rows["right"][name]) for name in expected}
    assert found == pytest.approx(expected, rel=1e-6)


def test_how_a_volume_is_stored_does_not_matter(tmp_path, volume):
    """The same voxels with planes along the first axis of the file, and mirrored."""
    values, labels = volume
    turned = np.array([[0, 0, -2, 0], [0, 3, 0, 0], [-4, 0, 0, 0], [0, 0, 0, 1.0]])
    for name, array in (("image", values), ("labels", labels)):
        nibabel.save(nibabel.Nifti1Image(array[::-1, ::-1], turned), tmp_path / f"{name}_b.nii.gz")
    settings = Features(aggregation="2.5d_merged")
    rows = []
    for name in "ab":
        cases, regions = cases_of_inputs(
            [tmp_path / f"image_{name}.nii.gz"], tmp_path / f"labels_{name}.nii.gz"
        )
        rows.append({row.region: row.values for row in rows_of(cases[0], regions, settings)})
    assert list(rows[0]) == list(rows[1]) == ["label_1", "label_3"]
    for region in rows[0]:
        assert rows[0][region] == pytest.approx(rows[1][region], rel=1e-6, nan_ok=True)


def test_whole_images_and_resampling(tmp_path, volume):
    values, _ = volume
    config = from_dict(
        {
            "task": "segmentation",
            "data": {
                "root": str(tmp_path),
                "images": "image_{case}.nii.gz",
                "labels": "labels_{case}.nii.gz",
            },
            "features": {"regions": "whole", "spacing": [4.0, 4.0, 4.0], "families": ["intensity", "glcm"]},
        }
    )
    cases, regions, _ = cases_of_config(config)
    assert regions == Regions()
    (row,) = rows_of(cases[0], regions, config.features)
    assert row.region == "whole" and row.values["intensity_variance"] < values.var()
    with pytest.raises(DataError, match="one per axis"):
        rows_of(cases[0], regions, Features(spacing=[1.0, 1.0]))
    Pillow.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "p.png")
    pictures, regions = cases_of_inputs([tmp_path / "p.png"], None)
    with pytest.raises(DataError, match="does not tell"):
        rows_of(pictures[0], regions, Features(spacing=[1.0, 1.0]))


def test_masks_that_do_not_fit(medcli, tmp_path, volume):
    Pillow.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "p.png")
    cases, regions = cases_of_inputs([tmp_path / "image_a.nii.gz"], tmp_path / "p.png")
    with pytest.raises(FormatError):
        rows_of(cases[0], regions, Features())
    code, _, err = medcli("features", tmp_path, "--mask", tmp_path / "p.png", "--out", tmp_path / "f.csv")
    assert code == 2 and "--mask: expected one image" in err


def test_too_many_levels_is_told(tmp_path, volume):
    cases, regions = cases_of_inputs([tmp_path / "image_a.nii.gz"], None)
    with pytest.raises(DataError, match=r"features\.bin_width: 0\.01 makes \d+ grey levels"):
        rows_of(cases[0], regions, Features(discretise="fixed_width", bin_width=0.01))


def test_the_list_and_wrong_calls(medcli, tmp_path):
    code, out, err = medcli("features", "--list", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "") and {"family", "name", "unit", "definition", "ibsi", "source"} == rows[
        0
    ].keys()
    assert {row["ibsi"]: row["name"] for row in rows}["RNU0"] == "shape_volume"
    code, out, _ = medcli("features", "--list")
    assert code == 0 and "shape_volume" in out and "IBSI manual 3.1" in out
    assert medcli("features")[0] == 2
    code, _, err = medcli("features", tmp_path, "--out", tmp_path / "f.txt")
    assert code == 2 and ".csv" in err
