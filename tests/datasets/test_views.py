"""Views of an image that predictions are averaged over."""

import numpy as np
import pytest

from medcli.config.loading import from_dict
from medcli.config.schema import Config
from medcli.datasets.classification import view
from medcli.errors import ConfigError
from medcli.preprocessing.plan import Intensity, Plan
from medcli.tasks.classification import Classification


def blob(rows=40, columns=48):
    row, column = np.mgrid[:rows, :columns].astype(np.float32)
    return np.exp(-((row - 16) ** 2 + (column - 28) ** 2) / 18)[..., None]


def centre(image):
    return np.array([np.average(axis, weights=image[..., 0]) for axis in np.indices(image.shape[:2])])


def test_a_view_is_a_small_change_that_its_number_decides():
    image, middle = blob(), np.array([19.5, 23.5])
    views = [view(image, number, {"column"}) for number in range(6)]
    np.testing.assert_array_equal(view(image, 3, {"column"}), views[3])
    assert len({one.tobytes() for one in views}) == 6
    for one in views:
        assert 0.8 < one.sum() / image.sum() < 1.2
        assert np.abs(centre(one) - centre(image)).max() < 0.04 * 48 + 0.05 * 6 + 0.09 * 6
    turned = np.array([centre(view(image, number, {"row", "column"})) for number in range(12)]) - middle
    assert np.degrees(np.ptp(np.arctan2(*turned.T))) > 180  # any angle where no side is up


def test_planes_move_alike_and_columns_of_a_table_stay():
    clinical = np.full((40, 48, 1), 0.7, np.float32)
    volume = np.stack([np.concatenate([blob(), clinical], -1)] * 3)
    seen = view(volume, 1, {"row", "column"})
    assert seen.shape == volume.shape and seen.dtype == np.float32
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_allclose(seen[..., 1], 0.7, atol=1e-6)
    np.testing.assert_array_equal(seen[0, ..., :1], view(blob(), 1, {"row", "column"}))


@pytest.mark.parametrize(("flips", "views"), [(False, 3), (True, 2), (True, 0)])
def test_probabilities_are_averaged_over_mirrored_images_and_views(monkeypatch, flips, views):
    config = Config(task="classification", predict={"flips": flips, "views": views})
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=[40, 48],
        intensity=[Intensity(kind="none")], batch_size=2, stages=3,
    )  # fmt: skip
    task = Classification(config, plan)
    ones = lambda _, images: iter([np.array([[10 * image[16, 28, 0], 0] for image in images], np.float32)])  # noqa: E731
    monkeypatch.setattr(task, "_logits", ones)
    image = blob()
    seen = [
        image,
        *([image[:, ::-1]] if flips else []),
        *(view(image, number, {"column"}) for number in range(views)),
    ]
    expected = np.mean([1 / (1 + np.exp(-10 * one[16, 28, 0])) for one in seen])
    (found,) = task.predict(None, [image])
    np.testing.assert_allclose(found, [expected, 1 - expected], atol=1e-5)


def test_only_where_there_is_one_answer_per_image():
    with pytest.raises(ConfigError, match=r"views.*is for one answer per image, not for segmentation"):
        from_dict({"task": "segmentation", "data": {"root": "."}, "predict": {"views": 2}})
