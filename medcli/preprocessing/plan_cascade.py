"""Whether coarse networks look at the whole first, where one patch sees too little of it, and on which grid.

After the cascade of nnU-Net (Isensee et al. 2021): where a patch covers less than a quarter of the median image, a
network on a coarser grid, whose patch sees more, answers first, and the fine network sees its answers beside the image.
Two coarse networks, each trained on half of the training patients, answer for the other half, so that the fine network
learns how good answers are for patients that were not trained on.
"""

import math
from collections.abc import Sequence

import numpy as np

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing.coarse import coarse_shape
from medcli.preprocessing.plan import Coarse
from medcli.preprocessing.plan_network import Network, decide_network

SEEN = 0.25
"""A patch that sees less than this share of the median image sees too little; the value of the paper."""
SEEN_COARSE = 0.5
"""The coarse grid is the finest on which a patch sees at least this share of the median image ..."""
LEAST_GAIN = 2.0
"""... and that has at most one voxel for so many of the fine grid."""
ENLARGE = 1.03
"""Step in which the coarse grid is looked for."""
LEAST_STEPS = 500
"""A coarse network that is trained for fewer steps may answer so badly that it is in the way (docs/cascade.md)."""
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
    objects: bool,
    channels: int,
    outputs: int,
) -> Coarse | None:
    """Decide for prepared images of these shapes, which the network sees in patches; None: no cascade.

    Args:
        spacing: In mm per axis of the prepared images, if known.
        size: That all images are brought to, if they are.
        objects: Single objects are learned.
        channels, outputs: Of a network without a cascade.

    Raises:
        ConfigError: It is asked for where it cannot be.
    """
    wanted, patch = config.model.cascade, network.patch
    if wanted == "off":
        reasons["cascade"] = "set in the config"
        return None
    median = tuple(math.ceil(n) for n in np.median(shapes, axis=0))
    hindrance = (
        "a 2D network on planes of volumes sees whole planes or large parts of them; expected model.planes: all"
        if network.planes is not None
        else "single objects are told apart in one step; expected data.objects: off"
        if objects
        else "all images have one size; expected preprocess.size: auto"
        if size is not None
        else None
    )
    if hindrance or patch is None:
        if wanted == "on":
            raise ConfigError(f"model.cascade: cannot be on: {hindrance}.")
        return None
    share = seen(patch, median)
    reason = (
        f"a patch of {_by(patch)} sees {share:.0%} of the median image of {_by(median)} (a cascade is for less than "
        f"{SEEN:.0%})"
    )
    if wanted == "auto":
        hint = ": model.cascade: on may help where what a place is depends on what is far away"
        reasons["cascade"] = f"off; {reason}{hint if share < SEEN else ''}"
        return None
    if share >= 1:
        raise ConfigError(
            f"model.cascade: a patch of {_by(patch)} sees all of the median image of {_by(median)}, so coarse networks "
            "can add nothing; expected auto or off."
        )
    factors, coarse = _coarse(config, shapes, spacing, channels, outputs)
    sees = seen(coarse.patch or (), coarse_shape(median, factors))
    reasons["cascade"] = (
        f"set in the config; {reason}. Two coarse networks first, each trained on half of the training patients in "
        f"{COARSE_SHARE:.0%} of the time, on the finest grid on which a patch sees {SEEN_COARSE:.0%} (it sees "
        f"{sees:.0%})"
    )
    steps = coarse.cost.get("steps", math.inf)
    if steps < LEAST_STEPS:
        reasons["cascade"] += (
            f"; they get about {steps:g} steps each, fewer than {LEAST_STEPS}: give more time, or leave the cascade off"
        )
    return Coarse(
        factors=factors,
        patch=list(coarse.patch or ()),
        batch_size=coarse.batch_size,
        stages=coarse.stages,
        strides=[list(stride) for stride in coarse.strides],
        width=coarse.width,
        cost=coarse.cost,
    )


def seen(patch: Sequence[int], whole: Sequence[int]) -> float:
    """The share of an image that one patch sees."""
    return math.prod(min(edge, n) / n for edge, n in zip(patch, whole, strict=True))


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
    model = config.model.model_copy(update={"planes": "all"})
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
