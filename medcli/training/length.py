"""How long training is: steps, epochs, and what a time budget leaves of them."""

import numpy as np

from medcli.config.schema import Config
from medcli.preprocessing.plan import Plan


def steps_per_epoch(config: Config, plan: Plan, cases: int, batch_size: int) -> int:
    """As set; else every case once (at least 1 step), for patches at least 50 steps."""
    if config.train.steps_per_epoch != "auto":
        return config.train.steps_per_epoch
    steps = max(1, cases // batch_size)
    return max(50, steps) if plan.task == "segmentation" else steps


def epochs(config: Config, cases: int, samples_per_epoch: int) -> int:
    """As set; else so that about 100,000 samples are seen, within 30 to 300 epochs."""
    if config.train.epochs != "auto":
        return config.train.epochs
    return int(np.clip(100_000 / samples_per_epoch, 30, 300))
