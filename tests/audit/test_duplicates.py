"""The same picture twice: what counts as the same, and what does not."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageEnhance
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from medcli.audit.duplicates import (
    TURNS,
    exact_groups,
    low_frequencies,
    near_pairs,
    turned,
    turned_picture,
)
from medcli.audit.look import thumbnail


def pictures(count, seed=0, side=96):
    """Blobs of several sizes over a shading that all share, as organs over a body."""
    random = np.random.default_rng(seed)
    shading = 60 * np.exp(-(((np.indices((side, side)) - side / 2) / (0.4 * side)) ** 2).sum(0))
    found = []
    for _ in range(count):
        noise = random.normal(0, 1, (side, side))
        texture = sum(gaussian_filter(noise, size) * size for size in (2, 4, 8))
        found.append(np.clip(90 + shading + 22 * texture, 0, 255).astype(np.uint8))
    return found


def saved_again(picture, quality=50):
    stream = io.BytesIO()
    Pillow.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Pillow.open(stream))


def brighter(picture):
    return np.asarray(ImageEnhance.Brightness(Pillow.fromarray(picture)).enhance(1.2))


def smaller(picture):
    return np.asarray(Pillow.fromarray(picture).resize((60, 60), Pillow.Resampling.BICUBIC))


def noisy(picture):
    noise = np.random.default_rng(1).normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def small(images):
    return np.stack([thumbnail(image[..., None])[..., 0] for image in images])


CHANGES = {
    "saved again": saved_again,
    "brighter": brighter,
    "smaller": smaller,
    "noisy": noisy,
    "mirrored": lambda picture: saved_again(picture[:, ::-1], 80),
    "turned by 180°": lambda picture: picture[::-1, ::-1],
    # what must be done to the copy to get the original, clockwise
    "turned by 90°": lambda picture: np.rot90(picture),
    "turned by 270°": lambda picture: np.rot90(picture, -1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change):
    images = pictures(40)
    pairs, left = near_pairs(small([*images, CHANGES[change](images[7])]), np.ones(41, bool))
    assert [(pair.first, pair.second, pair.exact) for pair in pairs] == [(7, 40, False)]
    assert pairs[0].turn == (change if change in TURNS else "")
    assert pairs[0].correlation > 0.92
    assert left == 0


def test_turning_the_second_gives_the_first():
    images = pictures(12)
    copy = np.rot90(images[3])
    (pair,), _ = near_pairs(small([*images, copy]), np.ones(13, bool))
    back = turned_picture(copy, TURNS.index(pair.turn))
    assert np.array_equal(back, images[3])


@pytest.mark.parametrize("turn", range(8))
def test_the_hash_of_a_turned_picture_needs_no_new_transform(turn):
    grey = np.random.default_rng(2).random((3, 64, 64))
    expected = dctn(
        turned_picture(grey, turn).reshape(3, 32, 2, 32, 2).mean((2, 4)), axes=(1, 2), norm="ortho"
    )[:, :8, :8]
    np.testing.assert_allclose(turned(low_frequencies(grey), turn), expected, atol=1e-12)


def test_flat_and_excluded_pictures_match_nothing():
    flat = np.full((2, 64, 64), 40, np.uint8)
    twice = np.repeat(small(pictures(1)), 2, axis=0)
    thumbs = np.concatenate([flat, twice])
    assert len(near_pairs(thumbs, np.ones(4, bool))[0]) == 1
    assert near_pairs(thumbs, np.array([True, True, True, False])) == ([], 0)
    assert near_pairs(thumbs[:1], np.ones(1, bool)) == ([], 0)


def test_exact_groups():
    assert exact_groups(["a", "b", "a", "", "", "c", "b", "a"]) == [[0, 2, 7], [1, 6]]


def test_pictures_with_little_detail_must_be_more_alike():
    images = pictures(12)
    everything, coarse = np.ones(13, bool), np.arange(13) == 12
    noise = np.random.default_rng(3).normal(0, 1, images[3].shape)
    seen = []
    for strength in range(0, 60, 3):
        thumbs = small([*images, np.clip(images[3] + strength * noise, 0, 255).astype(np.uint8)])
        pairs = near_pairs(thumbs, everything)[0]
        strict = near_pairs(thumbs, everything, coarse)[0]
        assert strict == [pair for pair in pairs if pair.correlation >= 0.94]
        seen.append((len(pairs), len(strict)))
    assert {(1, 1), (1, 0), (0, 0)} <= set(seen)
