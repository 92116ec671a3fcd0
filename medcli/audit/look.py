"""What an audit needs of one image: its content's hash, a small picture, facts of its file. Runs in workers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medcli.case import Case
from medcli.drawing import display_window
from medcli.errors import MedcliError
from medcli.image import Image
from medcli.preprocessing.intensity import is_grey, to_grey, without_alpha
from medcli.preprocessing.scan import content_of

SIDE = 64
"""Rows and columns of the small picture."""


@dataclass(frozen=True, eq=False)
class Look:
    """Attributes:
    fault: Why the image cannot be read, or "".
    content: Hash of the decoded values, as `preprocess` has it.
    pixels: Hash of the picture that a person sees: without alpha channel, grey written as one channel.
    constant: All values are the same.
    thumb: uint8 (SIDE, SIDE, 1 or 3), stretched to a square; of a volume its middle plane.
    facts: Numbers of the file: rows, columns, channels, bits, bands, JPEG quality, kind (by suffix).
    brightness: Mean, spread, 1st and 99th percentile of the grey values as stored.
    """

    fault: str = ""
    content: str = ""
    pixels: str = ""
    constant: bool = False
    thumb: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE, 1), np.uint8))
    facts: dict[str, float] = field(default_factory=dict)
    brightness: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def look_at_cases(cases: Sequence[Case]) -> list[Look]:
    """Look at some cases; a fault in one never stops the others."""
    return [_safely(case) for case in cases]


def _safely(case: Case) -> Look:
    try:
        return look_at(case)
    except MedcliError as error:
        return Look(fault=str(error))
    except MemoryError:
        return Look(fault=f"{case.images[0].path}: does not fit into memory.")
    except Exception as error:  # whatever a library makes of one odd file, the others go on
        return Look(fault=f"{case.images[0].path}: cannot be examined ({type(error).__name__}).")


def look_at(case: Case) -> Look:
    """Read one case; FormatError when its image cannot be read."""
    from medcli.io.readers import read_channels

    image = read_channels(case.images)
    array = image.array
    plane = array if image.ndim == 2 else array[array.shape[0] // 2]
    seen = _as_seen(plane)
    grey = to_grey(plane)[..., 0].astype(np.float64)
    low, high = np.percentile(grey, (1, 99))
    return Look(
        content=content_of(array),
        pixels=content_of(_as_seen(array) if image.ndim == 2 else array),
        constant=bool((array == array.reshape(-1, array.shape[-1])[0]).all()),
        thumb=thumbnail(seen),
        facts=_facts(image, case.images[0].path),
        brightness=(float(grey.mean()), float(grey.std()), float(low), float(high)),
    )


def _as_seen(array: np.ndarray) -> np.ndarray:
    """(rows, columns, 1 or 3): alpha dropped, equal colour channels written once; of others the first."""
    if is_grey(array):
        return to_grey(array)
    colors = without_alpha(array)
    return colors if colors.shape[-1] == 3 else colors[..., :1]


def thumbnail(array: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 (side, side, channels), area-averaged; values as `display_window` would show them."""
    from PIL import Image as Pillow

    low, high = display_window(array)
    scaled = (np.nan_to_num(array.astype(np.float32), nan=low) - low) * (255.0 / (high - low))
    small = [
        np.asarray(
            Pillow.fromarray(np.ascontiguousarray(scaled[..., channel])).resize(
                (side, side), Pillow.Resampling.BILINEAR
            )
        )
        for channel in range(array.shape[-1])
    ]
    return np.rint(np.clip(np.stack(small, -1), 0, 255)).astype(np.uint8)


def _facts(image: Image, path: Path) -> dict[str, float]:
    rows, columns = image.shape[-2:]
    facts = {
        "rows": float(rows),
        "columns": float(columns),
        "aspect": columns / rows,
        "channels": float(image.channels),
        "bits": 8.0 * image.array.dtype.itemsize,
        f"kind {path.suffix.lower()}": 1.0,
        **picture_header(path),
    }
    if image.ndim == 3:
        facts["planes"] = float(image.shape[0])
    return facts


PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_LUMINANCE_SUM = 3687
"""Sum of the luminance table of ITU-T T.81, annex K.1, which stands for quality 50."""


def picture_header(path: Path) -> dict[str, float]:
    """Bands of the stored pixels (4 with alpha), and the JPEG quality; empty when the file is no picture.

    The quality, 1 to 100, is what the first quantisation table stands for by libjpeg's rule; 0: no JPEG.
    """
    from PIL import Image as Pillow

    if path.suffix.lower() not in PICTURES or not path.is_file():
        return {}
    try:
        with Pillow.open(path) as picture:
            bands = float(len(picture.getbands()))
            tables = getattr(picture, "quantization", None)
    except (OSError, ValueError, Pillow.DecompressionBombError):
        return {}
    if not tables:
        return {"bands": bands, "JPEG quality": 0.0}
    scale = 100.0 * sum(next(iter(tables.values()))) / _LUMINANCE_SUM
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return {"bands": bands, "JPEG quality": float(round(quality))}
