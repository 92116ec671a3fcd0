"""The fingerprint: what a data set is like, in numbers. Every decision of the plan rests on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.preprocessing.scan import LEVELS, Scan, Seen, Values
from medcli.preprocessing.targets import spread


@dataclass(frozen=True)
class Summary:
    """Numbers of a whole data set put together from those of its images."""

    count: int
    mean: float
    std: float
    percentiles: dict[float, float]

    def at(self, level: float) -> float:
        return self.percentiles[level]


def merged(values: Sequence[Values]) -> Summary | None:
    """Put summaries together: count, mean and std exactly, percentiles by mixing the distributions.

    None when there is nothing. The distribution of every part is taken as linear between its percentiles.
    """
    values = [part for part in values if part.count]
    count = sum(part.count for part in values)
    if not count:
        return None
    mean = sum(part.total for part in values) / count
    variance = max(0.0, sum(part.squares for part in values) / count - mean**2)
    return Summary(count, mean, float(np.sqrt(variance)), _mixed(values))


def _mixed(values: Sequence[Values]) -> dict[float, float]:
    points = np.array([part.percentiles for part in values])
    weights = np.array([part.count for part in values], float)
    # Each stretch between two levels is a uniform piece with its share of the part's weight.
    pieces = min(64, max(2, 500_000 // (len(values) * len(LEVELS))))
    levels = np.concatenate(
        [np.linspace(a, b, pieces, endpoint=False) + (b - a) / (2 * pieces) for a, b in _pairs(LEVELS)]
    )
    shares = np.concatenate([np.full(pieces, (b - a) / pieces) for a, b in _pairs(LEVELS)])
    samples = np.stack([np.interp(levels, LEVELS, row) for row in points])
    order = np.argsort(samples, axis=None, kind="stable")
    mass = (weights[:, None] * shares[None, :]).ravel()[order]
    rank = (np.cumsum(mass) - mass / 2) / mass.sum() * 100
    found = np.interp(LEVELS, rank, samples.ravel()[order])
    found[0], found[-1] = points[:, 0].min(), points[:, -1].max()
    return {level: float(value) for level, value in zip(LEVELS, found, strict=True)}


def _pairs(levels: Sequence[float]) -> list[tuple[float, float]]:
    return list(pairwise(levels))


def fingerprint(seen: Sequence[Seen], classes: Sequence[str]) -> dict[str, Any]:
    """Sizes, spacings, values, class balance (or the target's spread) and box sizes of these cases, as plain numbers
    for JSON."""
    cases, scans = [entry.case for entry in seen], [entry.scan for entry in seen]
    targets = [case.target for case in cases if case.target is not None]
    return {
        "cases": len(cases),
        "patients": len({case.patient for case in cases}),
        "dimensions": len(scans[0].shape),
        "channels": _tally(scan.channels for scan in scans),
        "types": _tally(scan.dtype for scan in scans),
        "modalities": _tally(scan.modality for scan in scans if scan.modality),
        "sizes": _spread([scan.shape for scan in scans]),
        "spacings_mm": _spread([scan.spacing for scan in scans if scan.spacing]),
        "foreground_share": _spread([(scan.foreground,) for scan in scans]),
        "intensities": _intensities(scans),
        "classes": {} if targets else _class_balance(cases, scans, classes),
        **({"target": {"name": classes[0]} | spread(targets)} if targets else {}),
        "boxes": _boxes(cases, classes),
    }


def _intensities(scans: Sequence[Scan]) -> list[dict[str, Any]]:
    """One entry per channel, for images with the most common number of channels."""
    channels = Counter(scan.channels for scan in scans).most_common(1)[0][0]
    usual = [scan for scan in scans if scan.channels == channels]
    entries = []
    for channel in range(channels):
        inside = merged([scan.inside[channel] for scan in usual if scan.inside])
        entry = {"all": _as_dict(merged([scan.values[channel] for scan in usual]))}
        if inside:
            entry["labelled"] = _as_dict(inside)
        entries.append(entry)
    return entries


def _as_dict(summary: Summary | None) -> dict[str, Any]:
    if summary is None:
        return {}
    return {
        "count": summary.count,
        "mean": summary.mean,
        "std": summary.std,
        "percentiles": {f"{level:g}": value for level, value in summary.percentiles.items()},
    }


def _class_balance(cases: Sequence[Case], scans: Sequence[Scan], classes: Sequence[str]) -> dict[str, Any]:
    """Cases per class; for masks voxels per value in the label files; for boxes their number."""
    if any(scan.labels for scan in scans):
        voxels: Counter[int] = Counter()
        present: Counter[int] = Counter()
        for scan in scans:
            voxels.update(scan.labels)
            present.update(value for value, count in scan.labels.items() if count)
        if len(voxels) > 40:
            above = sum(count for value, count in voxels.items() if value > 0)
            return {"voxels": {"0": voxels.get(0, 0), "above 0": above}}
        order = sorted(voxels)
        return {
            "voxels": {str(value): voxels[value] for value in order},
            "cases": {str(value): present[value] for value in order},
        }
    if any(case.boxes is not None for case in cases):
        objects: Counter[int] = Counter()
        for case in cases:
            if case.boxes is not None:
                objects.update(case.boxes.classes.tolist())
        return {"objects": {name: objects[index] for index, name in enumerate(classes)}}
    counts = Counter(name for case in cases for name in case.classes)
    return {"cases": {name: counts[name] for name in classes}}


def _boxes(cases: Sequence[Case], classes: Sequence[str]) -> dict[str, Any]:
    """Per class: how many, and percentiles of width, height (pixels) and of boxes per image."""
    annotated = [case.boxes for case in cases if case.boxes is not None]
    if not annotated:
        return {}
    corners = np.concatenate([boxes.corners for boxes in annotated])
    kinds = np.concatenate([boxes.classes for boxes in annotated])
    found: dict[str, Any] = {"per_image": _spread([(len(boxes),) for boxes in annotated])}
    for index, name in enumerate(classes):
        sizes = (corners[:, 2:] - corners[:, :2])[kinds == index]
        found[name] = {"count": len(sizes), "width_height": _spread([tuple(row) for row in sizes.tolist()])}
    return found


def _tally(values: Any) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _spread(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    """min, 10 %, median, 90 %, max of every column; {} for no rows."""
    if not rows:
        return {}
    table = np.asarray(rows, float)
    levels = {"min": 0, "p10": 10, "median": 50, "p90": 90, "max": 100}
    return {
        name: [round(float(value), 6) for value in np.percentile(table, level, axis=0)]
        for name, level in levels.items()
    }
