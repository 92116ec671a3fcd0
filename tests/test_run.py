"""The run folder: begun, continued, and gone again when nothing came of it."""

import pytest

from medcli.config.loading import from_dict
from medcli.errors import UsageError
from medcli.preprocessing.plan import Intensity, Plan
from medcli.run import MODEL, create_run, new_run


@pytest.fixture
def begin(tmp_path):
    config = from_dict({"task": "classification", "data": {"root": "."}}, folder=tmp_path, name="made_up")
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=None,
        intensity=[Intensity(kind="none")], patch=None, batch_size=2, stages=2,
    )  # fmt: skip

    def begin(function=create_run, **how):
        return function(tmp_path / "run", config, plan, (), **{"resume": False, "force": False} | how)

    return begin


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_in_which_nothing_was_trained_goes_again_when_its_preparation_fails(begin, tmp_path):
    for fault in (MemoryError, KeyboardInterrupt):
        with pytest.raises(fault), begin(new_run):
            assert names(tmp_path / "run") == ["config.yaml", "manifest.csv", "plan.yaml"]
            raise fault
        assert not (tmp_path / "run").exists()


def test_what_was_trained_stays_whatever_fails(begin, tmp_path):
    with pytest.raises(MemoryError), begin(new_run):
        (tmp_path / "run" / MODEL).write_bytes(b"weights")
        raise MemoryError
    assert (tmp_path / "run" / MODEL).read_bytes() == b"weights"


def test_a_run_is_neither_replaced_nor_mixed_with_other_files_unasked(begin, tmp_path):
    begin()
    with pytest.raises(UsageError, match="holds a run already"):
        begin()
    begin(force=True)
    (tmp_path / "run" / "config.yaml").unlink()
    (tmp_path / "run" / "letter.txt").write_text("Dear colleague")
    with pytest.raises(UsageError, match="found other files"):
        begin(force=True)
    assert (tmp_path / "run" / "letter.txt").exists()


def test_a_run_that_was_killed_while_its_folder_was_made_can_simply_be_begun_again(begin, tmp_path):
    begin()
    (tmp_path / "run" / "config.yaml").unlink()  # the last file that is written
    begin()
    assert names(tmp_path / "run") == ["config.yaml", "manifest.csv", "plan.yaml"]


def test_continuing_takes_away_what_was_left_half_written(begin, tmp_path):
    begin()
    left = [
        tmp_path / "run" / ".partial-1-model.keras",
        tmp_path / "run" / "checkpoints" / ".partial-2-step.npz",
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    begin(resume=True)
    assert not any(path.exists() for path in left)
