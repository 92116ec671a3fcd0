"""Measures of the one dark object in a picture, as a layer: its size, outline, colours and texture (dermoscopy).

The dermatologist's ABCD rule (Nachbar et al. 1994, J Am Acad Dermatol 30:551) in numbers that a few hundred pictures
suffice to weigh. The object is what is darker than the threshold of Otsu (1979), softly, within the lit field of view.
None of the measures changes when the picture is turned by right angles or mirrored.
"""

import keras
import numpy as np
from keras import ops

OPPONENT = np.array([[1 / 3, 1, -1 / 2], [1 / 3, -1, -1 / 2], [1 / 3, 0, 1]], np.float32)
"""Red, green, blue to brightness, red against green, blue against yellow."""
THRESHOLDS = 24
LEVELS, COARSEST = 5, 4
"""Most scales of the texture; none where a side has fewer pixels than this."""
SMALL = 1e-3


class PictureFeatures(keras.layers.Layer):
    """(batch, row, column, channel) to (batch, features): standardised by the training batches, within -4..4.

    A subclass says what they are (`features`) and how many. Always float32.
    """

    def __init__(self, momentum: float = 0.97, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.standardise = keras.layers.BatchNormalization(
            scale=False, center=False, momentum=momentum, epsilon=1e-6, dtype="float32", name="standardise"
        )

    def build(self, input_shape):
        self.standardise.build(self.compute_output_shape(input_shape))

    def call(self, inputs, training=False):
        return self.standardised(self.features(inputs), training=training)

    @property
    def momentum(self):
        """As of any normalisation, and so are the statistics (`medcli.training.averages`)."""
        return self.standardise.momentum

    @momentum.setter
    def momentum(self, value):
        self.standardise.momentum = value

    @property
    def moving_mean(self):
        return self.standardise.moving_mean

    @property
    def moving_variance(self):
        return self.standardise.moving_variance

    def features(self, images):
        """(batch, features), not yet standardised."""
        raise NotImplementedError

    def standardised(self, features, training=False):
        return ops.clip(self.standardise(features, training=training), -4.0, 4.0)

    def get_config(self):
        return super().get_config() | {"momentum": self.momentum}


@keras.saving.register_keras_serializable(package="medcli")
class ObjectDescriptors(PictureFeatures):
    """Measures of the one dark object: see `describe`.

    Colours are measured as opponent channels for 3 channels, else channel by channel. An image without contrast gives
    finite numbers that mean nothing.
    """

    def features(self, images):
        return describe(images)

    def compute_output_shape(self, input_shape):
        channels = input_shape[-1]
        pairs = channels * (channels - 1) // 2
        return (input_shape[0], SHAPES + channels * (COLOURS + 2 * levels(input_shape[1:3])) + pairs)


SHAPES, COLOURS = 14, 11
"""Measures of the outline, and of each colour."""


def describe(images):
    """(batch, row, column, channel) float32 to (batch, measures), not yet standardised; see `ObjectDescriptors`."""
    colours = ops.matmul(images, OPPONENT) if images.shape[-1] == 3 else images
    scene = Scene(images)
    mask, place, skin = scene.mask, scene.place, scene.skin
    parts = [outline(mask, place, scene.separation)]
    parts += [edges(mask, scene.bright)]
    parts += [colouring(mask, skin, colours, place)]
    parts += [texture(mask, skin, colours)]
    return ops.concatenate(parts, axis=-1)


class Scene:
    """The one dark object of each picture (batch, row, column, channel) float32, and what is around it.

    Attributes:
        bright: (batch, row, column, 1) smoothed mean of the channels.
        field, mask, skin: (batch, row, column, 1) in 0..1: what is lit; of that the object; and all but it and its rim.
        place: Where the object lies.
        separation: (batch, 1) how well brightness tells the object from the rest, 0..1.
    """

    def __init__(self, images):
        self.bright = smoothed(ops.mean(images, axis=-1, keepdims=True), times=3)
        self.field = lit_field(self.bright)
        mask, self.separation = dark_object(self.bright, self.field)
        far = Place(mask).distance_squared / 6  # what lies there is not of the main object
        mask = mask * ops.exp(-(far**4))
        self.mask, self.place = mask, Place(mask)
        rim = _odd(min(mask.shape[1:3]) / 18)
        self.skin = self.field * (1 - ops.max_pool(mask, rim, strides=1, padding="same"))


def smoothed(x, *, times: int = 1):
    """Each channel filtered by the binomial 1 4 6 4 1 along rows and columns, `times` times; edges are repeated."""
    kernel = np.array([1, 4, 6, 4, 1], np.float32) / 16
    channels = x.shape[-1]
    down = ops.convert_to_tensor(np.tile(kernel.reshape(5, 1, 1, 1), (1, 1, channels, 1)))
    across = ops.convert_to_tensor(np.tile(kernel.reshape(1, 5, 1, 1), (1, 1, channels, 1)))
    for _ in range(times):
        x = ops.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
        x = ops.depthwise_conv(ops.depthwise_conv(x, down, padding="valid"), across, padding="valid")
    return x


def lit_field(bright):
    """(batch, row, column, 1) in 0..1: the picture without its corners and without the black around a lens."""
    rows, columns = _grid(bright.shape[1], bright.shape[2])
    half = np.array(bright.shape[1:3]) / 2
    corner = np.hypot(rows / half[0], columns / half[1])
    circle = np.hypot(rows, columns) / half.min()
    low, high = _extremes(bright)
    level = (bright - low) / ops.maximum(high - low, SMALL)
    black = ops.sigmoid((0.18 - level) / 0.02) * _fixed(1 / (1 + np.exp((0.72 - circle) / 0.03)))
    black = ops.max_pool(
        black, _odd(min(bright.shape[1:3]) / 18), strides=1, padding="same"
    )  # and its blurred rim
    return (1 - black) * _fixed(1 / (1 + np.exp(np.clip((corner - 1) / 0.03, -50, 50))))


def dark_object(bright, field):
    """(batch, row, column, 1) soft mask of what is darker than Otsu's threshold, and (batch, 1) how well it separates.

    The threshold is the best of some steps between 2.5 deviations below and 2 above the mean of the field.
    """
    few, weight = ops.reshape(bright[:, ::2, ::2], (-1, 1, _half(bright))), field[:, ::2, ::2]
    weight = ops.reshape(weight, (-1, 1, _half(bright)))
    weight = weight / (ops.sum(weight, axis=-1, keepdims=True) + SMALL)
    mean = ops.sum(weight * few, axis=-1, keepdims=True)
    deviation = ops.sqrt(ops.sum(weight * (few - mean) ** 2, axis=-1, keepdims=True) + SMALL**2)
    steps = _fixed(np.linspace(-2.275, 1.775, THRESHOLDS).reshape(1, -1, 1))
    limits = mean + steps * deviation
    below = ops.cast(few < limits, "float32") * weight
    share = ops.clip(ops.sum(below, axis=-1), SMALL, 1 - SMALL)
    lower = ops.sum(below * few, axis=-1)
    between = (mean[..., 0] * share - lower) ** 2 / (share * (1 - share))  # Otsu 1979, equation 18
    chosen = ops.one_hot(ops.argmax(between, axis=-1), THRESHOLDS)
    limit = ops.sum(chosen * limits[..., 0], axis=-1)[:, None, None, None]
    softness = 0.18 * deviation[..., None]
    separation = ops.max(between, axis=-1, keepdims=True) / deviation[..., 0] ** 2
    return field * ops.sigmoid((limit - bright) / softness), separation


class Place:
    """Where an object lies: polar coordinates about its centre, in units of its own extent.

    Attributes:
        area: (batch, 1) sum of the mask.
        row, column: (batch, 1) the centre, in pixels from the picture's.
        extent: (batch, 1) root mean square distance from the centre, in pixels.
        offset: (batch, 1) distance of the centre from the picture's, in shorter sides.
        distance_squared: (batch, row, column, 1).
        turns: For q = 1, 2, ... a pair of (batch, row, column, 1): cosine and sine of q times the angle.
        reach: (batch, row, column, 1) distance, at most 3.
    """

    def __init__(self, mask, orders: int = 6):
        grid_rows, grid_columns = map(_fixed, _grid(mask.shape[1], mask.shape[2]))
        self.area = _sum(mask) + SMALL
        self.row, self.column = _sum(mask * grid_rows) / self.area, _sum(mask * grid_columns) / self.area
        rows = grid_rows - self.row[:, None, None]
        columns = grid_columns - self.column[:, None, None]
        squared = rows**2 + columns**2
        variance = _sum(mask * squared) / self.area + 1
        self.extent = ops.sqrt(variance)
        self.offset = ops.sqrt(self.row**2 + self.column**2 + SMALL) / min(mask.shape[1:3])
        self.distance_squared = squared / variance[:, None, None]
        length = ops.sqrt(squared + 1e-2)
        self.reach = ops.minimum(length / self.extent[:, None, None], 3.0)
        cosine, sine = columns / length, rows / length
        self.turns = [(cosine, sine)]
        for _ in range(orders - 1):
            before = self.turns[-1]
            self.turns.append((before[0] * cosine - before[1] * sine, before[1] * cosine + before[0] * sine))

    def moment(self, weights, order: int):
        """(batch, channel): how unevenly the weights lie around the centre with `order` lobes, per area."""
        cosine, sine = self.turns[order - 1]
        weights = weights * self.reach
        return ops.sqrt(_sum(weights * cosine) ** 2 + _sum(weights * sine) ** 2 + 1e-6) / self.area


def outline(mask, place: Place, separation):
    """(batch, 12): size, filling, place, what touches the border, elongation and lobes, raggedness at two scales."""
    pixels = mask.shape[1] * mask.shape[2]
    rows, columns = _grid(mask.shape[1], mask.shape[2])
    corner = np.hypot(rows / (mask.shape[1] / 2), columns / (mask.shape[2] / 2))
    ring = np.abs(corner - 0.95) < 0.07
    parts = [
        ops.log(place.area / pixels + SMALL),
        ops.log(place.area / (2 * np.pi * place.extent**2)),
        place.offset,
        _sum(mask * _fixed(ring.astype(np.float32))) / float(max(ring.sum(), 1)),
        separation,
    ]
    parts += [place.moment(mask, order) for order in (2, 3, 4, 5, 6)]
    for times in (1, 5):
        parts.append(ops.log(_sum(gradient(smoothed(mask, times=times))) ** 2 / place.area + SMALL))
    return ops.concatenate(parts, axis=-1)


def edges(mask, bright):
    """(batch, 2): how sharp the border is, and how unevenly sharp."""
    border, steep = gradient(mask), gradient(bright)
    total = _sum(border) + SMALL
    mean = _sum(border * steep) / total
    spread = ops.sqrt(_sum(border * (steep - mean[:, None, None]) ** 2) / total + 1e-6)
    return ops.concatenate([mean, spread / (mean + SMALL)], axis=-1)


def colouring(mask, skin, colours, place: Place):
    """(batch, 11 channels + pairs): of each colour the level and spread in the object and in the skin, shape of its
    distribution, its uneven lie in the object (from the centre outwards; with 1, 2, 3 lobes); how colours go together.
    """
    around = _sum(skin) + SMALL
    level, skin_level = _sum(mask * colours) / place.area, _sum(skin * colours) / around
    centred = colours - level[:, None, None]
    spread = ops.sqrt(_sum(mask * centred**2) / place.area + 1e-6)
    skin_spread = ops.sqrt(_sum(skin * (colours - skin_level[:, None, None]) ** 2) / around + 1e-6)
    scaled = mask * ops.clip(centred / spread[:, None, None], -6, 6)
    unit = ops.clip(centred / spread[:, None, None], -6, 6)
    parts = [level, skin_level, level - skin_level, spread, skin_spread]
    parts += [_sum(scaled * unit**2) / place.area, ops.log(_sum(scaled * unit**3) / place.area + SMALL)]
    parts += [_sum(scaled * place.reach) / place.area]
    parts += [place.moment(scaled, order) for order in (1, 2, 3)]
    channels = colours.shape[-1]
    for first in range(channels):
        for second in range(first + 1, channels):
            parts.append(_sum(scaled[..., first : first + 1] * unit[..., second : second + 1]) / place.area)
    return ops.concatenate(parts, axis=-1)


def levels(size) -> int:
    """How many scales there are in a picture of (row, column): each is half as large, rounded up, as the one before."""
    shortest, count = min(size), 0
    while shortest >= COARSEST and count < LEVELS:
        shortest, count = (shortest + 1) // 2, count + 1
    return count


def texture(mask, skin, colours):
    """(batch, 2 levels channels): mean size of the detail at each scale, in the object and in the skin, as log.

    Detail is a Laplacian pyramid (Burt and Adelson 1983): an image minus what is left of it at half the size.
    """
    parts = []
    for _ in range(levels(colours.shape[1:3])):
        size = colours.shape[1:3]
        half = tuple((length + 1) // 2 for length in size)
        coarse = ops.image.resize(smoothed(colours), half, interpolation="bilinear")
        detail = ops.abs(colours - ops.image.resize(coarse, size, interpolation="bilinear"))
        for weights in (mask, skin):
            parts.append(ops.log(_sum(weights * detail) / (_sum(weights) + SMALL) + 3 * SMALL))
        colours = coarse
        mask, skin = (ops.image.resize(x, half, interpolation="bilinear") for x in (mask, skin))
    return ops.concatenate(parts, axis=-1)


def gradient(x):
    """Length of the gradient of (batch, row, column, 1) by central differences; nothing at the picture's border."""
    down = (x[:, 2:, 1:-1] - x[:, :-2, 1:-1]) / 2
    across = (x[:, 1:-1, 2:] - x[:, 1:-1, :-2]) / 2
    return ops.pad(ops.sqrt(down**2 + across**2 + 1e-8), ((0, 0), (1, 1), (1, 1), (0, 0)))


def _sum(x):
    """Over rows and columns: (batch, channel)."""
    return ops.sum(x, axis=(1, 2))


def _extremes(x):
    return ops.min(x, axis=(1, 2), keepdims=True), ops.max(x, axis=(1, 2), keepdims=True)


def _grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) and (row, column) float64: places of the pixels' middles from the picture's middle."""
    row, column = np.mgrid[:rows, :columns].astype(float)
    return row - (rows - 1) / 2, column - (columns - 1) / 2


def _fixed(values: np.ndarray):
    """A constant; (row, column) becomes (1, row, column, 1)."""
    values = values.astype(np.float32)
    return ops.convert_to_tensor(values[None, :, :, None] if values.ndim == 2 else values)


def _half(x) -> int:
    return ((x.shape[1] + 1) // 2) * ((x.shape[2] + 1) // 2)


def _odd(size: float) -> int:
    return 2 * max(1, round(size / 2)) + 1
