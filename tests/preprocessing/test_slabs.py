"""Part by part the same comes out as at once, whatever was turned, cropped, resampled and padded."""

import numpy as np
import pytest

from medcli.preprocessing import slabs
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.slabs import restored_parts, whole_grid

PLACES = {
    "as it is": Placement((7, 5, 6), (0, 1, 2), (False,) * 3, (0,) * 3, (7, 5, 6), (7, 5, 6), (0,) * 3, (7, 5, 6)),
    "finer": Placement((40, 5, 6), (0, 1, 2), (False,) * 3, (0,) * 3, (40, 5, 6), (17, 9, 4), (0,) * 3, (17, 9, 4)),
    "coarser": Placement((13, 5, 6), (0, 1, 2), (False,) * 3, (0,) * 3, (13, 5, 6), (59, 5, 6), (0,) * 3, (59, 5, 6)),
    "a little": Placement((33, 5, 6), (0, 1, 2), (False,) * 3, (0,) * 3, (33, 5, 6), (31, 5, 9), (0,) * 3, (31, 5, 9)),
    "one plane": Placement((9, 5, 6), (0, 1, 2), (False,) * 3, (0,) * 3, (9, 5, 6), (1, 5, 6), (0,) * 3, (1, 5, 6)),
    "all at once": Placement(
        (9, 20, 11), (1, 2, 0), (True, False, True), (2, 1, 3), (18, 10, 8), (25, 7, 5), (3, 0, 2), (31, 8, 9)
    ),
}  # fmt: skip


@pytest.mark.parametrize("sizes", [[1], [4, 1, 7], [100]], ids=str)
@pytest.mark.parametrize("bytes_at_once", [1, 2**26])
@pytest.mark.parametrize("name", PLACES)
def test_parts_are_what_the_whole_is(name, sizes, bytes_at_once, monkeypatch):
    monkeypatch.setattr(slabs, "PART_BYTES", bytes_at_once)
    placement = PLACES[name]
    values = np.random.default_rng(0).random((*placement.prepared, 3)).astype(np.float32)
    expected = placement.restore_probabilities(values)

    array, view = whole_grid(placement, np.float32, (3,))
    array[..., 0] = 1
    covered = 0
    for first, part in restored_parts(_parts(values, sizes), placement):
        assert first == covered
        view[first : first + len(part)] = part
        covered += len(part)
    assert covered == len(view)
    np.testing.assert_allclose(array, expected, atol=2e-6)


def _parts(values, sizes):
    first = 0
    while first < len(values):
        for size in sizes:
            if first < len(values):
                yield values[first : first + size]
                first += size


def test_few_planes_are_held_at_a_time(monkeypatch):
    monkeypatch.setattr(slabs, "PART_BYTES", 1)
    placement = Placement(
        (50, 2, 2), (0, 1, 2), (False,) * 3, (0,) * 3, (50, 2, 2), (40, 2, 2), (0,) * 3, (40, 2, 2)
    )
    asked = []

    def parts():
        for number in range(40):
            asked.append(number)
            yield np.full((1, 2, 2, 1), number, np.float32)

    for first, _ in restored_parts(parts(), placement):
        assert len(asked) <= first * 40 / 50 + 3
