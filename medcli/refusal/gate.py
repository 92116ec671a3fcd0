"""The input gate: is an image of the kind that the run was trained on? Told before the network, by the image alone.

Tolerances: spacing half as much again beyond the training range (a factor of 1.5), extent twice (a factor of 2),
values by half of the range seen plus a twentieth of the span of all values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from medcli.image import Image
from medcli.preprocessing.geometry import orientation, resize
from medcli.preprocessing.intensity import to_color, without_alpha
from medcli.preprocessing.plan import Plan

SPACING_FACTOR, EXTENT_FACTOR = 1.5, 2.0
WIDER, OF_SPAN = 0.5, 0.05
FEWEST = 5
"""Training images without which nothing is said."""
CELLS = 8
"""Cells per axis of the coarse picture by which an inverted image is told."""
LEVELS = (1, 50, 99)
_PIXELS, _VOXELS = 128, 32
"""Most rows or planes of an image that are looked at, evenly spread."""
_EDGES = (0.5, 99.5)
"""Percentiles over the training images that are their range."""


@dataclass(frozen=True, eq=False)
class Look:
    """What is seen of one image.

    Attributes:
        modality: As the file says, "" when it does not.
        channels: Without alpha.
        coloured: The colour channels differ.
        spacing: mm per axis, volumes in the plan's orientation; None when unknown.
        extent: mm per axis, or voxels when the spacing is unknown.
        levels: (channels, 3) percentiles 1, 50 and 99 of each channel that the network would see.
        coarse: (CELLS ** axes,) means of the first channel, standardised; zeros when constant.
        skewness: Of the first channel; 0 when constant.
    """

    modality: str
    channels: int
    coloured: bool
    spacing: tuple[float, ...] | None
    extent: tuple[float, ...]
    levels: np.ndarray
    coarse: np.ndarray
    skewness: float

    @property
    def constant(self) -> bool:
        return not np.isfinite(self.levels).all() or bool((self.levels[:, 0] == self.levels[:, -1]).all())

    @property
    def middle(self) -> float:
        """Where the median of the first channel lies between its low and high end, 0 to 1."""
        low, median, high = self.levels[0]
        return float((median - low) / (high - low)) if high > low else 0.5


def look(image: Image, plan: Plan) -> Look:
    """Look at an image as read; a fixed, small number of its voxels, so that size costs nothing."""
    axes: tuple[int, ...] = tuple(range(image.ndim))
    flips: tuple[bool, ...] = (False,) * image.ndim
    if plan.reorient and image.affine is not None:
        axes, flips = orientation(image.affine)
    most = _PIXELS if image.ndim == 2 else _VOXELS
    some = image.array[tuple(slice(None, None, -(-length // most)) for length in image.shape)]
    some = some.transpose(*axes, image.ndim)
    some = np.flip(some, tuple(axis for axis, flip in enumerate(flips) if flip))
    picture = image.ndim == 2
    colors = without_alpha(some) if picture else some
    coloured = picture and colors.shape[-1] > 1 and bool((colors != colors[..., :1]).any())
    values = to_color(some, plan.color).astype(np.float32)
    shape = tuple(image.shape[axis] for axis in axes)
    spacing = None if image.spacing is None else tuple(float(image.spacing[axis]) for axis in axes)
    levels = np.array([_levels(values[..., channel]) for channel in range(values.shape[-1])])
    coarse, skewness = _pattern(values[..., :1], levels[0])
    extent = tuple(float(n * step) for n, step in zip(shape, spacing or (1.0,) * len(shape), strict=True))
    return Look(image.modality, colors.shape[-1], coloured, spacing, extent, levels, coarse, skewness)


def _levels(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    return np.percentile(known, LEVELS) if known.size else np.full(len(LEVELS), np.nan)


def _pattern(values: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, float]:
    """Coarse picture and skewness of (spatial + 1), both of values clipped to their percentiles 1 and 99."""
    axes = values.ndim - 1
    if not np.isfinite(levels).all() or levels[0] == levels[-1]:
        return np.zeros(CELLS**axes, np.float32), 0.0
    values = np.clip(np.nan_to_num(values, nan=levels[0]), levels[0], levels[-1])
    centred = values - values.mean()
    skewness = float((centred**3).mean() / max(float(values.std()) ** 3, 1e-12))
    coarse = resize(values, (CELLS,) * axes).ravel()
    return standardised(coarse), skewness


def standardised(values: np.ndarray) -> np.ndarray:
    deviation = float(values.std())
    return ((values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)).astype(
        np.float32
    )


class Range(BaseModel):
    """The middle 99 % of a number over the training images."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Range":
        low, high = np.percentile(np.asarray(values, float), _EDGES)
        return cls(low=float(low), high=float(high))

    def holds(self, value: float, tolerance: float = 0.0) -> bool:
        """Within the range, widened by its own half and the tolerance."""
        wider = WIDER * (self.high - self.low) + tolerance
        return self.low - wider <= value <= self.high + wider

    def holds_factor(self, value: float, factor: float) -> bool:
        return self.low / factor <= value <= self.high * factor

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


class Usual(BaseModel):
    """What the training images are like.

    Attributes:
        images: How many were looked at.
        modalities: Those that the files named.
        channels: Those seen; `coloured`, `grey`: whether any picture was.
        spacing, extent: Per axis; spacing is None when an image had none, extent is in mm when all had one.
        levels: Per channel of percentiles 1, 50 and 99; None when the plan normalises every image by itself,
            so that units do not matter.
        span: From the lowest to the highest of these.
        template: Mean coarse picture.
        likeness: To the mean of the others. middle, skewness: See `Look`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    images: int
    modalities: list[str]
    channels: list[int]
    coloured: bool
    grey: bool
    spacing: list[Range] | None
    extent: list[Range]
    levels: list[list[Range]] | None
    span: float
    template: list[float]
    likeness: Range
    middle: Range
    skewness: Range

    @classmethod
    def of(cls, looks: Sequence[Look], plan: Plan) -> "Usual | None":
        """None with fewer than `FEWEST` images that are not constant."""
        looks = [one for one in looks if not one.constant and len(one.levels) == len(plan.intensity)]
        if len(looks) < FEWEST:
            return None
        spaced = all(one.spacing is not None for one in looks)
        absolute = any(rule.kind in ("fixed", "none") for rule in plan.intensity)
        levels = np.stack([one.levels for one in looks])
        template = np.mean([one.coarse for one in looks], axis=0)
        return cls(
            images=len(looks),
            modalities=sorted({one.modality for one in looks} - {""}),
            channels=sorted({one.channels for one in looks}),
            coloured=any(one.coloured for one in looks),
            grey=any(not one.coloured for one in looks),
            spacing=_ranges([one.spacing for one in looks if one.spacing]) if spaced else None,
            extent=_ranges([one.extent for one in looks if spaced or one.spacing is None]),
            levels=[_ranges(channel) for channel in levels.transpose(1, 0, 2)] if absolute else None,
            span=float(levels[..., -1].max() - levels[..., 0].min()),
            template=[round(float(value), 4) for value in template],
            likeness=Range.of([_likeness(one, len(looks) * template - one.coarse) for one in looks]),
            middle=Range.of([one.middle for one in looks]),
            skewness=Range.of([one.skewness for one in looks]),
        )

    def faults(self, seen: Look) -> list[tuple[str, str]]:
        """(code, one sentence with the numbers) for everything unusual; empty: the image may pass."""
        if seen.constant:
            return [("constant", "All values are the same.")]
        return [*self._kind(seen), *self._geometry(seen), *self._values(seen)]

    def _kind(self, seen: Look) -> Iterator[tuple[str, str]]:
        if self.modalities and seen.modality and seen.modality not in self.modalities:
            yield "modality", f"Modality {seen.modality}, in training {', '.join(self.modalities)}."
        if seen.coloured and not self.coloured:
            yield "color", "A colour picture, in training all were grey."
        elif not seen.coloured and not self.grey:
            yield "color", "A grey picture, in training all had colours."
        elif seen.channels not in self.channels and not (self.grey and seen.channels in (1, 3)):
            yield "color", f"Channels: {seen.channels}, in training {', '.join(map(str, self.channels))}."

    def _geometry(self, seen: Look) -> Iterator[tuple[str, str]]:
        if self.spacing is not None:
            if seen.spacing is None:
                yield "spacing", "No spacing in the file, in training all had one."
                return  # without it the extent is unknown as well
            if not _hold(self.spacing, seen.spacing, SPACING_FACTOR):
                yield "spacing", f"Spacing {_numbers(seen.spacing)} mm, in training {_texts(self.spacing)}."
            if not _hold(self.extent, seen.extent, EXTENT_FACTOR):
                yield "size", f"Extent {_numbers(seen.extent)} mm, in training {_texts(self.extent)}."
        elif seen.spacing is None and not _hold(self.extent, seen.extent, EXTENT_FACTOR):
            yield "size", f"Size {_numbers(seen.extent)}, in training {_texts(self.extent)}."

    def _values(self, seen: Look) -> Iterator[tuple[str, str]]:
        if self._inverted(seen):
            yield "inverted", "Its negative is like the training images, the image is not."
        if self.levels is None or len(self.levels) != len(seen.levels):
            return
        for channel, (channel_ranges, values) in enumerate(zip(self.levels, seen.levels, strict=True)):
            for level, one, value in zip(LEVELS, channel_ranges, values, strict=True):
                if not one.holds(float(value), OF_SPAN * self.span):
                    where = f" of channel {channel}" if len(self.levels) > 1 else ""
                    yield "intensity", f"Percentile {level}{where} is {value:.4g}, in training {one}."
                    return

    def _inverted(self, seen: Look) -> bool:
        """By the numbers that tell a training image from its negative: those whose range lies on one side of the
        value that both would share. Noise and textures have none."""
        likeness = _likeness(seen, np.array(self.template))
        numbers = (
            (self.likeness, likeness, 0.0),
            (self.middle, seen.middle, 0.5),
            (self.skewness, seen.skewness, 0.0),
        )
        telling = [one for one in numbers if one[0].low > one[2] or one[0].high < one[2]]
        unlike = any(not usual.holds(value, OF_SPAN) for usual, value, _ in telling)
        return unlike and all(usual.holds(2 * shared - value) for usual, value, shared in telling)


def _likeness(seen: Look, template: np.ndarray) -> float:
    """Correlation with the template, -1 to 1."""
    return float(np.mean(seen.coarse * standardised(np.asarray(template, np.float32))))


def _ranges(rows: Sequence[Sequence[float]] | np.ndarray) -> list[Range]:
    return [Range.of(column) for column in np.asarray(rows, float).T]


def _hold(ranges: Sequence[Range], values: Sequence[float], factor: float) -> bool:
    """Another number of axes is a matter of `prepare`, which refuses it."""
    return len(ranges) != len(values) or all(
        one.holds_factor(value, factor) for one, value in zip(ranges, values, strict=True)
    )


def _numbers(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _texts(ranges: Sequence[Range]) -> str:
    return " x ".join(map(str, ranges))
