"""The one way to read an image: an ordered table of formats, told by the name, else by the first bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.faults import explained
from medcli.io.grid import on_grid
from medcli.io.planes import read_plane, volume_of

# The modules of the formats are imported when a file of that format is read, since their libraries load
# slowly.


def _nifti(source: Source) -> Image:
    from medcli.io.nifti import read_nifti

    return read_nifti(source)


def _picture(source: Source) -> Image:
    from medcli.io.picture import read_picture

    return read_picture(source)


def _numpy(source: Source) -> Image:
    from medcli.io.numpy_file import read_numpy

    return read_numpy(source)


def _itk(source: Source) -> Image:
    from medcli.io.itk import read_itk

    return read_itk(source)


def _dicom(source: Source) -> Image:
    from medcli.io.dicom import read_dicom

    return read_dicom(source)


def _cifar(source: Source) -> Image:
    from medcli.io.cifar import read_cifar

    return read_cifar(source)


@dataclass(frozen=True)
class Format:
    """A row of the table: its name, the suffixes it goes by, how its first 512 bytes look, and its reader."""

    name: str
    suffixes: tuple[str, ...]
    looks_so: Callable[[bytes], bool]
    read: Callable[[Source], Image]


_PICTURE_MAGIC = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"BM",
    b"GIF8",
    b"RIFF",
)

DICOM = Format(
    "DICOM",
    (".dcm", ".dicom", ".ima", ".dcm.gz", ".ima.gz"),
    lambda head: head[128:132] == b"DICM" or head[:2] in (b"\x08\0", b"\x02\0"),
    _dicom,
)
NIFTI = Format(
    "NIfTI",
    (".nii", ".nii.gz"),
    lambda head: head[344:347] == b"n+1" or head[4:7] == b"n+2",
    _nifti,
)
PICTURE = Format(
    "picture",
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm"),
    lambda head: head.startswith(_PICTURE_MAGIC),
    _picture,
)
NUMPY = Format("NumPy", (".npy", ".npz"), lambda head: head.startswith((b"\x93NUMPY", b"PK\x03\x04")), _numpy)
NRRD = Format("NRRD", (".nrrd", ".nhdr"), lambda head: head.startswith(b"NRRD"), _itk)
META_IMAGE = Format(
    "MetaImage", (".mha", ".mhd"), lambda head: head.startswith((b"ObjectType", b"NDims")), _itk
)
_BATCH_KEYS = (b"batch_label", b"data", b"labels", b"filenames")
CIFAR = Format(
    "CIFAR batch",
    (),
    lambda head: head.startswith(b"\x80") and any(key in head for key in _BATCH_KEYS),
    _cifar,
)

FORMATS = (DICOM, NIFTI, PICTURE, NUMPY, NRRD, META_IMAGE, CIFAR)
"""The order matters for what is told by content: the 128 bytes before DICOM's mark may imitate a TIFF."""

SUFFIXES = tuple(sorted((suffix for row in FORMATS for suffix in row.suffixes), key=len, reverse=True))


def read_image(source: Source | Path | str) -> Image:
    """Read one image or volume.

    Args:
        source: A file, a folder that holds a DICOM series, or a part of either (see `Source`).

    Raises:
        FormatError: When it cannot be read as what it claims to be; the message is one sentence.
    """
    source = source if isinstance(source, Source) else Source(Path(source))
    plane = volume_of(source)
    if plane is not None:
        return read_plane(*plane)
    with explained(source.path, "image"):
        image = format_of(source.path).read(source)
        return image if image.array.flags.writeable else image.with_array(image.array.copy())


def format_of(path: Path) -> Format:
    """The row of the table for this file; FormatError without one, or when name and content disagree."""
    if path.is_dir():
        return DICOM
    if not path.exists():
        raise FormatError(f"{path}: there is no such file.")
    head = first_bytes(path)
    by_content = next((row for row in FORMATS if row.looks_so(head)), None)
    by_name = next((row for row in FORMATS if path.name.lower().endswith(row.suffixes)), None)
    if by_name and by_content and not by_name.looks_so(head):
        raise FormatError(
            f"{path}: a {by_name.name} file was expected by its name, its content looks like "
            f"{by_content.name}; give the file its right suffix."
        )
    found = by_name or by_content
    if found is None:
        kinds = ", ".join(row.name for row in FORMATS)
        raise FormatError(f"{path}: one of {kinds} was expected, the content is none of them.")
    return found


def format_by_content(path: Path) -> Format | None:
    """The row whose first bytes these are; None for empty and unknown files."""
    head = first_bytes(path)
    return next((row for row in FORMATS if row.looks_so(head)), None)


def first_bytes(path: Path) -> bytes:
    """The first 512 bytes, of what is inside when the file is gzipped."""
    with open(path, "rb") as stream:
        head = stream.read(512)
    if head.startswith(b"\x1f\x8b"):
        from medcli.io.limits import gunzip_start

        head = gunzip_start(path, 512)
    return head


def stem_of(path: Path) -> str:
    """The name without its format's suffix: `a.nii.gz` gives `a`; names such as `1.2.840` lose nothing."""
    name = path.name
    for suffix in (*SUFFIXES, ".gz"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def read_channels(sources: Sequence[Source]) -> Image:
    """Read the files of one case and join them along the channel axis, on the grid of the first.

    Raises:
        FormatError: When a file cannot be read, or its shape or place differs from the first one's.
    """
    images = [read_image(source) for source in sources]
    first = images[0]
    if len(images) == 1:
        return first
    arrays = [on_grid(image.sources[0], image.array, image.affine, first) for image in images]
    array = np.concatenate(arrays, axis=-1)
    notes = tuple(note for image in images for note in image.notes)
    paths = tuple(path for image in images for path in image.sources)
    return replace(first, array=array, sources=paths, notes=notes)
