"""A bag of visual words of the one dark object in a picture, as a layer (dermoscopy).

The words are patches learned from the training images without labels, by k-means of whitened patches, and a patch
answers to those that are nearer than the mean one (Coates, Ng and Lee 2011, "An analysis of single-layer networks in
unsupervised feature learning", AISTATS). The patches come from a polar map about the object's centre, so that one side
of a patch points outwards wherever it lies: a patch at the border knows inside from outside, and turning or mirroring
the picture changes nothing.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from medcli.models.descriptors import SMALL, PictureFeatures, Scene, smoothed

RADII, ANGLES, REACH = 40, 120, 2.0
"""The map: so many steps outwards, as far as so many times the object's extent, and so many around."""
PATCH, STRIDE = 8, 2
COMPONENTS, RIDGE = 96, 0.02
"""Principal components kept when whitening; what is added to their variances, in mean variances."""
PATCHES, PATCHES_PER_IMAGE = 50_000, 120
"""Most patches that words are learned from."""
BATCH = 32
REGIONS = 2
"""A word's answers are averaged within the object, and along its border."""


@keras.saving.register_keras_serializable(package="medcli")
class VisualWords(PictureFeatures):
    """How well each word fits the one dark object: first within it, then along its border; (batch, 2 words).

    All alike before `learn`, finite and without meaning where there is no contrast.

    Args:
        words: How many.
    """

    def __init__(self, words: int, **kwargs):
        super().__init__(**kwargs)
        self.words = words

    def build(self, input_shape):
        self.channels = input_shape[-1]
        components = min(COMPONENTS, PATCH * PATCH * self.channels)
        shapes = {
            "whitening": (PATCH, PATCH, self.channels, components),  # (outwards, around, channel, component)
            "origin": (components,),
            "centres": (components, self.words),
        }
        self.whitening, self.origin, self.centres = (
            self.add_weight(shape=shape, name=name, initializer="zeros", trainable=False)
            for name, shape in shapes.items()
        )
        super().build(input_shape)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], REGIONS * self.words)

    def get_config(self):
        return super().get_config() | {"words": self.words}

    def features(self, images):
        unrolled = polar_map(images)
        colours, mask, field = unrolled[..., :-2], unrolled[..., -2:-1], unrolled[..., -1:]
        inside = middles(mask)
        regions = (inside**2, 4 * inside * (1 - inside) * middles(field))
        # A patch and its mirror image have the same say, so each word is compared with both.
        near = [self._near(colours, kernel) for kernel in (self.whitening, ops.flip(self.whitening, axis=1))]
        parts = []
        for weights in regions:
            total = ops.sum(weights, axis=(1, 2)) + SMALL
            parts.append(sum(ops.sum(weights * each, axis=(1, 2)) for each in near) / (2 * total))
        return ops.sqrt(ops.concatenate(parts, axis=-1) + 1e-6)

    def _near(self, colours, whitening):
        """(batch, outwards, around, word): how much nearer a patch is to a word than to the mean one, or 0."""
        patches = ops.conv(colours, whitening, strides=STRIDE, padding="valid") - self.origin
        squared = ops.sum(patches**2, axis=-1, keepdims=True) + ops.sum(self.centres**2, axis=0)
        distance = ops.sqrt(ops.maximum(squared - 2 * ops.matmul(patches, self.centres), 1e-6))
        return ops.relu(ops.mean(distance, axis=-1, keepdims=True) - distance)

    def learn(self, images: Sequence[np.ndarray], seed: int) -> None:
        """Learn the words from images (row, column, channel) float32, the same from the same seed.

        Few images give few different patches; words that are left over repeat others.
        """
        from sklearn.cluster import MiniBatchKMeans

        random = np.random.default_rng(seed)
        count = max(1, min(PATCHES_PER_IMAGE, PATCHES // len(images)))
        batches = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
        drawn = np.concatenate([self._drawn(np.stack(batch), count, random) for batch in batches])
        mean = drawn.mean(axis=0)
        variance, axes = np.linalg.eigh(np.cov((drawn - mean).T))
        kept = self.origin.shape[0]
        axes, variance = axes[:, -kept:], variance[-kept:]
        whitening = axes / np.sqrt(variance + RIDGE * variance.mean() + 1e-12)
        patches = ((drawn - mean) @ whitening).astype(np.float32)
        clusters = MiniBatchKMeans(
            min(self.words, len(patches)), batch_size=4096, max_iter=20, n_init=1, random_state=seed
        ).fit(patches)
        self.whitening.assign(whitening.reshape(self.whitening.shape))
        self.origin.assign(mean @ whitening)
        self.centres.assign(np.resize(clusters.cluster_centers_, (self.words, kept)).T)

    def _drawn(self, images: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        """(images count, values): patches from anywhere on the maps of the images, every other one mirrored."""
        maps = np.asarray(polar_map(images[..., : self.channels]))[..., :-2]
        patches = np.lib.stride_tricks.sliding_window_view(maps, (PATCH, PATCH), axis=(1, 2))
        outwards, around = (random.integers(size, size=(len(images), count)) for size in patches.shape[1:3])
        chosen = patches[np.arange(len(images))[:, None], outwards, around]
        chosen = chosen.reshape(-1, *patches.shape[3:]).transpose(0, 2, 3, 1)
        chosen = np.where((np.arange(len(chosen)) % 2 == 0)[:, None, None, None], chosen, chosen[:, :, ::-1])
        return chosen.reshape(len(chosen), -1)


def polar_map(images):
    """(batch, row, column, channel) to (batch, outwards, around, channel + 2): colours less the skin's, mask, lit.

    The angles go once around and `PATCH` - 1 steps on, so that no patch is cut. Outside of the picture nothing is lit.
    """
    scene, size = Scene(images), images.shape[1:3]
    skin = ops.sum(scene.skin * images, axis=(1, 2)) / (ops.sum(scene.skin, axis=(1, 2)) + SMALL)
    flat = ops.concatenate([smoothed(images) - skin[:, None, None], scene.mask, scene.field], axis=-1)
    # Half a step off, so that mirrored and turned pictures are sampled at the same places.
    angles = (np.arange(ANGLES + PATCH - 1) + 0.5) * 2 * np.pi / ANGLES
    radii = (np.arange(RADII) + 0.5) * REACH / RADII
    outwards = ops.convert_to_tensor(radii[None, :, None].astype(np.float32)) * scene.place.extent[..., None]
    row, column = (
        scene.place.row[..., None] + (size[0] - 1) / 2,
        scene.place.column[..., None] + (size[1] - 1) / 2,
    )
    rows = row + outwards * ops.convert_to_tensor(np.sin(angles)[None, None].astype(np.float32))
    columns = column + outwards * ops.convert_to_tensor(np.cos(angles)[None, None].astype(np.float32))
    within = (rows >= 0) & (rows <= size[0] - 1) & (columns >= 0) & (columns <= size[1] - 1)
    unrolled = sampled(flat, rows, columns)
    lit = unrolled[..., -1:] * ops.cast(within, "float32")[..., None]
    return ops.concatenate([unrolled[..., :-1], lit], axis=-1)


def sampled(images, rows, columns):
    """Bilinear values of (batch, row, column, channel) at places of (batch, ...), the nearest ones outside."""
    height, width, channels = images.shape[1:]
    rows, columns = ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1)
    top = ops.minimum(ops.floor(rows), max(height - 2, 0))
    left = ops.minimum(ops.floor(columns), max(width - 2, 0))
    down, across = (rows - top)[..., None], (columns - left)[..., None]
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    pixels = ops.reshape(images, (-1, channels))
    first = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * (height * width)

    def at(row, column):
        row, column = ops.minimum(row, height - 1), ops.minimum(column, width - 1)
        return ops.take(pixels, first + row * width + column, axis=0)

    above = at(top, left) * (1 - across) + at(top, left + 1) * across
    below = at(top + 1, left) * (1 - across) + at(top + 1, left + 1) * across
    return above * (1 - down) + below * down


def middles(x):
    """(batch, outwards, around, 1) at the middles of the patches."""
    side = PATCH // 2
    x = ops.average_pool(x, 2, strides=1, padding="valid")[:, side - 1 : 1 - side, side - 1 : 1 - side]
    return x[:, ::STRIDE, ::STRIDE]
