"""Training samples for segmentation: random patches, half of them around labelled voxels, warped as they are cut.

Where voxels may be without a label (`Plan.ignore_label`), the other half lies around voxels of known label, background
or not, and what is padded is unknown as well.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.augment import STRENGTHS, change_intensities, transforms, uniform, warp
from medcli.datasets.classification import flip_axes
from medcli.datasets.draw import Draw, EachOnce
from medcli.datasets.store import image_store, label_store, sample_seed
from medcli.preprocessing.labels import IGNORE
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.preprocessing.regions import members_mask

VOXELS_PER_CLASS = 512
"""Labelled positions remembered per case and class for foreground sampling."""
MARGIN = 1.45
"""A region so much larger than the patch is cut before rotating and scaling (root 2 covers any angle)."""


class SegmentationSet:
    """See `medcli.tasks.base.TrainingSet`. Targets are (patch...,) uint8 label ids; 255 is ignored by the loss.

    `draw`: which case each sample is from; default: each once per epoch.
    """

    total_samples: int

    def __init__(
        self,
        config: Config,
        plan: Plan,
        prepared: Prepared,
        records: Sequence[Record],
        *,
        draw: Draw | None = None,
    ):
        self.cases = len(records)
        self.seed = config.seed
        self._draw = draw or EachOnce(self.cases, self.seed)
        self.patch = tuple(plan.patch or ())
        self.foreground = config.train.foreground
        self.strength = STRENGTHS["medium" if config.train.augment == "auto" else config.train.augment]
        self.flips = flip_axes(config, plan)
        self.quarter_turns = (
            config.train.flips == "auto"
            and self.strength.probability > 0
            and self.patch[-1] == self.patch[-2]
        )
        self.channels, self._classes = plan.channels, plan.num_classes
        self._images = image_store(prepared, records, config.train.cache_gb)
        self._labels = label_store(prepared, records, config.train.cache_gb)
        self._sparse = plan.ignore_label is not None
        positions, counts = labelled_positions(prepared, records, plan, config.seed)
        self._positions, self._counts = tf.constant(positions), tf.constant(counts)

    def sample(self, number):
        index = self._draw(number)
        seed = sample_seed(number, self.seed, purpose=2)
        shape = tf.gather(self._labels.shapes, index)
        centre = tf.where(
            uniform(seed, 40) < self.foreground,
            self._foreground_centre(index, shape, seed),
            self._known_centre(index, shape, seed) if self._sparse else self._random_centre(shape, seed),
        )
        image, label = self._region(index, shape, centre)
        if not self._sparse:
            return self._warp(image, label, seed)
        # Warping fills with 0 what lies outside; turned about, that is IGNORE.
        image, label = self._warp(image, IGNORE - label, seed)
        return image, IGNORE - label

    def batch(self, images, targets, number):
        seed = sample_seed(number, self.seed, purpose=3)
        return change_intensities(images, seed, self.strength), targets

    def _random_centre(self, shape, seed):
        """Anywhere such that the patch lies within the image, where it fits."""
        patch = tf.constant(self.patch, tf.int64)
        room = tf.maximum(shape - patch, 0)
        start = tf.cast(
            tf.floor(uniform(seed, 41, (len(self.patch),)) * tf.cast(room + 1, tf.float32)), tf.int64
        )
        return tf.where(room > 0, start + patch // 2, shape // 2)

    def _foreground_centre(self, index, shape, seed):
        """Around a labelled voxel of a class drawn evenly among those in the case."""
        counts = tf.gather(self._counts, index)[: self._classes]
        present = tf.where(counts > 0)[:, 0]
        number = tf.size(present)

        def labelled():
            pick = tf.cast(uniform(seed, 42) * tf.cast(number, tf.float32), tf.int32)
            return self._centre_around(index, tf.gather(present, tf.minimum(pick, number - 1)), shape, seed)

        def unlabelled():
            return (
                self._known_centre(index, shape, seed) if self._sparse else self._random_centre(shape, seed)
            )

        return tf.cond(number > 0, labelled, unlabelled)

    def _known_centre(self, index, shape, seed):
        """Around a voxel of known label; where there is none anywhere."""
        return tf.cond(
            self._counts[index, self._classes] > 0,
            lambda: self._centre_around(index, tf.constant(self._classes, tf.int64), shape, seed),
            lambda: self._random_centre(shape, seed),
        )

    def _centre_around(self, index, row, shape, seed):
        """One of the remembered voxels of this row, shifted by up to a quarter of the patch."""
        available = tf.cast(self._counts[index, row], tf.float32)
        voxel = tf.cast(tf.minimum(uniform(seed, 43) * available, available - 1), tf.int64)
        position = tf.cast(self._positions[index, row, voxel], tf.int64)
        quarter = np.array(self.patch, np.float32) / 4
        shift = uniform(seed, 44, (len(self.patch),), -1.0, 1.0) * quarter
        centre = position + tf.cast(shift, tf.int64)
        half = tf.constant(self.patch, tf.int64) // 2
        return tf.where(
            shape > 2 * half, tf.clip_by_value(centre, half, tf.maximum(shape - half, half)), shape // 2
        )

    def _region(self, index, shape, centre):
        """Image and label around the centre, `MARGIN` larger than the patch on axes that are warped; padded with zeros,
        or `IGNORE` where labels are sparse."""
        size = np.array(self.patch, np.int64)
        if self.strength.probability > 0:
            size[-2:] = np.ceil(max(self.patch[-2:]) * MARGIN)
        start = centre - size // 2
        first = tf.clip_by_value(start, 0, shape)
        last = tf.clip_by_value(start + size, 0, shape)
        image = self._images.crop(
            index, tf.concat([first, [0]], 0), tf.concat([last - first, [self.channels]], 0)
        )
        label = self._labels.crop(index, first, last - first)
        before, after = first - start, start + size - last
        padding = tf.stack([before, after], axis=1)
        image = tf.pad(tf.cast(image, tf.float32), tf.concat([padding, [[0, 0]]], 0))
        label = tf.pad(label, padding, constant_values=IGNORE if self._sparse else 0)
        image.set_shape([*size, self.channels])
        label.set_shape(size)
        return image, label

    def _warp(self, image, label, seed):
        """Rotate, scale and mirror in the row-column plane in one resampling; planes ride along as channels."""
        if len(self.patch) == 3 and "plane" in self.flips:
            mirrored = uniform(seed, 45) < 0.5
            image = tf.cond(mirrored, lambda: tf.reverse(image, [0]), lambda: image)
            label = tf.cond(mirrored, lambda: tf.reverse(label, [0]), lambda: label)
        if self.strength.probability == 0:
            return image, label
        if len(self.patch) == 2:
            picture, mask = image, label[..., None]
        else:
            planes, rows, columns = label.shape
            picture = tf.reshape(tf.transpose(image, (1, 2, 0, 3)), (rows, columns, planes * self.channels))
            mask = tf.transpose(label, (1, 2, 0))
        size, out_size = picture.shape[:2], self.patch[-2:]
        centre = tf.constant([[(size[0] - 1) / 2, (size[1] - 1) / 2]], tf.float32)
        transform = transforms(
            seed, 1, out_size=out_size, centre=centre, strength=self.strength,
            flip_rows="row" in self.flips, flip_columns="column" in self.flips,
        )  # fmt: skip
        picture = warp(picture[None], transform, out_size, nearest=False)[0]
        mask = warp(mask[None], transform, out_size, nearest=True)[0]
        if self.quarter_turns:
            turned = uniform(seed, 46) < 0.5
            picture = tf.cond(turned, lambda: tf.transpose(picture, (1, 0, 2)), lambda: picture)
            mask = tf.cond(turned, lambda: tf.transpose(mask, (1, 0, 2)), lambda: mask)
        if len(self.patch) == 2:
            image, label = picture, mask[..., 0]
        else:
            planes = self.patch[0]
            picture = tf.reshape(picture, (*out_size, planes, self.channels))
            image, label = tf.transpose(picture, (2, 0, 1, 3)), tf.transpose(mask, (2, 0, 1))
        return tf.ensure_shape(image, (*self.patch, self.channels)), tf.ensure_shape(label, self.patch)


def labelled_positions(
    prepared: Prepared, records: Sequence[Record], plan: Plan, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (cases, rows, VOXELS_PER_CLASS, axes) int32 of labelled voxels, and how many of them are filled.

    There is a row for every class or region, and where labels are sparse one more for all voxels that are known.
    """
    axes, rows = len(records[0].shape), plan.num_classes + (plan.ignore_label is not None)
    positions = np.zeros((len(records), rows, VOXELS_PER_CLASS, axes), np.int32)
    counts = np.zeros((len(records), rows), np.int32)
    for case, record in enumerate(records):
        label = np.asarray(prepared.label(record, mapped=True))
        random = np.random.default_rng([seed, case])
        for row in range(rows):
            inside = members_mask(label, row, plan.regions) if row < plan.num_classes else label != IGNORE
            found = np.flatnonzero(inside)
            if len(found):
                chosen = random.choice(found, min(len(found), VOXELS_PER_CLASS), replace=False)
                counts[case, row] = len(chosen)
                positions[case, row, : len(chosen)] = np.stack(np.unravel_index(chosen, label.shape), axis=1)
    return positions, counts
