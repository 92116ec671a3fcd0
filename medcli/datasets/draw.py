"""Which case is sample number n: each once per epoch, by weights, or cells (groups, or groups and classes) equally
often."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import uniform
from medcli.datasets.store import sample_seed, shuffled


class Draw(Protocol):
    """A pure function of the seed and the number of the sample."""

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        """The index of the case of sample `number`, both int64 scalars."""


class EachOnce:
    """Every epoch of `cases` samples is a permutation of the cases."""

    def __init__(self, cases: int, seed: int):
        self.cases, self.seed = cases, seed

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        return shuffled(number, self.cases, self.seed)


class Repeated:
    """Cases in proportion to their weights: in an epoch of `n` samples each n w / sum(w) times, rounded up or down.

    Systematic sampling: n equidistant points with a random start, over the cases laid end to end in a fixed order.

    Args:
        weights: (n,) positive.
        seed: Of the job.
    """

    def __init__(self, weights: np.ndarray, seed: int):
        self.cases, self.seed = len(weights), seed
        self.shares = np.asarray(weights, np.float64) / np.mean(weights)
        """How often each case is drawn, 1 on average."""
        ends = np.cumsum(np.asarray(weights, np.float64))
        self._ends = tf.constant(ends / ends[-1] * self.cases)

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        point = tf.cast(shuffled(number, self.cases, self.seed), tf.float64)
        start = uniform(sample_seed(number // self.cases, self.seed, purpose=65), 0)
        place = tf.searchsorted(self._ends, [point + tf.cast(start, tf.float64)], side="right")[0]
        return tf.cast(tf.minimum(place, self.cases - 1), tf.int64)


class Balanced:
    """Cells equally often, within a cell its patients equally often, of a patient the cases in turn.

    Drawing patients, not cases, keeps forty images of one patient from standing for a whole small cell. Cells,
    patients and cases are each gone through in a random order before one comes again. Cases of no cell are drawn as
    often as without balance.

    Args:
        cells: (n,) int, the cell of every case, -1 for none.
        patients: One per case.
        seed: Of the job.
    """

    def __init__(self, cells: np.ndarray, patients: Sequence[str], seed: int):
        self.seed = seed
        self.shares = np.ones(len(cells))
        """How often each case is drawn, 1 on average."""
        _, patient = np.unique(np.asarray(patients, str), return_inverse=True)
        order = np.lexsort((patient, cells))
        order = order[cells[order] >= 0]
        rest = np.flatnonzero(cells < 0)
        self._rest_share = len(rest) / len(cells)
        self._rest = tf.constant(rest, tf.int64)
        if not len(order):
            return
        _, cell = np.unique(cells[order], return_inverse=True)
        units, first, count = np.unique(
            np.stack([cell, patient[order]]), axis=1, return_index=True, return_counts=True
        )
        members = np.bincount(units[0])
        self._cells, self._units = len(members), len(first)
        self._order = tf.constant(order, tf.int64)
        self._first, self._count = tf.constant(first, tf.int64), tf.constant(count, tf.int64)
        self._start = tf.constant(np.concatenate([[0], np.cumsum(members)[:-1]]), tf.int64)
        self._members = tf.constant(members, tf.int64)
        unit = np.repeat(np.arange(len(first)), count)
        self.shares[order] = len(order) / (self._cells * members[cell] * count[unit])

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        if self._rest_share == 1:
            return self._of_no_cell(number)
        if self._rest_share == 0:
            return self._of_a_cell(number)
        chance = uniform(sample_seed(number, self.seed, purpose=60), 0)
        return tf.cond(
            chance < self._rest_share, lambda: self._of_no_cell(number), lambda: self._of_a_cell(number)
        )

    def _of_no_cell(self, number: tf.Tensor) -> tf.Tensor:
        count = len(self._rest)
        place = tf.cast(uniform(sample_seed(number, self.seed, purpose=61), 0) * count, tf.int64)
        return tf.gather(self._rest, tf.minimum(place, count - 1))

    def _of_a_cell(self, number: tf.Tensor) -> tf.Tensor:
        turn = number // self._cells
        cell = self._in_turn(number % self._cells, self._cells, turn, purpose=62)
        members = tf.gather(self._members, cell)
        visit = turn // members
        place = self._in_turn(turn % members, members, visit * self._cells + cell, purpose=63)
        unit = tf.gather(self._start, cell) + place
        count = tf.gather(self._count, unit)
        case = self._in_turn(visit % count, count, (visit // count) * self._units + unit, purpose=64)
        return tf.gather(self._order, tf.gather(self._first, unit) + case)

    def _in_turn(self, position, count, round_number, *, purpose: int) -> tf.Tensor:
        """The one at `position` of a permutation of `count` that belongs to the round."""
        key = sample_seed(round_number, self.seed, purpose)
        last = tf.cast(count, tf.int64) - 1
        return tf.random.experimental.index_shuffle(tf.cast(position, tf.int64), key, last)


def by_class(
    targets: np.ndarray, patients: Sequence[str], seed: int, *, multi_label: bool
) -> Balanced | Repeated:
    """Every class equally often; with several labels per case, cases by 1 / (how many show the rarest of their labels).

    A case without any label counts as one of the most frequent label.

    Args:
        targets: (n, classes), 1 where a case shows a class.
        patients: (n,).
    """
    shown = targets > 0.5
    if not multi_label:
        return Balanced(shown.argmax(axis=1), patients, seed)
    counts = np.maximum(shown.sum(axis=0), 1)
    return Repeated(np.maximum((shown / counts).max(axis=1), 1 / counts.max()), seed)
