"""Prepared arrays within reach of a TensorFlow graph: in memory when they fit, else mapped from disk."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from medcli.preprocessing.prepared import Prepared, Record

ALIGNMENT = 64
"""Bytes; a case that starts on such a boundary is sliced without a copy."""


class ArrayStore:
    """Arrays of one rank and dtype, one per case, read by index inside a graph.

    Args:
        arrays: One per case; may be memory maps.
        dtype: What they are held as. float16 halves memory for normalised images.
        in_memory: Hold all of them in one flat tensor; otherwise each read goes to `arrays` through Python.
    """

    def __init__(self, arrays: Sequence[np.ndarray], *, dtype: str, in_memory: bool):
        self.shapes = np.array([array.shape for array in arrays], np.int64)
        self.dtype = tf.as_dtype(dtype)
        self._arrays = arrays
        self._in_memory = in_memory
        if in_memory:
            step = ALIGNMENT // self.dtype.size
            sizes = self.shapes.prod(axis=1)
            starts = np.concatenate([[0], np.cumsum(-(-sizes // step) * step)])
            flat = np.zeros(int(starts[-1]), self.dtype.as_numpy_dtype)
            for start, size, array in zip(starts, sizes, arrays, strict=False):
                flat[start : start + size] = np.asarray(array).ravel()
            with tf.device("CPU:0"):
                self._flat = tf.constant(flat)
            self._starts, self._sizes = starts[:-1].astype(np.int64), sizes

    def whole(self, index: tf.Tensor) -> tf.Tensor:
        """The array of case `index`, in the store's dtype."""
        return self.crop(index, None, None)

    def crop(self, index: tf.Tensor, start: tf.Tensor | None, size: tf.Tensor | None) -> tf.Tensor:
        """The part from `start` of `size` (int64 vectors over all axes, within the array)."""
        if self._in_memory:
            first, length = tf.gather(self._starts, index), tf.gather(self._sizes, index)
            array = tf.reshape(self._flat[first : first + length], tf.gather(self.shapes, index))
            return array if start is None else tf.slice(array, start, size)
        if start is None:
            start, size = tf.zeros(self.shapes.shape[1], tf.int64), tf.gather(self.shapes, index)
        array = tf.numpy_function(self._read, [index, start, size], self.dtype, stateful=False)
        array.set_shape([None] * self.shapes.shape[1])
        return array

    def _read(self, index: np.ndarray, start: np.ndarray, size: np.ndarray) -> np.ndarray:
        window = tuple(slice(int(s), int(s + n)) for s, n in zip(start, size, strict=True))
        return np.asarray(self._arrays[int(index)][window], self.dtype.as_numpy_dtype)


def image_store(prepared: Prepared, records: Sequence[Record], cache_gb: float) -> ArrayStore:
    """Images as float16, in memory when all of them take at most `cache_gb` GiB that way."""
    return held([prepared.picture(record, mapped=True) for record in records], "float16", cache_gb)


def label_store(prepared: Prepared, records: Sequence[Record], cache_gb: float) -> ArrayStore:
    """Label ids as uint8, held like `image_store`."""
    return held([prepared.label(record, mapped=True) for record in records], "uint8", cache_gb)


def object_masks(prepared: Prepared, records: Sequence[Record], cache_gb: float) -> ArrayStore | None:
    """Numbers of the objects that boxes are of (row, column, 1), held like `image_store`; None: not of all cases."""
    masks = [prepared.mask(record) for record in records]
    if any(mask is None for mask in masks):
        return None
    return held([mask[..., None] for mask in masks if mask is not None], "uint16", cache_gb)


def held(arrays: Sequence[np.ndarray], dtype: str, cache_gb: float) -> ArrayStore:
    """In memory when all of them take at most `cache_gb` GiB as this dtype."""
    fits = sum(array.size for array in arrays) * tf.as_dtype(dtype).size <= cache_gb * 2**30
    return ArrayStore(arrays, dtype=dtype, in_memory=fits)


def shuffled(number: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """The case of sample `number` (int64): each epoch of `count` samples is a permutation by (seed, epoch)."""
    epoch, position = number // count, number % count
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.int32), count - 1)


def sample_seed(number: tf.Tensor, seed: int, purpose: int) -> tf.Tensor:
    """A (2,) seed for stateless random operations: a function of the job's seed, the purpose and the number."""
    return tf.stack([tf.constant(seed * 1_000_003 + purpose, tf.int64), tf.cast(number, tf.int64)])
