"""A head made of ellipsoids, as MR or CT, in any pose and on any grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

AIR, FLESH, FAT, BONE, BRAIN, CAVITY = range(6)
CONTRAST = {  # air, flesh, fat, bone, brain, cavity
    "T1": (0, 350, 800, 60, 500, 20),
    "T2": (0, 220, 350, 50, 650, 20),
    "CT": (-1000, 45, -90, 1000, 35, -950),
}
NOSE_TIP = (0.0, 118.0, -48.0)
LOWEST, HIGHEST = (-100.0, -118.0, -165.0), (100.0, 142.0, 105.0)  # a box around head and neck, with air


@dataclass(frozen=True)
class Head:
    """A volume, its affine (RAS+ mm), and what a face remover must keep and take."""

    volume: np.ndarray
    affine: np.ndarray
    brain: np.ndarray
    features: np.ndarray  # nose, eyes, lips, chin: the outer 5 mm


def make_head(
    kind: str = "T1",
    spacing: Sequence[float] = (2.0, 2.5, 3.0),
    *,
    pose: Sequence[float] = (0.0, 0.0, 0.0),
    oblique: Sequence[float] = (0.0, 0.0, 0.0),
    size: float = 1.0,
    low: Sequence[float] = LOWEST,
    high: Sequence[float] = HIGHEST,
    nose: bool = True,
    trunk: bool = False,
    noise: float = 0.02,
) -> Head:
    """`pose`: degrees that the head turns in the world about right, front, top; `oblique`: that the grid turns."""
    spacing, low, high = (np.asarray(v, float) for v in (spacing, low, high))
    shape = np.ceil((high - low) / spacing).astype(int) + 1
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", oblique, degrees=True).as_matrix()
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = turn @ low
    index = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    x, y, z = Rotation.from_euler("xyz", pose, degrees=True).as_matrix().T @ world / size
    tissue, features = _tissue(x, y, z, nose=nose)
    if trunk:
        tissue[(tissue == AIR) & (z < -175) & _ellipsoid(x, y, 0 * z, (0, -20, 0), (210, 120, 1))] = FLESH
    values = np.array(CONTRAST[kind], float)[tissue]
    if kind == "CT":  # the table, a thin sheet under the head
        values[(np.abs(y + 112) < 2) & (np.abs(x) < 90)] = 200
    values += _noise(kind, values.size, noise)
    volume = values.reshape(shape).astype(np.int16 if kind == "CT" else np.float32)
    return Head(volume, affine, (tissue == BRAIN).reshape(shape), features.reshape(shape))


def _noise(kind: str, count: int, noise: float) -> np.ndarray:
    random = np.random.default_rng(3)
    if kind == "CT":
        return random.normal(0, 500 * noise, count)
    return np.hypot(random.normal(0, 500 * noise, count), random.normal(0, 500 * noise, count))


def _ellipsoid(x, y, z, centre, radii):
    return sum(((v - c) / r) ** 2 for v, c, r in zip((x, y, z), centre, radii, strict=True)) < 1


def _outside(x, y, z, nose, shrink=0.0):
    """Skin and all within it, `shrink` mm deep."""
    s = shrink
    cranium = _ellipsoid(x, y, z, (0, 0, 0), (77 - s, 97 - s, 90 - s))
    jaw = _ellipsoid(x, y, z, (0, 30, -68), (64 - s, 62 - s, 64 - s))
    chin = _ellipsoid(x, y, z, (0, 66, -114), (34 - s, 26 - s, 18 - s))
    lips = _ellipsoid(x, y, z, (0, 82, -88), (28 - s, 13 - s, 12 - s))
    neck = ((x / (58 - s)) ** 2 + ((y + 25) / (62 - s)) ** 2 < 1) & (z < -50)
    sockets = sum(_ellipsoid(x, y, z, (side * 33, 92, -28), (15, 14, 10)) for side in (-1, 1)) > 0
    head = (cranium | jaw | chin | lips | neck) & ~sockets
    return head | _ellipsoid(x, y, z, (0, 93, -44), (15 - s, 26 - s, 24 - s)) if nose else head


def _floor(y):
    """The base of the skull: high over the orbits, low at the back."""
    return np.where(y > 18, -24, np.where(y > -5, -48, -66))


def _tissue(x, y, z, nose):
    tissue = np.zeros(x.shape, np.uint8)
    skin = _outside(x, y, z, nose)
    tissue[skin] = FAT
    tissue[_outside(x, y, z, nose, 4)] = FLESH
    tissue[_ellipsoid(x, y, z, (0, 0, 0), (71, 91, 84)) & (z > _floor(y - 6) - 6)] = BONE
    tissue[_ellipsoid(x, y, z, (0, 0, 0), (63, 83, 76)) & (z > _floor(y))] = BRAIN
    stem = _ellipsoid(x, y, z, (0, -12, -62), (15, 15, 42)) & (tissue != BRAIN)
    tissue[stem] = BONE
    tissue[stem & _ellipsoid(x, y, z, (0, -12, -62), (9, 9, 40))] = BRAIN
    tissue[_ellipsoid(x, y, z, (0, 48, -50), (14, 22, 16))] = CAVITY
    for side in (-1, 1):
        tissue[_ellipsoid(x, y, z, (side * 33, 66, -36), (11, 11, 11)) & skin] = FLESH
    front = skin & ~_outside(x, y, z, nose, 5) & (y > 55) & (np.abs(x) < 36) & (z < -26) & (z > -120)
    return tissue, front
