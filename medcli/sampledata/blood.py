"""Blood-smear-like pictures: red cells, white cells and platelets that touch and overlap, with true boxes."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

ROWS, COLUMNS = 192, 256
CLASSES = ("RBC", "WBC", "Platelets")
LEAST_VISIBLE = 0.35
"""Cells that show less than this share at the picture's edge are not drawn."""

_RADIUS = {"RBC": (14.0, 18.0), "WBC": (23.0, 29.0), "Platelets": (4.0, 6.5)}
_COUNT = {"RBC": (9, 19), "WBC": (0, 3), "Platelets": (0, 5)}
_CLEARANCE = {"RBC": 0.82, "WBC": 0.9, "Platelets": 0.95}
"""How near centres may come, as a share of the sum of the radii: below one cells overlap."""


@dataclass(frozen=True)
class Cell:
    """kind: class name; row, column: centre; radius: in pixels; waves: amplitude and phase of the outline."""

    kind: str
    row: float
    column: float
    radius: float
    waves: tuple[tuple[float, float], ...]


def blood_smear(
    rng: np.random.Generator, *, stain: float = 1.0
) -> tuple[np.ndarray, list[tuple[str, tuple[int, int, int, int]]]]:
    """Draw one picture.

    Args:
        stain: Strength of the site's stain, about 1.

    Returns:
        (ROWS, COLUMNS, 3) uint8, and for each cell its class and box x0, y0, x1, y1 in pixels, half-open.
    """
    image = _background(rng)
    boxes = []
    for cell in _place(rng):
        window = _window(cell)
        row, column = np.mgrid[window]
        distance = _distance(cell, row, column)
        inside = np.clip((1 - distance) * cell.radius + 0.5, 0, 1)  # an edge one pixel wide
        image[window] = _PAINT[cell.kind](image[window], cell, row, column, distance, inside, rng, stain)
        boxes.append((cell.kind, _box(row[inside > 0.5], column[inside > 0.5])))
    image = ndimage.gaussian_filter(image, (0.7, 0.7, 0)) + rng.normal(0, 0.012, image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8), boxes


def _background(rng: np.random.Generator) -> np.ndarray:
    """Pale and unevenly lit."""
    row, column = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    light = 1 - 0.06 * (row**2 + column**2) + rng.normal(0, 0.03) * row + rng.normal(0, 0.03) * column
    colour = np.array([0.93, 0.89, 0.87]) + rng.normal(0, 0.015, 3)
    return light[..., None] * colour


def _place(rng: np.random.Generator) -> list[Cell]:
    """White cells first so that they find room; painted from below: red, white, platelets."""
    cells: list[Cell] = []
    for kind in ("WBC", "RBC", "Platelets"):
        wanted = int(rng.integers(_COUNT[kind][0], _COUNT[kind][1] + 1))
        for _ in range(40 * wanted):
            if sum(cell.kind == kind for cell in cells) == wanted:
                break
            cell = _draw_cell(kind, rng)
            if _visible(cell) >= LEAST_VISIBLE and all(_clear(cell, other) for other in cells):
                cells.append(cell)
    return sorted(cells, key=lambda cell: CLASSES.index(cell.kind))


def _draw_cell(kind: str, rng: np.random.Generator) -> Cell:
    radius = rng.uniform(*_RADIUS[kind])
    rough = {"RBC": 0.035, "WBC": 0.04, "Platelets": 0.12}[kind]
    waves = tuple((rng.normal(0, rough / n), rng.uniform(0, 2 * np.pi)) for n in (1, 2, 3))
    return Cell(kind, rng.uniform(-8, ROWS + 8), rng.uniform(-8, COLUMNS + 8), radius, waves)


def _visible(cell: Cell) -> float:
    """Share of the cell's square that lies inside the picture."""
    rows = min(cell.row + cell.radius, ROWS) - max(cell.row - cell.radius, 0)
    columns = min(cell.column + cell.radius, COLUMNS) - max(cell.column - cell.radius, 0)
    return max(rows, 0) * max(columns, 0) / (4 * cell.radius**2)


def _clear(cell: Cell, other: Cell) -> bool:
    """Platelets keep off other cells, others may overlap a little."""
    nearest = max(_CLEARANCE[cell.kind], _CLEARANCE[other.kind]) * (cell.radius + other.radius)
    return np.hypot(cell.row - other.row, cell.column - other.column) >= nearest


def _window(cell: Cell) -> tuple[slice, slice]:
    """The part of the picture that the cell may touch."""
    reach = 1.4 * cell.radius + 2
    return (
        slice(max(int(cell.row - reach), 0), min(int(cell.row + reach) + 1, ROWS)),
        slice(max(int(cell.column - reach), 0), min(int(cell.column + reach) + 1, COLUMNS)),
    )


def _distance(cell: Cell, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """From the centre to the pixels' middles, in units of the wavy outline."""
    down, right = row + 0.5 - cell.row, column + 0.5 - cell.column
    angle = np.arctan2(down, right)
    outline = 1 + sum(size * np.cos((n + 2) * angle + phase) for n, (size, phase) in enumerate(cell.waves))
    return np.hypot(down, right) / (cell.radius * outline)


def _box(rows: np.ndarray, columns: np.ndarray) -> tuple[int, int, int, int]:
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _blend(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> np.ndarray:
    return image * (1 - share[..., None]) + colour * share[..., None]


def _grain(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of spread 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), size)
    return noise / (noise.std() + 1e-6)


def _paint_red(image, cell, row, column, distance, inside, rng, stain):
    """A pink disc with a pale middle and a darker rim; what lies below shines through."""
    colour = np.array([0.86, 0.60, 0.58]) + rng.normal(0, 0.02, 3)
    rim, middle = np.exp(-(((distance - 0.78) / 0.25) ** 2)), np.exp(-((distance / 0.4) ** 2))
    depth = 0.55 + 0.35 * rim - rng.uniform(0.1, 0.3) * middle
    return _blend(image, colour, np.clip(stain * depth, 0, 1) * inside)


def _paint_white(image, cell, row, column, distance, inside, rng, stain):
    """A pale blue body with a purple nucleus of two to four lobes."""
    image = _blend(image, np.array([0.78, 0.76, 0.88]), np.clip(0.85 * stain, 0, 1) * inside)
    nucleus = np.zeros(distance.shape)
    start, lobes = rng.uniform(0, 2 * np.pi), int(rng.integers(2, 5))
    for turn in start + 1.5 * np.arange(lobes):
        down = row - cell.row - 0.33 * cell.radius * np.sin(turn)
        right = column - cell.column - 0.33 * cell.radius * np.cos(turn)
        size = cell.radius * rng.uniform(0.33, 0.42)
        nucleus = np.maximum(nucleus, np.clip(size - np.hypot(down, right) + 0.5, 0, 1))
    colour = np.array([0.45, 0.27, 0.58]) + rng.normal(0, 0.02, 3)
    share = 0.92 * stain * (1 + 0.08 * _grain(distance.shape, 1.5, rng))
    return _blend(image, colour, np.clip(share, 0, 1) * nucleus * inside)


def _paint_platelet(image, cell, row, column, distance, inside, rng, stain):
    """A small grainy purple spot."""
    colour = np.array([0.56, 0.42, 0.68]) + rng.normal(0, 0.03, 3)
    share = stain * (0.7 + 0.15 * _grain(distance.shape, 1, rng))
    return _blend(image, colour, np.clip(share, 0, 1) * inside)


_PAINT = {"RBC": _paint_red, "WBC": _paint_white, "Platelets": _paint_platelet}
