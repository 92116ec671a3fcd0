"""How many axes the network has, how large its patches, how deep it is: from the sizes of the prepared images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing.plan_budget import Budget, Draft, Machine
from medcli.preprocessing.plan_detection import Input
from medcli.preprocessing.plan_planes import decide_planes

COARSEST_EDGE = 4
"""No axis is halved below this many voxels."""
PATCH_VOXELS = 300_000
"""Most voxels of a 3D patch."""
BATCH_VOXELS = 600_000
"""Voxels of a 3D batch that `auto` aims at."""
LARGEST_PATCH_2D = 256
"""Longest side of a 2D patch."""
BATCH_PIXELS = 8 * 256**2
"""Pixels of a 2D batch that `auto` aims at."""
DETECTION_BATCH = 8
MOST_STAGES = 5
MOST_BATCH = {2: 16, 3: 8}
WIDTH = {2: 32, 3: 16}
"""Of the first stage, by the number of axes."""
SMALL_PICTURE = 64
"""Pictures up to this side are trained in larger batches, and a residual network's stem keeps their resolution."""
MEDIUM_PICTURE = 160
"""Up to this side the stem halves it, above it quarters it."""
FINEST_END = 16
"""Most positions per axis that the last of four stages of a residual network sees."""


@dataclass(frozen=True)
class Network:
    """What `Plan` says of the network: patch (segmentation), batch size, and of a U-Net stages, strides and so on."""

    patch: tuple[int, ...] | None
    batch_size: int
    stages: int
    strides: tuple[tuple[int, ...], ...]
    width: int | None = None
    cost: dict[str, float] = field(default_factory=dict)
    planes: int | None = None


def decide_network(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacing: Sequence[float] | None,
    size: Sequence[int] | None,
    reasons: dict[str, str],
    *,
    channels: int = 1,
    outputs: int = 2,
) -> Network:
    """Decide for prepared images of these shapes (and this spacing in mm, if known); see also `plan_budget`.

    Args:
        channels, outputs: Of the network.

    Raises:
        ConfigError: Patch, stages or memory that are set do not fit.
    """
    if config.task != "segmentation":
        assert size is not None
        return _whole_images(config, size, spacing, reasons)
    planes = decide_planes(config, shapes, spacing, reasons)
    if planes is None:
        return _patches(config, shapes, spacing, reasons, channels, outputs)
    shapes, spacing = [shape[1:] for shape in shapes], spacing[1:] if spacing else None
    flat = _patches(config, shapes, spacing, reasons, planes * channels, outputs)
    strides = tuple((1, *stride) for stride in flat.strides)
    return replace(flat, patch=(planes, *(flat.patch or ())), strides=strides, planes=planes)


def _patches(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacing: Sequence[float] | None,
    reasons: dict[str, str],
    channels: int,
    outputs: int,
) -> Network:
    """For networks with as many axes as these shapes."""
    median = tuple(math.ceil(n) for n in np.median(shapes, axis=0))
    spacing = tuple(spacing) if spacing else (1.0,) * len(median)
    fixed = config.train.patch if isinstance(config.train.patch, list) else None
    asked = config.model.stages if isinstance(config.model.stages, int) else None
    if fixed and len(fixed) != len(median):
        raise ConfigError(f"train.patch: expected {len(median)} numbers for these images, got {len(fixed)}.")
    limit = float(LARGEST_PATCH_2D**2 if len(median) == 2 else PATCH_VOXELS)

    def propose(voxels: float) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        if fixed:
            return tuple(fixed), _strides(fixed, spacing, asked, exact=True)
        wanted = _wanted_patch(median, spacing, voxels)
        strides = _strides(wanted, spacing, asked)
        return _rounded(wanted, strides, median), strides

    patch, strides = propose(limit)
    reasons["patch"] = (
        "set in the config"
        if fixed
        else f"median prepared shape {_by(median)}, at most {_limit(len(median))}, multiples of the total stride"
    )
    draft = Draft(patch, strides, _batch(config, patch, reasons), _width(config, len(median), reasons), limit)
    budget = Budget(
        config,
        Machine.here(config.train.mixed_precision),
        propose,
        channels=channels,
        outputs=outputs,
        most_batch=MOST_BATCH[len(median)],
    )
    draft = budget.apply(draft)
    patch, strides = draft.patch, draft.strides
    for name, why in budget.limited.items():
        reasons[name] += f"; {why}"
    reasons["cost"] = budget.explained(draft)
    if asked and len(strides) < asked:
        raise ConfigError(
            f"model.stages: a patch of {_by(patch)} can be halved {len(strides) - 1} times, so expected at "
            f"most {len(strides)} stages, got {asked}; enlarge train.patch or lower model.stages."
        )
    reasons["stages"] = (
        "set in the config"
        if asked
        else f"halved while an axis keeps at least {COARSEST_EDGE} voxels: {len(strides)}"
    )
    reasons["strides"] = "an axis waits while its spacing is more than twice the finest"
    return Network(patch, draft.batch, len(strides), strides, draft.width, budget.numbers(draft))


def _whole_images(
    config: Config, size: Sequence[int], spacing: Sequence[float] | None, reasons: dict[str, str]
) -> Network:
    asked = config.model.stages if isinstance(config.model.stages, int) else None
    strides = residual_strides(size, spacing if len(size) == 3 else None, asked)
    stages = len(strides) - 1
    reasons["stages"] = (
        "set in the config" if asked else f"residual networks have {stages} for sides up to {max(size)}"
    )
    last = [math.ceil(n / step) for n, step in zip(size, np.prod(strides, axis=0), strict=True)]
    reasons["strides"] = (
        f"the stem divides by {max(strides[0])}, then every stage by 2 while an axis has more than {COARSEST_EDGE} "
        f"positions (and a spacing of at most twice the finest): {_by(last)} at the end"
    )
    automatic = 64 if max(size) <= SMALL_PICTURE and len(size) == 2 else 32 if len(size) == 2 else 8
    if isinstance(config.train.batch_size, int):
        reasons["batch_size"] = "set in the config"
        return Network(None, config.train.batch_size, stages, strides)
    reasons["batch_size"] = f"{automatic} for {config.task} of {_by(size)}"
    return Network(None, automatic, stages, strides)


def residual_strides(
    size: Sequence[int], spacing: Sequence[float] | None, asked: int | None = None
) -> tuple[tuple[int, ...], ...]:
    """Stride per axis of a residual network's stem (1, 2 or 4 up to 64, 160 and more pixels) and of its stages.

    Four stages, or five where the last one would see more than 16 positions (above 512 pixels).

    Args:
        spacing: In mm per axis; a coarse axis waits until the others are nearly as coarse. None: all alike.
        asked: So many stages.
    """
    edges, steps = [float(n) for n in size], list(spacing or (1.0,) * len(size))

    def halved() -> tuple[int, ...]:
        able = [edge > COARSEST_EDGE for edge in edges]
        finest = min((step for step, can in zip(steps, able, strict=True) if can), default=0.0)
        stride = tuple(2 if can and step <= 2 * finest else 1 for step, can in zip(steps, able, strict=True))
        edges[:] = [math.ceil(edge / s) for edge, s in zip(edges, stride, strict=True)]
        steps[:] = [step * s for step, s in zip(steps, stride, strict=True)]
        return stride

    longest = max(size)
    times = 0 if longest <= SMALL_PICTURE else 1 if longest <= MEDIUM_PICTURE else 2
    stem = np.prod([(1,) * len(edges), *(halved() for _ in range(times))], axis=0)
    strides = [tuple(int(s) for s in stem), (1,) * len(edges)]
    while len(strides) - 1 < (asked or 4) or (not asked and len(strides) == 5 and max(edges) > FINEST_END):
        strides.append(halved())
    return tuple(strides)


def decide_detector(config: Config, seen: Input, reasons: dict[str, str]) -> Network:
    """Of a network that sees whole pictures or tiles as `medcli.preprocessing.plan_detection` decided."""
    asked = config.train.batch_size
    reasons["batch_size"] = "set in the config" if asked != "auto" else f"{DETECTION_BATCH} for detection"
    return Network(seen.tile, DETECTION_BATCH if asked == "auto" else asked, seen.stages, ())


def _wanted_patch(median: Sequence[int], spacing: Sequence[float], voxels: float) -> tuple[int, ...]:
    """2D: a square of so many pixels; 3D: a cube in mm of so many voxels; never larger than the median image."""
    if len(median) == 2:
        return tuple(min(n, round(math.sqrt(voxels))) for n in median)
    if math.prod(median) <= voxels:
        return tuple(median)
    low, high = 0.0, max(n * step for n, step in zip(median, spacing, strict=True))
    for _ in range(60):
        side = (low + high) / 2
        edges = [min(n, side / step) for n, step in zip(median, spacing, strict=True)]
        low, high = (side, high) if math.prod(edges) <= voxels else (low, side)
    return tuple(max(1, min(n, round(low / step))) for n, step in zip(median, spacing, strict=True))


def _strides(
    patch: Sequence[int], spacing: Sequence[float], asked: int | None, *, exact: bool = False
) -> tuple[tuple[int, ...], ...]:
    """Stride per axis on entering each stage, the first all ones.

    An axis is halved while it keeps `COARSEST_EDGE` voxels (1 when the number of stages is asked for; with
    `exact`, only while it stays whole) and its spacing is at most twice the finest of those axes.
    """
    least = 1 if asked else COARSEST_EDGE
    edges, steps = [float(n) for n in patch], list(spacing)
    strides = [(1,) * len(edges)]
    while len(strides) < (asked or MOST_STAGES):
        able = [edge / 2 >= least and (not exact or edge % 2 == 0) for edge in edges]
        if not any(able):
            break
        finest = min(step for step, can in zip(steps, able, strict=True) if can)
        stride = tuple(2 if can and step <= 2 * finest else 1 for step, can in zip(steps, able, strict=True))
        edges = [edge / s for edge, s in zip(edges, stride, strict=True)]
        steps = [step * s for step, s in zip(steps, stride, strict=True)]
        strides.append(stride)
    return tuple(strides)


def _rounded(
    wanted: Sequence[int], strides: Sequence[Sequence[int]], median: Sequence[int]
) -> tuple[int, ...]:
    """Multiples of the total stride: up where the image fits whole, else down."""
    total = np.prod(strides, axis=0)
    patch = []
    for edge, step, whole in zip(wanted, total, median, strict=True):
        up = edge >= whole or edge < step
        patch.append(int((math.ceil if up else math.floor)(edge / step) * step))
    return tuple(patch)


def _batch(config: Config, patch: Sequence[int], reasons: dict[str, str]) -> int:
    if isinstance(config.train.batch_size, int):
        reasons["batch_size"] = "set in the config"
        return config.train.batch_size
    voxels = math.prod(patch)
    if len(patch) == 2:
        batch = max(2, min(MOST_BATCH[2], round(BATCH_PIXELS / voxels)))
    else:
        batch = max(2, min(MOST_BATCH[3], round(BATCH_VOXELS / voxels)))
    reasons["batch_size"] = f"patches of {voxels} voxels"
    return batch


def _width(config: Config, dimensions: int, reasons: dict[str, str]) -> int:
    if isinstance(config.model.width, int):
        reasons["width"] = "set in the config"
        return config.model.width
    reasons["width"] = f"{WIDTH[dimensions]} for {'pictures' if dimensions == 2 else 'volumes'}"
    return WIDTH[dimensions]


def _limit(dimensions: int) -> str:
    return f"{LARGEST_PATCH_2D} a side" if dimensions == 2 else f"{PATCH_VOXELS} voxels"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
