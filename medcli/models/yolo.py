"""A one-stage, anchor-free detector: cross-stage backbone, two-way feature pyramid, decoupled heads.

Written from the papers: Wang et al. 2020, "CSPNet" (cross-stage partial blocks); He et al. 2015, "Spatial
Pyramid Pooling"; Liu et al. 2018, "Path Aggregation Network" (top-down, then bottom-up); Ge et al. 2021,
"YOLOX" (decoupled, anchor-free heads); Li et al. 2020, "Generalized Focal Loss" (boxes as distributions).
"""

import math
from collections.abc import Sequence

import keras
from keras import layers

from medcli.errors import ConfigError
from medcli.models.anchors import REG_MAX
from medcli.models.blocks import conv_block

SIZES = {"nano": (16, 1), "small": (32, 1), "medium": (48, 2), "large": (64, 3)}
"""Per size the filters of the stem and the bottlenecks per block; stage k has `stem * 2**k` filters."""

PRIOR = 0.01
"""Score that an untrained network gives to every class (Lin et al. 2017, "Focal Loss", section 4.1)."""


def yolo(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    size: str = "nano",
    strides: Sequence[int] = (8, 16, 32),
    activation: str = "relu",
) -> keras.Model:
    """Build the detector.

    Args:
        input_shape: (rows, columns, channels); rows and columns must be multiples of the largest stride.
        num_classes: Number of classes.
        size: One of `SIZES`.
        strides: Pixels per cell of the levels, finest first: consecutive powers of two from 4 or 8 on.
        activation: Of the hidden layers. relu costs a third of silu in bfloat16 on a CPU.

    Returns:
        Images to float32 raw outputs (batch, anchors, 4 * REG_MAX + classes); see `medcli.models.anchors`.

    Raises:
        ConfigError: The size is unknown, or rows and columns do not fit the strides.
    """
    if size not in SIZES:
        raise ConfigError(f"model.size: expected one of {', '.join(SIZES)}, got {size}.")
    if any(length % strides[-1] for length in input_shape[:2]):
        raise ConfigError(
            f"preprocess.size: the detector needs rows and columns that are multiples of {strides[-1]}, "
            f"got {input_shape[0]} x {input_shape[1]}; set preprocess.size to such a size."
        )
    stem, depth = SIZES[size]
    inputs = keras.Input(tuple(input_shape), name="image")
    features = backbone(inputs, stem=stem, depth=depth, last_stride=strides[-1], activation=activation)
    levels = neck(features[-len(strides) :], depth=depth, activation=activation)
    outputs = [
        head(
            level,
            num_classes,
            stride=stride,
            image=input_shape,
            stem=stem,
            activation=activation,
            name=f"head{stride}",
        )
        for level, stride in zip(levels, strides, strict=True)
    ]
    return keras.Model(
        inputs, layers.Concatenate(axis=1, dtype="float32", name="outputs")(outputs), name=f"yolo_{size}"
    )


def backbone(x, *, stem: int, depth: int, last_stride: int, activation: str) -> list:
    """Features at strides 4, 8, ... up to `last_stride`."""
    x = conv_block(x, stem, stride=2, activation=activation, name="stem")
    features = []
    for stage in range(1, int(math.log2(last_stride))):
        filters = stem * 2**stage
        x = conv_block(x, filters, stride=2, activation=activation, name=f"stage{stage}_down")
        x = cross_stage(x, filters, depth=depth, shortcut=True, activation=activation, name=f"stage{stage}")
        features.append(x)
    features[-1] = pyramid_pooling(features[-1], activation=activation, name="pooling")
    return features


def feature_layer(stride: int, last_stride: int, activation: str) -> str:
    """The backbone's last layer at this stride, 4 or more."""
    name = "pooling" if stride == last_stride else f"stage{int(math.log2(stride)) - 1}"
    return f"{name}_mix_{activation}"


def neck(features: list, *, depth: int, activation: str) -> list:
    """Mix the levels, coarse to fine and back; every level keeps its filters."""
    down = [features[-1]]
    for feature in reversed(features[:-1]):
        filters, name = feature.shape[-1], f"neck_up{len(down)}"
        x = conv_block(down[0], filters, kernel=1, activation=activation, name=f"{name}_reduce")
        x = layers.UpSampling2D(2, name=f"{name}_upsample")(x)
        x = layers.Concatenate(name=f"{name}_join")([x, feature])
        down.insert(0, cross_stage(x, filters, depth=depth, shortcut=False, activation=activation, name=name))
    levels = [down[0]]
    for feature in down[1:]:
        filters, name = feature.shape[-1], f"neck_down{len(levels)}"
        x = conv_block(levels[-1], filters // 2, stride=2, activation=activation, name=f"{name}_reduce")
        x = layers.Concatenate(name=f"{name}_join")([x, feature])
        levels.append(cross_stage(x, filters, depth=depth, shortcut=False, activation=activation, name=name))
    return levels


def head(x, num_classes: int, *, stride: int, image: Sequence[int], stem: int, activation: str, name: str):
    """Raw outputs (batch, cells, 4 * REG_MAX + classes) float32 of one level, by a branch each.

    The class bias starts so that every score is `PRIOR`; the box bias favours no distance.
    """
    boxes = classes = x
    for number in (1, 2):
        boxes = conv_block(boxes, 4 * stem, activation=activation, name=f"{name}_box{number}")
        classes = conv_block(classes, 4 * stem, activation=activation, name=f"{name}_class{number}")
    prior = keras.initializers.Constant(math.log(PRIOR / (1 - PRIOR)))
    boxes = layers.Conv2D(4 * REG_MAX, 1, dtype="float32", name=f"{name}_distances")(boxes)
    classes = layers.Conv2D(num_classes, 1, bias_initializer=prior, dtype="float32", name=f"{name}_classes")(
        classes
    )
    cells = (image[0] // stride) * (image[1] // stride)
    x = layers.Concatenate(dtype="float32", name=f"{name}_concat")([boxes, classes])
    return layers.Reshape((cells, 4 * REG_MAX + num_classes), dtype="float32", name=f"{name}_cells")(x)


def cross_stage(x, filters: int, *, depth: int, shortcut: bool, activation: str, name: str):
    """Half of the filters pass through `depth` bottlenecks; the results of all are kept, then mixed."""
    x = conv_block(x, filters, kernel=1, activation=activation, name=f"{name}_enter")
    deep = keras.ops.split(x, 2, axis=-1)[1]
    parts = [x]
    for number in range(1, depth + 1):
        y = conv_block(deep, filters // 2, activation=activation, name=f"{name}_unit{number}a")
        y = conv_block(y, filters // 2, activation=activation, name=f"{name}_unit{number}b")
        deep = layers.Add(name=f"{name}_unit{number}_add")([deep, y]) if shortcut else y
        parts.append(deep)
    x = layers.Concatenate(name=f"{name}_concat")(parts)
    return conv_block(x, filters, kernel=1, activation=activation, name=f"{name}_mix")


def pyramid_pooling(x, *, activation: str, name: str):
    """Maxima over windows of 5, 9 and 13 cells (three poolings of 5 in a row) beside the feature itself."""
    filters = x.shape[-1]
    x = conv_block(x, filters // 2, kernel=1, activation=activation, name=f"{name}_reduce")
    parts = [x]
    for number in (1, 2, 3):
        parts.append(layers.MaxPooling2D(5, strides=1, padding="same", name=f"{name}_max{number}")(parts[-1]))
    x = layers.Concatenate(name=f"{name}_concat")(parts)
    return conv_block(x, filters, kernel=1, activation=activation, name=f"{name}_mix")
