"""Files appear whole or not at all, and what a killed process left goes away."""

import errno
import os
import time

import pytest

from medcli.files import atomic_path, sweep, unnamed_file, write_text


def test_a_fault_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "notes.txt"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as path:
        path.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_is_told_with_the_file_that_did_not_fit(tmp_path, number):
    target = tmp_path / "cases.csv"
    with pytest.raises(OSError) as caught, atomic_path(target):
        raise OSError(number, os.strerror(number))
    assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert list(tmp_path.iterdir()) == []


def test_sweeping_takes_what_was_left_half_written_and_is_old_enough(tmp_path):
    (tmp_path / "kept.csv").write_text("a")
    (tmp_path / ".partial-1-a.csv").write_text("a")
    (tmp_path / ".partial-2").mkdir()
    (tmp_path / ".partial-2" / "report.html").write_text("a")
    old = time.time() - 100
    os.utime(tmp_path / ".partial-2", (old, old))
    sweep(tmp_path, age=50)
    assert {path.name for path in tmp_path.iterdir()} == {"kept.csv", ".partial-1-a.csv"}
    sweep(tmp_path)
    sweep(tmp_path / "no such folder")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.csv"]


def test_an_unnamed_file_is_written_and_read_by_its_path_and_then_gone():
    with unnamed_file() as path:
        with open(path, "wb") as stream:
            stream.write(b"pixels")
        with open(path, "rb") as stream:
            assert stream.read() == b"pixels"
    assert not os.path.exists(path)
