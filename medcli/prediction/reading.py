"""Cases read and prepared in threads before the network asks for them; a fault becomes one sentence."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from medcli.case import Case
from medcli.errors import MedcliError, in_a_sentence
from medcli.image import Image
from medcli.io.readers import read_channels
from medcli.preprocessing.geometry import Placement
from medcli.refusal.gate import Look

BATCH_CASES = 64
BATCH_BYTES = 128 * 2**20
"""Cases go to the task together up to these limits; the task makes batches of its own size of them."""
READERS = 2
HUGE_BYTES = 2**30
"""While a case of more than this is predicted no other is read."""


@dataclass(frozen=True, eq=False)
class Read:
    """A case as read and prepared."""

    case: Case
    image: Image
    array: np.ndarray
    placement: Placement
    seconds: float
    look: Look | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.image.array.nbytes + self.array.nbytes


def read_files(case: Case) -> Image:
    """The image of a case from its files."""
    return read_channels(case.images)


def fits(read: Read, group: list[Read], together: int) -> bool:
    return (
        len(group) < together
        and read.array.shape == group[0].array.shape
        and (len(group) + 1) * read.size <= BATCH_BYTES
    )


def read_ahead(
    cases: Iterable[Case], read, *, together: Callable[[Read], int]
) -> Iterator[tuple[Case, Read | MedcliError]]:
    """Read in threads before it is asked for; keeps the order.

    At most twice as many cases wait as go to the network together, or fewer when they would take more memory than two
    batches may: while a large one is predicted the next one is read, while a huge one is predicted none.
    """
    cases = iter(cases)
    ahead = 1  # until the size of one is known
    with ThreadPoolExecutor(READERS, thread_name_prefix="medcli-read") as pool:
        waiting: deque[tuple[Case, Future[Read]]] = deque()
        try:
            while True:
                for case in islice(cases, max(0, max(1, ahead) - len(waiting))):
                    waiting.append((case, pool.submit(read, case)))
                if not waiting:
                    return
                case, future = waiting.popleft()
                outcome = _outcome(future)
                if isinstance(outcome, Read):
                    ahead = int(np.clip(2 * BATCH_BYTES // max(1, outcome.size), 1, 2 * together(outcome)))
                    ahead = 0 if outcome.size > HUGE_BYTES else ahead
                for case_after in islice(cases, max(0, ahead - len(waiting))):
                    waiting.append((case_after, pool.submit(read, case_after)))
                yield case, outcome
                del outcome, future  # not to be held while the next one is read
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(future: "Future[Read]") -> Read | MedcliError:
    try:
        return future.result()
    except MedcliError as error:
        return error
    except Exception as error:
        return explained(error)


def explained(error: Exception) -> MedcliError:
    return in_a_sentence(error, "predicted", "lower predict.batch_size")
