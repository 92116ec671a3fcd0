"""Embeddings of made-up pictures by a network that is a plain function: their mean brightness per quarter."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.case import Case, Source
from medcli.embedding.examine import Wanted
from medcli.embedding.work import embed
from medcli.errors import DataError, UsageError
from medcli.files import read_csv
from medcli.prediction.predictor import Predictor
from tests.fake_run import FakeTask, fake_run


class Quarters(FakeTask):
    def predict_with_features(self, model, images):
        features = [
            (np.zeros(2, np.float32), image.reshape(2, 4, 2, 4).mean((1, 3)).ravel()) for image in images
        ]
        return self.predict(model, images), features


@pytest.fixture
def predictor(tmp_path):
    run = fake_run(tmp_path / "run", "classification", classes=("dark", "bright"), size=[8, 8])
    return Predictor(run, Quarters(lambda image: np.array([0.5, 0.5], np.float32)), None)


def pictures(folder, wrong=(), broken=0):
    """Left half bright, or upper half bright: 20 each; the label of some is wrong; the site goes with nothing."""
    random = np.random.default_rng(0)
    folder.mkdir()
    cases = []
    for number in range(40):
        left = number < 20
        array = random.integers(0, 40, (8, 8))
        array[(slice(None), slice(4)) if left else (slice(4), slice(None))] += 150
        path = folder / f"case{number:02d}.png"
        Pillow.fromarray(array.astype(np.uint8)).save(path)
        label = "left" if left != (number in wrong) else "upper"
        groups = {"site": "AB"[number % 2]}
        cases.append(Case(path.stem, (Source(path),), f"p{number}", groups, classes=(label,)))
    for number in range(broken):
        cases.append(Case(f"broken{number}", (Source(folder / f"none{number}.png"),)))
    return cases


def test_everything_is_written(tmp_path, predictor):
    cases, out = pictures(tmp_path / "images", wrong=(4, 30), broken=1), tmp_path / "out"
    summary = embed(predictor.run, cases, out, predictor=predictor, parts={"case00": "val"})

    assert (summary.cases, list(summary.failed), summary.features) == (41, ["broken0"], 4)
    assert summary.clusters == [20, 20] and summary.silhouette > 0.5 and summary.suspects == 2
    assert summary.follows["label"] > 0.8 and summary.follows["site"] == 0
    assert sorted(row["case"] for row in read_csv(out / "suspects.csv")) == ["case04", "case30"]

    rows = read_csv(out / "cases.csv")
    assert len(rows) == 41 and rows[0]["part"] == "val" and "none0.png" in rows[-1]["status"]
    assert len({row["cluster"] for row in rows[:20]}) == 1 and rows[0]["cluster"] != rows[20]["cluster"]
    near = read_csv(out / "neighbours.csv")
    assert len(near) == 40 * 5 and all(
        (row["case"] < "case20") == (row["neighbour"] < "case20") for row in near
    )
    with np.load(out / "embeddings.npz", allow_pickle=False) as kept:
        assert kept["cases"].tolist() == [case.name for case in cases[:40]]
        assert kept["vectors"].shape == (40, 4) and kept["map"].shape == (40, 2)
        assert kept["clusters"].tolist() == [int(row["cluster"]) for row in rows[:40]]
    assert json.loads((out / "embed.json").read_text())["neighbours_auroc"] > 0.8
    assert (out / "map.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "case04: labelled upper, neighbours say left" in page and "broken0" in page


def test_without_labels_there_are_clusters_but_no_suspects(tmp_path, predictor):
    cases = [Case(case.name, case.images) for case in pictures(tmp_path / "images")]
    summary = embed(predictor.run, cases, tmp_path / "out", predictor=predictor, wanted=Wanted(3, "pca", 2))
    assert len(summary.clusters) == 3 and summary.suspects is None and summary.neighbours_auroc is None
    assert not (tmp_path / "out" / "suspects.csv").exists()
    assert len(read_csv(tmp_path / "out" / "neighbours.csv")) == 80


def test_a_folder_with_something_in_it_is_kept(tmp_path, predictor):
    cases = pictures(tmp_path / "images")
    with pytest.raises(UsageError, match="the folder is not empty"):
        embed(predictor.run, cases, tmp_path / "images", predictor=predictor)
    wanted = Wanted(clusters=1, kind="pca")
    embed(predictor.run, cases, tmp_path / "images", wanted=wanted, predictor=predictor, force=True)
    assert (tmp_path / "images" / "case00.png").is_file() and (tmp_path / "images" / "map.png").is_file()


def test_too_few_cases_are_told(tmp_path, predictor):
    cases = pictures(tmp_path / "images", broken=2)[-4:]
    with pytest.raises(DataError, match="at least 3 readable cases to compare, got 2 of 4"):
        embed(predictor.run, cases, tmp_path / "out", predictor=predictor)
    assert not (tmp_path / "out").exists()
