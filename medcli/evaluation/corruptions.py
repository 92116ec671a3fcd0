"""What a scanner, a moving patient or a file format may do to an image, at five strengths of stated size.

The functions take float32 (spatial + channel) on a scale where 0 and 1 are the darkest and the brightest
value that matter (see `Scale`), and a random generator; the same generator state at another strength gives
the same noise pattern, direction or field, only stronger. Lengths are in pixels of the network: one step of
the grid that it sees (`network_pixel`), so that a blur of one pixel means the same for a picture that is
shrunk ten times and for one that is not. Benchmark of this kind: Hendrycks and Dietterich 2019 (ICLR,
arXiv:1903.12261).
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from medcli.image import Image
from medcli.preprocessing.geometry import resize
from medcli.preprocessing.intensity import to_color
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepare import place

STRENGTHS = (1, 2, 3, 4, 5)
LOW, HIGH = 1.0, 99.0
"""Percentiles that are 0 and 1 of the scale where the plan has no window."""
MOST_VALUES = 1_000_000
"""Percentiles are taken of about so many values."""

Apply = Callable[[np.ndarray, float, Sequence[float], np.random.Generator], np.ndarray]
"""(array, level, network pixel per spatial axis in voxels, generator) to the array changed."""


# ---- on arrays


def noise(array: np.ndarray, sigma: float, pixel: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of standard deviation `sigma`, independent in every voxel of the file and channel."""
    from skimage.util import random_noise

    return random_noise(array, mode="gaussian", rng=random, var=sigma**2, clip=False).astype(np.float32)


def blur(array: np.ndarray, sigma: float, pixel: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """Gaussian blur; `sigma` in network pixels, alike in all directions."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(array, [*(sigma * step for step in pixel), 0], mode="nearest")


def motion(array: np.ndarray, length: float, pixel: Sequence[float], random: np.random.Generator):
    """Move evenly by `length` network pixels during the exposure, in a random direction of the plane."""
    from scipy.signal import oaconvolve

    angle = random.uniform(0, np.pi)
    way = np.array([np.sin(angle), np.cos(angle)]) * length * np.asarray(pixel[-2:])
    kernel = line_kernel(way)
    rows, columns = (size // 2 for size in kernel.shape)
    edges = [(0, 0)] * (array.ndim - 3) + [(rows, rows), (columns, columns), (0, 0)]
    padded = np.pad(array, edges, mode="edge")
    shaped = kernel.reshape((1,) * (array.ndim - 3) + kernel.shape + (1,))
    return oaconvolve(padded, shaped, mode="valid", axes=(-3, -2)).astype(np.float32)


def line_kernel(way: np.ndarray) -> np.ndarray:
    """Weights (odd, odd) with sum 1 of a straight line through the centre; `way` is (rows, columns) long."""
    half = np.ceil(np.abs(way) / 2).astype(int)
    kernel = np.zeros(2 * half + 1)
    points = np.linspace(-0.5, 0.5, 8 * int(np.abs(way).max() + 1) + 1)[:, None] * way + half
    first = np.minimum(np.floor(points).astype(int), 2 * half)
    share = points - first
    for row in (0, 1):
        for column in (0, 1):
            weight = np.abs(1 - row - share[:, 0]) * np.abs(1 - column - share[:, 1])
            place = np.minimum(first + np.array([row, column]), 2 * half)
            np.add.at(kernel, (place[:, 0], place[:, 1]), weight)
    return kernel / kernel.sum()


def ghosting(array: np.ndarray, distance: float, pixel: Sequence[float], random: np.random.Generator):
    """Breathe while an MR image is measured line by line: swing by `distance` network pixels to each side.

    The object is shifted along the phase-encoding axis, rows or columns, by a sine of the line's number; a
    shift is a phase in that line of k-space, so its copies appear as ghosts. The lowest value counts as no
    signal, and the result is a magnitude, as scanners store it.
    """
    axis = int(random.integers(array.ndim - 3, array.ndim - 1))
    cycles, start = random.uniform(3, 6), random.uniform(0, 2 * np.pi)
    lines = array.shape[axis]
    frequency = np.fft.fftfreq(lines)
    when = np.argsort(np.argsort(frequency)) / lines  # k-space is filled from one end to the other
    shift = distance * pixel[axis] * np.sin(2 * np.pi * cycles * when + start)
    shape = [lines if number == axis else 1 for number in range(array.ndim)]
    phase = np.exp(-2j * np.pi * frequency * shift).astype(np.complex64).reshape(shape)
    base = array.min()
    return (
        np.abs(np.fft.ifft(np.fft.fft(array - base, axis=axis) * phase, axis=axis)).astype(np.float32) + base
    )


def contrast(array: np.ndarray, factor: float, pixel: Sequence[float], random: np.random.Generator):
    """Pull all values towards the mean of their channel until `factor` of the differences is left."""
    mean = array.mean(tuple(range(array.ndim - 1)), keepdims=True)
    return (array * np.float32(factor) + mean * np.float32(1 - factor)).astype(np.float32)


def brightness(array: np.ndarray, shift: float, pixel: Sequence[float], random: np.random.Generator):
    """Add `shift` everywhere, or take it away: which of both is drawn."""
    return array + np.float32(shift * random.choice([-1, 1]))


def resolution(array: np.ndarray, factor: float, pixel: Sequence[float], random: np.random.Generator):
    """Sample with steps `factor` times a network pixel (an axis with larger steps stays), and back linearly."""
    spatial = array.shape[:-1]
    coarse = [
        max(1, round(size / max(1.0, factor * step))) for size, step in zip(spatial, pixel, strict=True)
    ]
    return np.asarray(resize(resize(array, coarse), spatial), np.float32)


def bias_field(array: np.ndarray, share: float, pixel: Sequence[float], random: np.random.Generator):
    """Multiply with a smooth field between 1 / (1 + share) and 1 + share: exp of a random cubic polynomial."""
    axes = [np.linspace(-1, 1, size, dtype=np.float32) for size in array.shape[:-1]]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    field = np.zeros(array.shape[:-1], np.float32)
    for powers in np.ndindex(*(4,) * len(grid)):
        if 1 <= sum(powers) <= 3:
            term = np.float32(random.normal())
            for axis, power in zip(grid, powers, strict=True):
                term = term * axis**power
            field = field + term
    field -= field.mean()
    largest = np.abs(field).max()
    if largest > 0:
        field *= np.log1p(share) / largest
    return array * np.exp(field)[..., None]


def jpeg(array: np.ndarray, quality: float, pixel: Sequence[float], random: np.random.Generator):
    """Store with JPEG of this quality, plane by plane, in 8 bit from the lowest to the highest value.

    Three channels as colours (with halved colour resolution, as Pillow and most cameras do), others alone.
    """
    low, high = float(array.min()), float(array.max())
    if high <= low:
        return array
    eight = np.rint((array - low) * (255 / (high - low))).astype(np.uint8)
    planes = eight[None] if array.ndim == 3 else eight
    stored = np.stack([_through_jpeg(plane, round(quality)) for plane in planes])
    return (stored.reshape(array.shape) * ((high - low) / 255) + low).astype(np.float32)


def _through_jpeg(plane: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image as Pillow

    parts = [plane] if plane.shape[-1] == 3 else [plane[..., channel] for channel in range(plane.shape[-1])]
    read = []
    for part in parts:
        stream = io.BytesIO()
        Pillow.fromarray(part).save(stream, format="JPEG", quality=quality)
        read.append(np.asarray(Pillow.open(stream)))
    return read[0] if plane.shape[-1] == 3 else np.stack(read, -1)


# ---- the table


@dataclass(frozen=True)
class Corruption:
    """Attributes:
    name: In files and gates.
    title: In the report.
    levels: What `apply` gets at the strengths 1 to 5.
    says: The level as words, with a place for the number.
    apply: See `Apply`; None for the rotation, which also moves the truth (`medcli.evaluation.rotation`).
    """

    name: str
    title: str
    levels: tuple[float, float, float, float, float]
    says: str
    apply: Apply | None

    def level(self, strength: int) -> float:
        return self.levels[strength - 1]

    def words(self, strength: int) -> str:
        level = self.level(strength)
        return self.says.format(level * 100 if "%" in self.says else level)


NOISE = Corruption("noise", "Noise", (0.02, 0.04, 0.07, 0.11, 0.16), "sigma {:g} % of the range", noise)
BLUR = Corruption("blur", "Blur", (0.5, 0.75, 1.0, 1.5, 2.0), "sigma {:g} pixels", blur)
MOTION = Corruption("motion", "Motion", (2.0, 3.0, 4.0, 6.0, 8.0), "{:g} pixels long", motion)
GHOSTS = Corruption("motion", "Motion", (0.5, 1.0, 1.5, 2.0, 3.0), "swing of {:g} pixels", ghosting)
CONTRAST = Corruption("contrast", "Contrast", (0.85, 0.7, 0.55, 0.4, 0.25), "{:g} % is left", contrast)
BRIGHTNESS = Corruption(
    "brightness", "Brightness", (0.05, 0.1, 0.15, 0.2, 0.3), "{:g} % of the range up or down", brightness
)
RESOLUTION = Corruption(
    "resolution", "Resolution", (1.25, 1.5, 2.0, 3.0, 4.0), "steps {:g} times as long", resolution
)
BIAS_FIELD = Corruption("bias_field", "Bias field", (0.1, 0.2, 0.35, 0.5, 0.7), "up to {:g} %", bias_field)
JPEG = Corruption("jpeg", "JPEG", (60, 40, 25, 15, 8), "quality {:g}", jpeg)
ROTATION = Corruption("rotation", "Rotation", (2.0, 5.0, 10.0, 15.0, 20.0), "{:g} degrees", None)

CORRUPTIONS = (NOISE, BLUR, MOTION, CONTRAST, BRIGHTNESS, RESOLUTION, BIAS_FIELD, JPEG, ROTATION)
NAMES = tuple(one.name for one in CORRUPTIONS)

_COIL, _STORED = "a fault of MR coils", "such volumes are not stored with loss"
LEFT_OUT: dict[str, dict[str, str]] = {
    "picture": {"bias_field": _COIL},
    "CT": {
        "contrast": "Hounsfield units are absolute",
        "brightness": "Hounsfield units are absolute",
        "bias_field": _COIL,
        "jpeg": _STORED,
    },
    "MR": {"brightness": "where there is no signal the image stays dark", "jpeg": _STORED},
    "PET": {
        "contrast": "uptake values are absolute",
        "brightness": "uptake values are absolute",
        "bias_field": _COIL,
        "jpeg": _STORED,
    },
    "volume": {"bias_field": _COIL, "jpeg": _STORED},
}
"""By kind of image: the corruptions that make no sense there, and why."""


def kind_of(plan: Plan, modality: str) -> str:
    """The kind of image, a key of `LEFT_OUT`.

    Args:
        modality: DICOM's code; "" when the files do not say. Pictures are then photographs or radiographs,
            volumes with clip limits are CT (see the plan's reasons), and other volumes are taken for MR.
    """
    named = {"CT": "CT", "MR": "MR", "PT": "PET", "NM": "PET"}.get(modality)
    if named:
        return named
    if plan.dimensions == 2:
        return "picture"
    if modality:
        return "volume"
    rule = plan.intensity[0]
    return "CT" if rule.kind == "fixed" and rule.low is not None else "MR"


def corruptions_for(kind: str, wanted: Sequence[str] | None = None) -> list[Corruption]:
    """Those that make sense, or those that are wanted; in MR the patient moves in k-space."""
    names = [name for name in NAMES if name not in LEFT_OUT[kind]] if wanted is None else wanted
    return [GHOSTS if one is MOTION and kind == "MR" else one for one in CORRUPTIONS if one.name in names]


# ---- on images


@dataclass(frozen=True)
class Scale:
    """Where 0 and 1 are: per channel (c,), in units of the image."""

    low: np.ndarray
    high: np.ndarray

    def scaled(self, array: np.ndarray) -> np.ndarray:
        return (np.asarray(array, np.float32) - self.low) / (self.high - self.low)

    def restored(self, array: np.ndarray) -> np.ndarray:
        return array * (self.high - self.low) + self.low


def scale_of(array: np.ndarray, plan: Plan) -> Scale:
    """The plan's clip limits where it has them, else the 1st and 99th percentile of this image.

    Channels of a picture share one scale, so that its colours stay; those of a volume have their own. Where
    both are equal the scale is one unit long.

    Args:
        array: (spatial + channel) as the plan's colours want it.
    """
    flat = array.reshape(-1, array.shape[-1]).astype(np.float32)
    flat = flat[:: max(1, len(flat) // MOST_VALUES)]
    flat = np.where(np.isfinite(flat), flat, np.nan)
    axis = None if plan.color in ("grey", "rgb") else 0
    if np.isnan(flat).all():
        flat = np.zeros_like(flat)
    low, high = (
        np.broadcast_to(part, array.shape[-1:]) for part in np.nanpercentile(flat, (LOW, HIGH), axis)
    )
    low, high = low.astype(np.float32), high.astype(np.float32)
    for channel, rule in enumerate(plan.intensity[: array.shape[-1]]):
        if rule.low is not None and rule.high is not None:
            low[channel], high[channel] = rule.low, rule.high
    return Scale(low, np.where(high > low, high, low + 1).astype(np.float32))


def network_pixel(image: Image, array: np.ndarray, plan: Plan) -> tuple[float, ...]:
    """Voxels of the image per network pixel, for every spatial axis.

    Volumes with a spacing: the shortest step of the network's grid in mm, alike in all directions. Else the
    factor by which an axis is shrunk, at least 1.
    """
    placement = place(image, array, plan)
    if image.ndim == 3 and image.spacing is not None:
        oriented = [image.spacing[axis] for axis in placement.axes]
        step = min(plan.grid or oriented)
        return tuple(step / spacing for spacing in image.spacing)
    kept = np.subtract(placement.stop, placement.start)
    shrunk = np.maximum(1.0, kept / np.asarray(placement.scaled))
    return tuple(float(shrunk[placement.axes.index(axis)]) for axis in range(image.ndim))


@dataclass(frozen=True, eq=False)
class Clean:
    """An image that can be corrupted.

    Attributes:
        image: As read, with the plan's colours.
        scaled: Its values on the `scale`, float32.
        pixel: See `network_pixel`.
    """

    image: Image
    scaled: np.ndarray
    scale: Scale
    pixel: tuple[float, ...]

    @classmethod
    def of(cls, image: Image, plan: Plan) -> "Clean":
        array = to_color(image.array, plan.color)
        image = image.with_array(array)
        scale = scale_of(array, plan)
        finite = np.nan_to_num(scale.scaled(array), nan=0.0, posinf=0.0, neginf=0.0)
        return cls(image, finite, scale, network_pixel(image, array, plan))

    def corrupted(self, corruption: Corruption, strength: int, random: np.random.Generator) -> Image:
        """Strength 0 gives the image itself."""
        assert corruption.apply is not None
        if strength == 0:
            return self.image
        return self.with_scaled(corruption.apply(self.scaled, corruption.level(strength), self.pixel, random))

    def with_scaled(self, scaled: np.ndarray) -> Image:
        """Back in units and type of the image: integers are rounded and end at the limits of their type, values
        that are never negative stay so."""
        before, array = self.image.array, self.scale.restored(scaled)
        if before.dtype.kind in "iu":
            limits = np.iinfo(before.dtype)
            array = np.clip(np.rint(array), limits.min, limits.max).astype(before.dtype)
        else:
            array = array.astype(np.float32, copy=False)
            if np.nanmin(before) >= 0:
                array = np.maximum(array, 0)
        return replace(self.image, array=array)


def generator(seed: int, case: str, corruption: str) -> np.random.Generator:
    """The same for every strength, so that a stronger corruption is the same one, stronger."""
    return np.random.default_rng([seed, crc32(case.encode()), crc32(corruption.encode())])
