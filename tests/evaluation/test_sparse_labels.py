"""Voxels that nobody labelled, from the files to the measures."""

import nibabel
import numpy as np
import pytest

from medcli.case import Case, Source
from medcli.config.loading import from_dict
from medcli.errors import DataError
from medcli.evaluation.segmentation import SegmentationJudge
from medcli.io.readers import read_channels
from medcli.prediction.result import Prediction
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.labels import IGNORE
from medcli.preprocessing.prepared import Prepared

UNKNOWN = 9
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Volumes of which planes 3 and 9 of 12 are labelled; some unlabelled planes are a hundred times brighter."""
    root, random = tmp_path_factory.mktemp("sparse"), np.random.default_rng(0)
    for kind in ("images", "labels"):
        (root / kind).mkdir()
    for number in range(6):
        mask = np.full((18, 20, 12), UNKNOWN, np.uint8)
        mask[..., 3::6] = 0
        mask[4:12, 6:14, 3::6] = 1
        image = random.normal(10, 1, mask.shape).astype(np.float32)
        image[..., ::2] *= 100
        if number == 5:
            mask[:] = UNKNOWN
        for kind, array in (("images", image), ("labels", mask)):
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), root / kind / f"v{number}.nii.gz")
    return root


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    data = {"root": str(root), "images": "images/{case}.nii.gz", "labels": "labels/{case}.nii.gz"}
    config = from_dict({"task": "segmentation", "data": data | {"ignore_label": UNKNOWN}}, folder=root)
    summary = preprocess(config, out)
    return Prepared.open(out), summary


def test_prepared_labels_and_plan(prepared):
    found, summary = prepared
    assert (found.plan.classes, found.plan.ignore_label) == (["foreground"], UNKNOWN)
    assert "16.7 % of the training cases' voxels are labelled" in found.plan.reasons["ignore_label"]
    label = found.label(found.records[0])
    assert np.unique(label).tolist() == [0, 1, IGNORE]
    assert [plane for plane in range(12) if (label[plane] != IGNORE).any()] == [3, 9]
    left_out = [problem for problem in summary.problems if problem.left_out]
    assert [problem.case for problem in left_out] == ["v5"]
    assert "its mask holds only data.ignore_label (9)" in left_out[0].reason
    assert len(summary.problems) == 1


def test_intensities_inside_are_those_of_labelled_voxels(root):
    from medcli.preprocessing.scan import scan_case

    case = Case("v0", (Source(root / "images/v0.nii.gz"),), masks=(Source(root / "labels/v0.nii.gz"),))
    scan = scan_case(case, "", ignore_label=UNKNOWN)
    assert scan.inside[0].count == 2 * 8 * 8
    assert scan.inside[0].percentiles[-1] < 100


def test_only_labelled_voxels_are_judged(root, prepared):
    plan = prepared[0].plan
    case = Case("v0", (Source(root / "images/v0.nii.gz"),), masks=(Source(root / "labels/v0.nii.gz"),))
    image = read_channels(case.images)
    predicted = np.ones(image.shape, np.uint8)  # wrong nearly everywhere where nobody looked
    predicted[3::6] = 0
    columns, rows = slice(4, 12), slice(6, 14)
    true = np.zeros(image.shape, bool)
    true[3::6, rows, columns] = True
    predicted[true if image.shape == (12, 20, 18) else np.swapaxes(true, 1, 2)] = 1
    judge = SegmentationJudge(plan, from_dict({"task": "segmentation"}, folder=root, name="x").evaluate)
    row = judge.add(case, image, Prediction(labels=predicted)).row
    assert (row["dice"], row["hd95"], row["lesion_precision"]) == (1, 0, 1)
    assert row["predicted_ml/foreground"] == row["true_ml/foreground"] == pytest.approx(2 * 64 * 2 / 1000)


def test_a_case_without_a_labelled_voxel_is_refused(root, prepared):
    case = Case("v5", (Source(root / "images/v5.nii.gz"),), masks=(Source(root / "labels/v5.nii.gz"),))
    image = read_channels(case.images)
    judge = SegmentationJudge(
        prepared[0].plan, from_dict({"task": "segmentation"}, folder=root, name="x").evaluate
    )
    with pytest.raises(DataError, match="Nobody labelled a voxel of it"):
        judge.add(case, image, Prediction(labels=np.zeros(image.shape, np.uint8)))
