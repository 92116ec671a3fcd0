import pytest

from medcli.cli import faults
from medcli.cli.app import app


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """The command line sets how the process warns and traces; tests leave that alone."""
    monkeypatch.setattr(faults, "silence", lambda **_: None)
    monkeypatch.setattr(faults, "debug", False)


@pytest.fixture
def medcli(capfd):
    """Run the command line in this process; gives exit code, stdout and stderr."""

    def medcli(*arguments: object) -> tuple[int, str, str]:
        code = faults.run(app, [str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return medcli
