"""Group DRO: learning for the cell that is worst just now (Sagawa et al. 2020, arXiv 1911.08731)."""

import math

import numpy as np
import tensorflow as tf


class GroupDRO:
    """Online algorithm 1 of the paper with the group adjustment of its section 3.3.

    After every batch the weight of a cell is multiplied by exp(step * (its mean loss + adjustment / sqrt(size))), and
    the weights are scaled to a sum of 1; a cell that the batch does not hold keeps its weight up to that scale.

    Args:
        sizes: (cells,) training patients (independent examples) of each.
        step: Of the exponentiated gradient (eta_q).
        adjustment: C of the group adjustment.

    Attributes:
        log_weights: (cells,) float32; the state, which belongs into a checkpoint.
    """

    def __init__(self, sizes: np.ndarray, *, step: float, adjustment: float):
        self.step = step
        self._extra = tf.constant(adjustment / np.sqrt(np.maximum(sizes, 1)), tf.float32)
        # Several replicas: the mean of the logarithms, which is a step by the mean loss over the replicas.
        self.log_weights = tf.Variable(
            tf.fill([len(sizes)], -math.log(len(sizes))),
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def __call__(self, losses: tf.Tensor, members: tf.Tensor) -> tf.Tensor:
        """Weighted loss, float32 scalar; changes the weights.

        Args:
            losses: (batch,).
            members: (batch, cells) from 0 to 1, rows that sum to at most 1: how far a case belongs to each cell (mixed
                cases belong to two). What is missing to 1 counts with weight 1.
        """
        count = tf.reduce_sum(members, 0)
        mean = tf.math.divide_no_nan(tf.linalg.matvec(members, losses, transpose_a=True), count)
        moved = self.log_weights + self.step * tf.where(count > 0, tf.stop_gradient(mean) + self._extra, 0.0)
        moved -= tf.reduce_logsumexp(moved)
        self.log_weights.assign(moved)
        inside = tf.reduce_sum(count)
        outside = tf.reduce_sum(losses * (1 - tf.reduce_sum(members, 1)))
        return (inside * tf.reduce_sum(tf.exp(moved) * mean) + outside) / tf.cast(
            tf.shape(losses)[0], tf.float32
        )

    def weights(self) -> np.ndarray:
        """(cells,) as they are now; they sum to 1."""
        return np.exp(self.log_weights.numpy())
