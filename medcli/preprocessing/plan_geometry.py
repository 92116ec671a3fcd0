"""The grid of the prepared images: spacing, crop and size, decided from the sizes of the images as read."""

import math
from collections.abc import Sequence

import numpy as np

from medcli.config.schema import WHOLE_IMAGES, Config
from medcli.errors import ConfigError
from medcli.preprocessing.geometry import orientation
from medcli.preprocessing.scan import Scan

LARGEST_CLASSIFICATION, LARGEST_DETECTION, LARGEST_VOLUME = 224, 640, 64
"""Longest side that `size: auto` gives: pixels, pixels, voxels."""
DETECTION_STRIDE = 32
NEARLY_SQUARE = 1.3
"""Classification: pictures whose sides differ by no more than this factor are prepared as squares."""
ANISOTROPIC = 3.0
"""Volumes are strongly anisotropic when the spacing of one axis is more than this times the others'."""
CROP_BELOW = 0.85
"""Crop when the median volume's content fills less than this share of it."""


def oriented(
    scans: Sequence[Scan], reorient: bool
) -> tuple[list[tuple[int, ...]], list[tuple[float, ...] | None]]:
    """Shapes and spacings in the order of the prepared axes."""
    shapes: list[tuple[int, ...]] = []
    spacings: list[tuple[float, ...] | None] = []
    for scan in scans:
        axes: Sequence[int] = range(len(scan.shape))
        if reorient and scan.affine is not None:
            axes, _ = orientation(np.array(scan.affine))
        shapes.append(tuple(scan.shape[axis] for axis in axes))
        spacings.append(None if scan.spacing is None else tuple(scan.spacing[axis] for axis in axes))
    return shapes, spacings


def median_spacing(spacings: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    known = [spacing for spacing in spacings if spacing is not None]
    return tuple(float(step) for step in np.median(known, axis=0)) if known else None


def decide_spacing(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacings: Sequence[tuple[float, ...] | None],
    dimensions: int,
    reasons: dict[str, str],
) -> list[float] | None:
    """Target spacing in mm per axis; None: native."""
    wanted = config.preprocess.spacing
    known = np.array([spacing for spacing in spacings if spacing is not None])
    if isinstance(wanted, list):
        if len(wanted) != dimensions:
            raise ConfigError(
                f"preprocess.spacing: expected {dimensions} numbers for these images, got {len(wanted)}."
            )
        missing = len(spacings) - len(known)
        native = f"; {missing} images without spacing stay native" if missing else ""
        reasons["spacing"] = "set in the config" + native
        return [float(step) for step in wanted]
    if wanted == "native":
        reasons["spacing"] = "set in the config"
        return None
    if dimensions == 2:
        reasons["spacing"] = "pictures stay native"
        return None
    if not len(known):
        reasons["spacing"] = "no file says its spacing"
        return None
    target, reasons["spacing"] = _auto_spacing(known, shapes)
    return target


def _auto_spacing(known: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> tuple[list[float], str]:
    """Median per axis; on a strongly anisotropic axis the 10th percentile.

    That axis is never made finer than the others: that would only invent voxels.
    """
    target = np.median(known, axis=0)
    reason = f"median of {len(known)} volumes: {_mm(target)}"
    coarse = int(target.argmax())
    others = [axis for axis in range(len(target)) if axis != coarse]
    size = np.median(shapes, axis=0)
    few = ANISOTROPIC * size[coarse] < min(size[axis] for axis in others)
    finest = max(target[axis] for axis in others)
    if target[coarse] > ANISOTROPIC * finest and few:
        target[coarse] = max(float(np.percentile(known[:, coarse], 10)), finest)
        reason += (
            f"; axis {coarse} is more than {ANISOTROPIC:g} times as coarse as the others and has less than a "
            f"third of their voxels, so its 10th percentile: {_mm(target)}"
        )
    return [float(f"{step:.6g}") for step in target], reason


def decide_crop(config: Config, scans: Sequence[Scan], dimensions: int, reasons: dict[str, str]) -> bool:
    """Whether the empty border is cut away."""
    wanted = config.preprocess.crop
    if wanted != "auto":
        reasons["crop"] = "set in the config"
        return wanted == "foreground"
    if dimensions == 2:
        reasons["crop"] = "pictures are not cropped"
        return False
    share = float(np.median([scan.foreground for scan in scans]))
    reasons["crop"] = (
        f"the content of the median volume fills {share:.0%} of it; cropped below {CROP_BELOW:.0%}"
    )
    return share < CROP_BELOW


def decide_size(
    config: Config, shapes: Sequence[tuple[int, ...]], dimensions: int, reasons: dict[str, str]
) -> tuple[int, ...] | None:
    """Size that every image is brought to; None for segmentation, which works on patches."""
    wanted = config.preprocess.size
    if isinstance(wanted, list):
        reasons["size"] = "set in the config"
        return _given_size(wanted, config.task, dimensions)
    if config.task == "segmentation":
        reasons["size"] = "segmentation works on patches of the images as they are"
        return None
    median = tuple(int(n) for n in np.median(shapes, axis=0))
    if wanted == "native":
        reasons["size"] = f"set in the config: native, all are {_by(median)}"
        return _one_size(shapes, config.task)
    if config.task == "detection":
        step, largest = DETECTION_STRIDE, LARGEST_DETECTION
    else:
        step, largest = 4, LARGEST_CLASSIFICATION if dimensions == 2 else LARGEST_VOLUME
    reason = f"median {_by(median)}, longest side at most {largest}, multiples of {step}"
    if config.task in WHOLE_IMAGES and dimensions == 2 and max(median) <= NEARLY_SQUARE * min(median):
        median = (round(math.prod(median) ** 0.5),) * 2
        reason += ", nearly square made square"
    scale = min(1.0, largest / max(median))
    reasons["size"] = reason
    return tuple(max(step, math.ceil(n * scale / step - 1e-6) * step) for n in median)


def _given_size(wanted: Sequence[int], task: str, dimensions: int) -> tuple[int, ...]:
    if len(wanted) != dimensions:
        raise ConfigError(
            f"preprocess.size: expected {dimensions} numbers for these images, got {len(wanted)}."
        )
    if task == "detection" and any(n % DETECTION_STRIDE for n in wanted):
        raise ConfigError(
            f"preprocess.size: expected multiples of {DETECTION_STRIDE} for detection, got {_by(wanted)}."
        )
    return tuple(wanted)


def _one_size(shapes: Sequence[tuple[int, ...]], task: str) -> tuple[int, ...]:
    """The only shape there is; ConfigError when there are several, or when the detector cannot take it."""
    kinds = sorted(set(shapes))
    if len(kinds) > 1:
        raise ConfigError(
            f"preprocess.size: native needs images of one size, found {len(kinds)} sizes from "
            f"{_by(kinds[0])} to {_by(kinds[-1])}; set a size, or auto."
        )
    return _given_size(kinds[0], task, len(kinds[0]))


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{step:.3g}" for step in spacing) + " mm"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
