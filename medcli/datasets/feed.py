"""The batches of a training run: batch number n is a pure function of (seed, n), so training resumes anywhere."""

from typing import Protocol

import tensorflow as tf


class TrainingSet(Protocol):
    """Random access to augmented training samples: sample n is a pure function of (seed, n), so training can resume."""

    cases: int
    """Number of cases; one epoch is this many samples unless the config says otherwise."""
    total_samples: int
    """Set by the trainer before use, lowered when the time runs out: number / total_samples is how far training is."""

    def sample(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One augmented (image, target) for sample number (int64 scalar). Runs in a graph, in parallel.

        Image float32, spatial shape + channel, static shape set; target a tensor of static shape.
        """

    def batch(self, images: tf.Tensor, targets: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What needs several samples at once (mix-up), or is cheaper so; `number` is the batch's number."""


def feed(training_set: TrainingSet, *, batch_size: int, first_batch: int, last_batch: int) -> tf.data.Dataset:
    """(images, targets) for batches first_batch <= n < last_batch."""
    samples = tf.data.Dataset.range(first_batch * batch_size, last_batch * batch_size)
    draw, combine = map(tf.autograph.experimental.do_not_convert, (training_set.sample, training_set.batch))
    samples = samples.map(draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = samples.batch(batch_size, drop_remainder=True)
    numbers = tf.data.Dataset.range(first_batch, last_batch)
    batches = tf.data.Dataset.zip(batches, numbers)
    batches = batches.map(
        tf.autograph.experimental.do_not_convert(lambda pair, number: combine(*pair, number)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    options = tf.data.Options()
    options.autotune.ram_budget = 512 * 2**20
    return batches.with_options(options).prefetch(4)
