"""Training samples for single objects: the class of every voxel, and how deep it lies within its object."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy import ndimage

from medcli.datasets.segmentation import SegmentationSet
from medcli.datasets.store import ArrayStore, held
from medcli.preprocessing.instances import classes_of, numbers_of
from medcli.preprocessing.prepared import Prepared, Record


class ObjectSet(SegmentationSet):
    """As `SegmentationSet`; targets are (patch..., 2) uint8: class ids, and 255 times the depth of `depths`.

    Objects are warped as numbers and their depth is measured in the patch, so borders are where the image has them.
    """

    def _label_store(self, prepared: Prepared, records: Sequence[Record], cache_gb: float) -> ArrayStore:
        return held([prepared.objects(record, mapped=True) for record in records], "int32", cache_gb)

    def sample(self, number):
        image, label = super().sample(number)
        target = tf.numpy_function(self._target, [label], tf.uint8, stateful=False)
        return image, tf.ensure_shape(target, (*label.shape, 2))

    def _target(self, label: np.ndarray) -> np.ndarray:
        depth = depths(numbers_of(label), self.spacing)
        return np.stack([classes_of(label), np.rint(255 * depth).astype(np.uint8)], axis=-1)


def depths(numbers: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """How far each voxel lies from the border of its object, over the largest such distance in the object.

    float32, 0 outside of objects and 1 in their middle: the normalised distance from which touching cells are
    separated by a watershed (Naylor et al. 2018, IEEE TMI 38:448, without the normalising; Scherr et al. 2020, PLoS ONE
    15:e0243219, "cell distance"). A border lies half a voxel beyond the outermost voxels; the edge of the array is
    none, since objects go on behind it.

    Args:
        numbers: Object numbers, 0 = none.
        spacing: Size of a voxel per axis, in any unit; None: cubes.
    """
    inside = numbers > 0
    if not inside.any():
        return np.zeros(numbers.shape, np.float32)
    border = np.zeros(numbers.shape, bool)
    for axis in range(numbers.ndim):
        this, that = np.moveaxis(border, axis, 0)[:-1], np.moveaxis(border, axis, 0)[1:]
        ids = np.moveaxis(numbers, axis, 0)
        differ = ids[:-1] != ids[1:]
        this |= differ
        that |= differ
    border &= inside
    if not border.any():  # one object fills everything
        return inside.astype(np.float32)
    steps = tuple(spacing) if spacing is not None else (1.0,) * numbers.ndim
    box = ndimage.find_objects(inside.view(np.uint8))[0]
    depth = ndimage.distance_transform_edt(~border[box], sampling=steps).astype(np.float32) + min(steps) / 2
    ids = numbers[box]
    deepest = np.full(int(numbers.max()) + 1, np.finfo(np.float32).tiny, np.float32)
    np.maximum.at(deepest, ids.ravel(), depth.ravel())
    result = np.zeros(numbers.shape, np.float32)
    result[box] = np.where(ids > 0, depth / deepest[ids], 0)
    return result
