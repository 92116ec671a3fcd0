"""The features against a second implementation: SciPy, scikit-image, or slow loops written from the definitions."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import stats
from skimage.feature import graycomatrix, graycoprops
from skimage.filters import gabor

from medcli.config.schema import Features
from medcli.features.aggregation import IN_PLANE, IN_SPACE
from medcli.features.discretise import fixed_number, fixed_width, levels
from medcli.features.extract import extract
from medcli.features.first_order import statistics
from medcli.features.gabor import ANGLES, FREQUENCIES, kernels, magnitude
from medcli.features.glcm import cooccurrence, glcm_measures
from medcli.features.glrlm import glrlm_measures, runs
from medcli.features.region import cropped, region_of

CLOSE = dict(rtol=1e-6, atol=1e-9)


def blob(seed=0, shape=(5, 9, 8)):
    """Smooth values with a ragged mask."""
    random = np.random.default_rng(seed)
    values = np.cumsum(np.cumsum(random.normal(size=shape), -1), -2)
    return values, random.random(shape) < 0.7


def sarcoma(shared_data, name):
    import nibabel

    folder = shared_data / "sts_pet_mr" / "nifti" / name
    image = nibabel.load(folder / "PET_image.nii.gz")
    values, mask = (
        np.asarray(image.dataobj).T,
        np.asarray(nibabel.load(folder / "PET_mask.nii.gz").dataobj).T > 0,
    )
    return values.astype(np.float64), mask, tuple(float(step) for step in image.header.get_zooms()[::-1])


# ---- grey levels


def test_discretisation_by_numpy():
    numbers = np.random.default_rng(0).normal(40, 100, 500)
    edges = np.linspace(numbers.min(), numbers.max(), 17)
    np.testing.assert_array_equal(fixed_number(numbers, 16), np.minimum(np.digitize(numbers, edges), 16))
    np.testing.assert_array_equal(
        fixed_width(numbers, 25, -1000), np.digitize(numbers, np.arange(-1000, 1000, 25))
    )


def test_levels_start_where_the_range_does():
    values = np.array([[-1200.0, -990.0, 10.0, 500.0]])
    settings = Features(discretise="fixed_width", bin_width=25.0, range=[-1000.0, 400.0])
    found, number = levels(region_of(values, limits=settings.range), settings)
    assert found.tolist() == [[[0, 1, 41, 0]]] and number == 41


# ---- first order


def check_statistics(x):
    low, quarter, median, three, high = np.percentile(x, (10, 25, 50, 75, 90))
    middle = [value for value in x if low <= value <= high]
    expected = {
        "mean": np.mean(x), "variance": np.var(x), "skewness": stats.skew(x), "kurtosis": stats.kurtosis(x),
        "median": median, "minimum": min(x), "percentile_10": low, "percentile_90": high, "maximum": max(x),
        "interquartile_range": stats.iqr(x), "range": np.ptp(x),
        "mean_absolute_deviation": sum(abs(value - np.mean(x)) for value in x) / len(x),
        "robust_mean_absolute_deviation": sum(abs(value - np.mean(middle)) for value in middle) / len(middle),
        "median_absolute_deviation": sum(abs(value - median) for value in x) / len(x),
        "coefficient_of_variation": stats.variation(x),
        "quartile_coefficient_of_dispersion": (three - quarter) / (three + quarter),
    }  # fmt: skip
    found = statistics(x)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), list(expected.values()), **CLOSE)


def test_statistics_by_scipy():
    check_statistics(np.random.default_rng(1).gamma(2, 3, 400))


# ---- co-occurrence


def slow_cooccurrence(found, offset, distance=1):
    pairs = Counter()
    for place in product(*(range(size) for size in found.shape)):
        other = tuple(at + distance * step for at, step in zip(place, offset, strict=True))
        if all(0 <= at < size for at, size in zip(other, found.shape, strict=True)):
            a, b = found[place], found[other]
            if a and b:
                pairs[a, b] += 1
                pairs[b, a] += 1
    return pairs


def slow_glcm_measures(p, number):
    """From the definitions, as sums over i and j; p: {(i, j): probability}."""
    mu = sum(i * q for (i, _), q in p.items())
    var = sum((i - mu) ** 2 * q for (i, _), q in p.items())
    px, d, s = Counter(), Counter(), Counter()
    for (i, j), q in p.items():
        px[i] += q
        d[abs(i - j)] += q
        s[i + j] += q

    def entropy(c):
        return -sum(q * np.log2(q) for q in c.values() if q)

    def mean(c):
        return sum(k * q for k, q in c.items())

    def variance(c):
        return sum((k - mean(c)) ** 2 * q for k, q in c.items())

    first = -sum(q * np.log2(px[i] * px[j]) for (i, j), q in p.items())
    second = -sum(a * b * np.log2(a * b) for a in px.values() for b in px.values())
    return {
        "joint_maximum": max(p.values()), "joint_average": mu, "joint_variance": var, "joint_entropy": entropy(p),
        "difference_average": mean(d), "difference_variance": variance(d), "difference_entropy": entropy(d),
        "sum_average": mean(s), "sum_variance": variance(s), "sum_entropy": entropy(s),
        "angular_second_moment": sum(q**2 for q in p.values()),
        "contrast": sum((i - j) ** 2 * q for (i, j), q in p.items()),
        "dissimilarity": sum(abs(i - j) * q for (i, j), q in p.items()),
        "inverse_difference": sum(q / (1 + abs(i - j)) for (i, j), q in p.items()),
        "normalised_inverse_difference": sum(q / (1 + abs(i - j) / number) for (i, j), q in p.items()),
        "inverse_difference_moment": sum(q / (1 + (i - j) ** 2) for (i, j), q in p.items()),
        "normalised_inverse_difference_moment": sum(q / (1 + ((i - j) / number) ** 2) for (i, j), q in p.items()),
        "inverse_variance": 2 * sum(q / (i - j) ** 2 for (i, j), q in p.items() if i < j),
        "correlation": sum((i - mu) * (j - mu) * q for (i, j), q in p.items()) / var,
        "autocorrelation": sum(i * j * q for (i, j), q in p.items()),
        "cluster_tendency": sum((i + j - 2 * mu) ** 2 * q for (i, j), q in p.items()),
        "cluster_shade": sum((i + j - 2 * mu) ** 3 * q for (i, j), q in p.items()),
        "cluster_prominence": sum((i + j - 2 * mu) ** 4 * q for (i, j), q in p.items()),
        "information_correlation_1": (entropy(p) - first) / entropy(px),
        "information_correlation_2": np.sqrt(1 - np.exp(-2 * (second - entropy(p)))),
    }  # fmt: skip


def check_glcm(found, number, offset, distance=1):
    pairs = slow_cooccurrence(found, offset, distance)
    total = sum(pairs.values())
    expected = slow_glcm_measures({pair: count / total for pair, count in pairs.items()}, number)
    measures = glcm_measures(cooccurrence(found, number, offset, distance, by_plane=False))
    assert measures.keys() == expected.keys()
    np.testing.assert_allclose([measures[name][0] for name in expected], list(expected.values()), **CLOSE)


@pytest.mark.parametrize("offset", IN_SPACE, ids=str)
@pytest.mark.parametrize("distance", [1, 2])
def test_cooccurrence_by_loops(offset, distance):
    values, mask = blob()
    found, number = levels(region_of(values, mask), Features(bins=8))
    check_glcm(found, number, offset, distance)


def test_thirteen_directions_none_twice():
    assert len(IN_SPACE) == 13 and set(IN_PLANE) <= set(IN_SPACE)
    assert len({*IN_SPACE} | {tuple(-part for part in offset) for offset in IN_SPACE}) == 26


def test_cooccurrence_by_scikit_image():
    picture = np.random.default_rng(2).integers(0, 8, (20, 17))
    picture[:, 1:] = np.where(
        np.random.default_rng(3).random((20, 16)) < 0.5, picture[:, :-1], picture[:, 1:]
    )
    theirs = graycomatrix(picture.astype(np.uint8), [1], [0], levels=8, symmetric=True, normed=True)
    settings = Features(discretise="fixed_width", bin_width=1.0, aggregation="2d_averaged")
    matrix = cooccurrence(picture[None] + 1, 8, (0, 0, 1), 1, by_plane=True)
    np.testing.assert_allclose(matrix[0] / matrix.sum(), theirs[..., 0, 0], **CLOSE)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    theirs = graycomatrix(picture.astype(np.uint8), [1], angles, levels=8, symmetric=True, normed=True)
    ours = extract(region_of(picture), settings)
    for name, prop in (
        ("contrast", "contrast"),
        ("dissimilarity", "dissimilarity"),
        ("inverse_difference_moment", "homogeneity"),
        ("angular_second_moment", "ASM"),
        ("correlation", "correlation"),
        ("joint_entropy", "entropy"),
        ("joint_variance", "variance"),
    ):
        expected = graycoprops(theirs, prop).mean()
        if prop == "entropy":
            expected /= np.log(2)  # scikit-image takes the natural logarithm
        np.testing.assert_allclose(ours[f"glcm_{name}"], expected, **CLOSE, err_msg=name)


# ---- run lengths


def slow_runs(found, offset):
    """Walk every line once, from the voxel that has none before it."""
    lengths = Counter()

    def inside(place):
        return all(0 <= at < size for at, size in zip(place, found.shape, strict=True))

    def step(place, sign=1):
        return tuple(a + sign * b for a, b in zip(place, offset, strict=True))

    for place in product(*(range(size) for size in found.shape)):
        if inside(step(place, -1)):
            continue
        line = []
        while inside(place):
            line.append(int(found[place]))
            place = step(place)
        start = 0
        for end in range(1, len(line) + 1):
            if end == len(line) or line[end] != line[start]:
                if line[start]:
                    lengths[line[start], end - start] += 1
                start = end
    return lengths


def check_runs(found, offset):
    _, level, length = runs(found, offset)
    assert Counter(zip(level.tolist(), length.tolist(), strict=True)) == slow_runs(found, offset)


@pytest.mark.parametrize("offset", IN_SPACE, ids=str)
def test_runs_by_loops(offset):
    values, mask = blob(4)
    found, _ = levels(region_of(values, mask), Features(bins=3))
    check_runs(found, offset)


def test_run_measures_by_hand():
    """Levels 1 1 2: runs (1, length 2) and (2, length 1)."""
    found = {
        name: float(value[0]) for name, value in glrlm_measures(np.array([[[0.0, 1.0], [1.0, 0.0]]])).items()
    }
    expected = {
        "short_runs_emphasis": (1 / 4 + 1) / 2, "long_runs_emphasis": (4 + 1) / 2,
        "low_grey_level_run_emphasis": (1 + 1 / 4) / 2, "high_grey_level_run_emphasis": (1 + 4) / 2,
        "short_run_low_grey_level_emphasis": (1 / 4 + 1 / 4) / 2, "short_run_high_grey_level_emphasis": (1 / 4 + 4) / 2,
        "long_run_low_grey_level_emphasis": (4 + 1 / 4) / 2, "long_run_high_grey_level_emphasis": (4 + 4) / 2,
        "grey_level_non_uniformity": 1, "normalised_grey_level_non_uniformity": 1 / 2,
        "run_length_non_uniformity": 1, "normalised_run_length_non_uniformity": 1 / 2, "run_percentage": 2 / 3,
        "grey_level_variance": 1 / 4, "run_length_variance": 1 / 4, "run_entropy": 1,
    }  # fmt: skip
    assert found == pytest.approx(expected)


# ---- filters


@pytest.mark.parametrize("number", range(len(FREQUENCIES) * len(ANGLES)))
def test_gabor_by_scikit_image(number):
    values = np.random.default_rng(5).random((40, 33))
    frequency, angle = FREQUENCIES[number // len(ANGLES)], ANGLES[number % len(ANGLES)]
    real, imaginary = gabor(values, frequency, theta=np.deg2rad(angle), mode="reflect")
    np.testing.assert_allclose(magnitude(values, kernels()[number]), np.hypot(real, imaginary), **CLOSE)


# ---- on patients


@pytest.mark.parametrize("name", ["STS_008", "STS_019"])
def test_tumours_by_second_implementations(shared_data, name):
    values, mask, spacing = sarcoma(shared_data, name)
    region = region_of(values, mask, spacing)
    check_statistics(values[mask])
    found, number = levels(cropped(region), Features())
    for offset in ((0, 0, 1), (1, -1, 1)):
        check_glcm(found, number, offset)
        check_runs(found, offset)
    ours = extract(region, Features(families=["shape"]))
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    theirs = sitk.LabelShapeStatisticsImageFilter()
    theirs.Execute(image)
    assert ours["shape_volume_voxels"] == pytest.approx(theirs.GetPhysicalSize(1), rel=1e-6)
    n = mask.sum()  # ITK divides by n and not by n - 1
    variances = np.array(theirs.GetPrincipalMoments(1)) * n / (n - 1)
    axes = [ours[f"shape_{axis}_axis_length"] for axis in ("least", "minor", "major")]
    np.testing.assert_allclose(axes, 4 * np.sqrt(variances), rtol=1e-6)
