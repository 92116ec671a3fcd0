"""Pictures a person can check at a glance: images for the screen with boxes, labels and words drawn in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from medcli.boxes import Boxes
from medcli.image import Image

PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
"""Colours that colour-blind people can tell apart (Okabe and Ito 2008, "Color Universal Design")."""

HEXES = tuple("#{:02x}{:02x}{:02x}".format(*color) for color in PALETTE)

_INK, _PAPER = (240, 240, 240), (24, 28, 34)


def color_of(index: int) -> tuple[int, int, int]:
    """Colour of class `index`, counted from 0; after the seventh they repeat."""
    return PALETTE[index % len(PALETTE)]


def display_window(array: np.ndarray) -> tuple[float, float]:
    """Values (low, high) to show as black and white.

    0 and 255 for uint8, which is shown as it is; else the 0.5 and 99.5 percentiles of the finite values. A
    constant array gets a window one wide.
    """
    if array.dtype == np.uint8:
        return 0.0, 255.0
    step = max(1, array.size // 500_000)
    values = np.asarray(array, np.float32).ravel()[::step]
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def to_display(array: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Turn (row, column, channel) of any range into uint8 RGB (row, column, 3).

    Three channels are taken as RGB; of any other number the first is shown in grey. `window` defaults to
    `display_window`; what is not a number becomes black.
    """
    shown = array if array.shape[-1] == 3 else np.repeat(array[..., :1], 3, axis=-1)
    low, high = window or display_window(shown)
    if shown.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return np.ascontiguousarray(shown)
    scaled = (np.asarray(shown, np.float32) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)


# ---- drawing into a picture


def draw_boxes(
    rgb: np.ndarray,
    boxes: Boxes,
    classes: Sequence[str],
    *,
    names: bool = True,
    thick: np.ndarray | None = None,
) -> np.ndarray:
    """A copy with boxes in the colours of their classes, the class's name and, below 1, the score.

    Args:
        rgb: uint8 (row, column, 3).
        boxes: In pixels of this picture. Crowd regions are drawn without a name.
        classes: Names by class index.
        names: Write names and scores; where many boxes are drawn, a legend reads better.
        thick: (n,) bool, boxes with a line three times as wide; None: none.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    picture = Pillow.fromarray(np.ascontiguousarray(rgb))
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 240))
    font = _font(max(10, round(max(picture.size) / 42)))
    for number in np.argsort(boxes.scores, kind="stable"):
        kind = int(boxes.classes[number])
        x0, y0, x1, y1 = (float(value) for value in boxes.corners[number])
        # The far edge is half-open: the last pixel that belongs to the box is one before it.
        wide = 3 * width if thick is not None and thick[number] else width
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=color_of(kind), width=wide)
        if boxes.crowd[number] or not names:
            continue
        score = float(boxes.scores[number])
        text = classes[kind] if score >= 1 else f"{classes[kind]} {score:.2f}"
        left, _, right, bottom = draw.textbbox((0, 0), text, font=font)
        at = (x0, y0 - bottom - 2 if y0 - bottom - 2 >= 0 else y0 + width)
        draw.rectangle((at[0], at[1], at[0] + right - left + 4, at[1] + bottom + 1), fill=color_of(kind))
        draw.text((at[0] + 2, at[1]), text, fill=(0, 0, 0), font=font)
    return np.asarray(picture).copy()


def draw_labels(
    rgb: np.ndarray, labels: np.ndarray, classes: Sequence[str] = (), fill: float = 0.25
) -> np.ndarray:
    """A copy with every label tinted and outlined; with class names, a legend is added below (more rows).

    Args:
        rgb: uint8 (row, column, 3).
        labels: (row, column) ids; 0 is background and 255 is ignored: neither is drawn.
        classes: Names of the labels 1, 2, ...
        fill: Opacity of the tint in 0..1.
    """
    from skimage.segmentation import find_boundaries

    drawn = rgb.astype(np.float32)
    shown = np.where(labels == 255, 0, labels)
    for label in np.unique(shown[shown > 0]):
        region, color = shown == label, np.array(color_of(int(label) - 1), np.float32)
        drawn[region] = (1 - fill) * drawn[region] + fill * color
        drawn[find_boundaries(region, mode="inner")] = color
    drawn = np.rint(drawn).astype(np.uint8)
    return add_legend(drawn, classes) if classes else drawn


def draw_objects(rgb: np.ndarray, ids: np.ndarray, colors: np.ndarray, fill: float = 0.2) -> np.ndarray:
    """A copy with every object tinted and outlined, so that objects that touch are told apart.

    Args:
        rgb: uint8 (row, column, 3).
        ids: (row, column) numbers of objects from 1 on; 0 is background.
        colors: (n, 3) uint8, of the objects 1 to n.
        fill: Opacity of the tint in 0..1.
    """
    from skimage.segmentation import find_boundaries

    table = np.concatenate([np.zeros((1, 3), np.uint8), colors])[ids].astype(np.float32)
    opacity = np.where(find_boundaries(ids, mode="inner"), 1.0, fill) * (ids > 0)
    return np.rint(rgb * (1 - opacity[..., None]) + table * opacity[..., None]).astype(np.uint8)


def draw_heat(rgb: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A copy with evidence laid over it: the more there is, the brighter and the less transparent.

    The colours are viridis, whose steps look equally large and which colour-blind people can read.

    Args:
        rgb: uint8 (row, column, 3).
        heat: (row, column) 0..1.
    """
    from matplotlib import colormaps

    value = np.clip(np.asarray(heat, np.float32), 0, 1)
    color = colormaps["viridis"](value)[..., :3].astype(np.float32) * 255
    alpha = (0.75 * np.minimum(1, 2 * value))[..., None]
    return np.rint((1 - alpha) * rgb + alpha * color).astype(np.uint8)


def heat_bar(rows: int, *, top: str = "most", bottom: str = "none") -> np.ndarray:
    """The scale of `draw_heat` as a picture of this height, over grey, with words at its ends."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    font, width = _font(13), 14
    words = max(int(font.getlength(word)) for word in (top, bottom))
    bar = np.full((rows, width, 3), 128, np.uint8)
    scale = np.repeat(np.linspace(1, 0, rows)[:, None], width, axis=1)
    picture = Pillow.new("RGB", (width + words + 12, rows), _PAPER)
    picture.paste(Pillow.fromarray(draw_heat(bar, scale)), (4, 0))
    draw = ImageDraw.Draw(picture)
    draw.text((width + 8, 2), top, fill=_INK, font=font)
    draw.text((width + 8, max(0, rows - 20)), bottom, fill=_INK, font=font)
    return np.asarray(picture)


def add_legend(rgb: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The picture with a strip below it that names the colours; names that do not fit start a new line."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    size = max(11, round(rgb.shape[1] / 40))
    font, height, width = _font(size), size + 8, rgb.shape[1]
    places, x, y = [], 6, 0
    for name in classes:
        length = int(font.getlength(name)) + size + 14
        if x > 6 and x + length > width:
            x, y = 6, y + height
        places.append((x, y))
        x += length
    strip = Pillow.new("RGB", (width, y + height), _PAPER)
    draw = ImageDraw.Draw(strip)
    for number, (name, (x, y)) in enumerate(zip(classes, places, strict=True)):
        draw.rectangle((x, y + 5, x + size - 3, y + size + 2), fill=color_of(number))
        draw.text((x + size + 2, y + 2), name, fill=_INK, font=font)
    return np.concatenate([rgb, np.asarray(strip)])


def add_title(rgb: np.ndarray, text: str, size: int | None = None) -> np.ndarray:
    """The picture with one line of text above it; `size` in pixels, default: by the picture's width."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    size = size or max(14, round(rgb.shape[1] / 30))
    strip = Pillow.new("RGB", (rgb.shape[1], size + 8), _PAPER)
    ImageDraw.Draw(strip).text((6, 3), text, fill=_INK, font=_font(size))
    return np.concatenate([np.asarray(strip), rgb])


def beside(pictures: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """uint8 RGB pictures of any heights in one row, aligned at the top, on a dark ground."""
    rows = max(picture.shape[0] for picture in pictures)
    columns = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    sheet = np.full((rows, columns, 3), _PAPER, np.uint8)
    at = 0
    for picture in pictures:
        sheet[: picture.shape[0], at : at + picture.shape[1]] = picture
        at += picture.shape[1] + gap
    return sheet


def above(pictures: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """uint8 RGB pictures of any widths in one column, aligned at the left, on a dark ground."""
    return beside([picture.transpose(1, 0, 2) for picture in pictures], gap).transpose(1, 0, 2)


# ---- what to show of an image


@dataclass(frozen=True, eq=False)
class View:
    """One plane ready to draw into.

    Attributes:
        name: "axial", "coronal" or "sagittal" for volumes with a place in the world, "" for pictures.
        rgb: uint8 (row, column, 3), square pixels.
        labels: The label maps that were given, on the same grid.
        scale: (x, y): pixels of this view per pixel of the image.
    """

    name: str
    rgb: np.ndarray
    labels: tuple[np.ndarray, ...]
    scale: tuple[float, float]


def views(
    image: Image,
    labels: Sequence[np.ndarray] = (),
    *,
    window: tuple[float, float] | None = None,
    longest: int = 384,
) -> list[View]:
    """The picture, or three orthogonal planes of the volume, where the labels are largest.

    Args:
        image: Picture or volume. Volumes are turned to the radiologist's view by their affine: the patient's
            right is on the left, the head is up, the face looks left in sagittal planes.
        labels: Any number of label maps with the image's spatial shape. The first that is not empty chooses the
            planes; with none they go through the middle.
        window: Values to show as black and white; default: `display_window`.
        longest: Length in pixels that the longest side is brought to; all views have one scale.
    """
    spacing = image.spacing or (1.0,) * image.ndim
    if image.ndim == 2:
        factor = longest / max(np.multiply(image.shape, spacing))
        return [_view("", to_display(image.array, window), tuple(labels), spacing, factor)]
    maps = [image.array, *labels]
    if image.affine is not None:
        maps, spacing = _upright(maps, image.affine, spacing)
    array, *turned = maps
    window, factor = window or display_window(array), longest / max(np.multiply(array.shape[:3], spacing))
    chosen = next((part for part in turned if part.any()), np.zeros(array.shape[:3], np.uint8))
    shown = []
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        plane = largest_plane(chosen, axis)
        cut = [np.take(part, plane, axis) for part in (array, *turned)]
        steps = [step for number, step in enumerate(spacing) if number != axis]
        if axis > 0:  # planes run from feet to head, pictures from the top down
            cut = [part[::-1] for part in cut]
        name = name if image.affine is not None else f"across axis {axis}"
        shown.append(_view(name, to_display(cut[0], window), tuple(cut[1:]), steps, factor))
    return shown


def largest_plane(labels: np.ndarray, axis: int) -> int:
    """Index of the plane across `axis` that holds the largest shares of all labels; without any the middle one.

    Every label counts alike, so that a small organ beside a large one is seen.
    """
    others = tuple(other for other in range(labels.ndim) if other != axis)
    score = np.zeros(labels.shape[axis])
    for label in np.unique(labels[labels > 0]):
        counts = (labels == label).sum(others)
        score += counts / counts.sum()
    return int(score.argmax()) if score.any() else labels.shape[axis] // 2


def _upright(maps: Sequence[np.ndarray], affine: np.ndarray, spacing: Sequence[float]):
    """Turn axes to plane = feet to head, row = front to back, column = right to left of the patient."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(affine), axcodes2ornt(("S", "P", "L")))
    order = np.argsort(turn[:, 0]).astype(int)
    return [apply_orientation(part, turn) for part in maps], tuple(spacing[axis] for axis in order)


def _view(
    name: str, rgb: np.ndarray, labels: tuple[np.ndarray, ...], spacing: Sequence[float], factor: float
) -> View:
    """Bring a plane to square pixels, `factor` of them per mm."""
    from PIL import Image as Pillow

    rows, columns = rgb.shape[0] * spacing[0], rgb.shape[1] * spacing[1]
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    smooth = Pillow.Resampling.NEAREST if min(size) >= 4 * min(rgb.shape[:2]) else Pillow.Resampling.BILINEAR
    resized = np.asarray(Pillow.fromarray(rgb).resize(size, smooth))
    resized_labels = tuple(
        np.asarray(Pillow.fromarray(part.astype(np.int32)).resize(size, Pillow.Resampling.NEAREST))
        for part in labels
    )
    return View(name, resized, resized_labels, (size[0] / rgb.shape[1], size[1] / rgb.shape[0]))


@lru_cache
def _font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)
