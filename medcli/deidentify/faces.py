"""Faces in head MR and CT volumes: found by geometry, so that they can be blanked while the brain is kept.

No template and no trained model. The head is what is not air, the brain is its largest soft interior part, the
nose is a narrow bump of the front of the head. The face is then all that lies in front of a smooth sheet: a
parabola across the face, fitted to the skin beside the nose and set back into the flesh, so that the new front
shows nothing of the old one. The sheet comes up to the skin at the brow and stays away from the brain (a cut
bounded by the brain is the idea of Quickshear, Schimke and Hale 2011).

"no head" is said only where a face has no room or where every level is as wide as a trunk. Whatever else does
not look like a whole head with a face, the right way up, is "uncertain".
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medcli.deidentify.heads import (
    STEP_MM,
    NoHead,
    Unclear,
    find_brain,
    find_head,
    find_tissue,
    to_grid,
    to_volume,
)

BRAIN_MARGIN_MM = 6
SHEET_DEPTH_MM = 16  # behind the skin beside the nose; the eyes lie up to 10 mm behind it
HALF_FACE_MM = 66
NOSE_MM = 8  # a smaller bump is no nose
AIR_HU = -1000


@dataclass(frozen=True)
class Face:
    """What `find_face` saw.

    `mask`: bool, shape of the volume, voxels to blank; None when nothing is to be done or it cannot tell.
    `verdict`: "face", "no head" or "uncertain".
    `reason`: one sentence, without any value of the patient.
    """

    mask: np.ndarray | None
    verdict: str
    reason: str


@dataclass(frozen=True)
class _Frame:
    """Where the face is on the grid."""

    x: int  # column of the nose
    brow: int  # level of the brow
    unit: float  # grid steps per millimetre of an adult's head
    whole: bool  # the tip of the nose is in the field of view


def find_face(volume: np.ndarray, affine: np.ndarray, *, modality: str | None = None) -> Face:
    """Find the face in a head volume (i, j, k); `affine` maps voxel indices to RAS+ millimetres.

    `modality` is "MR", "CT" (values in HU) or None: guess from the values.
    """
    try:
        return _find(volume, np.asarray(affine, float), modality)
    except NoHead as why:
        return Face(None, "no head", str(why))
    except Unclear as why:
        return Face(None, "uncertain", str(why))


def remove_face(volume: np.ndarray, face: Face) -> np.ndarray:
    """A copy of `volume` with the face blanked; all other voxels, and a volume without a mask, stay the same."""
    result = volume.copy()
    if face.mask is not None:
        result[face.mask] = _background(volume)
    return result


def _find(volume: np.ndarray, affine: np.ndarray, modality: str | None) -> Face:
    _require_room(volume, affine, modality)
    ct = modality == "CT" or (modality is None and _in_hounsfield(volume))
    grid = to_grid(volume, affine)
    tissue = find_tissue(grid, ct=ct)
    head = find_head(tissue)
    _require_outline(head, grid.inside)
    brain = find_brain(grid, head, ct=ct)
    _require_upright(brain)
    front, back = _front(head, grid.inside), _front(head[:, ::-1], grid.inside[:, ::-1])
    frame = _frame_of_brain(brain)
    _require_in_view(front, head, grid.inside, frame, wrapped=None if ct else tissue & ~head)
    frame = _frame_of_nose(front, back, brain, frame)
    mask = _in_front_of(_sheet(front, frame), frame, head.shape)
    mask &= ~ndimage.binary_dilation(brain, iterations=round(BRAIN_MARGIN_MM / STEP_MM))
    _require_gone(head, mask, front, frame)
    reason = "There is a nose in front of and below a brain."
    if not frame.whole:
        reason = "There is the root of a nose below a brain; the field of view ends above its tip."
    return Face(to_volume(mask, grid, volume.shape, affine), "face", reason)


def _require_room(volume: np.ndarray, affine: np.ndarray, modality: str | None) -> None:
    if modality not in ("MR", "CT", None):
        raise Unclear("It is neither MR nor CT.")
    if volume.ndim != 3 or volume.dtype.kind not in "iuf":
        raise Unclear("It is not a volume of one number per voxel.")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise Unclear("The place of its voxels in the world is not known.")
    finite = volume if volume.dtype.kind in "iu" else volume[np.isfinite(volume)]
    if finite.size == 0 or finite.min() == finite.max():
        raise NoHead("The volume is empty.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    extents = np.sort(spacing * volume.shape)
    if extents[1] < 90:
        raise NoHead("The volume is too small to show a face.")
    if extents[0] < 90 or min(volume.shape) < 12:
        raise Unclear("It is a slab, too thin to tell whether it shows a face.")
    if max(spacing) > 10 or extents[2] > 2500:
        raise Unclear("The voxels are too large to tell.")


def _in_hounsfield(volume: np.ndarray) -> bool:
    """Air at -1000 or lower, and a good part of the voxels there."""
    sample = volume[::4, ::4, ::4]
    return bool(np.mean(sample < -800) > 0.1)


def _background(volume: np.ndarray) -> float:
    low = np.nanmin(volume)
    if low < -500:
        return max(low, AIR_HU)
    return 0 if low <= 0 else low


def _require_outline(head: np.ndarray, inside: np.ndarray) -> None:
    """Air above and beside the head; ears and temples may be cut off."""
    if _cut(head, inside, axis=2).sum() * STEP_MM**2 > 6000:
        raise Unclear("The top of the head, if it is one, is outside of the field of view.")
    levels = np.nonzero(head.any((0, 1)))[0]
    upper = np.s_[:, :, levels.max() - round(120 / STEP_MM) :] if np.ptp(levels) * STEP_MM > 120 else np.s_[:]
    for sign in (1, -1):
        if _cut(head[upper][::sign], inside[upper][::sign], axis=0).sum() * STEP_MM**2 > 5000:
            raise Unclear("A side of the head, if it is one, is outside of the field of view.")


def _cut(head: np.ndarray, inside: np.ndarray, *, axis: int) -> np.ndarray:
    """Rays along an axis on which the last voxel of the field of view still belongs to the head."""
    last = inside.shape[axis] - 1 - np.flip(inside, axis).argmax(axis)
    return np.take_along_axis(head & inside, np.expand_dims(last, axis), axis).squeeze(axis)


def _require_upright(brain: np.ndarray) -> None:
    """The brain reaches far lower at the back than at the front."""
    rows = np.nonzero(brain.any((0, 2)))[0]
    back, _, front = (_low_side(brain[:, part], 20) for part in np.array_split(rows, 3))
    if (front - back) * STEP_MM < 10:
        raise Unclear("What could be a brain does not lie as in an upright head that looks forward.")


def _low_side(mask: np.ndarray, percent: float) -> float:
    columns = mask.any(2)
    if not columns.any():
        raise Unclear("What could be a brain is in pieces.")
    return float(np.percentile(mask.argmax(2)[columns], percent))


def _front(head: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """For each ray (x, z) from the front: where it meets the head, in grid steps.

    NaN where it does not, and where the ray comes in through the lower side of an oblique field of view.
    """
    depth = head.shape[1] - 1 - head[:, ::-1].argmax(1)
    entry = inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
    behind_and_below = np.zeros_like(inside)
    behind_and_below[:, 4:, 4:] = inside[:, :-4, :-4]
    through_front = np.take_along_axis(behind_and_below, entry[:, None], 1)[:, 0]
    return np.where(head.any(1) & through_front, depth, np.nan)


def _frame_of_brain(brain: np.ndarray) -> _Frame:
    """A first guess: the brow is a little above the floor of the frontal lobes of an upright head."""
    xs, ys, _ = np.nonzero(brain)
    unit = np.clip((len(xs) * STEP_MM**3 / 1.4e6) ** (1 / 3), 0.75, 1.15) / STEP_MM
    middle, pole, half = int(xs.mean()), int(np.percentile(ys, 99.7)), round(38 * unit)
    floor = _low_side(
        brain[max(0, middle - half) : middle + half, max(0, pole - round(30 * unit)) : pole], 50
    )
    return _Frame(middle, round(floor + 12 * unit), unit, False)


def _frame_of_nose(front: np.ndarray, back: np.ndarray, brain: np.ndarray, guess: _Frame) -> _Frame:
    """The nose sticks out in the middle, in front of the brain and lower; its root lies below the brow."""
    unit, (_, y0, z0) = guess.unit, (int(i.mean()) for i in np.nonzero(brain))
    window = np.s_[max(0, guess.x - 20) : guess.x + 21, max(0, z0 - 70) : z0]
    bump, behind = _bump(front, unit)[window], _bump(back, unit)[window]
    if bump.size == 0:
        raise Unclear("The field of view ends above the nose.")
    x, z = (i + s.start for i, s in zip(_highest_peak(bump), window, strict=True))
    lowest = int(np.isfinite(front[x]).argmax())
    whole = z - lowest > 4
    if bump.max() < NOSE_MM * unit * STEP_MM * (1 if whole else 0.5):
        ends = (guess.brow - lowest) / unit < 70
        seen = "The field of view ends above the nose." if ends else "There is no nose in front of the head."
        raise Unclear(seen)
    if behind.max() > bump.max():
        raise Unclear("There is a nose-like bump at the back of the head.")
    ahead, below = (front[x, z] - y0) / unit, (z0 - z) / unit
    if not (60 < ahead < 160 and -20 < below < 130):
        raise Unclear("Nose and brain do not lie as in a head.")
    brow = _brow(front, x, z, unit, lowest=28 if whole else 2)
    if bump[:, brow - window[1].start :].max(initial=0) > NOSE_MM * unit * STEP_MM:
        raise Unclear("There is more than one nose-like bump.")
    return _Frame(x, brow, unit, whole)


def _highest_peak(bump: np.ndarray) -> tuple[int, int]:
    """Where the uppermost of the large bumps has its peak; lips and chin may stand out more than the nose."""
    rows = bump.max(0)
    top = int(np.nonzero(rows >= 0.5 * rows.max())[0].max())
    small = np.nonzero(rows[:top] < 0.5 * rows.max())[0]
    low = int(small.max()) + 1 if len(small) else 0
    z = low + int(rows[low : top + 1].argmax())
    return int(bump[:, z].argmax()), z


def _bump(front: np.ndarray, unit: float) -> np.ndarray:
    """How far a point stands out, in mm, beyond what a parabola through its neighbours would explain."""
    step = round(20 * unit)
    near = (_shifted(front, step) + _shifted(front, -step)) / 2
    far = (_shifted(front, 2 * step) + _shifted(front, -2 * step)) / 2
    bump = np.nan_to_num((front - near) - (near - far) / 3)
    return ndimage.uniform_filter(bump, 3) * STEP_MM


def _shifted(front: np.ndarray, steps: int) -> np.ndarray:
    shifted = np.full_like(front, np.nan)
    if steps > 0:
        shifted[:-steps] = front[steps:]
    else:
        shifted[-steps:] = front[:steps]
    return shifted


def _brow(front: np.ndarray, x: int, z: int, unit: float, *, lowest: float) -> int:
    """Above the root of the nose, the deepest point under the chord from the tip to the forehead."""
    profile = front[x, z : z + round(80 * unit) + 1]
    if len(profile) < 2 or np.isnan(profile).any():
        raise Unclear("There is no forehead above what could be a nose.")
    chord = np.linspace(profile[0], profile[-1], len(profile))
    root = np.clip((chord - profile).argmax() / unit, lowest, 60)
    return z + round((root + 16) * unit)


def _require_in_view(
    front: np.ndarray, head: np.ndarray, inside: np.ndarray, frame: _Frame, *, wrapped: np.ndarray | None
) -> None:
    """Both sides of the face, and air in front of it but for the tip of the nose.

    `wrapped`: tissue apart from the head; in MR a nose that is cut off turns up at the other end.
    """
    half, low = round(50 * frame.unit), max(0, frame.brow - round(115 * frame.unit))
    if frame.x - half < 0 or frame.x + half >= head.shape[0]:
        raise Unclear("A side of the face is outside of the field of view.")
    window = np.s_[frame.x - half : frame.x + half + 1, low : frame.brow]
    cut = (_cut(head, inside, axis=1) & np.isfinite(front))[window].sum() * STEP_MM**2
    if cut > 1200:
        raise Unclear("There is no air in front of the head: the field of view ends within the face.")
    if wrapped is None or cut < 50:
        return
    if wrapped[window[0], : round(40 / STEP_MM), window[1]].sum() * STEP_MM**3 > 500:
        raise Unclear("The tip of the nose is cut off and may be wrapped around to the back.")


def _sheet(front: np.ndarray, frame: _Frame) -> np.ndarray:
    """The cutting sheet y(x, z) in grid steps: fitted to the skin, set back, up to the skin at the brow."""
    across, down = np.meshgrid(*(np.arange(n, dtype=float) for n in front.shape), indexing="ij")
    across, down, unit = across - frame.x, frame.brow - down, frame.unit
    use = (np.abs(across) < 50 * unit) & (down > 0) & (down < 105 * unit) & np.isfinite(front)
    use &= (np.abs(across) > 16 * unit) | (down > 75 * unit)
    if use.sum() * STEP_MM**2 < 400:
        raise Unclear("There is too little skin beside the nose.")
    terms = np.stack([np.ones_like(front), across, down, across**2], -1)
    for _ in range(6):
        weights, *_ = np.linalg.lstsq(terms[use], front[use], rcond=None)
        off = np.abs(front - terms @ weights)
        use &= off <= 1.5 + 2 * np.median(off[use])
    depth = np.clip(3 + 0.9 * down / unit, 3, SHEET_DEPTH_MM) * unit
    return terms @ weights - depth


def _in_front_of(sheet: np.ndarray, frame: _Frame, shape: tuple[int, ...]) -> np.ndarray:
    x, y, z = np.ogrid[tuple(slice(0, n) for n in shape)]
    window = (np.abs(x - frame.x) < HALF_FACE_MM * frame.unit) & (z < frame.brow)
    return window & (z > frame.brow - 155 * frame.unit) & (y > sheet[:, None, :])


def _require_gone(head: np.ndarray, mask: np.ndarray, front: np.ndarray, frame: _Frame) -> None:
    """The skin of the face must be gone nearly everywhere between brow and chin."""
    half = round(40 * frame.unit)
    low, high = max(0, frame.brow - round(100 * frame.unit)), frame.brow - round(10 * frame.unit)
    window = np.s_[frame.x - half : frame.x + half + 1, low:high]
    left = _front(head & ~mask, np.ones_like(head))
    seen = np.isfinite(front[window])
    gone = np.nan_to_num((front - left)[window][seen], nan=np.inf) * STEP_MM > 3
    if gone.size == 0 or gone.mean() < 0.95:
        raise Unclear("The face cannot be told from the brain.")
