"""CT-like volumes with two labelled organs, on an anisotropic grid that stands oblique in the world."""

import numpy as np
from scipy import ndimage

SHAPE = (24, 64, 48)
"""Planes, rows, columns."""
SPACING = (3.0, 0.8, 0.8)
"""mm between planes, rows, columns."""
CLASSES = ("liver", "kidney")
"""Label ids 1 and 2."""


def organ_volume(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one volume.

    Returns:
        (24, 64, 48) int16 in HU, label ids of the same shape uint8, and the (4, 4) affine from (plane, row,
        column, 1) to RAS+ millimetres: the axial view of DICOM, turned by up to 15 degrees about each axis.
    """
    z, y, x = _bent_axes(rng)
    body = _ellipsoid((z, y, x), (0, 0, 0), (2.0, 0.88, 0.90)) > 0
    liver = _ellipsoid((z, y, x), (0.1, -0.15, -0.35), (0.75, 0.48, 0.42))
    liver = (liver > 0) & (_ellipsoid((z, y, x), (-0.3, 0.35, 0.05), (0.9, 0.45, 0.35)) < 0)
    kidney = _kidney((z, y, x), -0.40, rng) | _kidney((z, y, x), 0.42, rng)
    kidney &= ~liver
    spine = np.hypot((y - 0.58) / 0.17, x / 0.15) < 1
    gut = _ellipsoid((z, y, x), (-0.2, -0.25, 0.35), (0.5, 0.3, 0.3)) > 0
    fat = ~(_ellipsoid((z, y, x), (0, 0, 0), (2.0, 0.76, 0.78)) > 0)
    values = np.select(
        [~body, spine, kidney, liver, gut, fat],
        [-1000.0, 320.0, rng.normal(75, 8), rng.normal(105, 8), rng.normal(35, 6), -90.0],
        default=rng.normal(45, 5),
    )
    hollow = spine & (np.hypot((y - 0.63) / 0.06, x / 0.06) < 1)
    values[hollow] = 30
    labels = np.select([~body, liver & ~spine, kidney & ~spine], [0, 1, 2], default=0).astype(np.uint8)
    return _scan(values, body, rng), labels, _affine(rng)


def _bent_axes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of -1..1 along planes, rows, columns, with each person's own smooth deformation."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    scale = rng.uniform(0.92, 1.12, 3)
    sigma = [9 / step for step in SPACING]
    bends = [ndimage.gaussian_filter(rng.normal(size=SHAPE), sigma, mode="nearest") for _ in axes]
    z, y, x = (axis * s + 0.07 * bend / bend.std() for axis, s, bend in zip(axes, scale, bends, strict=True))
    return z + rng.normal(0, 0.08), y, x


def _ellipsoid(axes, centre, radii) -> np.ndarray:
    """1 in the middle, 0 on the surface, below 0 outside."""
    return 1 - np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True)))


def _kidney(axes, side: float, rng: np.random.Generator) -> np.ndarray:
    """A bean beside the spine; the notch looks to the middle."""
    centre = (rng.normal(-0.1, 0.08), 0.42, side)
    bean = _ellipsoid(axes, centre, (0.6, 0.26, 0.22)) > 0
    notch = _ellipsoid(axes, (centre[0], 0.38, side - np.sign(side) * 0.22), (0.2, 0.15, 0.14)) > 0
    return bean & ~notch


def _scan(values: np.ndarray, body: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Partial volume, texture inside the body and noise."""
    smooth = ndimage.gaussian_filter(values, (0.3, 0.6, 0.6))
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), (0.5, 1.5, 1.5))
    smooth += np.where(body, 12 * texture / texture.std(), 0) + rng.normal(0, 14, SHAPE)
    return np.round(np.clip(smooth, -1024, 3071)).astype(np.int16)


def _affine(rng: np.random.Generator) -> np.ndarray:
    """Planes go up, rows to the back, columns to the patient's left, before the turn."""
    from scipy.spatial.transform import Rotation

    axial = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]], float)
    turn = Rotation.from_euler("xyz", rng.uniform(-15, 15, 3), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ axial @ np.diag(SPACING)
    affine[:3, 3] = rng.uniform(-40, 40, 3) - affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine
