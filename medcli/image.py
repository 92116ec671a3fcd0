"""One image as medcli holds it: values, spacing, place in the world, and where it came from."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Image:
    """A picture or a volume.

    Attributes:
        array: (row, column, channel) for a picture, (plane, row, column, channel) for a volume; in full depth: integers
            as stored for pictures, float32 after rescale slope and intercept for modalities that have them.
        spacing: Step between neighbouring voxels in mm, one number per spatial axis in the order of the axes; None when
            the file does not say.
        affine: (4, 4) float64 for volumes: takes (plane, row, column, 1) indices to RAS+ mm. None for pictures.
        modality: DICOM modality code where known ("CT", "MR", "PT", "DX", ...), else "".
        sources: The files that were read.
        notes: What a user should know (missing slices, resampled gantry tilt, ...); never a patient's data.
    """

    array: np.ndarray
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = None
    modality: str = ""
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def ndim(self) -> int:
        """Number of spatial axes: 2 or 3."""
        return self.array.ndim - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, without the channel."""
        return self.array.shape[:-1]

    @property
    def channels(self) -> int:
        return self.array.shape[-1]

    def with_array(self, array: np.ndarray) -> "Image":
        return replace(self, array=array)
