"""Functions called in a process of their own: results, faults, deaths, limits, and nothing left behind."""

import io
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from medcli import parallel, sandbox
from medcli.errors import FormatError, MedcliError, RunError
from medcli.sandbox import children, transfer
from tests import unruly

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits")
MEGABYTE = 2**20


@pytest.fixture(scope="module", autouse=True)
def ended_afterwards():
    yield
    sandbox.close()


def call(function, *arguments, **settings):
    return sandbox.call(function, *arguments, **{"subject": "scan.dcm"} | settings)


# ---- what comes back


def test_values_come_back_as_they_are():
    values = (1, 2.5, "text", None, (True, b"bytes"), {"a": [1]}, float("inf"))
    assert call(unruly.same, *values) == values


@pytest.mark.parametrize("size", [0, 1, 1000, transfer.LARGE, transfer.KEPT + 8 * MEGABYTE])
def test_arrays_come_back_as_they_are(size):
    array = np.random.default_rng(size).integers(0, 2**16, size // 2).astype(">u2")
    (back,) = call(unruly.same, array)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert back.flags.writeable


def test_arrays_keep_shape_and_order_and_do_not_change_with_the_next_call():
    first = np.arange(600_000, dtype=np.float32).reshape(2, 300, 1000)
    arrays = (first, np.asfortranarray(first[0] + 1), first[:, ::2, ::-1], first[0, 0, 0])
    back = call(unruly.same, *arrays)
    call(unruly.same, *(np.zeros_like(array) for array in arrays))
    for array, found in zip(arrays, back, strict=True):
        assert found.shape == array.shape and found.dtype == array.dtype
        assert np.array_equal(found, array)


def test_many_calls_share_one_process_which_is_not_this_one():
    processes = {call(unruly.own_process) for _ in range(50)}
    assert len(processes) == 1
    assert os.getpid() not in processes


def test_what_a_function_raises_is_raised_here():
    with pytest.raises(FormatError, match=r"^scan.png: a picture was expected\.$"):
        call(unruly.refuse, "scan.png")
    with pytest.raises(PermissionError) as caught:
        call(unruly.complain, PermissionError(13, "Permission denied", "scan.dcm"))
    assert (caught.value.errno, caught.value.filename) == (13, "scan.dcm")
    with pytest.raises(ValueError, match="no such plane"):
        call(unruly.complain, ValueError("no such plane"))


def test_a_fault_of_a_library_keeps_its_name_and_not_its_text():
    with pytest.raises(RuntimeError, match=r"^LibraryError$"):
        call(unruly.complain_like_a_library)


def test_it_is_silent(capfd):
    assert call(unruly.chatter) == "done"
    assert capfd.readouterr() == ("", "")


# ---- deaths


def told(function, *arguments, **settings) -> str:
    """The fault's text; afterwards calls work as before."""
    with pytest.raises(MedcliError) as caught:
        call(function, *arguments, **settings)
    assert type(caught.value) is settings.get("kind", FormatError)
    assert call(unruly.same, 7) == (7,)
    return str(caught.value)


def test_a_crash_is_told_in_one_sentence():
    assert told(unruly.get_signal, signal.SIGSEGV) == (
        "scan.dcm: the library that reads it crashed (SIGSEGV); refused, as it is damaged or made to harm."
    )
    assert "crashed (SIGABRT)" in told(unruly.get_signal, signal.SIGABRT, kind=RunError)


def test_a_process_that_is_killed_or_ends_itself_is_told():
    killed = told(unruly.get_signal, signal.SIGKILL)
    assert killed == "scan.dcm: the process that read it was killed; the computer may be short of memory."
    assert "without an answer (exit code 3)" in told(unruly.leave, 3)


def test_memory_is_bounded_for_each_call():
    text = told(unruly.largest, 120 * MEGABYTE, memory=100 * MEGABYTE)
    assert text == (
        "scan.dcm: reading it takes more than 0.1 GiB of memory; refused, as it is damaged or made to harm."
    )
    assert call(unruly.largest, 120 * MEGABYTE, memory=150 * MEGABYTE) == 1


def test_the_time_on_the_wall_is_bounded():
    start = time.monotonic()
    assert "longer than 0.1 s" in told(unruly.sleep, 60, seconds=0.1)
    assert time.monotonic() - start < 10


def test_processor_time_is_bounded(monkeypatch):
    monkeypatch.setattr(sandbox, "PATIENCE", 1000)
    assert "longer than 0.2 s" in told(unruly.work_forever, seconds=0.2)


def test_a_process_that_died_between_two_calls_is_replaced():
    process = psutil.Process(call(unruly.own_process))
    process.kill()
    process.wait()
    assert call(unruly.own_process) != process.pid


def test_an_interrupted_call_does_not_answer_the_next_one(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(children, "wait", interrupted)
        call(unruly.same, "first")
    assert call(unruly.same, "second") == ("second",)


def test_no_process_to_be_had_is_told(monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    sandbox.close()
    with monkeypatch.context() as patch:
        patch.setattr(children.subprocess, "Popen", refuse)
        with pytest.raises(FormatError, match=r"could be started \(Resource temporarily unavailable\)"):
            call(unruly.same)
    assert call(unruly.same) == ()


# ---- an answer is data


def test_an_answer_that_acts_while_it_is_read_is_refused(capfd):
    told(unruly.hostile)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("numpy", "load"),
        ("medcli.errors", "Any"),
        ("medcli.errors", "GateNotMet.__init__.__builtins__.get"),  # would hand out eval
        ("builtins", "Exception.__subclasses__"),
    ],
)
def test_an_answer_may_name_nothing_but_arrays_and_faults(module, name):
    def text(value: str) -> bytes:
        return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()

    content = pickle.PROTO + b"\x04" + text(module) + text(name) + pickle.STACK_GLOBAL + pickle.STOP
    assert callable(pickle.loads(content)) or name == "Any"
    with pytest.raises(pickle.UnpicklingError, match=name):
        transfer._Data(io.BytesIO(content)).load()


def test_nonsense_is_no_answer(monkeypatch):
    def nonsense(*_):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    with monkeypatch.context() as patch:
        patch.setattr(children, "receive_answer", nonsense)
        with pytest.raises(FormatError, match="without an answer"):
            call(unruly.same)
    assert call(unruly.same) == ()


# ---- threads and processes


def test_threads_may_call_together():
    def work(number: int) -> bool:
        array = np.full(40_000, number, np.float64)
        return np.array_equal(call(unruly.same, number, array)[1], array)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_threads_share_a_process_until_waiting_costs_more_than_another(monkeypatch):
    monkeypatch.setattr(children, "default_workers", lambda: 2)
    for worth, count in ((60.0, 1), (0.0, 2)):
        sandbox.close()
        monkeypatch.setattr(children, "WORTH", worth)
        with ThreadPoolExecutor(4) as pool:
            found = {*pool.map(lambda _: call(unruly.sleep, 0.05) or call(unruly.own_process), range(8))}
        assert len(found) == count


def test_a_thread_whose_process_dies_leaves_room_for_another(monkeypatch):
    monkeypatch.setattr(children, "default_workers", lambda: 1)

    def work(number: int) -> str:
        try:
            return str(call(unruly.get_signal, signal.SIGKILL) if number % 2 else call(unruly.same, number))
        except FormatError:
            return "died"

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(work, range(6)))
    assert results == ["(0,)", "died", "(2,)", "died", "(4,)", "died"]


def test_a_worker_calls_in_its_own_process():
    results = {}
    parallel.run(_calls_in_place, [0], results.__setitem__, workers=1)
    assert results == {0: True}
    assert call(unruly.call_again)
    assert not sandbox.expendable()


def _calls_in_place(_: int) -> bool:
    return sandbox.call(unruly.own_process, subject="x") == os.getpid()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="fork")
def test_after_a_fork_the_processes_of_the_parent_are_left_alone():
    before = call(unruly.own_process)
    child = os.fork()
    if child == 0:
        os._exit(0 if not children.POOL._idle else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert call(unruly.own_process) == before


# ---- nothing is left


def files_about() -> set[Path]:
    return {
        path
        for folder in (Path("/dev/shm"), Path(tempfile.gettempdir()))
        if folder.is_dir()
        for path in folder.iterdir()
        if "medcli" in path.name or path.parent.name == "shm"
    }


def test_a_process_that_dies_leaves_no_file_and_no_zombie():
    before = files_about()
    call(unruly.ones, 10 * MEGABYTE)
    process = call(unruly.own_process)
    told(unruly.get_signal, signal.SIGKILL)
    assert not psutil.pid_exists(process)
    assert files_about() == before


def test_processes_end_with_the_one_that_calls_even_when_it_is_killed_in_a_call(tmp_path):
    script, marker = tmp_path / "work.py", tmp_path / "marker"
    script.write_text(
        textwrap.dedent(f"""
            import sys
            from pathlib import Path
            sys.path[:0] = {sys.path!r}
            from medcli import sandbox
            from tests import unruly
            sandbox.call(unruly.sleep, 60, Path({str(marker)!r}), subject="x")
        """)
    )
    caller = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 30
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process = int(marker.read_text())
    caller.kill()
    caller.wait()
    while psutil.pid_exists(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(process)


def test_processes_end_at_the_end(tmp_path):
    code = "from medcli import sandbox; from tests import unruly; print(sandbox.call(unruly.own_process, subject='x'))"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))


def test_it_costs_nothing_until_it_is_called():
    code = "import medcli.io.dicom, medcli.models.safety, psutil; print(len(psutil.Process().children()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "0\n"
