"""Members that are linear in fixed features: fitted at once, the same as scikit-learn's own regression says."""

import json

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.datasets.classification import class_targets  # noqa: E402
from medcli.errors import ConfigError  # noqa: E402
from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.tasks.linear import LinearMembers  # noqa: E402
from medcli.training import train  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402

MODEL = {"members": 0, "descriptors": True, "visual_words": 8}


def test_logits_are_those_of_logistic_regressions_on_the_same_features(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    config = prepared_folder(tmp_path / "prepared", "classification", model=MODEL)
    prepared = Prepared.open(tmp_path / "prepared")
    records = prepared.split("train")
    task = LinearMembers(config, prepared.plan)
    model = task.build_model()
    account = task.fit(model, prepared, records)
    images = np.stack([prepared.image(record) for record in records])
    classes = class_targets(records, prepared.plan).argmax(axis=1)
    expected = []
    for name in ("descriptors", "visual_words"):
        x = StandardScaler().fit_transform(np.asarray(model.get_layer(name)(images)))
        chosen = account[name]["chosen"]
        expected.append(LogisticRegression(max_iter=2000, **chosen).fit(x, classes).decision_function(x))
    logits = np.asarray(model(images))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], np.mean(expected, axis=0), atol=2e-3)
    assert [account[name]["features"] for name in account] == [
        model.get_layer("descriptors").output.shape[1],
        16,
    ]


NUMBERS = {"table": "table.csv", "columns": {"target": "radius"}}


@pytest.mark.parametrize(("task", "data"), [("classification", {}), ("regression", NUMBERS)])
def test_a_run_is_trained_saved_and_read_back(tmp_path, task, data):
    config = prepared_folder(tmp_path / "prepared", task, model=MODEL, data=data)
    result = train(config, tmp_path / "prepared", tmp_path / "run")
    assert result.epochs == 1
    assert list(json.loads((tmp_path / "run" / "fit.json").read_text())) == ["descriptors", "visual_words"]
    run = Run.open(tmp_path / "run")
    assert not run.validation_chose_weights
    image = np.random.default_rng(2).normal(size=(16, 24, 1)).astype(np.float32)
    model = run.load_model()
    first, again = (run.task.predict(model, [image])[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()


def test_weights_to_start_from_are_refused(tmp_path):
    config = prepared_folder(tmp_path / "prepared", "classification", model=MODEL | {"weights": "imagenet"})
    plan = Prepared.open(tmp_path / "prepared").plan
    with pytest.raises(ConfigError, match=r"model\.weights: .* fitted from nothing"):
        LinearMembers(config, plan).build_model()
