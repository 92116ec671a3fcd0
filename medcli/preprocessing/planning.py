"""Decide what the settings leave to `auto`, by rules and numbers that the plan repeats."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.config.schema import WINDOWS, Config
from medcli.errors import ConfigError, DataError
from medcli.preprocessing.fingerprint import merged
from medcli.preprocessing.geometry import fitted_shape, orientation, spaced_shape
from medcli.preprocessing.labels import LabelRule
from medcli.preprocessing.network import network_shape
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.scan import Scan

LARGEST_CLASSIFICATION, LARGEST_DETECTION, LARGEST_VOLUME = 224, 640, 64
"""Longest side that `size: auto` gives: pixels, pixels, voxels."""
DETECTION_STRIDE = 32
ANISOTROPIC = 3.0
"""A volume whose spacing on one axis is more than this times that of the others is strongly anisotropic."""
CROP_BELOW = 0.85
"""Crop when the median volume's content fills less than this share of it."""


@dataclass(frozen=True)
class Evidence:
    """What the plan is decided on: scans of the cases that are not for testing, and those that train."""

    known: Sequence[Scan]
    train: Sequence[Scan]


def make_plan(
    config: Config, evidence: Evidence, rule: LabelRule, *, multi_label: bool = False, stacked: bool = False
) -> Plan:
    """The plan for a data set.

    Args:
        config: Settings; what they fix is taken as it is.
        evidence: Scans.
        rule: Class names and label ids.
        multi_label: Classification: several classes may apply to one case.
        stacked: Channels come from several files, so they are no colours.
    """
    scans = evidence.known
    dimensions = len(scans[0].shape)
    if config.task == "detection" and dimensions == 3:
        raise DataError(
            "Detection works on pictures; these are volumes. Use segmentation, or give single slices."
        )
    reasons: dict[str, str] = {"classes": rule.reason}
    color, channels = _color(config, scans, dimensions, stacked, reasons)
    reorient = dimensions == 3
    if reorient:
        reasons["reorient"] = "volumes: axes brought to plane = up, row = backwards, column = to the left"
    shapes, spacings = _oriented(scans, reorient)
    crop = _crop(config, scans, dimensions, reasons)
    spacing = _spacing(config, shapes, spacings, dimensions, reasons)
    prepared = [
        shape if spacing is None or step is None else spaced_shape(shape, step, spacing)
        for shape, step in zip(shapes, spacings, strict=True)
    ]
    if crop:
        prepared = [
            tuple(max(1, round(n * scan.foreground ** (1 / dimensions))) for n in shape)
            for shape, scan in zip(prepared, scans, strict=True)
        ]
    size = _size(config, prepared, dimensions, reasons)
    intensity = _intensity(config, evidence, color, channels, dimensions, reasons)
    if size is not None:
        prepared = [
            size if not config.preprocess.keep_aspect else fitted_shape(shape, size) for shape in prepared
        ]
    network = network_shape(config, prepared, spacing or _median_spacing(spacings), size, reasons)
    settings = config.preprocess
    return Plan(
        task=config.task,
        dimensions=2 if dimensions == 2 else 3,
        classes=rule.classes,
        label_ids=rule.label_ids,
        multi_label=multi_label,
        channels=channels,
        color=color,
        reorient=reorient,
        spacing=spacing,
        size=None if size is None else list(size),
        keep_aspect=settings.keep_aspect,
        crop=crop,
        contrast=settings.contrast,
        clahe_clip=settings.clahe_clip,
        clahe_tiles=settings.clahe_tiles,
        gamma=settings.gamma,
        intensity=intensity,
        patch=None if network.patch is None else list(network.patch),
        batch_size=network.batch_size,
        stages=network.stages,
        strides=[list(stride) for stride in network.strides],
        reasons=reasons,
    )


# ---- channels


def _color(
    config: Config, scans: Sequence[Scan], dimensions: int, stacked: bool, reasons: dict[str, str]
) -> tuple[str, int]:
    counts = Counter(scan.channels for scan in scans)
    most = counts.most_common(1)[0][0]
    if dimensions == 3 or stacked or most > 4:
        reasons["color"] = f"volumes or stacked channels are taken as they are ({most} channel(s))"
        return "as_is", most
    wanted = config.preprocess.color
    if wanted != "auto":
        reasons["color"] = "set in the config"
        return wanted, 1 if wanted == "grey" else 3
    colored = sum(not scan.grey for scan in scans)
    reasons["color"] = f"{colored} of {len(scans)} pictures differ between their colour channels"
    return ("rgb", 3) if colored else ("grey", 1)


# ---- geometry


def _oriented(
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


def _median_spacing(spacings: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    known = [spacing for spacing in spacings if spacing is not None]
    return tuple(float(step) for step in np.median(known, axis=0)) if known else None


def _spacing(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacings: Sequence[tuple[float, ...] | None],
    dimensions: int,
    reasons: dict[str, str],
) -> list[float] | None:
    wanted = config.preprocess.spacing
    known = np.array([spacing for spacing in spacings if spacing is not None])
    if isinstance(wanted, list):
        if len(wanted) != dimensions:
            raise ConfigError(
                f"preprocess.spacing: expected {dimensions} numbers for these images, got {len(wanted)}."
            )
        missing = len(spacings) - len(known)
        reasons["spacing"] = "set in the config" + (
            f"; {missing} images without spacing stay native" if missing else ""
        )
        return [float(step) for step in wanted]
    if wanted == "native" or dimensions == 2 or not len(known):
        reasons["spacing"] = (
            "set in the config" if wanted == "native"
            else "pictures stay native" if dimensions == 2
            else "no file says its spacing"
        )  # fmt: skip
        return None
    target = np.median(known, axis=0)
    reasons["spacing"] = f"median of {len(known)} volumes: {_mm(target)}"
    coarse = int(target.argmax())
    others = [axis for axis in range(dimensions) if axis != coarse]
    median_shape = np.median(shapes, axis=0)
    few = ANISOTROPIC * median_shape[coarse] < min(median_shape[axis] for axis in others)
    if target[coarse] > ANISOTROPIC * max(target[axis] for axis in others) and few:
        finer = float(np.percentile(known[:, coarse], 10))
        # Never finer than the other axes: that would only invent voxels.
        target[coarse] = max(finer, max(target[axis] for axis in others))
        reasons["spacing"] += (
            f"; axis {coarse} is more than {ANISOTROPIC:g} times as coarse as the others and has fewer voxels, so its "
            f"10th percentile: {_mm(target)}"
        )
    return [float(f"{step:.6g}") for step in target]


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{step:.3g}" for step in spacing) + " mm"


def _crop(config: Config, scans: Sequence[Scan], dimensions: int, reasons: dict[str, str]) -> bool:
    wanted = config.preprocess.crop
    if wanted != "auto":
        reasons["crop"] = "set in the config"
        return wanted == "foreground"
    if dimensions == 2:
        reasons["crop"] = "pictures are not cropped"
        return False
    share = float(np.median([scan.foreground for scan in scans]))
    reasons["crop"] = f"the median volume's content fills {share:.0%} of it; cropped below {CROP_BELOW:.0%}"
    return share < CROP_BELOW


def _size(
    config: Config, shapes: Sequence[tuple[int, ...]], dimensions: int, reasons: dict[str, str]
) -> tuple[int, ...] | None:
    wanted = config.preprocess.size
    if isinstance(wanted, list):
        if len(wanted) != dimensions:
            raise ConfigError(
                f"preprocess.size: expected {dimensions} numbers for these images, got {len(wanted)}."
            )
        if config.task == "detection" and any(n % DETECTION_STRIDE for n in wanted):
            raise ConfigError(
                f"preprocess.size: expected multiples of {DETECTION_STRIDE} for detection, got {wanted}."
            )
        reasons["size"] = "set in the config"
        return tuple(wanted)
    if config.task == "segmentation":
        reasons["size"] = "segmentation works on patches of native pictures"
        return None
    median = tuple(int(n) for n in np.median(shapes, axis=0))
    if wanted == "native":
        if len(set(shapes)) > 1 or (
            config.task == "detection" and any(n % DETECTION_STRIDE for n in shapes[0])
        ):
            raise ConfigError(
                f"preprocess.size: native needs pictures of one size{' in multiples of 32' if config.task == 'detection' else ''}, "
                f"found {len(set(shapes))} sizes, median {_by(median)}; set a size or auto."
            )
        reasons["size"] = f"set in the config: native, all are {_by(median)}"
        return shapes[0]
    if config.task == "detection":
        scale = min(1.0, LARGEST_DETECTION / max(median))
        size = tuple(
            max(DETECTION_STRIDE, math.ceil(round(n * scale, 6) / DETECTION_STRIDE) * DETECTION_STRIDE)
            for n in median
        )
        reasons["size"] = (
            f"median {_by(median)}, longest side at most {LARGEST_DETECTION}, multiples of {DETECTION_STRIDE}"
        )
        return size
    largest = LARGEST_CLASSIFICATION if dimensions == 2 else LARGEST_VOLUME
    square = max(median) <= 1.3 * min(median) and dimensions == 2
    if square:
        median = (round(math.prod(median) ** 0.5),) * 2
    scale = min(1.0, largest / max(median))
    size = tuple(max(4, math.ceil(n * scale / 4 - 1e-6) * 4) for n in median)
    reasons["size"] = (
        f"median {_by(median)}{' (nearly square, made square)' if square else ''}, longest side at most {largest}, multiples of 4"
    )
    return size


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


# ---- values


def _intensity(
    config: Config, evidence: Evidence, color: str, channels: int, dimensions: int, reasons: dict[str, str]
) -> list[Intensity]:
    settings = config.preprocess
    window = _window(config)
    kind, clip = settings.normalize, False
    ct = dimensions == 3 and channels == 1 and _is_ct(evidence.known)
    if kind != "auto":
        reasons["intensity"] = f"{kind}, set in the config"
    elif ct:
        kind, clip = "fixed", window is None
        reasons["intensity"] = (
            "CT values are absolute: one clip, mean and std for all, from the labelled voxels where there are any"
        )
    elif dimensions == 3:
        kind = "zscore"
        reasons["intensity"] = "volumes without an absolute scale: every image by its own mean and std"
    elif len({scan.dtype for scan in evidence.known}) > 1:
        kind = "zscore"
        reasons["intensity"] = "pictures of different depth: every image by its own mean and std"
    else:
        kind = "fixed"
        reasons["intensity"] = "pictures: one mean and std per channel, measured on the training part"
    if window is not None:
        reasons["window"] = f"set in the config: {window[0]:g} to {window[1]:g}"
    rules = []
    for channel in range(channels):
        low, high = window or (None, None)
        mean, std = 0.0, 1.0
        if kind == "fixed":
            summary = _measured(evidence.train, color, channel, inside=clip)
            mean, std = summary.mean, summary.std
            if clip:
                low, high = summary.at(0.5), summary.at(99.5)
            mean = _given(settings.mean, channel, channels, "mean", mean)
            std = _given(settings.std, channel, channels, "std", std if std > 0 else 1.0)
        low_high = {} if low is None else {"low": _short(low), "high": _short(high)}
        rules.append(
            Intensity(
                kind=kind,
                mean=_short(mean),
                std=_short(std),
                percentiles=(settings.percentiles[0], settings.percentiles[1]),
                **low_high,
            )
        )
    return rules


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.7g}")


def _window(config: Config) -> tuple[float, float] | None:
    window = config.preprocess.window
    if window is None:
        return None
    if isinstance(window, str):
        if window not in WINDOWS:
            raise ConfigError(
                f"preprocess.window: expected [low, high] or one of {', '.join(WINDOWS)}, got {window}."
            )
        return WINDOWS[window]
    if len(window) != 2 or window[0] >= window[1]:
        raise ConfigError(f"preprocess.window: expected [low, high] with low below high, got {window}.")
    return window[0], window[1]


def _is_ct(scans: Sequence[Scan]) -> bool:
    """The files say CT, or say nothing and the values look like Hounsfield units: air near -1000 up to bone."""
    modalities = {scan.modality for scan in scans if scan.modality}
    if modalities:
        return modalities == {"CT"}
    lows = np.median([scan.values[0].percentiles[0] for scan in scans])
    highs = np.median([scan.values[0].percentiles[-1] for scan in scans])
    return bool(-2100 <= lows <= -900 and 200 <= highs <= 32767)


def _measured(scans: Sequence[Scan], color: str, channel: int, *, inside: bool):
    """Mean, std and percentiles of one channel of the prepared images."""
    if inside and any(scan.inside for scan in scans):
        return merged([scan.inside[channel] for scan in scans if scan.inside])
    values = []
    for scan in scans:
        if color == "grey" and scan.grey_values is not None:
            values.append(scan.grey_values)
        else:
            values.append(scan.values[min(channel, scan.channels - 1)])
    return merged(values)


def _given(values: Sequence[float] | None, channel: int, channels: int, key: str, measured: float) -> float:
    if values is None:
        return measured
    if len(values) != channels:
        raise ConfigError(
            f"preprocess.{key}: expected {channels} number(s), one per channel, got {len(values)}."
        )
    return values[channel]
