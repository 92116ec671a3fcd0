"""Several labels per case, some of them unknown, the whole way: table, training, evaluation, prediction."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medcli.config.loading import from_dict
from medcli.files import read_csv
from medcli.io.writers import write_picture
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.plan import load_plan
from medcli.preprocessing.prepared import Prepared

tf = pytest.importorskip("tensorflow")

from medcli.datasets.classification import class_targets  # noqa: E402
from medcli.evaluation.compare import compare  # noqa: E402
from medcli.evaluation.evaluate import evaluate  # noqa: E402
from medcli.prediction.predict import predict  # noqa: E402
from medcli.tasks.classification import class_weights, mean_auroc  # noqa: E402
from medcli.training import train  # noqa: E402

NAMES = ("left", "right", "rare")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Pictures with a bright left or right half; every third answer is unknown in one way or another."""
    folder, random = tmp_path_factory.mktemp("several"), np.random.default_rng(0)
    lines = ["image," + ",".join(NAMES)]
    for number in range(90):
        shown = random.random(3) < [0.5, 0.5, 0.25]
        picture = random.integers(0, 60, (12, 12)).astype(np.uint8)
        picture[:, :6] += np.uint8(120 * shown[0])
        picture[:, 6:] += np.uint8(120 * shown[1])
        picture[:3] += np.uint8(60 * shown[2])
        write_picture(folder / f"c{number:02d}.png", picture)
        cells = [str(int(yes)) for yes in shown]
        if number % 3:
            cells[number % 5 % 3] = ["", "-1", "nan"][number % 7 % 3]
        lines.append(f"c{number:02d}.png," + ",".join(cells))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    config = from_dict(
        {
            "task": "classification",
            "name": "several",
            "data": {
                "root": str(folder), "table": "labels.csv",
                "columns": {"image": "image", "label": list(NAMES)}, "split": {"val": 0.4},
            },
            "model": {"name": "cnn", "width": 4},
            "train": {
                "epochs": 25, "batch_size": 8, "learning_rate": 0.01, "validate_every": 5,
                "mixed_precision": "float32", "augment": "none", "flips": [], "tensorboard": False,
            },
            "evaluate": {"robustness": "off", "explained": 0},
        }
    )  # fmt: skip
    preprocess(config, folder / "prepared")
    train(config, folder / "prepared", folder / "run")
    return folder, config


def test_unknown_labels_are_kept_apart_from_absent_ones(job):
    folder, _ = job
    prepared = Prepared.open(folder / "prepared")
    assert load_plan(folder / "prepared" / "plan.yaml").multi_label
    targets = class_targets(prepared.records, prepared.plan)
    rows = {row["image"].removesuffix(".png"): row for row in read_csv(folder / "labels.csv")}
    for record, row in zip(prepared.records, targets, strict=True):
        told = [rows[record.case][name] for name in NAMES]
        assert [np.isnan(value) for value in row] == [cell in ("", "-1", "nan") for cell in told]
        assert [value == 1 for value in row] == [cell == "1" for cell in told]
    assert np.isnan(targets).sum() == 60


def test_the_evaluation_counts_what_is_known(job):
    folder, _ = job
    result = evaluate(folder / "run", force=True)
    rows = read_csv(result.folder / "cases.csv")
    content = json.loads((result.folder / "metrics.json").read_text())
    for name in NAMES:
        known = [row for row in rows if name not in row["unknown"].split("|")]
        truth = [name in row["truth"].split("|") for row in known]
        assert content["known"][name] == len(known) < len(rows)
        assert content["counts"][name] == sum(truth)
        scores = [float(row[f"p:{name}"]) for row in known]
        assert result.measures[f"auroc/{name}"] == pytest.approx(roc_auc_score(truth, scores))
        assert content["decisions"]["thresholds"][name]["positives"] == sum(truth)
        called = [name in row["predicted"].split("|") for row in known]
        hits = sum(yes and true for yes, true in zip(called, truth, strict=True))
        assert result.measures[f"sensitivity/{name}"] == pytest.approx(hits / sum(truth))
    assert result.measures["auroc/left"] > 0.9
    assert {"micro_auroc", "micro_f1"} <= set(result.measures)
    same = compare(result.folder, result.folder)
    assert "auroc" in str(same)


def test_predict_calls_labels_from_their_own_thresholds_on(job, tmp_path):
    folder, _ = job
    predict(folder / "run", [folder / "c00.png", folder / "c01.png", folder / "c02.png"], tmp_path / "out")
    learned = json.loads((folder / "run" / "calibration.json").read_text())["operating"]
    for row in read_csv(tmp_path / "out" / "predictions.csv"):
        expected = [name for name in NAMES if float(row[name]) >= learned[name]["threshold"]]
        assert row["predicted"].split("|") == (expected or [""])


def test_weights_and_auroc_of_the_known_answers():
    nothing = float("nan")
    targets = np.array([[1, 0], [0, nothing], [1, 1], [0, nothing], [1, 0], [0, 0]], np.float32)
    # 3 of 6 and 1 of 4: as if 1.5 of 6; weights 1/3 and 1/1.5, scaled to a mean of one over the 4.5.
    assert class_weights(targets, "balanced") == pytest.approx([4.5 / 6, 4.5 / 3])
    scores = np.array([[0.9, 0.1], [0.8, 1.0], [0.7, 0.9], [0.1, 1.0], [0.2, 0.2], [0.3, 0.3]])
    assert mean_auroc(targets, scores) == pytest.approx((6 / 9 + 1) / 2)
