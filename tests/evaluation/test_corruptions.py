"""Every corruption does what its table says, on arrays made by hand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from medcli.boxes import Boxes, iou_matrix
from medcli.evaluation import corruptions
from medcli.evaluation.corruptions import (
    BLUR,
    BRIGHTNESS,
    CORRUPTIONS,
    GHOSTS,
    JPEG,
    LEFT_OUT,
    MOTION,
    NAMES,
    NOISE,
    RESOLUTION,
    Clean,
    corruptions_for,
    generator,
    kind_of,
    line_kernel,
    network_pixel,
    scale_of,
)
from medcli.evaluation.rotation import Rotation
from medcli.image import Image
from medcli.preprocessing.plan import Intensity, Plan

ONE = (1.0, 1.0)
ON_ARRAYS = [one for one in (*CORRUPTIONS, GHOSTS) if one.apply is not None]


def plan(dimensions=2, *, color="grey", size=None, spacing=None, low=None, high=None, kind="zscore"):
    return Plan(
        task="segmentation", dimensions=dimensions, classes=["a"], channels=1, color=color, size=size, spacing=spacing,
        intensity=[Intensity(kind=kind, low=low, high=high)], batch_size=1, stages=1,
    )  # fmt: skip


def random(seed=0):
    return np.random.default_rng(seed)


def textured(shape, dtype=np.float32, top=1.0):
    """Smooth spots, from 0 to `top`."""
    values = gaussian_filter(random(1).normal(size=shape), [2] * (len(shape) - 1) + [0])
    values = (values - values.min()) / (values.max() - values.min()) * top
    return values.astype(dtype)


# ---- the contract of all


@pytest.mark.parametrize("shape", [(21, 34, 1), (20, 31, 3), (5, 17, 22, 1), (4, 9, 12, 2)])
@pytest.mark.parametrize("one", ON_ARRAYS, ids=lambda one: one.says)
def test_shape_type_and_seed(one, shape):
    array, pixel = textured(shape), (1.0,) * (len(shape) - 1)
    before = array.copy()
    found = [one.apply(array, one.level(5), pixel, random(seed)) for seed in (3, 3, 4)]
    assert found[0].shape == shape and found[0].dtype == np.float32 and np.isfinite(found[0]).all()
    assert np.array_equal(found[0], found[1]), "one seed, one result"
    assert np.array_equal(array, before), "the image itself stays"
    losses = [np.abs(one.apply(array, one.level(s), pixel, random(3)) - array).mean() for s in (1, 3, 5)]
    assert losses[0] < losses[1] < losses[2], "stronger is farther from the image"
    assert losses[0] > 0


@pytest.mark.parametrize("one", ON_ARRAYS, ids=lambda one: one.says)
def test_a_constant_image_does_not_break(one):
    found = one.apply(np.full((9, 12, 1), 0.5, np.float32), one.level(5), ONE, random())
    assert np.isfinite(found).all()


# ---- one by one


def test_noise_has_the_stated_sigma():
    noisy = corruptions.noise(np.full((200, 300, 1), 0.5, np.float32), 0.07, ONE, random())
    assert noisy.std() == pytest.approx(0.07, rel=0.02)
    assert noisy.mean() == pytest.approx(0.5, abs=0.001)
    assert NOISE.words(3) == "sigma 7 % of the range"


def test_noise_is_not_cut_at_the_ends_of_the_scale():
    noisy = corruptions.noise(np.ones((100, 100, 1), np.float32), 0.1, ONE, random())
    assert noisy.mean() == pytest.approx(1, abs=0.01) and noisy.max() > 1.2


def test_blur_spreads_a_point_by_sigma_pixels():
    point = np.zeros((61, 61, 1), np.float32)
    point[30, 30] = 1
    spread = corruptions.blur(point, 1.5, (2.0, 1.0), random())[..., 0]
    rows, columns = np.indices(spread.shape) - 30
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    assert np.sqrt((spread * rows**2).sum()) == pytest.approx(3.0, rel=0.02)  # 1.5 network pixels of 2
    assert np.sqrt((spread * columns**2).sum()) == pytest.approx(1.5, rel=0.02)


def test_a_line_of_four_pixels():
    kernel = line_kernel(np.array([0.0, 4.0]))
    assert kernel.shape == (1, 5)
    assert kernel[0] == pytest.approx([1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8], abs=0.02)  # from -2 to 2
    diagonal = line_kernel(np.array([3.0, 3.0]))
    assert diagonal.sum() == pytest.approx(1) and diagonal == pytest.approx(diagonal.T)
    assert line_kernel(np.zeros(2)) == pytest.approx(np.ones((1, 1)))


def test_motion_spreads_a_point_over_its_length():
    point = np.zeros((3, 41, 41, 1), np.float32)
    point[1, 20, 20] = 1
    moved = corruptions.motion(point, 6.0, (1.0, 1.0, 1.0), random())[..., 0]
    assert moved[[0, 2]].sum() == pytest.approx(0, abs=1e-5), "within the plane"
    rows, columns = np.indices((41, 41)) - 20
    far = np.hypot(rows, columns)[moved[1] > 0.01]
    assert 2.5 < far.max() < 4.3  # 3 pixels to each side, on the grid
    assert moved.sum() == pytest.approx(1, abs=1e-4)


def test_ghosts_keep_the_signal_along_one_axis():
    bar = np.zeros((32, 48, 1), np.float32)
    bar[10:14, 20:26] = 1
    swung = corruptions.ghosting(bar, 3.0, ONE, random(0))[..., 0]
    beside_rows = np.delete(swung, range(10, 14), axis=0).max() > 0.02
    beside_columns = np.delete(swung, range(20, 26), axis=1).max() > 0.02
    assert beside_rows != beside_columns, "copies along the phase-encoding axis alone"
    assert (swung**2).sum() == pytest.approx((bar**2).sum(), rel=1e-3)  # a phase keeps the energy (Parseval)
    assert (swung >= 0).all()


def test_contrast_and_brightness_by_hand():
    array = np.float32([[[0.0], [1.0]]])
    assert corruptions.contrast(array, 0.4, ONE, random()).ravel() == pytest.approx([0.3, 0.7])
    for seed in range(4):
        shifted = corruptions.brightness(array, 0.2, ONE, random(seed)).ravel()
        assert np.abs(shifted - [0, 1]) == pytest.approx([0.2, 0.2])
    assert BRIGHTNESS.words(1) == "5 % of the range up or down"


def test_resolution_averages_blocks():
    stripes = np.tile(np.float32([0, 1]), (12, 12))[..., None]
    coarse = corruptions.resolution(stripes, 2.0, ONE, random())
    assert coarse[:, 4:-4] == pytest.approx(0.5, abs=0.08), "stripes of one pixel are gone"
    thick = corruptions.resolution(textured((4, 20, 20, 1)), 2.0, (0.25, 1.0, 1.0), random())
    along = np.abs(np.diff(thick, axis=0)).mean() / np.abs(np.diff(textured((4, 20, 20, 1)), axis=0)).mean()
    assert along > 0.75, "an axis whose steps are four times as long already stays"


def test_bias_field_is_smooth_and_within_its_limits():
    field = corruptions.bias_field(np.ones((9, 20, 24, 1), np.float32), 0.5, (1.0,) * 3, random())[..., 0]
    assert field.min() >= 1 / 1.5 - 1e-5 and field.max() <= 1.5 + 1e-5
    assert max(field.max() - 1, 1 / field.min() - 1) == pytest.approx(0.5, rel=1e-4)
    assert np.abs(np.diff(field, n=2, axis=2)).max() < 0.05
    dark = corruptions.bias_field(np.zeros((9, 20, 24, 1), np.float32), 0.5, (1.0,) * 3, random())
    assert (dark == 0).all(), "no signal stays none"


def test_jpeg_is_that_of_the_stated_quality():
    import io

    from PIL import Image as Pillow

    array = textured((48, 64, 1))
    eight = np.rint(array * 255).astype(np.uint8)[..., 0]
    stream = io.BytesIO()
    Pillow.fromarray(eight).save(stream, format="JPEG", quality=25)
    expected = np.asarray(Pillow.open(stream)) / 255
    assert corruptions.jpeg(array, 25, ONE, random())[..., 0] == pytest.approx(expected, abs=1e-5)
    stacked = corruptions.jpeg(np.stack([array, array[::-1]]), 25, (1.0,) * 3, random())
    assert stacked[0, ..., 0] == pytest.approx(expected, abs=1e-5), "plane by plane"
    assert JPEG.words(5) == "quality 8"


# ---- rotation


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_quarter_turns_are_exact(degrees):
    array = textured((7, 12, 2))
    turn = Rotation.of(array.shape[:2], degrees, grow=True)
    # Counter-clockwise as displayed with rows downwards, as numpy.rot90.
    expected = np.rot90(array, degrees // 90)
    assert turn.image(array) == pytest.approx(expected, abs=1e-5)
    labels = random().integers(0, 3, (7, 12)).astype(np.uint8)
    assert np.array_equal(turn.rotated_back(np.rot90(labels, degrees // 90)), labels)
    numbers = random().integers(0, 400, (7, 12)).astype(np.int32)
    assert np.array_equal(turn.numbers_back(np.rot90(numbers, degrees // 90)), numbers)
    boxes = Boxes.of([[2, 1, 5, 3], [0, 0, 12, 7]], [0, 1])
    mask = np.zeros((7, 12, 1), np.float32)
    mask[1:3, 2:5] = 1
    rows, columns = np.nonzero(np.rot90(mask, degrees // 90)[..., 0])
    moved = turn.boxes(boxes).corners
    assert moved[0] == pytest.approx([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], abs=1e-4)
    assert moved[1] == pytest.approx([0, 0, turn.turned[1], turn.turned[0]], abs=1e-4)


def test_a_tilted_image_grows_and_loses_nothing():
    turn = Rotation.of((30, 40), 20, grow=True)
    cos, sin = np.cos(np.pi / 9), np.sin(np.pi / 9)
    assert turn.turned == (int(np.ceil(30 * cos + 40 * sin)), int(np.ceil(40 * cos + 30 * sin)))
    assert turn.image(np.ones((30, 40, 1), np.float32)).sum() == pytest.approx(1200, rel=0.02)
    assert Rotation.of((30, 40), 20, grow=False).turned == (30, 40)


def test_the_box_of_a_tilted_ellipse_is_that_of_the_drawn_one():
    rows, columns = np.indices((101, 121))
    ellipse = ((rows - 40) / 12) ** 2 + ((columns - 70) / 25) ** 2 <= 1
    turn = Rotation.of((101, 121), 15, grow=True)
    tilted = turn.image(ellipse.astype(np.float32)[..., None])[..., 0] > 0.5
    r, c = np.nonzero(tilted)
    drawn = np.float32([[c.min(), r.min(), c.max() + 1, r.max() + 1]])
    moved = turn.boxes(Boxes.of([[45, 28, 96, 53]], [0])).corners
    assert iou_matrix(moved, drawn)[0, 0] > 0.95


@pytest.mark.parametrize("spacing", [None, (3.0, 1.0, 1.0), (1.0, 2.0, 0.8)])
def test_labels_come_back_to_their_place(spacing):
    labels = np.zeros((3, 40, 50), np.uint8)
    labels[1, 8:24, 10:30] = 1
    labels[1, 24:34, 10:45] = 2
    turn = Rotation.of(labels.shape, 20, spacing=spacing, grow=True)
    tilted = np.rint(turn.image((labels == 1).astype(np.float32)[..., None])[..., 0]).astype(np.uint8)
    other = turn.image((labels == 2).astype(np.float32)[..., None])[..., 0] > 0.5
    tilted[other] = 2
    back = turn.rotated_back(tilted)
    assert back.shape == labels.shape and back.dtype == labels.dtype
    for value in (1, 2):
        both = 2 * ((back == value) & (labels == value)).sum()
        assert both / ((back == value).sum() + (labels == value).sum()) > 0.95
    assert (back[[0, 2]] == 0).all()


def test_circles_stay_circles_in_millimetres():
    rows, columns = np.indices((60, 120))
    circle = np.hypot((rows - 29.5) * 2, columns - 59.5) <= 30  # rows are 2 mm apart
    turn = Rotation.of((60, 120), 35, spacing=(2.0, 1.0), grow=False)
    turned = turn.image(circle.astype(np.float32)[..., None])[..., 0] > 0.5
    assert (turned & circle).sum() / (turned | circle).sum() > 0.96


# ---- on images


def test_integers_stay_in_their_type_and_range():
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        image = Image(textured((24, 30, 1), np.float64, top).astype(dtype))
        clean = Clean.of(image, plan())
        for one in CORRUPTIONS:
            if one.apply is not None:
                found = clean.corrupted(one, 5, random()).array
                assert found.dtype == dtype and found.shape == image.array.shape
        assert np.array_equal(clean.corrupted(NOISE, 0, random()).array, image.array), "strength 0"
        assert np.array_equal(clean.with_scaled(clean.scaled).array, image.array), "there and back"


def test_noise_of_a_16_bit_image_is_a_share_of_its_range():
    values = np.repeat(np.linspace(2000, 12000, 400), 300).reshape(400, 300, 1).astype(np.uint16)
    clean = Clean.of(Image(values), plan())
    span = np.subtract(*np.percentile(values, [99, 1]))
    noisy = clean.corrupted(NOISE, 4, random()).array.astype(float)
    assert (noisy - values).std() == pytest.approx(0.11 * span, rel=0.02)


def test_what_is_never_negative_stays_so():
    magnitude = Image(np.zeros((3, 20, 20, 1), np.float32), spacing=(1.0, 1.0, 1.0), affine=np.eye(4))
    magnitude.array[:, 5:15, 5:15] = 100
    assert Clean.of(magnitude, plan(3, color="as_is")).corrupted(NOISE, 5, random()).array.min() == 0
    hounsfield = magnitude.with_array(magnitude.array - 1000)
    ct = plan(3, color="as_is", low=-1000, high=200, kind="fixed")
    noisy = Clean.of(hounsfield, ct).corrupted(NOISE, 5, random()).array
    assert noisy[:, :4].std() == pytest.approx(0.16 * 1200, rel=0.1)  # of the window
    assert noisy.min() < -1100


def test_the_scale():
    array = np.arange(1001, dtype=np.float32).reshape(7, 143, 1)
    scale = scale_of(array, plan())
    assert (scale.low[0], scale.high[0]) == pytest.approx((10, 990))
    array = np.concatenate([array, 10 * array], -1)
    assert scale_of(array, plan(color="rgb")).low[0] == scale_of(array, plan(color="rgb")).low[1], (
        "colours stay"
    )
    assert scale_of(array, plan(color="as_is")).high == pytest.approx([990, 9900])
    assert scale_of(array[:1, :1], plan(low=-5, high=45)).high[0] == 45, "the plan's window"
    assert scale_of(np.full((3, 3, 1), 7, np.uint8), plan()).high == pytest.approx([8])
    holes = np.where(array == 500, np.nan, array)
    assert np.isfinite(Clean.of(Image(holes), plan(color="as_is")).scaled).all()


def test_network_pixels():
    picture = Image(np.zeros((480, 640, 3), np.uint8))
    assert network_pixel(picture, picture.array, plan(size=[256, 320])) == pytest.approx((2, 2))
    assert network_pixel(picture, picture.array, plan()) == (1, 1)
    small = Image(np.zeros((28, 28, 1), np.uint8))
    assert network_pixel(small, small.array, plan(size=[64, 64])) == (1, 1), "enlarging adds nothing"
    volume = Image(np.zeros((4, 9, 8, 1), np.float32), spacing=(5.0, 0.5, 0.8), affine=np.eye(4))
    assert network_pixel(volume, volume.array, plan(3, color="as_is")) == pytest.approx((0.1, 1, 0.625))
    coarse = plan(3, color="as_is", spacing=[5.0, 1.0, 1.0])
    assert network_pixel(volume, volume.array, coarse) == pytest.approx((0.2, 2, 1.25))


def test_which_corruptions_for_which_images():
    assert set(LEFT_OUT) == {"picture", "CT", "MR", "PET", "volume"}
    assert all(set(reasons) < set(NAMES) for reasons in LEFT_OUT.values())
    names = {kind: [one.name for one in corruptions_for(kind)] for kind in LEFT_OUT}
    assert "jpeg" in names["picture"] and "bias_field" not in names["picture"]
    assert "bias_field" in names["MR"] and "jpeg" not in names["MR"]
    assert set(names["CT"]) == {"noise", "blur", "motion", "resolution", "rotation"}
    assert GHOSTS in corruptions_for("MR") and MOTION in corruptions_for("CT")
    assert [one.name for one in corruptions_for("CT", ["jpeg", "noise"])] == ["noise", "jpeg"], "as asked"
    assert kind_of(plan(), "") == "picture" and kind_of(plan(3), "MR") == "MR"
    assert kind_of(plan(3), "") == "MR" and kind_of(plan(3, low=-5, high=5, kind="fixed"), "") == "CT"
    assert kind_of(plan(3), "US") == "volume"


def test_the_generator_follows_from_case_and_corruption_alone():
    draws = [
        generator(7, case, name).random() for case, name in (("a", "noise"), ("a", "noise"), ("b", "noise"))
    ]
    assert draws[0] == draws[1] != draws[2] != generator(7, "b", "blur").random()


def test_corrupted_pictures_still_look_like_themselves():
    """At strength 1 a person sees the same picture, at strength 5 another."""
    array = textured((96, 96, 1), np.float64, 255).astype(np.uint8)
    clean = Clean.of(Image(array), plan())
    for one in (NOISE, BLUR, RESOLUTION, JPEG):
        alike = [
            structural_similarity(array[..., 0], clean.corrupted(one, strength, random()).array[..., 0])
            for strength in (1, 5)
        ]
        assert alike[0] > 0.85 and alike[1] < alike[0] - 0.005, one.name
