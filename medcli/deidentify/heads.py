"""The head and the brain in an MR or CT volume, on a 2 mm grid along the axes of the world, told by geometry."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

STEP_MM = 2.0
HEAD_MM = 260  # from the vertex down to below the chin, with room
TRUNK_MM, TRUNK_CM2 = 230, 380  # no level of a head is as wide, nor as large


class NoHead(Exception):
    """Nothing in the volume can be a head with a face; the text says why."""


class Unclear(Exception):
    """It cannot be told; the text says why."""


@dataclass(frozen=True)
class Grid:
    """A volume sampled every 2 mm; axes point right, forward, up."""

    values: np.ndarray  # float32
    inside: np.ndarray  # bool: within the field of view
    affine: np.ndarray  # grid index to RAS+ millimetres


def to_grid(volume: np.ndarray, affine: np.ndarray) -> Grid:
    """Average fine voxels into blocks of up to 2 mm, then interpolate."""
    values, affine = _shrunk(_finite(volume), affine)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in values.shape])).reshape(3, -1).T
    corners = corners @ affine[:3, :3].T + affine[:3, 3]
    low, high = corners.min(0), corners.max(0)
    grid_affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    grid_affine[:3, 3] = low
    shape = tuple(int(n) for n in np.ceil((high - low) / STEP_MM) + 1)
    index = np.linalg.inv(affine) @ grid_affine
    sampled = ndimage.affine_transform(values, index[:3, :3], index[:3, 3], shape, order=1, mode="nearest")
    inside = _inside(shape, index, values.shape)
    return Grid(np.where(inside, sampled, values.min()), inside, grid_affine)


def _finite(volume: np.ndarray) -> np.ndarray:
    if volume.dtype.kind in "iu":
        return volume
    finite = np.isfinite(volume)
    return volume if finite.all() else np.where(finite, volume, volume[finite].min())


def to_volume(mask: np.ndarray, grid: Grid, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Bring a mask of the grid to the voxels of the volume; beyond the grid its rim goes on."""
    whole = np.zeros(shape, bool)
    if not mask.any():
        return whole
    to_grid_index = np.linalg.inv(grid.affine) @ affine
    ends = np.array([(np.min(i) - 2, np.max(i) + 2) for i in np.nonzero(mask)])
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    back = np.linalg.inv(to_grid_index)
    corners = corners @ back[:3, :3].T + back[:3, 3]
    first = np.clip(np.floor(corners.min(0)).astype(int), 0, shape)
    last = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, shape)
    part = ndimage.affine_transform(
        mask.astype(np.float32),
        to_grid_index[:3, :3],
        to_grid_index[:3, :3] @ first + to_grid_index[:3, 3],
        tuple(last - first),
        order=1,
        mode="nearest",
    )
    whole[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = part >= 0.5
    return whole


def find_tissue(grid: Grid, *, ct: bool) -> np.ndarray:
    """What is not air, without thin sheets and specks (table, noise)."""
    tissue = ndimage.binary_opening(_tissue(grid, ct=ct), iterations=2)
    _refuse_trunk(tissue)
    return tissue


def find_head(tissue: np.ndarray) -> np.ndarray:
    """The largest piece, filled; only its uppermost 26 cm."""
    head = _largest(tissue)
    top = int(np.nonzero(head.any((0, 1)))[0].max())
    low = max(0, top - int(HEAD_MM / STEP_MM))
    head[:, :, low:] = ndimage.binary_fill_holes(_closed(head[:, :, low:], 4))
    head[:, :, :low] = False
    return head


def find_brain(grid: Grid, head: np.ndarray, *, ct: bool) -> np.ndarray:
    """The largest soft part inside of the head: within the bone (CT), or of one brightness (MR)."""
    box = ndimage.find_objects(head.astype(np.uint8))[0]
    brain = np.zeros_like(head)
    brain[box] = _brain_in_box(grid.values[box], head[box], ct=ct)
    return brain


def _brain_in_box(values: np.ndarray, head: np.ndarray, *, ct: bool) -> np.ndarray:
    depth = _depth(np.pad(head, 1))[(slice(1, -1),) * 3]
    core = depth > 28
    core[:, :, : max(0, head.shape[2] - 60)] = False
    if core.sum() * STEP_MM**3 < 1e5:
        raise Unclear("Nothing of the size of a brain is inside.")
    if ct:
        values = ndimage.gaussian_filter(values, 1)
        bone = head & (values > 200)
        softs = [(values > -20) & (values < 120) & (depth > 5) & ~_closed(bone, 2)]
    else:
        values = _evened(values, head, core)
        bone = head & (values < 0.6)
        softs = [(values > low) & (values < high) & (depth > 8) for low, high in [(0.6, 1.6), (0.75, 1.4)]]
    for soft in softs:
        brain = _brain_within(soft, core, radii=(8, 10, 12) if ct else (4, 6, 8, 10), corners=ct) & (
            depth > 5
        )
        if brain.any():
            if _encased(brain, bone) < (0.7 if ct else 0.3):
                raise Unclear("There is no skull around what could be a brain.")
            return brain
    raise Unclear("No brain can be told from the rest.")


def _brain_within(soft: np.ndarray, core: np.ndarray, *, radii: tuple[int, ...], corners: bool) -> np.ndarray:
    """What an opening leaves around the core, with the first radius (mm) that leaves a brain; else nothing.

    `corners`: give back the corners that an opening rounds off; only where bone keeps it from leaking.
    """
    soft_depth = _depth(soft)
    for radius in radii:
        seed = _seeded(soft_depth > radius, core)
        if not 1e5 < seed.sum() * STEP_MM**3 < 2.2e6:
            continue
        away = _depth(~seed)
        brain = (away <= radius + 2) | (corners & soft & (away <= 1.6 * radius))
        brain = ndimage.binary_fill_holes(_closed(brain, 2 if corners else 4))
        if _brain_like(brain):
            return brain
    return np.zeros_like(soft)


def _evened(values: np.ndarray, head: np.ndarray, core: np.ndarray) -> np.ndarray:
    """MR without its slow change of brightness; 1 is what is typical deep in the head."""
    level = _smooth(np.where(head, values, 0)) / np.maximum(_smooth(head.astype(np.float32)), 0.05)
    even = np.where(head, values / np.maximum(level, 1e-6), 0)
    return even / max(float(np.median(even[core])), 1e-6)


def _encased(brain: np.ndarray, bone: np.ndarray) -> float:
    """The share of the upper surface of the brain that has bone within about 6 mm."""
    surface = ndimage.binary_dilation(brain) & ~brain
    surface[:, :, : int(np.nonzero(brain)[2].mean())] = False
    return float(ndimage.binary_dilation(bone, iterations=2)[surface].mean())


def _smooth(values: np.ndarray) -> np.ndarray:
    """Close to a Gaussian of 16 mm, and faster."""
    for _ in range(3):
        values = ndimage.uniform_filter(values, 17, mode="constant")
    return values


def _depth(mask: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(mask) * STEP_MM


def _brain_like(brain: np.ndarray) -> bool:
    """Volume and extents of a brain, from an infant's to a large one, even partly out of view."""
    if not brain.any():
        return False
    width, length, height = (np.ptp(np.percentile(i, (0.5, 99.5))) * STEP_MM for i in np.nonzero(brain))
    size = brain.sum() * STEP_MM**3
    fits = 76 < width < 165 and 90 < length < 205 and 50 < height < min(190, 1.2 * length)
    return bool(fits and max(4e5, 0.42 * width * length * height) < size < 2.3e6)


def _seeded(mask: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The piece that fills most of the core."""
    labels, _ = ndimage.label(mask)
    counts = np.bincount(labels[core], minlength=2)
    counts[0] = 0
    return labels == counts.argmax() if counts.any() else np.zeros_like(mask)


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if not count:
        raise Unclear("Nothing stands out from the background.")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def _closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Binary closing that does not shrink at the rim of the grid."""
    padded = np.pad(mask, radius + 1)
    return ndimage.binary_closing(padded, iterations=radius)[(slice(radius + 1, -radius - 1),) * 3]


def _tissue(grid: Grid, *, ct: bool) -> np.ndarray:
    if ct:
        return grid.values > -300
    seen = grid.values[grid.inside]
    split = threshold_otsu(np.clip(seen, None, np.percentile(seen, 99)))
    dark = seen[seen <= split]
    middle = np.median(dark)
    spread = 1.4826 * np.median(np.abs(dark - middle))
    threshold = np.clip(middle + 6 * spread, 0.2 * split, split)
    return (ndimage.gaussian_filter(grid.values, 0.7) > threshold) & grid.inside


def _refuse_trunk(tissue: np.ndarray) -> None:
    levels = np.nonzero(tissue.any((0, 1)))[0]
    if not len(levels):
        raise Unclear("Nothing stands out from the background.")
    area = tissue.sum((0, 1))[levels] * STEP_MM**2 / 100
    width = np.array([np.ptp(np.nonzero(tissue[:, :, z].any(1))[0]) for z in levels]) * STEP_MM
    if np.percentile(area, 2) > TRUNK_CM2 and np.percentile(width, 2) > TRUNK_MM:
        raise NoHead("Every level is as wide as a trunk.")


def _shrunk(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    factors = np.maximum(1, np.floor(STEP_MM / np.linalg.norm(affine[:3, :3], axis=0) + 0.05)).astype(int)
    for axis, factor in enumerate(factors):
        count = max(1, values.shape[axis] // factor)
        factors[axis] = factor = min(factor, values.shape[axis])
        values = values[(slice(None),) * axis + (slice(count * factor),)]
        split = (*values.shape[:axis], count, factor, *values.shape[axis + 1 :])
        values = values.reshape(split).mean(axis + 1, dtype=np.float32)
    shrunk = affine.copy()
    shrunk[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1) / 2)
    shrunk[:3, :3] = affine[:3, :3] * factors
    return values, shrunk


def _inside(shape: tuple[int, ...], to_index: np.ndarray, limits: tuple[int, ...]) -> np.ndarray:
    inside = np.ones(shape, bool)
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    for row, limit in zip(to_index[:3], limits, strict=True):
        index = sum(step * axis for step, axis in zip(row[:3], grids, strict=True)) + row[3]
        inside &= (index > -0.51) & (index < limit - 0.49)
    return inside
