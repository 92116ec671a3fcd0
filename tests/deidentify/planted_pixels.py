"""Pictures of the planted corpus: made-up anatomy, with text burned in and its mask for the key."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont


@dataclass(frozen=True)
class Line:
    """A line of text to burn in at (row, column); intensity 0 to 1; colour only in pictures in colour."""

    text: str
    row: int
    column: int
    size: int = 14
    level: float = 1.0
    colour: tuple[int, int, int] | None = None
    identifies: bool = True


def anatomy(random: np.random.Generator, rows: int, columns: int, *, noise: float = 0.03) -> np.ndarray:
    """A body-like ellipse with blobs, 0 to 1, float32."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows - 0.5, x / columns - 0.5
    picture = 0.35 * ((x / 0.38) ** 2 + (y / 0.42) ** 2 < 1).astype(np.float32)
    for _ in range(5):
        cx, cy = random.uniform(-0.22, 0.22, 2)
        rx, ry = random.uniform(0.04, 0.12, 2)
        picture += random.uniform(0.1, 0.3) * (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1)
    picture += random.normal(0, noise, picture.shape).astype(np.float32) * (picture > 0)
    return np.clip(picture, 0, 0.9).astype(np.float32)


def fan(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """An ultrasound sector with speckle below a dark bar, 0 to 1."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    radius = np.hypot(y - rows * 0.16, x - columns / 2)
    angle = np.abs(np.arctan2(x - columns / 2, y - rows * 0.16))
    inside = (radius > rows * 0.1) & (radius < rows * 0.75) & (angle < 0.6)
    return (inside * random.rayleigh(0.16, (rows, columns))).clip(0, 0.8).astype(np.float32)


def burn(
    picture: np.ndarray, lines: list[Line], top: float
) -> tuple[np.ndarray, list[tuple[Line, list[int], np.ndarray]]]:
    """Write the lines into a copy; give each line's box (x0, y0, x1, y1) and its mask within the box.

    `top`: the pixel value of full intensity.
    """
    out = picture.copy()
    notes = []
    for line in lines:
        glyphs = Image.new("L", (picture.shape[1], picture.shape[0]))
        ImageDraw.Draw(glyphs).text(
            (line.column, line.row), line.text, fill=255, font=ImageFont.load_default(line.size)
        )
        cover = np.asarray(glyphs) > 96
        if not cover.any():
            raise ValueError("a line of text lies outside its picture")
        colour = line.colour or (255, 255, 255)
        if out.ndim == 3:
            out[cover] = [round(part / 255 * line.level * top) for part in colour]
        else:
            out[cover] = round(line.level * top)
        ys, xs = np.nonzero(cover)
        box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        notes.append((line, box, cover[box[1] : box[3], box[0] : box[2]]))
    return out, notes


def pack(mask: np.ndarray) -> str:
    return np.packbits(mask).tobytes().hex()


def unpack(mask: str, box: list[int]) -> np.ndarray:
    """The boolean mask of a box (x0, y0, x1, y1)."""
    shape = (box[3] - box[1], box[2] - box[0])
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(mask), np.uint8))
    return bits[: shape[0] * shape[1]].reshape(shape).astype(bool)
