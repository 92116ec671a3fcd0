"""Training samples for classification and regression: whole pictures or volumes, augmented a batch at a time."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from medcli.clinical import encode
from medcli.config.schema import Config
from medcli.datasets.appearance import CHANCES, change_appearance
from medcli.datasets.augment import (
    STRENGTHS,
    Strength,
    change_intensities,
    erase_rectangles,
    transforms,
    uniform,
    warp,
)
from medcli.datasets.draw import Draw, EachOnce
from medcli.datasets.mix import mix
from medcli.datasets.store import image_store, sample_seed
from medcli.preprocessing.plan import Plan, Target
from medcli.preprocessing.prepared import Prepared, Record


def class_targets(records: Sequence[Record], plan: Plan) -> np.ndarray:
    """(cases, classes) float32, one-hot or multi-hot; NaN where a label is unknown."""
    targets = np.zeros((len(records), plan.num_classes), np.float32)
    for row, record in zip(targets, records, strict=True):
        for name in record.classes:
            row[plan.classes.index(name)] = 1
        for name in record.unknown:
            row[plan.classes.index(name)] = np.nan
    return targets


def number_targets(records: Sequence[Record], target: Target) -> np.ndarray:
    """(cases, 1) float32, standardised as the plan says."""
    values = np.array([[np.nan if record.target is None else record.target] for record in records])
    return ((values - target.mean) / target.sd).astype(np.float32)


def network_targets(records: Sequence[Record], plan: Plan) -> np.ndarray:
    """What the network's outputs are compared with, (cases, outputs) float32."""
    return class_targets(records, plan) if plan.target is None else number_targets(records, plan.target)


def flip_axes(config: Config, plan: Plan) -> set[str]:
    """Axes that may be mirrored: set in the config, else the plan's, else (plans of earlier versions) by the color."""
    if config.train.flips != "auto":
        return set(config.train.flips)
    if plan.mirrored is not None:
        return set(plan.mirrored)
    if (plan.whole_images or plan.task == "detection") and plan.color != "rgb":
        return {"column"}
    return {"plane", "row", "column"}


ONE_BY_ONE = {"bias_field", "blur", "low_resolution", "inverted_gamma"}
"""Changes that are drawn for each sample by itself; the others are made for a batch at once."""
AT_ONCE = ("rotate", "scale", "shift", "noise", "brightness", "contrast", "gamma", "erase")
"""Changes that have a field of `Strength`."""


def allowed_changes(config: Config, plan: Plan) -> list[str] | None:
    """Names as of `train.augmentations`; None: plans of earlier versions, which said nothing."""
    if config.train.augmentations != "auto":
        return list(config.train.augmentations)
    return plan.augmentations


def limited(strength: Strength, allowed: Collection[str]) -> Strength:
    """Without the changes that are not allowed."""
    return replace(strength, **{name: 0.0 for name in AT_ONCE if name not in allowed})


class ClassificationSet:
    """See `medcli.tasks.base.TrainingSet`.

    Args:
        draw: Which case each sample is; default: each once per epoch.
        members: (cases, groups) float32, appended to the targets, so that whatever mixes targets mixes these too.
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
        members: np.ndarray | None = None,
    ):
        self.cases = len(records)
        self.seed = config.seed
        self._draw = draw or EachOnce(self.cases, self.seed)
        self.flips = flip_axes(config, plan)
        self.strength = STRENGTHS["medium" if config.train.augment == "auto" else config.train.augment]
        if {"row", "column"} <= self.flips and self.strength.rotate > 0:
            self.strength = replace(self.strength, rotate=180.0)  # no side is up: dermoscopy, microscopy
        self.mix = config.train.mix
        self._allowed = allowed_changes(config, plan)
        if self._allowed is not None:
            self.strength = limited(self.strength, self._allowed)
        strength = "medium" if config.train.augment == "auto" else config.train.augment
        self._chances = CHANCES[strength]
        self._images = image_store(prepared, records, config.train.cache_gb)
        targets = network_targets(records, plan)
        self._targets = tf.constant(targets if members is None else np.concatenate([targets, members], 1))
        self._shape = tuple(int(n) for n in self._images.shapes[0])
        self._clinical: tf.Tensor | None = None
        if plan.clinical:
            self._clinical = tf.constant(np.stack([encode(one.clinical, plan.clinical) for one in records]))
        self._table_only = plan.clinical and config.model.inputs == "table"
        self._count = plan.num_classes + (0 if members is None else members.shape[1])

    def sample(self, number):
        index = self._draw(number)
        target = tf.gather(self._targets, index)
        if (
            self._clinical is not None
        ):  # they must not be augmented, so they travel with the target until then
            target = tf.concat([target, tf.gather(self._clinical, index)], 0)
        if self._table_only:
            return tf.zeros((*[1] * (len(self._shape) - 1), self._shape[-1])), target
        image = tf.ensure_shape(self._images.whole(index), self._shape)
        allowed = ONE_BY_ONE & set(self._allowed or ())
        if allowed:
            image = change_appearance(
                tf.cast(image, tf.float32), sample_seed(number, self.seed, purpose=2), strength=self.strength,
                chances=self._chances, allowed=allowed, axes=range(len(self._shape) - 1)[-2:],
            )  # fmt: skip
        return image, target

    def batch(self, images, targets, number):
        images = tf.cast(images, tf.float32)
        seed = sample_seed(number, self.seed, purpose=1)
        if not self._table_only:
            images = self._augmented(images, seed)
        if self._clinical is not None:
            targets, columns = targets[:, : self._count], targets[:, self._count :]
            places = tf.reshape(columns, (columns.shape[0], *[1] * (len(self._shape) - 1), columns.shape[1]))
            spread = tf.broadcast_to(places, (*images.shape[:-1], columns.shape[1]))
            images = tf.concat([images, spread], -1)
        return mix(images, targets, seed, self.mix)

    def _augmented(self, images, seed):
        if len(self._shape) == 3:
            images = self._warp(images, seed)
        else:
            if self._allowed is not None:
                images = self._warp_planes(images, seed)
            images = flip_volumes(images, seed, self.flips)
        images = change_intensities(images, seed, self.strength)
        if len(self._shape) == 3:
            images = erase_rectangles(images, seed, self.strength)
        return images

    def _warp(self, images, seed):
        if self.strength.probability == 0 and not self.flips:
            return images
        transform = self._transform(images.shape[0], seed, self._shape[:2], self.flips)
        return tf.ensure_shape(
            warp(images, transform, self._shape[:2], nearest=False, fill="NEAREST"), images.shape
        )

    def _warp_planes(self, volumes, seed):
        """All planes of a volume alike."""
        if self.strength.probability == 0:
            return volumes
        count, planes, *size, _ = volumes.shape
        transform = tf.repeat(self._transform(count, seed, size, set()), planes, axis=0)
        flat = tf.reshape(volumes, (count * planes, *volumes.shape[2:]))
        return tf.reshape(warp(flat, transform, size, nearest=False, fill="NEAREST"), volumes.shape)

    def _transform(self, count, seed, size, flips):
        size = np.array(size, np.float32)
        shift = uniform(seed, 6, (count, 2), -self.strength.shift, self.strength.shift) * size
        return transforms(
            seed, count, out_size=size, centre=(size - 1) / 2 + shift, strength=self.strength,
            flip_rows="row" in flips, flip_columns="column" in flips,
        )  # fmt: skip


def view(images: np.ndarray, number: int, flips: Collection[str]) -> np.ndarray:
    """View `number` of (..., row, column, channel) images: turned, zoomed and shifted as `augment: light` does, by any
    angle where rows and columns may be mirrored. The same number is the same change for every image; planes alike."""
    strength = replace(STRENGTHS["light"], probability=1.0)
    if {"row", "column"} <= set(flips):
        strength = replace(strength, rotate=180.0)
    *_, rows, columns, channels = images.shape
    size, seed = np.array([rows, columns], np.float32), (number, 0)
    shift = uniform(seed, 6, (1, 2), -strength.shift, strength.shift) * size
    change = transforms(
        seed, 1, out_size=size, centre=(size - 1) / 2 + shift, strength=strength, flip_rows=False, flip_columns=False,
    )  # fmt: skip
    planes = tf.constant(np.reshape(images, (-1, rows, columns, channels)), tf.float32)
    all_alike = tf.repeat(change, planes.shape[0], 0)
    return (
        warp(planes, all_alike, (rows, columns), nearest=False, fill="NEAREST").numpy().reshape(images.shape)
    )


def flip_volumes(images, seed, flips: set[str]):
    """Mirror each of (count, plane, row, column, channel) along the allowed axes with probability one half."""
    for axis, name in enumerate(("plane", "row", "column"), start=1):
        if name in flips:
            chosen = uniform(seed, 30 + axis, (images.shape[0], 1, 1, 1, 1)) < 0.5
            images = tf.where(chosen, tf.reverse(images, [axis]), images)
    return images
