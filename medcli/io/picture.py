"""PNG, JPEG, TIFF and the other pictures that Pillow opens, in their full depth: (row, column, channel)."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from medcli import sandbox
from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.limits import check_size

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_picture(source: Source) -> Image:
    """A picture of the integers stored: grey (1 channel) or RGB (3), turned as its EXIF orientation says.

    Palettes become RGB. Transparency is dropped; a note says so where it varies within the picture. A TIFF of
    several equal pages becomes a volume with voxels of unknown size; what it calls channels (axis C) all stay.
    """
    array, notes = load_picture(source.path)
    affine = np.eye(4) if array.ndim == 4 else None
    return Image(array, affine=affine, sources=(source.path,), notes=notes)


def load_picture(path: Path, *, indices: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array (row, column, channel), for a TIFF of several pages (plane, row, column, channel), and notes.

    Args:
        path: The file.
        indices: Keep the palette's indices and one-bit values as they are, as masks need them.
    """
    with open(path, "rb") as stream:
        head = stream.read(32)
    with_alpha = True
    if head.startswith(_TIFF):
        array, notes, with_alpha = _read_tiff(path, indices)
    elif head.startswith(_PNG) and len(head) >= 26 and head[24] == 16 and head[25] in (2, 4, 6):
        array, notes = _read_deep_png(path, head), ()
    else:
        array, notes = _read_with_pillow(path, indices)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    array, more = _without_alpha(array) if with_alpha else (array, ())
    return np.ascontiguousarray(array), notes + more


def _read_with_pillow(path: Path, indices: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as picture:
                if (count := getattr(picture, "n_frames", 1)) > 1:
                    notes = (f"only the first of {count} frames is read",)
                turned = ImageOps.exif_transpose(picture)
                return np.asarray(_plain_mode(turned, indices)), notes
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise FormatError(
            f"{path}: at most {Pillow.MAX_IMAGE_PIXELS} pixels were expected, more were found (a "
            "decompression bomb, or a whole slide); cut the picture into tiles."
        ) from error
    except UnidentifiedImageError as error:
        raise FormatError(
            f"{path}: a picture (PNG, JPEG, TIFF, ...) was expected, something else was found."
        ) from error
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise FormatError(f"{path}: the picture is damaged or truncated; copy or export it again.") from error


def _plain_mode(picture: Pillow.Image, indices: bool) -> Pillow.Image:
    """The picture in a mode whose array is grey, grey + alpha, RGB or RGB + alpha."""
    match picture.mode:
        case "P" | "PA" if not indices:
            return picture.convert("RGBA" if "transparency" in picture.info else "RGB")
        case "1":
            return picture.convert("L") if not indices else picture.point(lambda value: value and 1, "L")
        case "CMYK" | "YCbCr" | "LAB" | "HSV" | "RGBX":
            return picture.convert("RGB")
        case "La" | "RGBa":
            return picture.convert("LA" if picture.mode == "La" else "RGBA")
        case _:
            return picture


def _read_deep_png(path: Path, head: bytes) -> np.ndarray:
    """Colour PNG of 16 bits per channel, which Pillow would cut to 8."""
    columns, rows = struct.unpack(">II", head[16:24])
    samples = {2: 3, 4: 2, 6: 4}[head[25]]
    size = check_size(path, (rows, columns, samples), 2)
    return sandbox.call(_decode_png, path, subject=str(path), memory=sandbox.MEMORY + 4 * size)


def _decode_png(path: Path) -> np.ndarray:
    import SimpleITK

    try:
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="PNGImageIO"))
    except RuntimeError as error:
        raise FormatError(f"{path}: the picture is damaged or truncated; copy or export it again.") from error


def _read_tiff(path: Path, indices: bool) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """The array, notes, and whether the last of two or four channels is transparency."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            check_size(path, series.shape, max(series.dtype.itemsize, 1))
            page = file.pages.first
            plain = page.photometric in (0, 1, 2) and page.compression not in (6, 7)
            if (
                series.ndim <= 3
                and (len(file.pages) == 1)
                and not (plain and page.tags.get("Orientation") is None)
            ):
                return *_read_with_pillow(path, indices), True
            array, axes = series.asarray(), series.axes
            if page.photometric == 0 and array.dtype.kind == "u":  # white is zero
                array = np.iinfo(array.dtype).max - array
    except FormatError:
        raise
    except Exception as error:  # tifffile raises many kinds; unknown compressions end in Pillow
        try:
            return *_read_with_pillow(path, indices), True
        except FormatError:
            raise FormatError(
                f"{path}: the TIFF is damaged or of an unknown kind; export it again."
            ) from error
    return *_tiff_axes(path, array, axes), "C" not in axes


def _tiff_axes(path: Path, array: np.ndarray, axes: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Axes as (plane,) row, column, channel: X and Y are pixels, S and C samples, anything else planes."""
    array = array.astype(np.uint8) if array.dtype == bool else array
    samples = [axis for axis, name in enumerate(axes) if name in "SC"]
    planes = [axis for axis, name in enumerate(axes) if name not in "SCXY" and array.shape[axis] > 1]
    if "X" not in axes or "Y" not in axes or len(samples) > 1 or len(planes) > 1:
        raise FormatError(
            f"{path}: a TIFF picture or one stack of pages was expected, axes {axes} were found."
        )
    order = [*planes, axes.index("Y"), axes.index("X"), *samples]
    rest = [axis for axis in range(array.ndim) if axis not in order]
    array = np.transpose(array, rest + order).reshape([array.shape[axis] for axis in order])
    if not samples:
        array = array[..., np.newaxis]
    notes = (f"{array.shape[0]} pages read as planes of unknown spacing",) if planes else ()
    return array, notes


def _without_alpha(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if array.shape[-1] not in (2, 4):
        return array, ()
    alpha = array[..., -1]
    notes = () if alpha.min() == alpha.max() else ("the transparency varies and is not used",)
    return array[..., :-1], notes
