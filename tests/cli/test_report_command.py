"""`medcli report`: what it prints, its exit codes, and that it needs no network."""

import json
import subprocess
import sys

import pytest

from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv
from tests.evaluation import runs
from tests.evaluation.test_build import unsure, with_files


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = with_files(runs.classification(tmp_path_factory.mktemp("report"), cases=24))
    evaluate(made, predictor=runs.Answers(unsure))
    return made


def test_another_question_of_the_same_predictions(run, medcli):
    before = (run.folder / "evaluate" / "val" / "report.html").read_bytes()
    code, out, _ = medcli(
        "report", run.folder, "--name", "first class", "--set", "evaluate.positive=healthy", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["folder"].endswith("first class") and found["cases"] == 12
    assert found["support"]["auroc"] == {"cases": 12, "patients": 6, "prevalence": 0.5}
    rows = read_csv(run.folder / "evaluate" / "val" / "cases.csv")
    called = [row for row in rows if row["predicted"] == "healthy"]
    right = [row for row in called if row["truth"] == "healthy"]
    assert found["measures"]["ppv"] == pytest.approx(len(right) / len(called))
    assert (run.folder / "evaluate" / "val" / "report.html").read_bytes() == before
    code, out, _ = medcli("report", run.folder, "--evaluation", "val")
    assert code == 0 and "prevalence" in out and "12 cases of 6 patients" in out
    assert (run.folder / "evaluate" / "val" / "report.html").read_bytes() == before


def test_faults_are_one_sentence(run, medcli, tmp_path):
    for arguments, code, message in (
        ((run.folder, "--evaluation", "tset"), 2, "--evaluation: expected one of"),
        ((run.folder, "--set", "evaluate.tolerance_mm=3"), 2, "made under this setting"),
        ((run.folder, "--set", "evaluate.positive=sick"), 2, "'sick' is no class of this run"),
        ((tmp_path,), 1, "not a run folder"),
    ):
        found, out, error = medcli("report", *arguments)
        assert (found, out) == (code, "") and message in error and error.count("\n") == 1


def test_no_network_is_loaded(run):
    code = (
        "import sys; from medcli.cli.faults import run; from medcli.cli.app import app;"
        f"code = run(app, ['report', {str(run.folder)!r}, '--evaluation', 'val']);"
        "sys.exit(code or any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib.pyplot')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
