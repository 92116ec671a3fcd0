"""Features of networks at every depth, beside the same output."""

import numpy as np
import pytest

from tests.made_up import prepared_folder

pytest.importorskip("tensorflow")

from medcli.preprocessing.prepared import Prepared
from medcli.sliding import Slabs
from medcli.tasks.choose import task_for
from medcli.tasks.features import with_features

SMALL = {"train": {"mixed_precision": "float32"}, "predict": {"batch_size": 4, "flips": True}}


@pytest.mark.parametrize(
    ("task", "model", "widths"),
    [
        ("classification", {"name": "cnn", "width": 8}, (8, 16, 16, 64)),
        ("segmentation", {"width": 8}, (8, 16)),
        ("detection", {}, None),
    ],
)
def test_one_pass_gives_the_same_results_and_features(tmp_path, task, model, widths):
    config = prepared_folder(tmp_path / "prepared", task, cases=3, model=model, **SMALL)
    prepared = Prepared.open(tmp_path / "prepared")
    work = task_for(config, prepared.plan)
    network = work.build_model()
    images = [prepared.image(record) for record in prepared.records]
    results, features = work.predict_with_features(network, images)
    for found, expected in zip(results, work.predict(network, images), strict=True):
        if task == "detection":
            np.testing.assert_allclose(found.corners, expected.corners, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-6)
        else:
            both = (found.whole(), expected.whole()) if isinstance(found, Slabs) else (found, expected)
            np.testing.assert_allclose(*both, rtol=1e-4, atol=1e-6)
    assert len(features) == 3 and len({tuple(map(len, one)) for one in features}) == 1
    assert widths is None or tuple(map(len, features[0])) == widths
    if task == "classification":
        both, depths = with_features(network)
        assert depths == len(widths)
        maps = [np.asarray(one) for one in both(np.stack(images), training=False)][1:]
        for place, one in enumerate(maps):
            mean = one.mean(tuple(range(1, one.ndim - 1)))
            np.testing.assert_allclose(mean, [each[place] for each in features], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [2, 8])
def test_small_images_in_batches_get_what_each_gets_alone(tmp_path, batch_size):
    """Images of one window, smaller than the patch."""
    settings = {"train": SMALL["train"], "predict": {"batch_size": batch_size, "uncertainty": True}}
    config = prepared_folder(tmp_path / "prepared", "segmentation", cases=3, model={"width": 8}, **settings)
    prepared = Prepared.open(tmp_path / "prepared")
    work = task_for(config, prepared.plan)
    network = work.build_model()
    images = [
        prepared.image(record)[:size, : size + 2]
        for size, record in zip((6, 8, 6), prepared.records, strict=True)
    ]
    assert all(max(image.shape) <= min(prepared.plan.patch) for image in images)
    results, features = work.predict_with_features(network, images)
    for image, one, slabs, means in zip(
        images, work.predict(network, images), results, features, strict=True
    ):
        (alone,), (expected,) = work.predict_with_features(network, [image])
        np.testing.assert_allclose(one.whole(), alone.whole(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(slabs.whole(), alone.whole(), rtol=1e-4, atol=1e-6)
        for a, b in zip(means, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
