"""Sample data sets: they run as they are, their truth is true, their faults are found."""

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow

from medcli.config.loading import load_config
from medcli.errors import MedcliError, UsageError
from medcli.files import sha256
from medcli.io.cases import discover
from medcli.io.masks import read_mask
from medcli.io.readers import read_channels
from medcli.sampledata import write_sample
from medcli.sampledata.chest import Chest, chest_xray

SEED = 4
"""Gives several sites and people of several visits among the first five cases of every kind."""

WRITTEN = [
    ("classification", "png"),
    ("classification", "dicom"),
    ("regression", "png"),
    ("regression", "dicom"),
    ("detection", "voc"),
    ("detection", "coco"),
    ("segmentation", "png"),
    ("volumes", "nifti"),
    ("volumes", "dicom"),
]


def table(config: Path) -> list[dict[str, str]]:
    with open(config.with_name("table.csv"), encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """Every kind in every format, with faults."""
    folder = tmp_path_factory.mktemp("samples")
    return {
        (kind, format): write_sample(
            kind, folder / f"{kind}_{format}", cases=5, seed=SEED, format=format, faulty=True
        )
        for kind, format in WRITTEN
    }


@pytest.mark.parametrize("written", WRITTEN)
def test_the_config_finds_every_sound_case_with_its_table(samples, written):
    config = load_config(samples[written])
    found = discover(config)
    rows = {row["case"]: row for row in table(samples[written])}
    assert [name for name in rows if not name.startswith("faulty")] == [
        case.name for case in found.cases if not case.name.startswith("faulty")
    ]
    for case in found.cases:
        row = rows[case.name]
        assert case.patient == row["patient"]
        assert dict(case.groups) == {name: row[name] for name in ("sex", "age", "site")}
    assert len({case.patient for case in found.cases}) < len(found.cases)


def faults_found(config: Path) -> set[str]:
    """Names of the cases that discovery or reading objects to, or that hold nothing or a copy."""
    found = discover(load_config(config))
    faulty = {problem.case for problem in found.problems}
    seen = set()
    for case in found.cases:
        try:
            image = read_channels(case.images)
            mask = read_mask(case.masks, image) if case.masks else None
        except MedcliError:
            faulty.add(case.name)
            continue
        content = image.array.tobytes()
        if content in seen or (mask is not None and not mask.any()):
            faulty.add(case.name)
        seen.add(content)
    return faulty


@pytest.mark.parametrize("written", WRITTEN)
def test_every_fault_is_found_and_nothing_else(samples, written):
    with open(samples[written].with_name("faults.csv"), encoding="utf-8") as stream:
        listed = {row["case"] for row in csv.DictReader(stream)}
    assert len(listed) >= 4
    found = faults_found(samples[written])
    if "faulty_duplicate" in listed:  # of two equal images either may count as the copy
        found = {"faulty_duplicate" if name == "person_001_1" else name for name in found}
    assert found == listed


@pytest.mark.parametrize("kind", ["classification", "regression", "detection", "segmentation", "volumes"])
def test_the_same_seed_gives_the_same_files_and_a_longer_set_begins_alike(tmp_path, kind):
    short = write_sample(kind, tmp_path / "a", cases=2).parent
    long = write_sample(kind, tmp_path / "b", cases=3).parent
    other = write_sample(kind, tmp_path / "c", cases=2, seed=1).parent
    for row in table(short / "config.yaml"):
        if kind != "volumes":  # gzip stores the time
            assert sha256(short / row["image"]) == sha256(long / row["image"])
    first = [read_channels([discover_first(folder)]).array for folder in (short, long, other)]
    np.testing.assert_array_equal(first[0], first[1])
    assert first[0].shape != first[2].shape or (first[0] != first[2]).any()


def discover_first(folder: Path):
    return discover(load_config(folder / "config.yaml"), for_training=False).cases[0].images[0]


def test_png_and_dicom_hold_the_same_pixels(samples):
    """MONOCHROME1 files of site B too, once read."""
    png, dicom = (
        discover(load_config(samples["classification", format])).cases for format in ("png", "dicom")
    )
    assert len({case.groups["site"] for case in png[:5]}) > 1
    for one, other in zip(png[:5], dicom[:5], strict=True):
        np.testing.assert_array_equal(read_channels(one.images).array, read_channels(other.images).array)


def test_the_number_is_the_width_of_the_heart_that_was_drawn(samples):
    """By the brightness of a row through the heart: the wider it is, the fewer pixels are dark."""
    folder = samples["regression", "png"].parent
    rows = [row for row in table(folder / "config.yaml") if row["case"].startswith("person")]
    assert all(25 < float(row["ctr"]) < 65 for row in rows)
    cases = {case.name: case.target for case in discover(load_config(folder / "config.yaml")).cases}
    assert {row["case"]: float(row["ctr"]) for row in rows} == {
        name: target for name, target in cases.items() if name.startswith("person")
    }
    shares, ratios = [], []
    for number in range(20):
        rng = np.random.default_rng([7, number])
        chest = Chest.draw(rng).with_ratio(30 + 1.5 * number)
        assert chest.ratio == pytest.approx(30 + 1.5 * number)
        middle = chest_xray(chest, rng, opacity=False)[0][115:135].mean(0)
        shares.append((middle < (middle.min() + middle.max()) / 2).mean())
        ratios.append(chest.ratio)
    assert np.corrcoef(shares, ratios)[0, 1] < -0.7


def test_nifti_and_dicom_hold_the_same_volume_on_the_same_oblique_grid(samples):
    nifti, dicom = (discover(load_config(samples["volumes", format])).cases for format in ("nifti", "dicom"))
    one, other = (next(case for case in cases if case.name == "person_001_1") for cases in (nifti, dicom))
    a, b = read_channels(one.images), read_channels(other.images)
    assert a.shape == (24, 64, 48)
    np.testing.assert_array_equal(a.array, b.array)
    np.testing.assert_allclose(a.affine, b.affine, atol=1e-4)
    np.testing.assert_allclose(a.spacing, (3.0, 0.8, 0.8), atol=1e-4)
    turned = np.abs(a.affine[:3, :3] / a.spacing)
    assert (turned.max(axis=0) < 0.9999).all()
    np.testing.assert_array_equal(read_mask(one.masks, a), read_mask(other.masks, b))


def test_voc_and_coco_hold_the_same_boxes_of_cells_that_touch(samples):
    voc, coco = (discover(load_config(samples["detection", format])) for format in ("voc", "coco"))
    by_name = {case.name: case for case in coco.cases}
    sound = [case for case in voc.cases if case.name.startswith("person")]
    for case in sound:
        np.testing.assert_array_equal(case.boxes.corners, by_name[case.name].boxes.corners)
        np.testing.assert_array_equal(case.boxes.classes, by_name[case.name].boxes.classes)
    assert {int(number) for case in sound for number in case.boxes.classes} == {0, 1, 2}


def test_a_white_cells_box_holds_the_purple_of_its_nucleus(samples):
    """Purple is more blue than green by far; red cells and the ground are not."""
    for case in discover(load_config(samples["detection", "voc"])).cases:
        if not case.name.startswith("person"):
            continue
        image = np.asarray(Pillow.open(case.images[0].path), float)
        purple = image[..., 2] - image[..., 1] > 50
        for box, number in zip(case.boxes.corners.astype(int), case.boxes.classes, strict=True):
            share = purple[box[1] : box[3], box[0] : box[2]].mean()
            whole = box[0] > 0 and box[1] > 0 and box[2] < 256 and box[3] < 192
            if whole and number == 1:
                assert share > 0.08
            if number == 0:
                assert share < 0.35


def test_organs_have_their_values(samples):
    """Liver about 105 HU, kidney about 75."""
    case = next(
        case
        for case in discover(load_config(samples["volumes", "nifti"])).cases
        if case.name == "person_001_1"
    )
    image = read_channels(case.images)
    mask = read_mask(case.masks, image)
    liver, kidney = (float(image.array[mask == number].mean()) for number in (1, 2))
    assert 80 < liver < 130
    assert 45 < kidney < 100


def test_dicom_headers_say_that_the_people_are_made_up(samples):
    folder = samples["classification", "dicom"].parent
    path = folder / "images/person_001_1.dcm"
    data = pydicom.dcmread(path)
    assert data.PatientName == "Madeup^Person 001"
    assert (data.SOPClassUID.name, data.Modality) == ("Digital X-Ray Image Storage - For Presentation", "DX")
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
    assert path.read_bytes()[:128] == b"\0" * 128
    series = samples["volumes", "dicom"].parent / "images/person_001_1"
    slices = [pydicom.dcmread(path) for path in series.iterdir()]
    assert len({item.SOPInstanceUID for item in slices}) == 24
    assert len({item.SeriesInstanceUID for item in slices}) == 1


@pytest.mark.parametrize("kind", ["classification", "volumes"])
def test_dicom_files_have_all_that_the_standard_requires(samples, kind):
    """By the tables of PS3.3 that highdicom brings: attributes of type 1 and 2 in mandatory modules."""
    standard = pytest.importorskip("highdicom._standard_utils")
    data = pydicom.dcmread(
        next(samples[kind, "dicom"].parent.glob("images/person*/**/*.dcm"), None)
        or samples[kind, "dicom"].parent / "images/person_001_1.dcm"
    )
    iod = standard.get_sop_class_iod_map()[data.SOPClassUID]
    for module in standard.get_iod_module_map()[iod]:
        if module["usage"] == "M":
            standard.check_required_attributes(data, module["key"], recursive=False)
    assert [
        element.keyword
        for element in data
        if not standard.is_attribute_in_iod(element.keyword, data.SOPClassUID)
    ] == []


@pytest.mark.filterwarnings("error")
def test_every_dicom_value_fits_its_representation(samples):
    """pydicom checks values strictly when asked; a violation would warn, and warnings are errors here."""
    from pydicom import config

    for kind in ("classification", "volumes"):
        path = next(samples[kind, "dicom"].parent.glob("images/**/*.dcm"))
        with config.strict_reading():
            for element in pydicom.dcmread(path).iterall():
                assert element.value is not None or element.VR == "PN"


def test_opacities_cannot_be_told_by_brightness_alone():
    """The area under the ROC curve of the mean value stays near one half."""
    from sklearn.metrics import roc_auc_score

    labels, means = [], []
    for number in range(30):
        rng = np.random.default_rng([0, number])
        array, truth = chest_xray(Chest.draw(rng), rng, opacity=number % 2 == 1)
        assert truth.any() == (number % 2 == 1)
        labels.append(number % 2)
        means.append(array.mean())
    assert 0.25 < roc_auc_score(labels, means) < 0.8


def test_the_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(stage, done, total):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_sample("detection", tmp_path / "a", cases=2, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    out = tmp_path / "a"
    write_sample("detection", out, cases=1)
    with pytest.raises(UsageError, match="already holds sample data; replace it with --force"):
        write_sample("detection", out, cases=1)
    write_sample("detection", out, cases=2, format="coco", force=True)
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 2
    assert not (out / "annotations").exists()
    (out / "config.yaml").write_text("task: detection\n")
    with pytest.raises(UsageError, match="this folder holds other files; name a new one"):
        write_sample("detection", out, cases=1, force=True)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "xray",
            {},
            "kind: expected one of classification, regression, detection, segmentation, volumes, got 'xray'",
        ),
        ("detection", {"format": "nifti"}, "format: detection can be written as voc or coco, got 'nifti'"),
        ("detection", {"cases": 0}, "cases: expected at least 1, got 0"),
    ],
)
def test_wrong_wishes_are_explained(tmp_path, kind, settings, message):
    with pytest.raises(UsageError, match=message):
        write_sample(kind, tmp_path / "a", **settings)
