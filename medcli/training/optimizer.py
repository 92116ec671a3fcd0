"""The optimiser, and the learning rate as a function of how far training is."""

import keras
import numpy as np
import tensorflow as tf

from medcli.config.schema import Train


def peak_learning_rate(settings: Train) -> float:
    if settings.learning_rate != "auto":
        return settings.learning_rate
    return 1e-2 if settings.optimizer == "sgd" else 1e-3


def build_optimizer(settings: Train, task: str, policy: str) -> keras.optimizers.Optimizer:
    """AdamW, Adam or SGD with Nesterov momentum; clipped by global norm; with loss scaling under float16."""
    common = {"learning_rate": peak_learning_rate(settings), "global_clipnorm": settings.clip_norm}
    decay = settings.weight_decay or None
    match settings.optimizer:
        case "adamw":
            optimizer = keras.optimizers.AdamW(weight_decay=decay or 0.0, **common)
        case "adam":
            optimizer = keras.optimizers.Adam(**common)
        case "sgd":
            momentum = 0.99 if task == "segmentation" else 0.9
            optimizer = keras.optimizers.SGD(momentum=momentum, nesterov=True, weight_decay=decay, **common)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer


def learning_rate_at(progress: tf.Tensor, settings: Train, peak: float) -> tf.Tensor:
    """Learning rate at `progress` 0..1: a linear rise over the warm-up, then down to (almost) zero.

    cosine: Loshchilov and Hutter 2017, equation 5, one period. polynomial: (1 - progress) ** 0.9, as in nnU-Net. It
    falls no further once weights are averaged (`swa`): these must differ for their mean to be better.
    """
    progress = tf.minimum(progress, 1 - settings.swa)
    warmup = settings.warmup
    rise = tf.minimum(1.0, (progress + 1e-4) / warmup) if warmup > 0 else 1.0
    rest = tf.clip_by_value((progress - warmup) / max(1 - warmup, 1e-6), 0.0, 1.0)
    match settings.schedule:
        case "cosine":
            fall = 0.5 * (1 + tf.cos(np.pi * rest))
        case "polynomial":
            fall = (1 - rest) ** 0.9
        case "constant":
            fall = tf.ones_like(rest)
    return peak * rise * tf.maximum(fall, 1e-4)
