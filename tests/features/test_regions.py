"""Form, colour, edges and corners of made-up regions with known answers; empty, constant and tiny regions."""

import numpy as np
import pytest

from medcli.config.schema import Features
from medcli.features.extract import chosen, extract, regions_of_channels
from medcli.features.region import cropped, region_of, resampled
from medcli.features.shape import ellipsoid_surface
from medcli.features.table import FAMILIES, describe

SHAPE = Features(families=["shape", "shape2d"])


def ellipsoid(half_axes, spacing):
    """bool mask of an ellipsoid with these half axes in mm."""
    shape = [int(2 * axis / step) + 5 for axis, step in zip(half_axes, spacing, strict=True)]
    grid = np.indices(shape)
    centred = [
        (axis - (n - 1) / 2) * step / half
        for axis, n, step, half in zip(grid, shape, spacing, half_axes, strict=True)
    ]
    return sum(part**2 for part in centred) <= 1


def test_an_ellipsoid_in_millimetres():
    half, spacing = (12.0, 20.0, 30.0), (3.0, 1.0, 0.8)
    mask = ellipsoid(half, spacing)
    found = extract(region_of(np.ones(mask.shape), mask, spacing), SHAPE)
    volume = 4 / 3 * np.pi * np.prod(half)
    assert found["shape_volume"] == pytest.approx(volume, rel=0.02)
    assert found["shape_volume_voxels"] == pytest.approx(mask.sum() * 2.4)
    assert found["shape_maximum_diameter"] == pytest.approx(60, abs=1)
    # a solid ellipsoid has the variance a^2 / 5 along a half axis a
    assert found["shape_major_axis_length"] == pytest.approx(4 * 30 / np.sqrt(5), rel=0.01)
    assert found["shape_elongation"] == pytest.approx(20 / 30, rel=0.02)
    assert found["shape_flatness"] == pytest.approx(12 / 30, rel=0.05)  # planes of 3 mm
    assert found["shape_centre_of_mass_shift"] == pytest.approx(0, abs=1e-9)
    assert found["shape_integrated_intensity"] == pytest.approx(found["shape_volume"])


def test_turning_and_mirroring_changes_no_form():
    mask = ellipsoid((4, 6, 9), (1, 1, 1))
    mask[2, 3, 4] = True
    before = extract(region_of(mask * 1.0, mask, (1.0, 2.0, 3.0)), SHAPE)
    after = extract(region_of(mask.T[::-1] * 1.0, mask.T[::-1], (3.0, 2.0, 1.0)), SHAPE)
    assert after == pytest.approx(before, rel=1e-6)


def test_a_sphere_has_the_surface_of_a_sphere():
    assert ellipsoid_surface(5, 5, 5) == pytest.approx(4 * np.pi * 25)


def test_a_rectangle_with_a_hole_in_a_picture():
    mask = np.zeros((40, 60), bool)
    mask[5:25, 10:50] = True
    mask[10:15, 20:30] = False
    found = extract(region_of(np.ones(mask.shape), mask, (0.5, 0.25)), SHAPE)
    assert found["shape2d_area_pixels"] == (800 - 50) * 0.125
    # through the middle between pixels, a corner cut off by (1/2, 1/2): a cut for the outline and as much for the hole
    assert found["shape2d_area"] == pytest.approx((800 - 4 / 8 - (50 - 4 / 8)) * 0.125)
    corner = np.hypot(0.25, 0.125) - 0.25 - 0.125
    assert found["shape2d_perimeter"] == pytest.approx(2 * (10 + 10) + 2 * (2.5 + 2.5) + 8 * corner)
    assert found["shape2d_major_axis_length"] > found["shape2d_minor_axis_length"]


def test_color_moments_by_hand():
    picture = np.zeros((1, 4, 3), np.uint8)
    picture[0, 0] = (255, 0, 0)
    found = extract(regions_of_channels(picture, None, None, Features())[""], Features(families=["color"]))
    assert found["color_red_mean"] == 255 / 4
    assert found["color_red_std"] == pytest.approx(255 * np.sqrt(3) / 4)
    assert found["color_red_skewness"] == pytest.approx(255 * np.cbrt((0.75**3 - 3 * 0.25**3) / 4))
    assert found["color_green_mean"] == found["color_hue_mean"] == 0
    assert found["color_saturation_mean"] == found["color_value_mean"] == 1 / 4


def test_edges_and_corners_of_a_square():
    picture = np.zeros((60, 60))
    picture[20:40, 20:40] = 100
    found = extract(region_of(picture), Features(families=["edges", "corners"]))
    assert found["corners_harris"] == pytest.approx(4 * 1000 / 3600)
    assert found["corners_fast"] >= 4 * 1000 / 3600
    assert found["edges_canny_pieces"] == pytest.approx(1 * 1000 / 3600)
    assert 76 / 3600 <= found["edges_canny_share"] <= 100 / 3600
    flat = extract(region_of(np.full((60, 60), 7.0)), Features(families=["edges", "corners"]))
    assert set(flat.values()) == {0.0}


def test_stripes_answer_where_they_should():
    columns = np.sin(2 * np.pi * 0.2 * np.arange(64))[None].repeat(64, 0)
    found = extract(region_of(columns), Features(families=["gabor", "hog", "lbp"]))
    means = {
        name: value for name, value in found.items() if name.startswith("gabor") and name.endswith("mean")
    }
    assert max(means, key=means.get) == "gabor_0p2_0_mean"
    gradient = {angle: found[f"hog_row1_column1_{20 * angle:03d}"] for angle in range(9)}
    assert max(gradient, key=gradient.get) in (0, 8)
    shares = [
        value for name, value in found.items() if name.startswith("lbp_radius1") and "entropy" not in name
    ]
    assert sum(shares) == pytest.approx(1)


def test_brightness_and_contrast_do_not_change_patterns():
    picture = np.random.default_rng(0).integers(0, 200, (30, 30)).astype(float)
    settings = Features(families=["glcm", "glrlm", "lbp", "gabor", "hog", "corners"])
    assert extract(region_of(picture * 3 + 17), settings) == pytest.approx(
        extract(region_of(picture), settings), rel=1e-6
    )


def test_a_region_does_not_see_the_rest():
    """Texture within a mask depends on nothing outside; filters see a margin but count only the region."""
    random = np.random.default_rng(1)
    volume, mask = random.normal(size=(4, 30, 30)), np.zeros((4, 30, 30), bool)
    mask[1:3, 8:20, 9:22] = True
    settings = Features(families=["intensity", "histogram", "shape", "glcm", "glrlm"])
    before = extract(region_of(volume, mask), settings)
    other = np.where(mask, volume, 99.0)
    assert extract(region_of(other, mask), settings) == before
    assert extract(cropped(region_of(volume, mask)), settings) == before


@pytest.mark.parametrize("dimensions", [2, 3])
def test_empty_constant_and_tiny_regions(dimensions):
    shape = (6, 7, 8)[-dimensions:]
    values, nothing, point = np.ones(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    point[(2,) * dimensions] = True
    empty = extract(region_of(values, nothing), Features())
    size = "shape2d_area" if dimensions == 2 else "shape_volume"
    assert empty[size] == 0 and np.isnan(empty["intensity_mean"])
    assert {name for name, value in empty.items() if value == 0} == {
        size,
        f"{size}_{'pixels' if dimensions == 2 else 'voxels'}",
    }
    constant = extract(region_of(values, np.ones(shape, bool)), Features())
    assert (
        constant["intensity_variance"] == constant["glcm_joint_entropy"] == constant["histogram_entropy"] == 0
    )
    assert constant["glcm_correlation"] == 1 and constant["glcm_information_correlation_1"] == 0
    assert all(np.isfinite(value) for value in constant.values())
    single = extract(region_of(values, point), Features())
    assert single["intensity_mean"] == 1 and np.isnan(single["glcm_contrast"])
    assert single["glrlm_run_percentage"] == 1
    assert empty.keys() == constant.keys() == single.keys()


def test_values_out_of_range_and_not_finite_do_not_count():
    values = np.array([[1.0, 2.0, np.nan, np.inf, 50.0, 3.0]])
    found = extract(region_of(values, limits=[0, 10]), Features(families=["intensity"]))
    assert (found["intensity_mean"], found["intensity_maximum"]) == (2, 3)


def test_resampling_keeps_the_place_and_the_size():
    spacing = (4.0, 2.0, 1.0)
    mask = ellipsoid((16, 14, 12), spacing)
    ramp = np.indices(mask.shape)[2] * 1.0
    region = resampled(region_of(ramp, mask, spacing), (2.0, 2.0, 2.0))
    assert region.values.shape == tuple(
        int(np.ceil(n * s / 2)) for n, s in zip(mask.shape, spacing, strict=True)
    )
    assert region.mask.sum() * 8 == pytest.approx(mask.sum() * 8, rel=0.04)
    assert region.numbers.mean() == pytest.approx(ramp[mask].mean(), abs=0.05)
    same = region_of(ramp, mask, spacing)
    assert resampled(same, spacing) is same


def test_what_fits_what():
    volume, picture = np.zeros((3, 4, 5, 1)), np.random.default_rng(0).integers(0, 255, (9, 9, 3))

    def names(array, mask):
        region = regions_of_channels(array, mask, None, Features())[""]
        return {family.name for family in chosen(region, Features())}

    assert {family.name for family in FAMILIES} - names(volume, np.ones((3, 4, 5), bool)) == {
        "shape2d",
        "color",
    }
    assert {family.name for family in FAMILIES} - names(picture, None) == {"shape", "shape2d"}
    assert set(regions_of_channels(np.zeros((3, 4, 5, 2)), None, None, Features())) == {"0", "1"}


def test_the_table_is_whole():
    rows = describe()
    assert len({row["name"] for row in rows}) == len(rows)
    assert all(row["unit"] and row["definition"] and row["source"] for row in rows)
    for family in FAMILIES:
        flat = family.name in ("shape2d", "color")
        shape = (9, 9) if flat else (4, 9, 9)
        region = region_of(
            np.random.default_rng(0).random(shape),
            np.ones(shape, bool),
            colors=np.random.default_rng(0).random((*shape, 3)),
        )
        assert list(family.compute(region, Features())) == [feature.name for feature in family.features]
