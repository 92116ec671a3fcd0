"""Work on many items in processes: bounded in memory, and the death of a worker costs only the item that killed it."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerDied:
    """What takes the place of a result when a task ended its process twice, the second time alone in it."""

    reason: str = "the process that worked on it died (out of memory, or a fault in a decoder)"


def run(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    costs: Sequence[float] | None = None,
    budget: float = float("inf"),
    preload: Sequence[str] = (),
) -> Iterator[tuple[int, Result | WorkerDied]]:
    """Call function(task) for every task in worker processes and give (index of the task, result) as they finish.

    Args:
        function: A function of a module (it is sent by name); what it raises is raised here.
        tasks: Picklable.
        workers: Most processes at once.
        costs: What each task takes of the budget while it runs (say bytes); tasks wait for room, one always runs.
        budget: See costs.
        preload: Modules that the workers need, imported once for all of them.

    On an exception here (Ctrl-C, a closed generator) the workers are ended at once.
    """
    waiting = deque(range(len(tasks)))
    price = list(costs) if costs is not None else [0.0] * len(tasks)
    suspects: list[int] = []
    while waiting or suspects:
        if suspects:  # each alone, so that only the guilty one dies again
            index = suspects.pop()
            found = list(_round(function, tasks, deque([index]), 1, price, budget, preload, [])) or [
                (index, WorkerDied())
            ]
            yield from found
        else:
            yield from _round(function, tasks, waiting, workers, price, budget, preload, suspects)


def default_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _round(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    waiting: deque[int],
    workers: int,
    price: Sequence[float],
    budget: float,
    preload: Sequence[str],
    suspects: list[int],
) -> Iterator[tuple[int, Result]]:
    """One pool's life: takes indices from `waiting` until none is left, or a worker dies (then: `suspects`)."""
    running: dict[Future, int] = {}
    pool = ProcessPoolExecutor(min(workers, len(waiting)), _context(preload), _start_worker, (sys.path,))
    finished = False
    try:
        while waiting or running:
            spent = sum(price[index] for index in running.values())
            while (
                waiting
                and len(running) < 2 * workers
                and (not running or spent + price[waiting[0]] <= budget)
            ):
                index = waiting.popleft()
                running[pool.submit(function, tasks[index])] = index
                spent += price[index]
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                yield running.pop(future), result
        finished = True
    except BrokenProcessPool:
        suspects.extend(sorted(running.values(), reverse=True))
        for future, index in list(running.items()):
            if future.done() and future.exception() is None:  # finished before the other one died
                suspects.remove(index)
                yield index, future.result()
        finished = True
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:
            for process in processes:
                process.kill()


def _context(preload: Sequence[str]) -> BaseContext:
    """Processes that start from a small server, free of this one's threads and memory (a new one on Windows)."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    return context


def _start_worker(path: list[str]) -> None:
    """In the new process: leave Ctrl-C to the parent, and end when the parent is gone."""
    sys.path[:] = path
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: Any) -> None:
    wait_for([sentinel])
    os._exit(1)


def release_memory() -> None:
    """Give freed memory back to the system where the C library keeps it (glibc)."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass
