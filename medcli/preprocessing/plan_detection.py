"""What the detector sees: whole pictures or tiles of them, and at how many resolutions, from the sizes of the boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing.geometry import fitted_shape
from medcli.preprocessing.plan_geometry import DETECTION_STRIDE, decide_size

SIDE_OF_SMALL = 16.0
"""Pixels: two cells of the level of stride 8; a box below that (root of its area) is small ..."""
SHARE_OF_SMALL = 0.25
"""... and from this share of small boxes on the network gets a level of stride 4."""
LEAST_SIDE = 10.0
"""Pixels: when the median box would be smaller than this in the whole picture, tiles are cut ..."""
MUCH_LARGER = 1.5
"""... if the picture is more than this times as long as the input that it would be shrunk to."""
TILE = 512
"""Rows and columns of a tile, at most those of the median picture."""
LEAST_OVERLAP = 32
"""Pixels that neighbouring tiles share at least, for what lies around an object ..."""
LARGEST_OVERLAP = 0.5
"""... and at most, as a share of the tile."""


@dataclass(frozen=True)
class Input:
    """Attributes:
    size: Rows and columns that every picture is brought to; None: pictures stay as they are, and tiles are cut.
    tile: Rows and columns that the network sees at once, where that is not the whole picture.
    overlap: Pixels that neighbouring tiles share at prediction.
    stages: Levels: 3 (strides 8, 16, 32) or 4 (also 4).
    """

    size: tuple[int, ...] | None
    tile: tuple[int, ...] | None
    overlap: int
    stages: int


def decide_input(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    boxes: Sequence[np.ndarray],
    reasons: dict[str, str],
) -> Input:
    """Decide for pictures of these shapes (rows, columns) before they are brought to one size.

    Args:
        boxes: Per picture heights and widths (n, 2) in its pixels.

    Raises:
        ConfigError: Size or tile that are set do not fit.
    """
    size, tile = _size_and_tile(config, shapes, boxes, reasons)
    sides = np.concatenate(
        [_seen(one, shape, size, config) for one, shape in zip(boxes, shapes, strict=True)]
    )
    overlap = 0
    if tile is not None:
        overlap = min(round(LARGEST_OVERLAP * min(tile)), max(LEAST_OVERLAP, _longest(sides)))
        reasons["overlap"] = (
            f"tiles share {overlap} pixels: the 90th percentile of the boxes' longer sides, but 32 to half a tile"
        )
    return Input(size, tile, overlap, decide_levels(config, sides, reasons))


def decide_levels(config: Config, sides: np.ndarray, reasons: dict[str, str]) -> int:
    """Resolutions at which the detector looks for boxes of these heights and widths (n, 2) in pixels of its input.

    Raises ConfigError when model.stages is neither 3 nor 4.
    """
    asked = config.model.stages
    if asked != "auto":
        if asked not in (3, 4):
            raise ConfigError(f"model.stages: expected 3 or 4 (also stride 4) for the detector, got {asked}.")
        reasons["stages"] = "set in the config"
        return asked
    small = float(np.mean(_roots(sides) < SIDE_OF_SMALL)) if len(sides) else 0.0
    wanted = small >= SHARE_OF_SMALL
    reasons["stages"] = (
        f"the network sees {small:.0%} of the boxes smaller than {SIDE_OF_SMALL:g} pixels (root of the area); "
        f"strides {'4, ' if wanted else ''}8, 16 and 32, with 4 from {SHARE_OF_SMALL:.0%} on"
    )
    return 4 if wanted else 3


def _size_and_tile(
    config: Config, shapes: Sequence[tuple[int, ...]], boxes: Sequence[np.ndarray], reasons: dict[str, str]
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    wanted, given = config.preprocess.size, config.train.patch
    if isinstance(given, list):
        tile = _checked(given)
        reasons["patch"] = "set in the config: the network sees tiles of this size"
        if not isinstance(wanted, list):
            reasons["size"] = "pictures stay as they are, since the network sees tiles"
            return None, tile
        if any(edge > length for edge, length in zip(tile, wanted, strict=True)):
            raise ConfigError(
                f"train.patch: expected at most preprocess.size ({_by(wanted)}), got {_by(tile)}."
            )
        reasons["size"] = "set in the config"
        return tuple(wanted), tile
    size = decide_size(config, shapes, 2, reasons)
    assert size is not None
    if wanted != "auto":
        return size, None
    median = np.median(shapes, axis=0)
    shrinks = float(np.max(median / size))
    whole = [_seen(one, shape, size, config) for one, shape in zip(boxes, shapes, strict=True)]
    side = float(np.median(_roots(np.concatenate(whole)))) if any(map(len, whole)) else np.inf
    if shrinks <= MUCH_LARGER or side >= LEAST_SIDE:
        return size, None
    tile = tuple(min(TILE, -(-int(n) // DETECTION_STRIDE) * DETECTION_STRIDE) for n in median)
    reasons["patch"] = (
        f"tiles of {_by(tile)}: pictures are {shrinks:.2g} times as long as {_by(size)} (more than {MUCH_LARGER:g}), "
        f"where the median box would be {side:.2g} pixels (root of the area; less than {LEAST_SIDE:g})"
    )
    reasons["size"] = "pictures stay as they are, since the network sees tiles"
    return None, tile


def _seen(sides: np.ndarray, shape: Sequence[int], size: Sequence[int] | None, config: Config) -> np.ndarray:
    """Heights and widths (n, 2) as they are when the picture was brought to `size`."""
    sides = np.asarray(sides, float).reshape(-1, 2)
    if size is None:
        return sides
    scaled = fitted_shape(shape, size) if config.preprocess.keep_aspect else size
    return sides * (np.array(scaled) / np.array(shape))


def _checked(tile: Sequence[int]) -> tuple[int, ...]:
    if len(tile) != 2 or any(edge % DETECTION_STRIDE for edge in tile):
        raise ConfigError(
            f"train.patch: expected rows and columns that are multiples of {DETECTION_STRIDE} for detection, "
            f"got {_by(tile)}."
        )
    return tuple(tile)


def _roots(sides: np.ndarray) -> np.ndarray:
    return np.sqrt(sides.prod(axis=1))


def _longest(sides: np.ndarray) -> int:
    return int(np.ceil(np.percentile(sides.max(axis=1), 90))) if len(sides) else 0


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
