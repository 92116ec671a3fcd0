"""Predictions of regions that overlap: label image, masks, probabilities, and what is measured of them."""

import nibabel
import numpy as np
import pytest

from medcli.case import Case, Source
from medcli.config.loading import from_dict
from medcli.evaluation.segmentation import SegmentationJudge
from medcli.io.readers import read_channels
from medcli.metrics.segmentation import dice, overlap_counts
from medcli.prediction.predict import predict
from medcli.prediction.predictor import Predictor
from medcli.sliding import Slabs
from tests.fake_run import fake_loading, fake_run

NESTED = {
    "classes": ("whole", "core"),
    "labels": ["rim", "middle"],
    "regions": [[1, 2], [2]],
    "label_ids": [[3], [7]],
}
CROSSED = {"classes": ("left", "right"), "labels": ["a", "b", "c"], "regions": [[1, 2], [2, 3]]}
CROSSED |= {"label_ids": [[1], [2], [3]]}


def answer(image):
    """The first region where the value is odd, the second from 2 on, with 90 %."""
    values = image[..., 0].astype(int)
    chances = np.stack([values % 2 == 1, values >= 2], -1) * np.float32(0.8) + np.float32(0.1)
    return Slabs.of(np.concatenate([1 - chances.max(-1, keepdims=True), chances], -1))


@pytest.fixture
def volume(tmp_path):
    """Values 0 to 3 as (column, row, plane)."""
    values = np.arange(4 * 5 * 6).reshape(4, 5, 6) % 4
    nibabel.save(
        nibabel.Nifti1Image(values.astype(np.float32), np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "v.nii.gz"
    )
    return values


def predicted(tmp_path, monkeypatch, plan, **settings):
    run = fake_run(tmp_path / "run", "segmentation", dimensions=3, predict=settings, **plan)
    fake_loading(monkeypatch, answer)
    out = tmp_path / "out"
    predict(run, [tmp_path / "v.nii.gz"], out)
    return {path.name: np.asarray(nibabel.load(path).dataobj) for path in out.glob("*.nii.gz")}


def test_nested_regions_are_one_label_image_and_masks_on_request(tmp_path, monkeypatch, volume):
    files = predicted(tmp_path, monkeypatch, NESTED, region_masks=True, save_probabilities=True)
    expected = np.where(volume >= 2, 7, np.where(volume % 2 == 1, 3, 0))
    np.testing.assert_array_equal(files["v.nii.gz"], expected)
    np.testing.assert_array_equal(files["v_region_whole.nii.gz"], expected > 0)
    np.testing.assert_array_equal(files["v_region_core.nii.gz"], expected == 7)
    np.testing.assert_allclose(files["v_prob.nii.gz"][..., 2], np.where(volume >= 2, 0.9, 0.1), atol=1e-6)


def test_nested_regions_need_no_masks(tmp_path, monkeypatch, volume):
    assert set(predicted(tmp_path, monkeypatch, NESTED)) == {"v.nii.gz"}


def test_crossed_regions_get_their_masks(tmp_path, monkeypatch, volume):
    files = predicted(tmp_path, monkeypatch, CROSSED)
    np.testing.assert_array_equal(files["v_region_left.nii.gz"], volume % 2 == 1)
    np.testing.assert_array_equal(files["v_region_right.nii.gz"], volume >= 2)


@pytest.mark.parametrize("plan", [NESTED, CROSSED])
def test_every_region_is_measured(tmp_path, monkeypatch, volume, plan):
    random = np.random.default_rng(1)
    ids = [0, *(values[0] for values in plan["label_ids"])]
    truth = random.choice(ids, volume.shape).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(truth, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "m.nii.gz")
    run = fake_run(tmp_path / "run", "segmentation", dimensions=3, **plan)
    fake_loading(monkeypatch, answer)
    case = Case("v", (Source(tmp_path / "v.nii.gz"),), masks=(Source(tmp_path / "m.nii.gz"),))
    ((_, image, prediction),) = Predictor.load(run).predict_cases([case])
    judge = SegmentationJudge(
        run.plan, from_dict({"task": "segmentation"}, folder=tmp_path, name="x").evaluate
    )
    row = judge.add(case, image, prediction).row
    whole = read_channels(case.images).array[..., 0]
    found = {
        "whole": (whole % 2 == 1) | (whole >= 2),
        "core": whole >= 2,
        "left": whole % 2 == 1,
        "right": whole >= 2,
    }
    true = np.swapaxes(truth, 0, 2)
    for name, labels in zip(plan["classes"], plan["regions"], strict=True):
        inside = np.isin(true, [ids[label] for label in labels])
        expected = dice(*overlap_counts(inside.astype(int), found[name].astype(int), 1))[0]
        assert row[f"dice/{name}"] == pytest.approx(expected), name
        assert row[f"true_ml/{name}"] == pytest.approx(inside.sum() * 2 / 1000)
        assert row[f"predicted_ml/{name}"] == pytest.approx(found[name].sum() * 2 / 1000)
    assert 0 < row["dice"] < 1
