"""Training samples for segmentation: random patches, half of them around labelled voxels, warped as they are cut.

Where voxels may be without a label (`Plan.ignore_label`), the other half lies around voxels of known label, background
or not, and what is padded is unknown as well.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets import appearance, deform
from medcli.datasets.answers import Answers
from medcli.datasets.augment import STRENGTHS, uniform
from medcli.datasets.classification import flip_axes
from medcli.datasets.draw import Draw, EachOnce, Repeated
from medcli.datasets.store import ArrayStore, image_store, label_store, sample_seed
from medcli.preprocessing.labels import IGNORE
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.preprocessing.regions import members_mask

UNDEMANDING = ("rotate", "scale", "elastic", "noise", "brightness", "contrast", "gamma")
"""Changes that suit every kind of image."""
VOXELS_PER_CLASS = 512
"""Labelled positions remembered per case and class for foreground sampling."""


class SegmentationSet:
    """See `medcli.tasks.base.TrainingSet`. Targets are (patch...,) uint8 label ids; 255 is ignored by the loss.

    With `Plan.planes` the target is the middle plane of the patch alone: (1, rows, columns).

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
        self._draw = draw or draw_of(plan, records, self.seed)
        self.patch = tuple(plan.patch or ())
        self._planes = plan.planes
        self._reach = self.patch if plan.planes is None else (1, *self.patch[1:])
        self.foreground = config.train.foreground
        augment = "medium" if config.train.augment == "auto" else config.train.augment
        self.strength, self.chances = STRENGTHS[augment], appearance.CHANCES[augment]
        self.allowed = allowed_changes(config, plan)
        flips = flip_axes(config, plan)
        self.deformation = deform.Deformation(
            self.patch,
            plan.grid or (1.0,) * len(self.patch),
            strength=self.strength,
            chances=deform.CHANCES[augment],
            allowed=self.allowed,
            flips=flips,
            quarter_turns=config.train.flips == "auto" and {"row", "column"} <= flips and augment != "none",
        )
        self.appearance_axes = tuple(range(len(self.patch)))[0 if "tilt" in self.allowed else -2 :]
        self.channels, self._classes = plan.channels, plan.num_classes
        self.spacing = plan.spacing
        self._images = image_store(prepared, records, config.train.cache_gb)
        self._labels = self._label_store(prepared, records, config.train.cache_gb)
        self._answers = None
        if plan.cascade is not None:
            self._answers = Answers(
                prepared, records, plan.cascade.factors,
                cache_gb=config.train.cache_gb, augment=augment != "none",
            )  # fmt: skip
        self._sparse = plan.ignore_label is not None
        positions, counts = labelled_positions(prepared, records, plan, config.seed)
        self._positions, self._counts = tf.constant(positions), tf.constant(counts)

    def _label_store(self, prepared: Prepared, records: Sequence[Record], cache_gb: float) -> ArrayStore:
        return label_store(prepared, records, cache_gb)

    def sample(self, number):
        index = self._draw(number)
        seed = sample_seed(number, self.seed, purpose=2)
        shape = tf.gather(self._labels.shapes, index)
        centre = tf.where(
            uniform(seed, 40) < self.foreground,
            self._foreground_centre(index, shape, seed),
            self._known_centre(index, shape, seed) if self._sparse else self._random_centre(shape, seed),
        )
        corner = centre - np.array(self.patch, np.int64) // 2
        draws = self.deformation.draw(seed)
        first, size = self.deformation.region(draws, corner)
        image, label = self._region(index, shape, first, size)
        if self._answers is not None:
            said = self._crop(self._answers.store, index, shape, first + self._answers.shift(seed), size)
            image = tf.concat([image, self._answers.as_channels(said)], -1)
        offset = tf.cast(corner - first, tf.float32) + (np.array(self.patch, np.float32) - 1) / 2
        image, label = self.deformation.apply(draws, image, label, offset)
        seen = appearance.change_appearance(
            image[..., : self.channels],
            seed,
            strength=self.strength,
            chances=self.chances,
            allowed=self.allowed,
            axes=self.appearance_axes,
        )
        if self._answers is not None:
            seen = tf.concat([seen, self._answers.made_worse(image[..., self.channels :], seed)], -1)
        if self._planes is not None:
            label = label[self._planes // 2 : self._planes // 2 + 1]
        return seen, label

    def batch(self, images, targets, number):
        return images, targets

    def _random_centre(self, shape, seed):
        """Anywhere such that the patch lies within the image, where it fits (planes beside the middle one need not)."""
        patch = tf.constant(self._reach, tf.int64)
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
        quarter = np.array(self._reach, np.float32) / 4
        shift = uniform(seed, 44, (len(self.patch),), -1.0, 1.0) * quarter
        centre = position + tf.cast(shift, tf.int64)
        half = tf.constant(self._reach, tf.int64) // 2
        return tf.where(
            shape > 2 * half, tf.clip_by_value(centre, half, tf.maximum(shape - half, half)), shape // 2
        )

    def _region(self, index, shape, start, size):
        """Image and label from `start` on; where there is no image zeros, and `IGNORE` for labels that are sparse."""
        image = self._crop(self._images, index, shape, start, size)
        outside = IGNORE if self._sparse else 0
        label = self._crop(self._labels, index, shape, start, size, outside=outside)
        return tf.cast(image, tf.float32), label

    def _crop(self, store: ArrayStore, index, shape, start, size, *, outside: int = 0):
        """From `start` on, of all channels if there are any; `outside` where there is no image."""
        first = tf.clip_by_value(start, 0, shape)
        last = tf.clip_by_value(start + size, 0, shape)
        padding = tf.stack([first - start, start + size - last], axis=1)
        channels = store.shapes[0, len(self.patch) :]
        part = store.crop(index, tf.concat([first, channels * 0], 0), tf.concat([last - first, channels], 0))
        padding = tf.concat([padding, [[0, 0]] * len(channels)], 0) if len(channels) else padding
        part = tf.pad(part, padding, constant_values=tf.cast(outside, part.dtype))
        part.set_shape([None] * len(self.patch) + [int(count) for count in channels])
        return part


def allowed_changes(config: Config, plan: Plan) -> list[str]:
    """What augmentation may do: set in the config, else the plan's, else (plans of earlier versions) what suits all."""
    if config.train.augmentations != "auto":
        return list(config.train.augmentations)
    return list(UNDEMANDING if plan.augmentations is None else plan.augmentations)


def draw_of(plan: Plan, records: Sequence[Record], seed: int) -> Draw:
    """Every case once per epoch, or those with rare classes more often: by the largest factor of their classes."""
    weights = [
        max([1.0, *(plan.oversampling.get(name, 1.0) for name in record.classes)]) for record in records
    ]
    if max(weights) == min(weights):
        return EachOnce(len(records), seed)
    return Repeated(np.array(weights), seed)


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
