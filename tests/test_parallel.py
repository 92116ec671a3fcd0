"""Tasks in processes: all results, also when workers die."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from medcli.parallel import WorkerDied, default_workers, run


def square(number: int) -> int:
    return number * number


def die_of_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(task: tuple[str, int]) -> int:
    """Dies the first time that it is asked for number 2."""
    marker, number = task
    if number == 2 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def complain(number: int) -> int:
    raise ValueError(f"no {number}")


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return time.monotonic()


def gather(function, tasks, **settings) -> dict:
    results = {}
    run(function, tasks, results.__setitem__, **{"workers": 2} | settings)
    return results


def test_every_task_has_its_result():
    assert gather(square, range(20)) == {n: n * n for n in range(20)}


def test_nothing_to_do():
    assert gather(square, []) == {}


def test_only_the_task_that_kills_its_worker_is_lost():
    results = gather(die_of_three, range(8))
    assert isinstance(results.pop(3), WorkerDied)
    assert results == {n: n for n in range(8) if n != 3}


def test_a_task_whose_worker_dies_once_is_done_again(tmp_path):
    marker = str(tmp_path / "died")
    assert gather(die_once, [(marker, n) for n in range(5)]) == {n: n for n in range(5)}


def test_a_fault_is_raised_here():
    with pytest.raises(ValueError, match="no 0"):
        gather(complain, [0])


def test_the_budget_is_kept():
    """Two tasks of cost 2 with a budget of 3 run one after the other, however many workers there are."""
    ends = gather(slow, [0.3, 0.3], workers=2, costs=[2.0, 2.0], budget=3.0)
    assert ends[1] - ends[0] >= 0.29


def test_a_task_above_the_budget_still_runs():
    assert gather(square, [5], costs=[9.0], budget=1.0) == {0: 25}


def test_workers_end_with_a_fault_of_the_receiver():
    def receive(index, result):
        raise KeyboardInterrupt

    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(slow, [0.0, 20.0], receive, workers=2)
    assert time.monotonic() - before < 10


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(
        textwrap.dedent("""
            import os, time
            from medcli.parallel import run

            def work(number):
                os.write(1, b"%d\\n" % os.getpid())  # at once: two processes print here
                time.sleep(60)

            if __name__ == "__main__":
                run(work, [1, 2], print, workers=2)
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(worker) for worker in workers)


def test_default_workers():
    assert default_workers() >= 1
