"""Every network of `keras.applications` as a classifier of normalised grey or RGB pictures."""

import difflib
import inspect
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras import layers

from medcli.errors import ConfigError

SECONDS = 10.0
"""A server that says nothing for so long is given up."""

# What each family was trained on, from its `preprocess_input`: pixels 0..255 (the network rescales by itself), -1..1,
# ImageNet z-scores, or BGR minus the ImageNet mean. Values that arrive here are z-scores, so that a picture like
# ImageNet's has pixels of about 118 +- 58.
SCALES = {
    "pixels": ("EfficientNet", "ConvNeXt", "MobileNetV3"),
    "unit": (
        "Xception",
        "InceptionV3",
        "InceptionResNetV2",
        "MobileNet",
        "NASNet",
        "ResNet50V2",
        "ResNet101V2",
        "ResNet152V2",
    ),
    "zscore": ("DenseNet",),
    "bgr": ("VGG", "ResNet50", "ResNet101", "ResNet152"),
}


def names() -> list[str]:
    """All networks that can be built, as spelt in `keras.applications`."""
    found = vars(keras.applications)
    return sorted(name for name, value in found.items() if name[0].isupper() and inspect.isfunction(value))


def build_application(
    name: str, input_shape, num_outputs: int, *, weights: str, dropout: float
) -> keras.Model:
    """The network without its top, mean over space, logits (float32).

    Args:
        input_shape: (row, column, channel) of z-scored pictures, in full depth (nothing is cut to 8 bit). One channel
            is repeated to three, another number mixed to three by a 1x1 convolution that starts as their mean.
        weights: "imagenet" loads Keras' published weights (downloaded once into its cache); else random.

    Raises ConfigError for an unknown name, for volumes, for a picture smaller than the network takes, and when the
    published weights cannot be had.
    """
    builder = next((name_ for name_ in names() if name_.lower() == name.lower()), None)
    if builder is None:
        known = ["auto", "cnn", "resnet18", *names()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"model.name: expected one of {', '.join(known)}, got {name!r}{hint}")
    if len(input_shape) != 3:
        raise ConfigError(f"model.name: {builder} takes pictures, the data are volumes; use cnn or resnet18.")
    inputs = x = keras.Input(input_shape, name="image")
    if input_shape[-1] == 1:
        x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    elif input_shape[-1] != 3:
        mean = keras.initializers.Constant(1 / input_shape[-1])
        x = layers.Conv2D(3, 1, use_bias=False, kernel_initializer=mean, name="channels_to_rgb")(x)
    x = _rescale(x, builder)
    try:
        with impatient():
            backbone = getattr(keras.applications, builder)(
                include_top=False, weights="imagenet" if weights == "imagenet" else None,
                input_shape=(*input_shape[:2], 3), pooling="avg", name="backbone",
            )  # fmt: skip
    except ValueError as error:
        raise ConfigError(
            f"model.name: {builder} cannot be built for {input_shape[0]}x{input_shape[1]} pictures: {error}"
        ) from None
    except Exception as error:
        if weights != "imagenet":
            raise
        raise ConfigError(
            f"model.weights: the ImageNet weights of {builder} are not in Keras' cache and could not be downloaded "
            f"within {SECONDS:g} s ({_first_line(error)}). Copy them to ~/.keras/models from a machine that can, or "
            "use weights: none or a file."
        ) from None
    x = backbone(x)
    x = layers.Dropout(dropout, name="dropout")(x) if dropout else x
    outputs = layers.Dense(num_outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name=builder.lower())


@contextmanager
def impatient() -> Iterator[None]:
    """Within it, a server that does not answer is given up after `SECONDS`; Keras alone would wait for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _rescale(x, builder: str):
    # The longest matching prefix decides: ResNet50V2 before ResNet50, MobileNetV3 before MobileNet.
    matches = [
        (len(prefix), kind)
        for kind, prefixes in SCALES.items()
        for prefix in prefixes
        if builder.startswith(prefix)
    ]
    match max(matches)[1] if matches else "zscore":
        case "pixels":
            return layers.Rescaling(58.0, offset=118.0, name="to_pixels")(x)
        case "unit":
            return layers.Rescaling(0.5, name="to_unit")(x)
        case "bgr":
            return layers.Rescaling(58.0, name="to_centred_pixels")(x[..., ::-1])
    return x
