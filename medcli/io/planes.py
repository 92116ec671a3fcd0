"""Planes of volumes as pictures: one plane, with its neighbours as further channels, is the image of a case.

Planes run along the first axis of the volume as it is read (for NIfTI the third on disk). The source of a plane is that
of its volume with `#plane=INDEX/COUNT` after the part.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from medcli.case import Case, Source
from medcli.errors import ConfigError, FormatError
from medcli.image import Image

_PART = re.compile(r"(?P<part>.*)#plane=(?P<index>\d+)/(?P<count>\d+)", re.DOTALL)

Place = tuple[np.ndarray, tuple[float, ...]]
"""Affine (4, 4) from (plane, row, column, 1) to RAS+ mm, and spacing."""


def volume_of(source: Source) -> tuple[Source, int, int] | None:
    """The volume, the index of the plane and how many planes are read; None for a source that is no plane."""
    found = _PART.fullmatch(source.part)
    return (
        None
        if found is None
        else (Source(source.path, found["part"]), int(found["index"]), int(found["count"]))
    )


def by_plane(cases: Sequence[Case], count: int) -> list[Case]:
    """Every plane of every volume as a case `NAME_p0012` of the same patient.

    Args:
        count: Planes that are read for each: it and its neighbours; odd.

    Raises:
        ConfigError: A case is no volume.
        FormatError: A volume cannot be read.
    """
    found = []
    for case in cases:
        for index in range(_planes_in(case.images[0])):
            found.append(
                replace(
                    case,
                    name=f"{case.name}_p{index:04d}",
                    patient=case.patient or case.name,
                    images=tuple(_plane(source, index, count) for source in case.images),
                    masks=tuple(_plane(source, index, 1) for source in case.masks),
                )
            )
    return found


def _plane(source: Source, index: int, count: int) -> Source:
    return Source(source.path, f"{source.part}#plane={index}/{count}")


def _planes_in(source: Source) -> int:
    """From the header alone where that is easy."""
    from medcli.io.readers import format_of

    if format_of(source.path).name == "NIfTI":
        from medcli.io.nifti import read_header

        shape = read_header(source.path).get_data_shape()
        return int(shape[2]) if len(shape) > 2 else 1
    return len(_volume(source).array)


def read_plane(source: Source, index: int, count: int) -> Image:
    """The plane of a volume (`source`) and its neighbours: (row, column, channel), the plane itself first, then its
    neighbours from the far below to the far above; beyond the ends the last plane again."""
    volume = _volume(source)
    if index >= len(volume.array):
        raise FormatError(
            f"{source.path}: {len(volume.array)} planes were found, number {index} was expected."
        )
    half = count // 2
    order = [0, *(step for step in range(-half, half + 1) if step)]
    planes = [volume.array[min(max(index + step, 0), len(volume.array) - 1)] for step in order]
    spacing = None if volume.spacing is None else volume.spacing[1:]
    notes = volume.notes if index == 0 else ()
    array = np.ascontiguousarray(np.concatenate(planes, axis=-1))
    return Image(array, spacing, None, volume.modality, volume.sources, notes)


def read_mask_planes(case: Case) -> list[np.ndarray]:
    """Of every mask of a plane's case the plane, as label ids."""
    return [mask[plane] for mask, plane in ((_mask(case, source), _index(source)) for source in case.masks)]


def read_volume_masks(case: Case) -> list[np.ndarray]:
    """The masks of the whole volume that a plane's case is from, as label ids."""
    return [_mask(case, source) for source in case.masks]


@lru_cache(maxsize=4096)
def place_of(source: Source) -> Place:
    """Of a volume; steps of 1 mm where the file says nothing."""
    volume = _volume(source)
    affine = np.eye(4)[[2, 1, 0, 3]] if volume.affine is None else volume.affine
    return affine, volume.spacing or (1.0,) * 3


def _index(source: Source) -> int:
    found = volume_of(source)
    assert found is not None
    return found[1]


def _mask(case: Case, source: Source) -> np.ndarray:
    image, mask = volume_of(case.images[0]), volume_of(source)
    assert image is not None and mask is not None
    return _whole_mask(mask[0], image[0])


# Planes are asked for one after another, so the last few volumes are kept.


@lru_cache(maxsize=3)
def _volume(source: Source) -> Image:
    from medcli.io.readers import read_image

    volume = read_image(source)
    if volume.ndim != 3:
        raise ConfigError(f"data.planes: expected volumes, {source.path.name} is a picture; set it to 0.")
    return volume


@lru_cache(maxsize=3)
def _whole_mask(mask: Source, image: Source) -> np.ndarray:
    from medcli.io.masks import read_mask

    return read_mask([mask], _volume(image))
