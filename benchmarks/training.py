"""One training step of a U-Net: medcli's choices against Keras' plain ones, in one run, as ratios.

    python benchmarks/training.py [--steps 5]

For a picture and a volume: float32 with `keras.layers.BatchNormalization`, float32 with the fused layer, and the
precision that `choose_precision` picks with the fused layer; always the same network, batch and loss. Also the loss
alone, over (class, voxel) arrays as here against reductions over the last axis.
"""

import argparse
import time
from collections.abc import Callable

from medcli.quiet import silence

silence()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

import medcli.models.blocks as blocks  # noqa: E402
from medcli.devices import choose_precision  # noqa: E402
from medcli.losses.segmentation import deep_supervision, dice_cross_entropy  # noqa: E402
from medcli.models.unet import build_unet  # noqa: E402
from medcli.run import precision  # noqa: E402

JOBS = {
    "picture 192x192x3, batch 8": ((192, 192, 3), 8, 5),
    "volume 40x56x40, batch 4": ((40, 56, 40, 1), 4, 4),
}
CLASSES = 3


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def training_step(shape, batch: int, stages: int, policy: str, fused: bool) -> Callable[[], object]:
    kept = blocks.FusedBatchNormalization
    if not fused:
        blocks.FusedBatchNormalization = keras.layers.BatchNormalization
    with precision(policy):
        strides = [[1] * (len(shape) - 1)] + [[2] * (len(shape) - 1)] * (stages - 1)
        model = build_unet(shape, CLASSES, strides=strides, width=16)
    blocks.FusedBatchNormalization = kept
    optimizer = keras.optimizers.AdamW(1e-3, global_clipnorm=12.0)
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((batch, *shape))
    labels = tf.cast(tf.random.uniform((batch, *shape[:-1]), 0, CLASSES, tf.int32), tf.uint8)

    @tf.function(autograph=False, jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            loss = deep_supervision(dice_cross_entropy, labels, model(images, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    return lambda: float(step())


def loss_step(loss, shape, batch: int) -> Callable[[], object]:
    logits = tf.Variable(tf.random.normal((batch, *shape[:-1], CLASSES)))
    labels = tf.cast(tf.random.uniform((batch, *shape[:-1]), 0, CLASSES, tf.int32), tf.uint8)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            value = loss(labels, logits)
        return tf.reduce_sum(tape.gradient(value, logits))

    return lambda: float(step())


def last_axis_loss(labels, logits):
    """The same Dice + cross-entropy with softmax and reductions over the last axis."""
    ids = tf.cast(labels, tf.int32)
    p = tf.nn.softmax(logits)[..., 1:]
    truth = tf.one_hot(ids - 1, CLASSES - 1)
    axes = list(range(len(labels.shape)))
    overlap = tf.reduce_sum(p * truth, axes)
    total = tf.reduce_sum(p, axes) + tf.reduce_sum(truth, axes)
    entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits))
    return 1 - tf.reduce_mean((2 * overlap + 1) / (total + 1)) + entropy


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--steps", type=int, default=5)
    repeats = arguments.parse_args().steps
    policy, why = choose_precision()
    print(f"precision chosen: {policy} ({why})\n")
    print(f"{'':28s} {'step':40s} {'seconds':>8s} {'times as fast':>14s}")
    for name, (shape, batch, stages) in JOBS.items():
        plain = None
        for title, used, fused in (
            ("float32, Keras' batch normalisation", "float32", False),
            ("float32, fused", "float32", True),
            (f"{policy}, fused", policy, True),
        ):
            took = seconds(training_step(shape, batch, stages, used, fused), repeats)
            plain = plain or took
            print(f"{name:28s} {title:40s} {took:8.3f} {plain / took:14.2f}")
        plain = seconds(loss_step(last_axis_loss, shape, batch), repeats)
        ours = seconds(loss_step(dice_cross_entropy, shape, batch), repeats)
        print(f"{name:28s} {'loss and gradient, last axis':40s} {plain:8.3f} {1:14.2f}")
        print(f"{name:28s} {'loss and gradient, (class, voxel)':40s} {ours:8.3f} {plain / ours:14.2f}")


if __name__ == "__main__":
    main()
