"""Whether coarse networks look at the whole first, where one patch sees too little of it, and on which grid.

After the cascade of nnU-Net (Isensee et al. 2021): where a patch covers less than a quarter of the median image, a
network on a coarser grid, whose patch sees more, answers first, and the fine network sees its answers beside the image.
Two coarse networks, each trained on half of the training patients, answer for the other half, so that the fine network
learns how good answers are for patients that were not trained on.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing.coarse import coarse_shape
from medcli.preprocessing.plan import Coarse
from medcli.preprocessing.plan_budget import TRAINING_SHARE
from medcli.preprocessing.plan_network import Network, decide_network

SEEN = 0.25
"""A patch that sees less than this share of the median image sees too little; the value of the paper."""
SEEN_COARSE = 0.5
"""The coarse grid is the finest on which a patch sees at least this share of the median image ..."""
LEAST_GAIN = 2.0
"""... and that has at most one voxel for so many of the fine grid."""
ENLARGE = 1.03
"""Step in which the coarse grid is looked for."""
LEAST_STEPS = 1000
"""`auto` wants that many steps for a coarse network: answers of one that learned little are in the way ..."""
LEAST_CASES = 10
"""... and so many training cases, of which each sees half."""
COARSE_SHARE = 0.2
"""Of the time budget, for each of the two coarse networks; the rest is for the fine one."""


def decide_cascade(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacing: Sequence[float] | None,
    size: Sequence[int] | None,
    network: Network,
    reasons: dict[str, str],
    *,
    cases: int,
    objects: bool,
    channels: int,
    outputs: int,
) -> Coarse | None:
    """Decide for prepared images of these shapes, which the network sees in patches; None: no cascade.

    Args:
        spacing: In mm per axis of the prepared images, if known.
        size: That all images are brought to, if they are.
        cases: That train.
        objects: Single objects are learned.
        channels, outputs: Of a network without a cascade.

    Raises:
        ConfigError: It is asked for where it cannot be.
    """
    wanted, patch = config.model.cascade, network.patch
    if wanted == "off":
        reasons["cascade"] = "set in the config"
        return None
    hindrance = _hindrance(network, objects, size)
    if hindrance or patch is None:
        if wanted == "on":
            raise ConfigError(f"model.cascade: cannot be on: {hindrance}.")
        return None
    median = tuple(math.ceil(n) for n in np.median(shapes, axis=0))
    share = seen(patch, median)
    why = f"a patch of {_by(patch)} sees {share:.0%} of the median image of {_by(median)}"
    if wanted == "auto" and (share >= SEEN or len(median) == 2 or cases < LEAST_CASES):
        reasons["cascade"] = (
            f"off; {why} (a cascade is for volumes of which it sees less than {SEEN:.0%}, with at least {LEAST_CASES} "
            "training cases)"
        )
        return None
    if share >= 1:
        raise ConfigError(
            f"model.cascade: a patch of {_by(patch)} sees all of the median image of {_by(median)}, so coarse networks "
            "can add nothing; expected auto or off."
        )
    factors, coarse = _coarse(config, shapes, spacing, channels, outputs)
    steps = coarse_steps(config, coarse.cost)
    few = f"coarse networks get about {steps:.2g} steps each in their share of the time, fewer than {LEAST_STEPS}"
    if wanted == "auto" and steps < LEAST_STEPS:
        reasons["cascade"] = (
            f"off; {why}, less than {SEEN:.0%}, but {few}: give more time, or set model.cascade: on"
        )
        return None
    sees = seen(coarse.patch or (), coarse_shape(median, factors))
    reasons["cascade"] = (
        f"{'set in the config' if wanted == 'on' else f'less than {SEEN:.0%}'}; {why}. Two coarse networks first, each "
        f"trained on half of the training patients in {COARSE_SHARE:.0%} of the time, on the finest grid on which a "
        f"patch sees {SEEN_COARSE:.0%} (it sees {sees:.0%})"
    )
    if steps < LEAST_STEPS:
        reasons["cascade"] += f"; {few}: give more time, or leave the cascade off"
    return Coarse(
        factors=factors,
        patch=list(coarse.patch or ()),
        batch_size=coarse.batch_size,
        stages=coarse.stages,
        strides=[list(stride) for stride in coarse.strides],
        width=coarse.width,
        cost=coarse.cost,
    )


def _hindrance(network: Network, objects: bool, size: Sequence[int] | None) -> str | None:
    """Why there cannot be a cascade; None: there can."""
    if network.planes is not None:
        return "a 2D network on planes of volumes sees most of a plane; expected model.planes: all"
    if objects:
        return "single objects are told apart in one step; expected data.objects: off"
    if size is not None:
        return "all images are brought to one size; expected preprocess.size: auto"
    return None


def seen(patch: Sequence[int], whole: Sequence[int]) -> float:
    """The share of an image that one patch sees."""
    return math.prod(min(edge, n) / n for edge, n in zip(patch, whole, strict=True))


def coarse_steps(config: Config, cost: Mapping[str, float]) -> float:
    """That a coarse network is expected to get in its share of the time budget; infinite without one.

    Args:
        cost: Of the coarse network, as in the plan.
    """
    minutes = of_the_time(config, COARSE_SHARE).train.max_minutes
    return math.inf if minutes is None else TRAINING_SHARE * 60 * minutes / cost["seconds_per_step"]


def of_the_time(config: Config, share: float) -> Config:
    """With this share of the time budget, if there is one."""
    minutes = config.train.max_minutes
    if minutes is None:
        return config
    return config.model_copy(
        update={"train": config.train.model_copy(update={"max_minutes": share * minutes})}
    )


def _coarse(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacing: Sequence[float] | None,
    channels: int,
    outputs: int,
) -> tuple[list[float], Network]:
    """How much coarser the grid is per axis, and the network on it."""
    model = config.model.model_copy(update={"planes": "all", "stages": "auto"})  # as many as fit
    config = of_the_time(config, COARSE_SHARE).model_copy(update={"model": model})
    steps = np.array(spacing or (1.0,) * len(shapes[0]))
    factors = np.ones(len(steps))
    while True:
        smaller = [coarse_shape(shape, factors.tolist()) for shape in shapes]
        median = [math.ceil(n) for n in np.median(smaller, axis=0)]
        network = decide_network(
            config, smaller, (steps * factors).tolist(), None, {}, channels=channels, outputs=outputs
        )
        if factors.prod() >= LEAST_GAIN and seen(network.patch or (), median) >= SEEN_COARSE:
            return [float(f"{factor:.4g}") for factor in factors], network
        waiting = steps * factors
        behind = waiting.max() / waiting > 2  # coarse axes wait until the others are nearly as coarse
        factors[behind if behind.any() else slice(None)] *= ENLARGE


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
