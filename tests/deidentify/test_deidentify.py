"""`medcli deidentify` as a whole on a corpus of planted identifiers, judged by code that shares nothing with it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pydicom
import pytest
from deidentify.leaks import judge
from deidentify.planted import write_corpus

from medcli.cli import faults
from medcli.cli.app import app
from medcli.deidentify.report import read_lines
from medcli.deidentify.settings import load_settings

KEY = bytes(range(32)).hex()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_corpus(folder)
    (folder / "study.key").write_text(KEY)
    return folder


@pytest.fixture
def medcli(capfd, monkeypatch):
    monkeypatch.setattr(faults, "silence", lambda **_: None)
    monkeypatch.setattr(faults, "debug", False)

    def medcli(*arguments: object) -> tuple[int, str, str]:
        code = faults.run(app, ["deidentify", *map(str, arguments)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return medcli


def arguments_for(corpus: Path, out: Path, options: list[str]) -> list[object]:
    retain = [name for name in options if name not in ("descriptors", "structured", "graphics", "pixels")]
    clean = [name for name in options if name not in retain]
    chosen = [
        *(["--retain", ",".join(retain)] if retain else []),
        *(["--clean", ",".join(clean)] if clean else []),
    ]
    return [corpus / "files", "--out", out, "--key", corpus / "study.key", "--workers", 1, "--json", *chosen]


ALL = [
    "uids",
    "device",
    "institution",
    "patient",
    "full-dates",
    "safe-private",
    "descriptors",
    "structured",
    "graphics",
]


@pytest.mark.parametrize(
    "options", [[], ["modified-dates", "descriptors"], ALL], ids=lambda names: "+".join(names) or "basic"
)
def test_nothing_leaks_and_what_must_stay_stays(corpus, tmp_path, medcli, options):
    code, out, err = medcli(*arguments_for(corpus, tmp_path / "out", options))
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert summary["quarantined"] == {} and summary["patients"] == 3
    verdict = judge(corpus, tmp_path / "out", options=options)
    assert [(leak.plant.where, leak.plant.kind, leak.output) for leak in verdict.leaks] == []
    assert verdict.kept == [] and verdict.consistency == [] and verdict.missing == []
    if "descriptors" in options:
        assert verdict.words[0] >= 0.95 * verdict.words[1] > 0


def test_burned_in_text_goes_and_other_pixels_stay(corpus, tmp_path, medcli):
    pytest.importorskip("rapidocr", reason="the extra `pixels` is not installed")
    code, _, err = medcli(*arguments_for(corpus, tmp_path / "out", ["graphics", "pixels"]))
    assert (code, err) == (0, "")
    texts = judge(corpus, tmp_path / "out", options=["graphics", "pixels"], pixels=True).texts
    assert texts["texts"] > 50 and texts["without text"] > 20
    assert texts["left"] == texts["changed"] == texts["without text changed"] == texts["broken"] == []


def test_one_file_at_a_time_gives_the_same_pseudonyms(corpus, tmp_path, medcli):
    disc = sorted((corpus / "files" / "disc0").rglob("*"))
    images = [path for path in disc if path.is_file() and path.name != "DICOMDIR"][:2]
    medcli(*images, "--out", tmp_path / "both", "--key", corpus / "study.key")
    for index, path in enumerate(images):
        medcli(path, "--out", tmp_path / str(index), "--key", corpus / "study.key")
    together = [
        pydicom.dcmread(path)
        for path in sorted((tmp_path / "both").rglob("*"))
        if path.suffix not in (".json", ".jsonl", ".md") and path.is_file()
    ]
    alone = [
        pydicom.dcmread(path)
        for index in range(2)
        for path in (tmp_path / str(index)).iterdir()
        if path.is_file()
    ]
    for name in (
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "FrameOfReferenceUID",
    ):
        assert sorted(ds[name].value for ds in together) == sorted(ds[name].value for ds in alone)


def test_another_key_gives_other_pseudonyms(corpus, tmp_path, medcli):
    image = next(
        path
        for path in sorted((corpus / "files" / "disc0").rglob("*"))
        if path.is_file() and path.name != "DICOMDIR"
    )
    seen = set()
    for number in range(2):
        medcli(image, "--out", tmp_path / str(number), "--key", tmp_path / f"{number}.key")
        seen.add(
            next(
                pydicom.dcmread(path).PatientID
                for path in (tmp_path / str(number)).iterdir()
                if path.is_file()
            )
        )
    assert len(seen) == 2


def test_the_marks_are_truthful(corpus, tmp_path, medcli):
    medcli(corpus / "files" / "disc0", "--out", tmp_path / "out", "--retain", "modified-dates,patient")
    image = next(
        path
        for path in sorted((tmp_path / "out").rglob("*"))
        if path.is_file() and path.read_bytes()[128:132] == b"DICM" and path.name != "DICOMDIR"
    )
    ds = pydicom.dcmread(image)
    assert ds.PatientIdentityRemoved == "YES" and ds.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert (
        ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        and "SourceApplicationEntityTitle" not in ds.file_meta
    )
    assert ds.preamble == bytes(128)


def test_a_disc_gets_a_new_directory(corpus, tmp_path, medcli):
    medcli(corpus / "files" / "disc0" / "DICOMDIR", "--out", tmp_path / "out")
    from pydicom.fileset import FileSet

    listed = FileSet(tmp_path / "out" / "DICOMDIR")
    assert len(listed) == 3 and all(instance.load().PatientID.startswith("P-") for instance in listed)


def test_check_finds_what_is_left_and_passes_what_is_clean(corpus, tmp_path, medcli):
    medcli(*arguments_for(corpus, tmp_path / "out", []))
    code, out, _ = medcli("--check", tmp_path / "out", "--json")
    assert code == 0, out
    code, out, err = medcli("--check", corpus / "files", "--json")
    assert code == 3 and len(json.loads(out)["findings"]) > 50 and "may still identify" in err


def test_zip_archives(corpus, tmp_path, medcli):
    disc = corpus / "files" / "disc0"
    with zipfile.ZipFile(tmp_path / "disc.zip", "w") as archive:
        for path in sorted(disc.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(disc))
    code, out, _ = medcli(tmp_path / "disc.zip", "--out", tmp_path / "out", "--json")
    assert code == 0 and json.loads(out)["written"] == 4
    assert (tmp_path / "out" / "disc" / "DICOMDIR").is_file()


def test_damaged_files_are_quarantined_and_the_others_written(corpus, tmp_path, medcli):
    source = tmp_path / "in"
    shutil.copytree(corpus / "files" / "disc0", source)
    image = next(path for path in sorted(source.rglob("*")) if path.is_file() and path.name != "DICOMDIR")
    (source / "bad.dcm").write_bytes(image.read_bytes()[:200] + b"\xff" * 300)
    (source / "notes.txt").write_text("hello")
    code, out, err = medcli(source, "--out", tmp_path / "out", "--json")
    summary = json.loads(out)
    assert code == 3 and summary["written"] == 4 and len(summary["quarantined"]) == 1
    assert (
        summary["left_out"] == {"It is of no format that is handled.": 1} and summary["formats"]["dicom"] == 3
    )
    assert (
        json.loads((tmp_path / "out" / "deidentification" / "report.json").read_text())["formats"]
        == summary["formats"]
    )
    assert "1 of 6 files were quarantined" in err and not list((tmp_path / "out").rglob("bad.dcm"))


def test_inputs_stay_as_they_were(corpus, tmp_path, medcli):
    before = {path: path.read_bytes() for path in (corpus / "files").rglob("*") if path.is_file()}
    medcli(*arguments_for(corpus, tmp_path / "out", []))
    assert before == {path: path.read_bytes() for path in (corpus / "files").rglob("*") if path.is_file()}


def test_reports_and_messages_name_nobody(corpus, tmp_path, medcli):
    _, out, err = medcli(*arguments_for(corpus, tmp_path / "out", ["descriptors"]))
    said = out + err + "".join(path.read_text() for path in (tmp_path / "out" / "deidentification").iterdir())
    key = json.loads((corpus / "key.json").read_text())
    values = {
        plant["value"] for plant in key["plants"] if plant["kind"] in ("name", "accession", "phone", "mail")
    }
    assert len(values) > 100 and not [value for value in values if value in said]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_killed_run_goes_on(corpus, tmp_path, medcli):
    command = [
        sys.executable,
        "-m",
        "medcli",
        "deidentify",
        *map(str, arguments_for(corpus, tmp_path / "out", [])),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while (
            not any(path.suffix == ".dcm" for path in (tmp_path / "out").rglob("*"))
            and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    code, out, err = medcli(*arguments_for(corpus, tmp_path / "out", []), "--resume")
    assert (code, err) == (0, "")
    assert not list((tmp_path / "out").rglob(".partial-*"))
    assert judge(corpus, tmp_path / "out").leaks == [] and judge(corpus, tmp_path / "out").missing == []
    again = json.loads(medcli(*arguments_for(corpus, tmp_path / "out", []), "--resume")[1])
    assert (
        again["written"] == 0
        and again["done_before"] == json.loads(out)["written"] + json.loads(out)["done_before"]
    )
    assert len({outcome.input for outcome in read_lines(tmp_path / "out")}) == again["files"]


def test_the_table_opens_with_its_key_alone(corpus, tmp_path, medcli):
    table, key = tmp_path / "table.bin", corpus / "study.key"
    medcli(corpus / "files" / "disc0", "--out", tmp_path / "out", "--key", key, "--table", table)
    patient = next(
        pydicom.dcmread(path).PatientID
        for path in (corpus / "files" / "disc0").rglob("*")
        if path.is_file() and path.name != "DICOMDIR"
    )
    assert patient.encode() not in table.read_bytes()
    assert patient in medcli("--open-table", table, "--key", key)[1]
    other = tmp_path / "other.key"
    other.write_text("f" * 64)
    code, _, err = medcli("--open-table", table, "--key", other)
    assert code == 1 and "cannot be opened with this key" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "expected INPUT... and --out DIR"),
        (["{tmp}/none", "--out", "{tmp}/out"], 2, "expected a file or folder"),
        (["{files}", "--out", "{tmp}/out", "--retain", "uid"], 2, "did you mean `uids`"),
        (["{files}", "--out", "{tmp}/out", "--clean", "everything"], 2, "expected any of descriptors"),
        (["{files}", "--out", "{files}/out"], 2, "lies in the input"),
        (["{files}", "--out", "{tmp}"], 2, "is not empty"),
        (["{files}", "--out", "{tmp}/out", "--key", "{tmp}/out/k"], 2, "keep it apart"),
        (["{files}", "--out", "{tmp}/out", "--resume"], 2, "--resume needs --key"),
        (["{files}", "--out", "{tmp}/out", "--profile", "strict"], 2, "expected `basic`"),
        (["--check", "{tmp}/none"], 2, "expected a folder"),
        (["{tmp}/empty", "--out", "{tmp}/out"], 1, "No files were found"),
        (
            ["{files}", "--out", "{tmp}/out", "--config", "{tmp}/bad.yaml"],
            2,
            "bad.yaml:2: colour: unknown key",
        ),
        (["{files}", "--out", "{tmp}/out", "--config", "{tmp}/tag.yaml"], 2, "expected a keyword of DICOM"),
    ],
)
def test_wrong_calls_get_one_clear_sentence(corpus, tmp_path, medcli, arguments, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("retain: [uids]\ncolour: red\n")
    (tmp_path / "tag.yaml").write_text("attributes:\n  PatientShoeSize: remove\n")
    got, out, err = medcli(*(text.format(tmp=tmp_path, files=corpus / "files") for text in arguments))
    assert got == code and message in err and "Traceback" not in err and out == ""
    assert not (tmp_path / "out").exists()


def test_settings_of_a_yaml(corpus, tmp_path, medcli):
    (tmp_path / "deid.yaml").write_text(
        "retain: [modified-dates]\nattributes:\n  PatientSex: keep\n  (0018,0060): remove\nmask: [Scanner]\n"
    )
    source = corpus / "files" / "disc0"
    medcli(source, "--out", tmp_path / "out", "--config", tmp_path / "deid.yaml")
    images = [
        pydicom.dcmread(path)
        for path in sorted((tmp_path / "out").rglob("*"))
        if path.is_file() and path.read_bytes()[128:132] == b"DICM" and path.name != "DICOMDIR"
    ]
    assert images and all(
        ds.PatientSex in ("M", "F", "O") and "KVP" not in ds and len(ds.StudyDate) == 8 for ds in images
    )
    assert all("Scanner" not in str(ds.get("ManufacturerModelName", "")) for ds in images)


def test_the_example_of_the_project_is_right():
    settings = load_settings(Path(__file__).parents[2] / "configs" / "deid.yaml")
    assert settings.options == {"modified-dates", "patient", "descriptors"} and settings.overrides


def test_a_dry_run_writes_nothing(corpus, tmp_path, medcli):
    code, out, _ = medcli(corpus / "files" / "disc0", "--out", tmp_path / "out", "--dry-run", "--json")
    assert code == 0 and json.loads(out) == {"dicomdir": 1, "dicom": 3} and not (tmp_path / "out").exists()
