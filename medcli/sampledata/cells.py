"""Fluorescence-like pictures of cells, bodies green and nuclei blue on an uneven ground, with their masks."""

import numpy as np
from scipy import ndimage

CLASSES = ("cell", "nucleus")
"""Label ids 1 and 2; a nucleus lies inside its cell's body and is not part of it."""


def cell_picture(rng: np.random.Generator, *, gain: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture; pictures differ in size, 160 to 208 rows and 176 to 240 columns.

    Args:
        gain: Brightness of the site's microscope, about 1.

    Returns:
        (row, column, 3) uint8, and label ids (row, column) uint8.
    """
    rows, columns = int(rng.integers(20, 27)) * 8, int(rng.integers(22, 31)) * 8
    labels = np.zeros((rows, columns), np.uint8)
    green, blue = np.zeros(labels.shape), np.zeros(labels.shape)
    row, column = np.mgrid[:rows, :columns]
    for centre, radius in _places(rows, columns, rng):
        body = _blob(row, column, centre, radius, rng)
        shift = rng.normal(0, 0.15 * radius, 2)
        nucleus = _blob(row, column, centre + shift, radius * rng.uniform(0.38, 0.5), rng)
        mine = (body > 0) & (labels == 0)
        core = (nucleus > 0) & mine
        labels[mine], labels[core] = 1, 2
        green += np.where(mine, rng.uniform(0.25, 0.6) * np.clip(0.4 + body, 0, 1), 0) * np.where(
            core, 0.5, 1
        )
        blue += np.where(core, rng.uniform(0.35, 0.85) * np.clip(0.5 + 2 * nucleus, 0, 1), 0)
    return _photograph(green, blue, gain, rng), labels


def _places(rows: int, columns: int, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Centres and radii; neighbours may touch and press on one another."""
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(int(rng.integers(40, 90))):
        centre, radius = rng.uniform((0, 0), (rows, columns)), rng.uniform(13, 24)
        if all(np.hypot(*(centre - other)) > 0.85 * (radius + size) for other, size in placed):
            placed.append((centre, radius))
    return placed


def _blob(row, column, centre, radius: float, rng: np.random.Generator) -> np.ndarray:
    """1 in the middle, 0 on a wavy oval outline, below 0 outside."""
    turn = np.linspace(-np.pi, np.pi, 129)
    outline = 1 + 0.15 * np.cos(2 * (turn - rng.uniform(0, np.pi)))
    for n in (1, 2, 3):
        outline += rng.normal(0, 0.06 / n) * np.cos((n + 2) * turn + rng.uniform(0, 2 * np.pi))
    down, right = row + 0.5 - centre[0], column + 0.5 - centre[1]
    return 1 - np.hypot(down, right) / (radius * np.interp(np.arctan2(down, right), turn, outline))


def _photograph(green: np.ndarray, blue: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Texture, blur, uneven light, leakage between the colours, shot noise."""
    texture = ndimage.gaussian_filter(rng.normal(size=green.shape), 2)
    green = green * (1 + 0.25 * texture / texture.std())
    haze = 0.04 + 0.03 * ndimage.gaussian_filter(rng.normal(size=green.shape), 30) * 60
    light = 1 - 0.25 * (
        (np.mgrid[-1 : 1 : green.shape[0] * 1j, -1 : 1 : green.shape[1] * 1j] ** 2).sum(axis=0)
    )
    image = np.stack([0.06 * green + 0.03 * blue, green + 0.12 * blue, blue + 0.10 * green], axis=-1)
    image = ndimage.gaussian_filter(image, (1.1, 1.1, 0)) + np.clip(haze, 0, None)[..., None] * [0.3, 1, 0.8]
    image = gain * image * light[..., None]
    image += rng.normal(size=image.shape) * np.sqrt(np.clip(image, 0.002, None)) * 0.06
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
