"""The sliding window: an identity network must give the image back, whatever the sizes."""

import numpy as np
import pytest

from medcli.sliding import axis_weights, sliding_window, window_starts


def identity(batch):
    return batch.copy()


@pytest.mark.parametrize(
    ("size", "length", "overlap", "expected"),
    [
        (10, 4, 0.5, [0, 2, 4, 6]),
        (4, 4, 0.5, [0]),
        (3, 4, 0.5, [0]),
        (5, 4, 0.5, [0, 1]),
        (11, 4, 0.0, [0, 4, 7]),  # 3.5 rounds to the even 4
        (9, 4, 0.75, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_windows_lie_evenly_from_edge_to_edge(size, length, overlap, expected):
    assert window_starts(size, length, overlap) == expected


def test_neighbours_overlap_at_least_as_asked():
    for size in range(7, 60):
        starts = window_starts(size, 7, 0.5)
        assert starts[0] == 0
        assert starts[-1] == size - 7
        assert max(np.diff(starts), default=0) <= 4  # 3.5 rounded up


def test_weights_are_symmetric_and_fall_off():
    weights = axis_weights(9)
    np.testing.assert_array_equal(weights, weights[::-1])
    assert weights[4] == 1
    # one sigma is 9/8 voxels, so the edge, 4 voxels away, has exp(-0.5 * (32/9)^2)
    assert weights[0] == pytest.approx(np.exp(-0.5 * (32 / 9) ** 2), rel=1e-5)


@pytest.mark.parametrize("flips", [False, True, (1,)])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((13, 29), (8, 6)),
        ((3, 29), (8, 6)),
        ((8, 6), (8, 6)),
        ((7, 12, 9), (4, 5, 6)),
        ((2, 12, 3), (4, 5, 6)),
    ],
)
def test_identity_gives_the_image_back(shape, patch, batch_size, flips):
    image = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32)
    result = sliding_window(identity, image, patch=patch, num_outputs=2, batch_size=batch_size, flips=flips)
    assert result.shape == image.shape
    result = result.whole()
    assert result.dtype == np.float32
    assert result.shape == image.shape
    np.testing.assert_allclose(result, image, rtol=1e-4, atol=1e-5)


def test_the_blend_is_the_weighted_mean_of_the_windows():
    # windows begin at 0 and 2; each says its own number everywhere
    answers = iter([np.full((1, 4, 1), 10.0), np.full((1, 4, 1), 20.0)])
    result = sliding_window(
        lambda batch: next(answers), np.zeros((6, 1)), patch=(4,), num_outputs=1, batch_size=1
    ).whole()
    w = axis_weights(4)
    blend = (10 * w[2] + 20 * w[0]) / (w[2] + w[0])
    np.testing.assert_allclose(result[:, 0], [10, 10, blend, 30 - blend, 20, 20], rtol=1e-6)


def test_flips_are_undone_before_the_mean():
    # a network that marks the first column: unflipped it marks the left edge, flipped the right edge
    def marks_first_column(batch):
        answer = np.zeros_like(batch)
        answer[:, :, 0] = 1
        return answer

    image = np.zeros((2, 3, 1), np.float32)
    result = sliding_window(marks_first_column, image, patch=(2, 3), num_outputs=1, flips=(1,)).whole()
    np.testing.assert_allclose(result[..., 0], [[0.5, 0, 0.5]] * 2)


def test_batches_are_evenly_filled():
    sizes = []

    def note(batch):
        sizes.append(len(batch))
        return batch.copy()

    sliding_window(note, np.zeros((12, 4, 1), np.float32), patch=(4, 4), num_outputs=1, batch_size=4).whole()
    assert sizes == [3, 2]  # five windows


def test_the_result_can_be_written_into_a_given_array():
    image = np.random.default_rng(1).normal(size=(9, 5, 1)).astype(np.float32)
    for patch in [(4, 4), (12, 4)]:
        out = np.zeros((9, 5, 1), np.float32)
        assert sliding_window(identity, image, patch=patch, num_outputs=1).whole(out) is out
        np.testing.assert_allclose(out, image, rtol=1e-4)


def test_a_patch_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="expected a patch of 2 positive sizes"):
        sliding_window(identity, np.zeros((5, 5, 1)), patch=(4, 4, 4), num_outputs=1)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_parts_come_as_soon_as_no_window_touches_them(overlap):
    seen = []

    def note(batch):
        seen.append(len(batch))
        return batch.copy()

    image = np.random.default_rng(2).normal(size=(23, 5, 1)).astype(np.float32)
    slabs = sliding_window(note, image, patch=(6, 4), num_outputs=1, overlap=overlap, batch_size=1)
    starts, columns = window_starts(23, 6, overlap), len(window_starts(5, 4, overlap))
    first = 0
    for part in slabs:
        # all windows that begin before the part ends are answered, and none that begins behind it
        begun = sum(start < first + len(part) for start in starts) * columns
        assert sum(seen) == begun
        np.testing.assert_allclose(part, image[first : first + len(part)], rtol=1e-4, atol=1e-6)
        first += len(part)
    assert first == 23


def test_windows_without_content_are_not_predicted():
    image = np.zeros((16, 4, 1), np.float32)
    content = np.zeros((16, 4), bool)
    content[12, 1] = True
    seen = []

    def says_second(batch):
        seen.append(len(batch))
        return np.stack([np.zeros(batch.shape[:-1]), np.ones(batch.shape[:-1])], axis=-1)

    slabs = sliding_window(
        says_second, image, patch=(4, 4), num_outputs=2, overlap=0, content=content, margin=1
    )
    assert (slabs.windows, slabs.skipped) == (
        4,
        2,
    )  # the window of rows 8 to 11 ends one row before the content
    whole = slabs.whole()
    assert sum(seen) == 2
    np.testing.assert_allclose(whole[:8], [[[1, 0]] * 4] * 8)
    np.testing.assert_allclose(whole[8:], [[[0, 1]] * 4] * 8)
