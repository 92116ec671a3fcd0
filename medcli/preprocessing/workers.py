"""How cases are shared among worker processes: how many at a time, and how much memory they may take."""

from collections.abc import Callable, Sequence
from typing import Any

from medcli.case import Case
from medcli.config.schema import Config
from medcli.parallel import WorkerDied, default_workers, run
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.scan import Scan, Signatures

MODULES = ("medcli.preprocessing.cases", "medcli.io.readers", "medcli.io.masks")
WORKER_BYTES = 200e6
"""What a worker takes before it has read anything."""
COPIES = 6
"""Copies of an image, as float32, that preparing it holds at once."""
LARGEST_CHUNK = 200
"""Most cases that a worker takes at a time."""
CHUNK_BYTES = 50e6
"""Cases are taken together while they stay below this in memory."""


def over_cases(
    function: Callable[[Any], list],
    job_of: Callable[[list[int]], Any],
    indices: Sequence[int],
    costs: Sequence[float],
    config: Config,
    receive: Callable[[list[int], list[Any]], None],
) -> None:
    """Call a worker function on cases, many small or one large at a time.

    Args:
        function: From a job to one result per case.
        job_of: From the indices of some cases to a job.
        indices: The cases.
        costs: Bytes that each of them takes in memory.
        config: Its number of workers and memory.
        receive: Called with some indices and their results; `WorkerDied` for a case that killed its process.
    """
    by_index = dict(zip(indices, costs, strict=True))
    chunks = [[indices[position] for position in chunk] for chunk in grouped(costs, workers(config))]
    again: list[list[int]] = []

    def take(number: int, results: list | WorkerDied) -> None:
        if not isinstance(results, WorkerDied):
            receive(chunks[number], results)
        elif len(chunks[number]) == 1:
            receive(chunks[number], [results])
        else:
            again.extend([index] for index in chunks[number])

    while chunks:
        run(
            function,
            [job_of(chunk) for chunk in chunks],
            take,
            workers=workers(config),
            costs=[WORKER_BYTES + max(by_index[index] for index in chunk) for chunk in chunks],
            budget=config.preprocess.max_memory_gb * 1e9,
            preload=MODULES,
        )
        chunks, again = again, []


def workers(config: Config) -> int:
    """Processes, at least one, fewer than wanted when memory is short."""
    wanted = config.preprocess.workers
    most = wanted if isinstance(wanted, int) else default_workers()
    return max(1, min(most, int(config.preprocess.max_memory_gb * 1e9 / (2 * WORKER_BYTES))))


def grouped(costs: Sequence[float], workers: int) -> list[list[int]]:
    """Positions in groups: small cases many at a time, large ones alone, several groups for each worker."""
    most = max(1, min(LARGEST_CHUNK, len(costs) // (4 * workers)))
    groups: list[list[int]] = []
    size = 0.0
    for position, cost in enumerate(costs):
        if not groups or len(groups[-1]) >= most or size + cost > CHUNK_BYTES:
            groups.append([])
            size = 0.0
        groups[-1].append(position)
        size += cost
    return groups


def bytes_to_scan(case: Case, signatures: Signatures) -> float:
    """A guess before anything is read; the part of an `.npz` is small, however large the file."""
    if any(source.part and source.path.is_file() for source in case.images):
        return 100e3
    packed = {".gz", ".jpg", ".jpeg", ".png", ".dcm"}
    factor = 40.0 if any(source.path.suffix.lower() in packed for source in case.images) else 10.0
    return signatures.size(case) * factor


def bytes_to_prepare(scan: Scan) -> float:
    return COPIES * 4.0 * _product(*scan.shape, max(1, scan.channels))


def bytes_on_disk(scan: Scan, plan: Plan) -> float:
    """A guess of what the arrays of a case will take."""
    if plan.size is not None:
        return 4.0 * _product(*plan.size, plan.channels) + 1000
    scale = 1.0
    if plan.spacing is not None and scan.spacing is not None:
        scale = _product(*scan.spacing) / _product(*plan.spacing)
    label = 4 if plan.objects else 1
    per_voxel = 4.0 * plan.channels + (label if plan.task == "segmentation" else 0)
    return per_voxel * scale * _product(*scan.shape) + 1000


def _product(*numbers: float) -> float:
    result = 1.0
    for number in numbers:
        result *= number
    return result
