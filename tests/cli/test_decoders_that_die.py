"""A decoder that crashes on one file costs that case, of `predict` and of `evaluate`, and the exit code says so."""

import json

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, generate_uid

from medcli import quiet, sandbox
from medcli.case import Case
from medcli.config.loading import from_dict
from medcli.files import read_csv
from medcli.io.cases import discover
from medcli.io.dicom import decoders
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepared import Record
from medcli.run import create_run
from tests import unruly_decoder
from tests.dicom_files import save, slice_dataset
from tests.fake_run import brightness, fake_loading

CRASHED = "the library that reads it crashed (SIGSEGV); refused, as it is damaged or made to harm."


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A classifier by brightness and its data, compressed DICOM files, on one of which the decoder crashes."""
    monkeypatch.setattr(decoders, "decode", unruly_decoder.decode)
    monkeypatch.setattr(quiet, "import_tensorflow", lambda: None)
    fake_loading(monkeypatch, brightness)
    for name, value in {"a/one": 20, "a/bad": 30, "b/two": 220, "b/three": 240}.items():
        values = np.full((64, 80), value, np.uint8)
        uids = {
            "SOPInstanceUID": generate_uid(),
            "SeriesInstanceUID": generate_uid(),
            "StudyInstanceUID": generate_uid(),
        }
        dataset = slice_dataset(values, Modality="DX", **uids)
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        save(dataset, tmp_path / "data" / f"{name}.dcm")
    config = from_dict({"task": "classification", "data": {"root": "data"}}, folder=tmp_path, name="made_up")
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=None,
        intensity=[Intensity(kind="none")], patch=None, batch_size=2, stages=2,
    )  # fmt: skip
    records = [_record(case) for case in discover(config).cases]
    create_run(tmp_path / "run", config, plan, records, resume=False, force=False)
    (tmp_path / "run" / "model.keras").write_bytes(b"in place of a network")
    yield tmp_path / "run"
    sandbox.close()


def _record(case: Case) -> Record:
    return Record(
        case=case.name, patient=case.name, split="val", fold=None, classes=case.classes, key=case.name,
        shape=(64, 80), original_shape=(64, 80), spacing=None, objects=0, sources=(f"{case.name}.dcm",),
        labels=(), sha256="",
    )  # fmt: skip


def test_predict_goes_on(medcli, run, tmp_path):
    code, out, err = medcli("predict", run, tmp_path / "data", "--out", tmp_path / "out", "--json")
    assert code == 3
    assert err == f"medcli: error: 1 of 4 cases failed; see {tmp_path / 'out' / 'status.csv'}\n"
    status = {row["case"]: row["status"] for row in read_csv(tmp_path / "out" / "status.csv")}
    (bad,) = (name for name in status if "bad" in name)
    assert status.pop(bad) == f"{tmp_path / 'data' / 'a' / 'bad.dcm'}: {CRASHED}"
    assert set(status.values()) == {"ok"} and len(status) == 3
    assert list(json.loads(out)["failed"]) == [bad]
    predicted = {row["case"]: row["predicted"] for row in read_csv(tmp_path / "out" / "predictions.csv")}
    assert sorted(predicted.values()) == ["a", "b", "b"]


def test_evaluate_goes_on(medcli, run, tmp_path):
    code, out, err = medcli("evaluate", run, "--json")
    assert code == 3 and "1 of 4 cases failed" in err
    assert json.loads(out)["measures"]["accuracy"] == 1
    rows = read_csv(run / "evaluate" / "val" / "cases.csv")
    assert [row["status"] for row in rows if "bad" in row["case"]] == [
        f"{tmp_path / 'data' / 'a' / 'bad.dcm'}: {CRASHED}"
    ]
