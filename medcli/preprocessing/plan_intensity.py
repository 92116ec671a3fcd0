"""How values are normalised, decided from the modality and from what was measured."""

from collections.abc import Sequence

import numpy as np

from medcli.config.schema import WINDOWS, Config
from medcli.errors import ConfigError
from medcli.preprocessing.fingerprint import Summary, merged
from medcli.preprocessing.plan import Intensity
from medcli.preprocessing.scan import Scan

HU_LOW, HU_HIGH = (-2100, -900), (200, 32767)
"""Lowest and highest values of volumes without a modality that are taken for Hounsfield units."""


def decide_intensity(
    config: Config,
    known: Sequence[Scan],
    train: Sequence[Scan],
    color: str,
    channels: int,
    reasons: dict[str, str],
) -> list[Intensity]:
    """One rule per channel; a fixed mean and std are measured on the training part, unless they are given."""
    settings = config.preprocess
    window = _window(settings.window)
    ct = is_ct(known, channels)
    kind: str = settings.normalize
    reasons["intensity"] = f"{kind}, set in the config"
    if kind == "auto":
        kind, reasons["intensity"] = _auto_kind(known, ct)
    if window is not None:
        reasons["window"] = f"set in the config: {window[0]:g} to {window[1]:g}"
    clip = settings.normalize == "auto" and ct and window is None
    rules = []
    for channel in range(channels):
        rule = Intensity(kind=kind, percentiles=(settings.percentiles[0], settings.percentiles[1]))
        if window is not None:
            rule = rule.model_copy(update={"low": window[0], "high": window[1]})
        if kind == "fixed":
            summary = _measured(train, color, channel, labelled=clip)
            mean = _given(settings.mean, channel, channels, "mean", summary.mean)
            std = _given(settings.std, channel, channels, "std", summary.std or 1.0)
            rule = rule.model_copy(update={"mean": _short(mean), "std": _short(std)})
            if clip:
                limits = {"low": _short(summary.at(0.5)), "high": _short(summary.at(99.5))}
                rule = rule.model_copy(update=limits)
        rules.append(rule)
    return rules


def _auto_kind(known: Sequence[Scan], ct: bool) -> tuple[str, str]:
    """(kind, reason)"""
    if ct:
        return "fixed", (
            "CT values are absolute: clipped to the 0.5 and 99.5 percentiles of the labelled voxels of the "
            "training part (of all where none are labelled), minus their mean, over their std"
        )
    if len(known[0].shape) == 3:
        return "zscore", "volumes without an absolute scale: every image by its own mean and std"
    kinds = sorted({scan.dtype for scan in known})
    if len(kinds) > 1:
        return "zscore", f"pictures of {' and '.join(kinds)}: every image by its own mean and std"
    return "fixed", "pictures: one mean and std per channel, measured on the training part"


def is_ct(scans: Sequence[Scan], channels: int) -> bool:
    """The files say CT; or they say nothing and the values run from air (about -1000) to tissue."""
    if len(scans[0].shape) != 3 or channels != 1:
        return False
    modalities = {scan.modality for scan in scans if scan.modality}
    if modalities:
        return modalities == {"CT"}
    low = float(np.median([scan.values[0].percentiles[0] for scan in scans]))
    high = float(np.median([scan.values[0].percentiles[-1] for scan in scans]))
    return HU_LOW[0] <= low <= HU_LOW[1] and HU_HIGH[0] <= high <= HU_HIGH[1]


def _window(window: str | Sequence[float] | None) -> tuple[float, float] | None:
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


def _measured(scans: Sequence[Scan], color: str, channel: int, *, labelled: bool) -> Summary:
    """Values of one channel of the prepared images; of the labelled voxels where wanted and there are any."""
    if labelled and any(scan.inside for scan in scans):
        summary = merged([scan.inside[channel] for scan in scans if scan.inside])
    else:
        summary = merged([_channel(scan, color, channel) for scan in scans])
    assert summary is not None  # an image has at least one voxel
    return summary


def _channel(scan: Scan, color: str, channel: int):
    if color == "grey" and scan.grey_values is not None:
        return scan.grey_values
    return scan.values[min(channel, scan.channels - 1)]


def _given(values: Sequence[float] | None, channel: int, channels: int, key: str, measured: float) -> float:
    if values is None:
        return measured
    if len(values) != channels:
        raise ConfigError(
            f"preprocess.{key}: expected {channels} number(s), one per channel, got {len(values)}."
        )
    return values[channel]


def _short(value: float) -> float:
    """Seven digits, as the plan shows them."""
    return float(f"{value:.7g}")
