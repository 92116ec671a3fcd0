"""Work on many tasks in processes: bounded in memory; a worker's death costs only the task that caused it."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerDied:
    """Takes the place of a result when a task ended its process twice, the second time alone in it."""

    reason: str = "the process that worked on it died (out of memory, or a fault in a decoder)"


def run(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    receive: Callable[[int, Result | WorkerDied], None],
    *,
    workers: int,
    costs: Sequence[float] | None = None,
    budget: float = float("inf"),
    preload: Sequence[str] = (),
) -> None:
    """Call function(task) for every task in worker processes.

    Args:
        function: A function of a module (it is sent by name); what it raises is raised here.
        tasks: Picklable.
        receive: Called here with (index of the task, result) as they finish, in no certain order.
        workers: Most processes at once.
        costs: What each task takes of the budget, say bytes; it waits for room, but one always runs.
        budget: See costs.
        preload: Modules that the workers need, imported once for all of them.

    Whatever ends this call (Ctrl-C, a fault in `receive`) also ends the workers at once.
    """
    work = _Work(function, tasks, receive, costs or [0.0] * len(tasks), budget, tuple(preload))
    waiting = deque(range(len(tasks)))
    while waiting:
        for index in work.go(waiting, workers):  # each alone, so that only the guilty one dies again
            if work.go(deque([index]), 1):
                receive(index, WorkerDied())


def get_ready(preload: Sequence[str]) -> None:
    """Begin to import what workers will need, in a process of its own, while this one does something else."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing.forkserver import ensure_running

        _context(preload)
        ensure_running()


def in_worker() -> bool:
    """Whether this process works for another one."""
    return multiprocessing.parent_process() is not None


def default_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Work(Generic[Task, Result]):
    function: Callable[[Task], Result]
    tasks: Sequence[Task]
    receive: Callable[[int, Result | WorkerDied], None]
    costs: Sequence[float]
    budget: float
    preload: tuple[str, ...]
    running: dict[Future, int] = field(default_factory=dict)

    def go(self, waiting: deque[int], workers: int) -> list[int]:
        """One pool's life: work until nothing waits, or a worker dies; then the tasks that were under way."""
        pool = ProcessPoolExecutor(min(workers, len(waiting)), _context(self.preload), _start_worker)
        self.running.clear()
        orderly = False
        try:
            while waiting or self.running:
                self._submit(pool, waiting, workers)
                done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    self.receive(self.running.pop(future), result)
            orderly = True
            return []
        except BrokenProcessPool:
            orderly = True
            return self._unfinished()
        finally:
            processes = list((pool._processes or {}).values())  # there is no public way to end them at once
            pool.shutdown(wait=orderly, cancel_futures=True)
            for process in processes if not orderly else ():
                process.kill()

    def _submit(self, pool: ProcessPoolExecutor, waiting: deque[int], workers: int) -> None:
        """Keep every worker busy and one task ready for each, as far as the budget allows."""
        spent = sum(self.costs[index] for index in self.running.values())
        while waiting and len(self.running) < 2 * workers:
            cost = self.costs[waiting[0]]
            if self.running and spent + cost > self.budget:
                return
            self.running[pool.submit(self.function, self.tasks[waiting[0]])] = waiting[0]
            waiting.popleft()  # only now: submitting fails when a worker has died meanwhile
            spent += cost

    def _unfinished(self) -> list[int]:
        """Hand out what was finished before the pool broke; the rest, in order."""
        suspects = []
        for future, index in sorted(self.running.items(), key=lambda entry: entry[1]):
            if future.done() and not future.cancelled() and future.exception() is None:
                self.receive(index, future.result())
            else:
                suspects.append(index)
        return suspects


def _context(preload: Sequence[str]) -> BaseContext:
    """Processes that start from a small server, free of this one's threads and memory."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    return context


def _start_worker() -> None:
    """In the new process: leave Ctrl-C to the parent, and end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: Any) -> None:
    wait_for([sentinel])
    os._exit(1)
