"""The commands as a user meets them: help, exit codes, one line per fault, pure JSON."""

import json
import resource
import subprocess
import sys

import pytest
import typer

from medcli import __version__
from medcli.cli import faults
from medcli.errors import DataError, GateNotMet, SomeCasesFailed

HEAVY = ("tensorflow", "keras", "numpy", "pydicom", "scipy", "pydantic", "matplotlib", "rich")
COMMANDS = [
    ("audit",), ("features",), ("preprocess",), ("train",), ("pretrain",), ("evaluate",),
    ("compare",), ("predict",), ("explain",), ("embed",), ("deidentify",), ("sample",),
    ("doctor",), ("config", "show"), ("config", "check"), ("config", "schema"), ("config", "reference"),
]  # fmt: skip


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("task: detection\n")
    return path


def processor_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_instant_and_light():
    script = (
        "import sys; sys.argv = ['medcli', '--help']\n"
        "from medcli.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    took = []
    for _ in range(3):
        began = processor_seconds_of_children()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        took.append(processor_seconds_of_children() - began)
    assert done.stdout.startswith("Usage: medcli")
    assert done.stderr.strip() == "[]"
    assert min(took) < 0.4  # processor time: tests run beside others


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_shows_an_example_to_paste(medcli, command):
    code, out, _ = medcli(*command, "--help")
    assert code == 0
    example = out.partition("Example")[2]
    assert f"\n    medcli {' '.join(command)}" in example


def test_version(medcli):
    assert medcli("--version") == (0, f"medcli {__version__}\n", "")


def test_without_a_command_the_help_goes_to_stderr(medcli):
    code, out, err = medcli()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: medcli")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "Missing argument 'CONFIG' (see `medcli train --help`)"),
        (["trian"], "No such command 'trian'"),
        (["train", "x.yaml", "--epochs", "5"], "No such option: --epochs"),
        (["train", "none.yaml"], "none.yaml: no such config file."),
        (
            ["sample", "teeth", "out"],
            "'teeth' is not one of 'classification', 'regression', 'detection', 'segmentation', 'volumes'",
        ),
        (["deidentify", "no-such-scans", "--out", "clean"], "no-such-scans: expected a file or folder"),
    ],
)
def test_wrong_usage_is_one_line_and_2(medcli, arguments, message):
    code, out, err = medcli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("medcli: error: ") and message in err
    assert err.count("\n") == 1


def test_every_fault_of_a_config_is_a_line(medcli, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("task: detection\nseed: x\ntrain: {epoch: 1}\n")
    code, _, err = medcli("config", "check", path)
    assert code == 2
    assert [line.split(": ")[2] for line in err.splitlines()] == [f"{path}:2", f"{path}:3"]


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (DataError("no cases"), 1, "no cases"),
        (SomeCasesFailed("2 of 9 failed"), 3, "2 of 9 failed"),
        (GateNotMet("dice"), 4, "dice"),
        (OSError(28, "No space left on device", "out/x.npy"), 1, "out/x.npy: no space left on the disk"),
        (PermissionError(13, "Permission denied", "out"), 1, "out: permission denied"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("MUSTERMANN^ERIKA"), 1, "unexpected ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_become_one_line_and_their_exit_code(capsys, fault, code, message):
    faulty = typer.Typer()

    @faulty.command()
    def fail() -> None:
        raise fault

    assert faults.run(faulty, []) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err and "MUSTERMANN" not in err


def test_debug_shows_the_place_without_local_variables(capsys):
    faulty = typer.Typer()

    @faulty.command()
    def fail(debug: bool = typer.Option(False, "--debug", callback=faults.remember_debug)) -> None:
        name = "MUSTERMANN^ERIKA"
        raise RuntimeError(len(name))

    assert faults.run(faulty, ["--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err and "in fail" in err
    assert "name = " not in err.replace('name = "MUSTERMANN^ERIKA"', "")


def test_config_show_is_yaml_that_reads_back(medcli, config, tmp_path):
    code, out, err = medcli("config", "show", config, "--set", "train.epochs=5")
    assert (code, err) == (0, "")
    again = tmp_path / "again.yaml"
    again.write_text(out)
    assert medcli("config", "show", again) == (0, out, "")
    assert "  epochs: 5\n" in out


def test_json_is_pure(medcli, config):
    for arguments in (
        ["config", "show", config, "--json"],
        ["config", "check", config, "--json"],
        ["config", "schema"],
    ):
        code, out, _ = medcli(*arguments)
        assert code == 0
        assert isinstance(json.loads(out), dict)


def test_config_check_says_right(medcli, config):
    assert medcli("config", "check", config) == (0, f"{config}: right (detection)\n", "")


def test_a_pipe_that_closes_early_is_no_crash():
    done = subprocess.run(
        f"{sys.executable} -m medcli config reference | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stdout == "# Configuration reference\n"
    assert done.stderr == ""


def test_completion_is_offered(medcli):
    assert "--install-completion" in medcli("--help")[1]
