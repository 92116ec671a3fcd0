"""Chest-X-ray-like pictures: lungs, ribs, spine, heart and diaphragm, with true opacities on request."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

ROWS, COLUMNS = 192, 176
WHITE = 4095
"""Largest value: 12 bits, as digital radiography stores."""


@dataclass(frozen=True)
class Chest:
    """One person's build; several pictures of a person share it.

    Attributes:
        width, height: Half axes of the thorax as shares of the picture.
        heart: Half width of the heart shadow in the same unit.
        ribs: Pairs of ribs in view; slope: how steeply they fall to the side.
        strength: How much the ribs stand out.
    """

    width: float
    height: float
    heart: float
    ribs: int
    slope: float
    strength: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Chest":
        return cls(
            width=rng.uniform(0.40, 0.46),
            height=rng.uniform(0.43, 0.50),
            heart=rng.uniform(0.12, 0.18),
            ribs=int(rng.integers(7, 10)),
            slope=rng.uniform(0.25, 0.5),
            strength=rng.uniform(0.06, 0.12),
        )

    @property
    def ratio(self) -> float:
        """Width of the heart's shadow over that of the thorax, in percent (the cardiothoracic ratio)."""
        return 100 * self.heart / self.width

    def with_ratio(self, percent: float) -> "Chest":
        """The same person with a heart of this width."""
        return replace(self, heart=self.width * percent / 100)


def chest_xray(
    chest: Chest, rng: np.random.Generator, *, opacity: bool, exposure: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture.

    Args:
        opacity: Add one to three opacities, round or patchy, inside the lungs.
        exposure: Brightness of the site's machine; it says nothing about the label.

    Returns:
        (ROWS, COLUMNS) uint16 up to 4095, dense tissue bright (MONOCHROME2), and the opacities as a bool
        mask.
    """
    x, y = _body_axes(rng)
    heart = _heart(chest, x, y)
    lungs = _lungs(chest, x, y) * (1 - 0.85 * heart)
    density = 0.60 * _soft(1 - np.hypot(x / 0.62, (y - 0.25) / 0.95), 0.12)
    density -= 0.44 * lungs
    density += _union(0.26 * _spine(x, y), 0.14 * heart) + _shoulders(x, y)
    density += lungs * (_ribs(chest, x, y) + _vessels(x, y, rng))
    shadow, truth = _opacities(lungs, rng) if opacity else (np.zeros_like(x), np.zeros(x.shape, bool))
    density += shadow
    return _develop(density, rng, exposure), truth


def _body_axes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x to the picture's right and y down, both 0 in the middle, slightly turned, shifted and scaled."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    x, y = column / COLUMNS - 0.5, row / ROWS - 0.5
    angle, scale = rng.normal(0, 0.03), rng.uniform(0.94, 1.06)
    x, y = x - rng.normal(0, 0.015), y - rng.normal(0, 0.02)
    return (
        (np.cos(angle) * x + np.sin(angle) * y) / scale,
        (np.cos(angle) * y - np.sin(angle) * x) / scale,
    )


def _soft(distance: np.ndarray, width: float) -> np.ndarray:
    """1 inside (distance > 0), 0 outside, with a soft edge."""
    return 1 / (1 + np.exp(-np.clip(distance / width * 4, -50, 50)))


def _lungs(chest: Chest, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0..1: two upright ovals cut by the diaphragm's domes and the mediastinum."""
    side = np.abs(x)
    oval = 1 - np.hypot((side - 0.245) / (chest.width - 0.235), (y - 0.02) / (chest.height * 0.92)) ** 1.6
    dome = 0.30 + 0.03 * (x > 0) + 1.6 * (side - 0.22) ** 2 - y
    return _soft(oval, 0.12) * _soft(dome, 0.03) * _soft(side - 0.075, 0.03)


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two shadows that overlap the denser one counts, and a little of the other."""
    return np.maximum(a, b) + 0.3 * np.minimum(a, b)


def _spine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0..1: vertebrae with faint gaps between them, and the soft tissue around."""
    middle = np.abs(x - 0.008 * np.sin(7 * y))
    gaps = 1 - 0.25 * np.exp(-(((y * 13 - np.round(y * 13)) / 0.16) ** 2))
    return 0.55 * _soft(0.085 - middle, 0.035) + 0.45 * gaps * _soft(0.05 - middle, 0.02)


def _heart(chest: Chest, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0..1: the heart's shadow lies to the picture's right, the aortic arch above it."""
    body = 1 - np.hypot((x - 0.05 + 0.15 * (y - 0.17)) / chest.heart, (y - 0.17) / (chest.heart * 1.1))
    arch = 1 - np.hypot((x - 0.045) / 0.065, (y + 0.12) / 0.07)
    return np.maximum(_soft(body, 0.3), 0.55 * _soft(arch, 0.6))


def _shoulders(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Clavicles across the lungs' tops, and the shoulders at the upper corners."""
    side = np.abs(x)
    clavicle = np.abs(y + 0.31 + 0.22 * side - 0.5 * side**2)
    bone = np.exp(-((clavicle / 0.018) ** 2)) * _soft(0.38 - side, 0.05) * _soft(side - 0.04, 0.03)
    return 0.10 * bone + 0.16 * _soft(side - 0.42, 0.10) * _soft(-y - 0.12, 0.2)


def _ribs(chest: Chest, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Back ribs fall to the side, front ribs fall steeper and are fainter."""
    side = np.abs(x)
    gap = 0.82 / chest.ribs
    back = (y + 0.45 - chest.slope * 0.55 * side - 0.9 * (side - 0.25) ** 2) / gap
    front = (y + 0.40 - chest.slope * 1.9 * (0.42 - side)) / gap
    edge_back, edge_front = np.abs(back - np.round(back)), np.abs(front - np.round(front))
    return chest.strength * (_soft(0.22 - edge_back, 0.18) + 0.55 * _soft(0.2 - edge_front, 0.2))


def _vessels(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Branching marks, dense near the hilum and fading outwards."""
    noise = ndimage.gaussian_filter(rng.normal(size=x.shape), 2.2) - ndimage.gaussian_filter(
        rng.normal(size=x.shape), 5
    )
    hilum = np.exp(-(((np.abs(x) - 0.1) / 0.13) ** 2) - ((y - 0.02) / 0.2) ** 2)
    return 0.10 * hilum + (0.25 + 0.5 * hilum) * np.clip(noise, 0, None)


def _opacities(lungs: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Added density, and where it counts as an opacity."""
    shadow = np.zeros_like(lungs)
    row, column = np.mgrid[:ROWS, :COLUMNS]
    inside = np.argwhere(lungs > 0.85)
    for _ in range(rng.integers(1, 4)):
        centre = inside[rng.integers(len(inside))]
        radius = rng.uniform(0.055, 0.12) * COLUMNS
        distance = np.hypot(row - centre[0], (column - centre[1]) * rng.uniform(0.8, 1.25)) / radius
        if rng.random() < 0.5:
            blob = _soft(1 - distance, 0.7)
        else:
            texture = ndimage.gaussian_filter(rng.normal(size=lungs.shape), radius / 3.5)
            blob = np.exp(-((distance / 1.3) ** 2)) * np.clip(0.75 + 0.6 * texture / texture.std(), 0, 2)
        shadow = np.maximum(shadow, rng.uniform(0.20, 0.36) * blob)
    shadow *= np.clip(lungs + 0.3, 0, 1)
    return shadow, shadow > 0.08


def _develop(density: np.ndarray, rng: np.random.Generator, exposure: float) -> np.ndarray:
    """Scatter, uneven light, exposure, film curve and noise, to 12 bits."""
    image = 0.92 * density + 0.08 * ndimage.gaussian_filter(density, 12)
    image += 0.02 * ndimage.gaussian_filter(rng.normal(size=density.shape), 25) * 25
    image = exposure * rng.normal(1, 0.06) * image + rng.normal(0.10, 0.03)
    image = 1.15 * np.tanh(np.clip(image, 0.01, None) / 1.15) ** rng.uniform(0.9, 1.2)
    image += rng.normal(size=image.shape) * 0.012 * np.sqrt(np.clip(image, 0.05, 1))
    return np.round(np.clip(image, 0, 1) * WHITE).astype(np.uint16)
