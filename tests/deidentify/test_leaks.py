"""The leak counter finds every planted value where it stands, and none where a plain scrubber has been."""

import hashlib
import io
import json
import shutil
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from deidentify.leaks import Needles, at, judge
from deidentify.leaks_checks import share_left
from deidentify.leaks_reading import pixels, volume
from deidentify.planted import write_corpus
from deidentify.planted_dicom import KEPT
from deidentify.planted_key import Key
from deidentify.planted_people import date_forms, name_forms
from deidentify.planted_table import TABLE, load_table, own_rows
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def key(corpus) -> Key:
    return Key.load(corpus / "key.json")


@pytest.fixture(scope="module")
def scrubbed(corpus, key, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scrubbed")
    for name, file in key.files.items():
        scrub(corpus / "files" / name, folder, name, key, file)
    return folder


def new_uid(uid: str) -> str:
    return "2.25." + str(int(hashlib.sha256(uid.encode()).hexdigest()[:24], 16))


def scrub(source: Path, out: Path, name: str, key: Key, file) -> None:
    """Copy nothing but numbers and pixels, the texts in them blanked, under a name that tells nothing."""
    plain = hashlib.sha256(name.encode()).hexdigest()[:4]
    array = pixels(name, source.read_bytes(), file)
    if array is not None:
        array = array.copy()
        for text in (text for text in key.texts if text.file == name):
            x0, y0, x1, y1 = text.box
            array[slice(None) if text.frame is None else text.frame, y0:y1, x0:x1] = 0
    if file.kind == "dicomdir":
        return
    if file.format == "dicom":
        scrub_dicom(source, out / f"{plain}.dcm", array)
    elif file.format == "nifti":
        old = volume(source.read_bytes())
        nibabel.save(nibabel.Nifti1Image(np.asarray(old.dataobj), old.affine), out / f"{plain}.nii")
    elif file.format == "json":
        content = json.loads(source.read_bytes())
        content = {word: value for word, value in content.items() if isinstance(value, (int, float))}
        (out / f"{plain}.json").write_text(json.dumps(content))
    elif array is not None:
        content = array[0] if array.shape[-1] == 3 else array[0, ..., 0]
        Image.fromarray(content).save(out / f"{plain}.{file.format}", quality=95)
    else:
        Image.fromarray(np.asarray(Image.open(io.BytesIO(source.read_bytes())))).save(out / f"{plain}.tif")


def scrub_dicom(source: Path, target: Path, array: np.ndarray | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old, new = pydicom.dcmread(source), Dataset()
        for word in KEPT:
            if word in old:
                new[word] = old[word]
    for word in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if word in old:
            setattr(new, word, new_uid(old[word].value))
    if array is not None:
        for word in ("HighBit", "PixelRepresentation"):
            new[word] = old[word]
        if new.SamplesPerPixel == 3:
            new.PlanarConfiguration, new.PhotometricInterpretation = 0, "RGB"
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        new.PixelData = raw + b"\0" * (len(raw) % 2)
        new["PixelData"].VR = "OW"
    new.file_meta = FileMetaDataset()
    new.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    new.save_as(target, enforce_file_format=True)


def test_every_plant_is_found_in_the_untouched_corpus(corpus, key):
    verdict = judge(corpus, corpus / "files", key=key, pixels=True)
    found = {leak.plant.id for leak in verdict.leaks if leak.output == leak.plant.file}
    assert found == {plant.id for plant in key.plants}
    assert len(verdict.leaks) == len(key.plants)  # none is counted twice
    assert verdict.missing == [] and verdict.kept == []
    assert len(verdict.texts["left"]) == verdict.texts["texts"] > 80
    assert verdict.texts["without text changed"] == verdict.texts["broken"] == []


def test_nothing_is_found_where_a_scrubber_was(corpus, key, scrubbed):
    verdict = judge(corpus, scrubbed, key=key, pixels=True)
    assert verdict.leaks == []
    assert verdict.missing == [name for name in key.files if name.endswith("DICOMDIR")]
    assert verdict.consistency == []
    assert verdict.texts["left"] == verdict.texts["changed"] == verdict.texts["broken"] == []
    assert verdict.texts["without text changed"] == []


def test_options_excuse_what_they_keep(corpus, key):
    verdict = judge(corpus, corpus / "files", options=["uids", "device"], key=key)
    kinds = {leak.plant.kind for leak in verdict.leaks if leak.plant.category == "core"}
    assert "uid" not in kinds and "device" not in kinds and "name" in kinds
    assert verdict.kept == []
    assert [row for row in verdict.consistency if "UID" in row] == []


def test_dates_that_stay_are_not_modified_dates(corpus, key):
    verdict = judge(corpus, corpus / "files", options=["modified-dates"], key=key)
    assert {leak.plant.where for leak in verdict.leaks if leak.plant.kind == "date"} >= {
        "00080020",
        "00080021",
    }
    assert any("dates moved by [0] days" in row for row in verdict.consistency)
    assert any(row.startswith("modified-dates") for row in verdict.kept)


def test_clinical_words_are_counted(corpus, key, scrubbed):
    kept, total = judge(corpus, corpus / "files", options=["descriptors"], key=key).words
    assert kept == total > 300
    kept, total = judge(corpus, scrubbed, options=["descriptors"], key=key).words
    assert kept == 0 < total


def test_faults_are_told(corpus, key, scrubbed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(scrubbed, folder)
    first, second = [path for path in sorted(folder.glob("*.dcm")) if "KVP" in pydicom.dcmread(path)][:2]
    data = pydicom.dcmread(first)
    data.StudyInstanceUID, data.PatientID = "1.2.3", "same"
    del data.KVP
    data.save_as(first)
    data = pydicom.dcmread(second)
    data.ImageComments, data.PatientID = key.plants[0].value, "same"
    data.save_as(second)
    verdict = judge(corpus, folder, key=key)
    assert any("one UID became several" in row for row in verdict.consistency)
    assert [row for row in verdict.kept if "00180060" in row and str(first.name)]
    assert [leak.plant.value for leak in verdict.leaks] == [key.plants[0].value]


def test_a_value_in_the_report_is_a_leak(corpus, key, scrubbed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(scrubbed, folder)
    name = next(plant.value for plant in key.plants if plant.kind == "accession")
    (folder / "deidentification").mkdir()
    (folder / "deidentification" / "report.json").write_text(json.dumps({"input": f"a/{name}.dcm"}))
    leaks = judge(corpus, folder, key=key).leaks
    assert [leak.output for leak in leaks] == ["deidentification/report.json"]


def test_needles_are_found_at_every_place():
    search = Needles([b"abcde", b"abcdefg", b"\0\1\2\3\4"])
    assert set(search.find(b"xabcdefgabcde\0\1\2\3\4")) == {
        (1, b"abcde"),
        (1, b"abcdefg"),
        (8, b"abcde"),
        (13, b"\0\1\2\3\4"),
    }
    assert search.find(b"abc") == []


def test_paths():
    assert at("00081032[0].00080104", "00081032") and at("00081032", "00081032[0].00080104")
    assert not at("0040A730[10].0040A160", "0040A730[1].0040A160")


def test_half_of_a_text_is_left():
    mask = np.ones((4, 16), bool)
    changed = np.zeros((4, 16), bool)
    changed[:, :8] = True
    assert share_left(changed, mask) == 0.5


def test_forms_of_names_and_dates():
    forms = [text for text, _ in name_forms("Müllerstein^Annegret^Eva")]
    assert {
        "Annegret Müllerstein",
        "MÜLLERSTEIN, ANNEGRET",
        "muellerstein_annegret",
        "A. Müllerstein",
    } <= set(forms)
    assert {"1962-03-04", "04.03.1962", "4 March 1962", "03/04/1962", "04/03/1962"} <= set(
        date_forms("19620304")
    )


@pytest.mark.skipif(not TABLE.is_file(), reason="the published table is not here")
def test_the_own_list_agrees_with_the_published_table():
    table = load_table()[1]
    for tag, row in own_rows().items():
        assert table[tag].vr == row.vr and table[tag].cleaned == row.cleaned
        assert set(row.keeps) <= set(table[tag].keeps)
