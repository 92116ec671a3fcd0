"""Cases in chunks: one that kills its process costs no other."""

import os
import signal

from medcli.config.schema import Config
from medcli.parallel import WorkerDied
from medcli.preprocessing.workers import grouped, over_cases, workers


def die_of_five(numbers: list[int]) -> list[int]:
    if 5 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return [-number for number in numbers]


def test_a_chunk_is_taken_apart_when_its_worker_dies():
    results = {}
    config = Config(task="classification", preprocess={"workers": 2})

    def receive(indices, values):
        results.update(zip(indices, values, strict=True))

    over_cases(die_of_five, list, list(range(24)), [1.0] * 24, config, receive)
    assert isinstance(results.pop(5), WorkerDied)
    assert results == {n: -n for n in range(24) if n != 5}


def test_small_cases_go_together_and_large_ones_alone():
    assert [len(group) for group in grouped([1.0] * 5000, 2)] == [200] * 25
    assert grouped([60e6, 60e6, 60e6], 1) == [[0], [1], [2]]
    assert [len(group) for group in grouped([1.0] * 16, 2)] == [2] * 8


def test_little_memory_means_few_workers():
    assert workers(Config(task="classification", preprocess={"workers": 8, "max_memory_gb": 1.0})) == 2
    assert workers(Config(task="classification", preprocess={"workers": 8, "max_memory_gb": 0.1})) == 1
