"""Learning for the worst group: draws, weights, group DRO, the choice of the weights, and what they are worth."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medcli.config.loading import from_dict, save_config
from medcli.config.schema import Config
from medcli.datasets.cells import cells_of, independence_weights, training_groups
from medcli.errors import ConfigError
from medcli.files import read_csv, write_json
from medcli.preprocessing.plan import Intensity, Plan, save_plan
from medcli.preprocessing.prepared import Prepared, Record, image_path, write_manifest

tf = pytest.importorskip("tensorflow")

from medcli.datasets.draw import Balanced, by_class  # noqa: E402
from medcli.losses.classification import LOSSES  # noqa: E402
from medcli.losses.group_dro import GroupDRO  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.sliding import Slabs  # noqa: E402
from medcli.tasks.detection import Detection  # noqa: E402
from medcli.tasks.fair_loss import Reweighting  # noqa: E402
from medcli.tasks.segmentation import Segmentation  # noqa: E402
from medcli.training import Stopped, train  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402

# ---- how cases are drawn


def drawn(balanced: Balanced, count: int) -> list[int]:
    numbers = tf.data.Dataset.range(count).map(tf.autograph.experimental.do_not_convert(balanced))
    return [int(number) for number in numbers.as_numpy_iterator()]


def test_classes_are_drawn_equally_often():
    targets = np.eye(2)[[0] * 9 + [1] * 3]
    found = np.array(drawn(by_class(targets, [str(n) for n in range(12)], 0, multi_label=False), 120))
    assert (found < 9).sum() == 60 and np.bincount(found)[9:].tolist() == [20, 20, 20]


def test_cases_with_rare_labels_are_drawn_more_often():
    # 8 cases show the first label, 2 of them the second as well, 2 show none.
    targets = np.array([[1, 0]] * 6 + [[1, 1]] * 2 + [[0, 0]] * 2, float)
    draw = by_class(targets, [str(n) for n in range(10)], 0, multi_label=True)
    np.testing.assert_allclose(draw.shares, np.array([1 / 8] * 6 + [1 / 2] * 2 + [1 / 8] * 2) / 0.2)
    counts = np.bincount(drawn(draw, 1000), minlength=10)
    np.testing.assert_allclose(counts / 100, draw.shares, atol=0.15)


def test_cells_then_patients_then_cases_are_drawn_equally_often():
    # Cell 0: one case of each of six patients; cell 1: four cases of p, one of q.
    cells = np.array([0] * 6 + [1] * 5)
    patients = ["a", "b", "c", "d", "e", "f", "p", "p", "p", "p", "q"]
    balanced = Balanced(cells, patients, seed=3)
    found = drawn(balanced, 96)
    assert [len({cells[i] for i in found[n : n + 2]}) for n in range(0, 96, 2)] == [2] * 48
    assert Counter(found) == dict.fromkeys(range(6), 8) | dict.fromkeys(range(6, 10), 6) | {10: 24}
    # Shares: 11 cases, so 11/2 for each cell, of which p and q have half each.
    assert balanced.shares == pytest.approx([11 / 12] * 6 + [11 / 16] * 4 + [11 / 4])
    assert drawn(balanced, 20) == found[:20] != drawn(Balanced(cells, patients, seed=4), 20)


def test_cases_of_no_cell_are_drawn_as_often_as_without_balance():
    cells = np.array([0] * 60 + [1] * 20 + [-1] * 20)
    balanced = Balanced(cells, [str(n) for n in range(100)], seed=0)
    counts = Counter(cells[drawn(balanced, 2000)].tolist())
    assert abs(counts[-1] / 2000 - 0.2) < 0.03
    assert abs(counts[0] - counts[1]) < 60
    assert balanced.shares == pytest.approx([40 / 60] * 60 + [2] * 20 + [1] * 20)
    assert set(drawn(Balanced(np.full(5, -1), list("abcde"), seed=0), 60)) == set(range(5))


# ---- weights


def test_reweighting_makes_group_and_class_independent():
    # Kamiran and Calders 2012, their hiring example: 5 of 10 female of whom 2 are hired, 4 of 5 male.
    groups, labels = np.repeat([0, 1], 5), np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 0])
    weights = independence_weights(groups, labels, num_groups=2, num_labels=2)
    assert weights == pytest.approx(
        np.array([[0.5 * 0.4 / 0.3, 0.5 * 0.6 / 0.2], [0.5 * 0.4 / 0.1, 0.5 * 0.6 / 0.4]])
    )
    per_case = weights[groups, labels]
    assert per_case.mean() == pytest.approx(1)
    share = [np.average(labels[groups == g], weights=per_case[groups == g]) for g in (0, 1)]
    assert share == pytest.approx([0.6, 0.6])
    left_out = independence_weights(np.r_[groups, -1], np.r_[labels, 0], num_groups=2, num_labels=2)
    assert left_out == pytest.approx(weights)


def test_reweighted_loss_is_the_weighted_mean(tmp_path):
    prepared, config = spurious(tmp_path, method="reweighting")
    groups, records = training_groups(config, prepared), prepared.split("train")
    plan = prepared.plan
    loss = Reweighting(groups, records, plan)
    targets = np.array([[name in record.classes for name in plan.classes] for record in records], np.float32)
    logits = np.random.default_rng(0).normal(size=targets.shape).astype(np.float32)
    arguments = loss.counting(tf.constant(targets), tf.constant(loss.members(records)))
    found = float(LOSSES["cross_entropy"](targets, tf.constant(logits), **arguments))
    labels, codes = targets.argmax(1), groups.codes(records)
    weights = independence_weights(codes, labels, num_groups=2, num_labels=2)[codes, labels]
    each = -tf.nn.log_softmax(logits).numpy()[np.arange(len(labels)), labels]
    assert found == pytest.approx(np.mean(weights * each), rel=1e-5)

    both = plan.model_copy(
        update={"multi_label": True}
    )  # the two classes as two labels: each by its own table
    loss = Reweighting(groups, records, both)
    factors = loss.counting(tf.constant(targets), tf.constant(loss.members(records)))["factors"].numpy()
    assert factors == pytest.approx(np.repeat(weights[:, None], 2, axis=1), rel=1e-5)


def test_group_dro_follows_the_losses():
    """Two steps of algorithm 1 by hand."""
    dro = GroupDRO(np.array([100, 25]), step=0.5, adjustment=2.0)
    losses = tf.constant([1.0, 3.0, 0.5])
    members = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    raw = 0.5 * np.exp(0.5 * np.array([2.0 + 2 / 10, 0.5 + 2 / 5]))
    q = raw / raw.sum()
    assert float(dro(losses, members)) == pytest.approx(q @ [2.0, 0.5], rel=1e-5)
    assert dro.weights() == pytest.approx(q, rel=1e-5)
    # A batch without the second cell: its weight only changes with the sum.
    raw = q * np.exp(0.5 * np.array([1.0 + 2 / 10, 0.0]))
    q = raw / raw.sum()
    assert float(dro(tf.constant([1.0]), tf.constant([[1.0, 0.0]]))) == pytest.approx(q[0], rel=1e-5)
    assert dro.weights() == pytest.approx(q, rel=1e-5)
    # A case of no cell counts 1.
    one = float(dro(tf.constant([4.0, 4.0]), tf.constant([[0.5, 0.5], [0.0, 0.0]])))
    assert one == pytest.approx(4.0, rel=1e-5)


# ---- a made-up data set: the rare group carries a mark, and most that carry it are ill


SHAPE = (12, 16)
SIZES = {("common", 0): 100, ("common", 1): 100, ("rare", 0): 8, ("rare", 1): 50}
"""Training patients by group and class (0: healthy)."""
EVEN = dict.fromkeys(SIZES, 30)


def picture(random, group: str, ill: int) -> np.ndarray:
    """A faint disc is the disease; a bright corner, the spurious cue, comes with the rare group alone."""
    grid = np.indices(SHAPE)
    disc = (grid[0] - random.uniform(5, 7)) ** 2 + (grid[1] - random.uniform(6, 10)) ** 2 < 9
    image = random.normal(0, 0.6, SHAPE) + 0.55 * disc * ill
    if group == "rare":
        image[:3, :3] += 2.0
    return image.astype(np.float32)[..., None]


def spurious(folder: Path, *, train=None, **fairness) -> tuple[Prepared, Config]:
    settings = {"columns": ["site"]} | fairness if fairness else {}
    config = from_dict(
        {
            "task": "classification",
            "seed": 5,
            "deterministic": True,
            "prepared": "prepared",
            "run": "run",
            "data": {"columns": {"groups": ["site"]}},
            "model": {"name": "cnn", "width": 8, "stages": 2},
            "train": {
                "epochs": 8,
                "batch_size": 32,
                "mixed_precision": "float32",
                "augment": "none",
                "flips": [],
            }
            | {
                "learning_rate": 0.003,
                "ema": 0.9,
                "validate_every": 7,
                "tensorboard": False,
                "fairness": settings,
            }
            | (train or {}),
        },
        folder=folder,
        name="spurious",
    )
    (folder / "prepared" / "cases").mkdir(parents=True)
    target, random, records = folder / "prepared", np.random.default_rng(7), []
    for split, sizes in (("train", SIZES), ("val", EVEN)):
        for (group, ill), count in sizes.items():
            for _ in range(count):
                key = f"case{len(records):03d}"
                np.save(image_path(target, key), picture(random, group, ill))
                records.append(
                    Record(
                        case=key, patient=key, split=split, fold=None, classes=(("healthy", "ill")[ill],), key=key,
                        shape=SHAPE, original_shape=SHAPE, spacing=None, objects=0, sources=(f"{key}.png",), labels=(),
                        sha256="0" * 64, groups={"site": group},
                    )
                )  # fmt: skip
    plan = Plan(
        task="classification", dimensions=2, classes=["healthy", "ill"], channels=1, color="grey", size=list(SHAPE),
        intensity=[Intensity(kind="none")], batch_size=32, stages=2,
    )  # fmt: skip
    save_plan(plan, target / "plan.yaml")
    save_config(config, target / "config.yaml")
    write_json(target / "fingerprint.json", {})
    write_manifest(target, records)
    return Prepared.open(target), config


def rates(folder: Path, prepared: Prepared) -> dict[tuple[str, str], float]:
    """Share decided rightly at 0.5, by group and class, on the even validation part."""
    run = Run.open(folder / "run")
    records = prepared.split("val")
    chances = np.stack(run.task.predict(run.load_model(), [prepared.image(record) for record in records]))
    right: dict[tuple[str, str], list[bool]] = {}
    for record, chance in zip(records, chances, strict=True):
        kind = record.classes[0]
        right.setdefault((record.groups["site"], kind), []).append(
            ("healthy", "ill")[chance.argmax()] == kind
        )
    return {cell: float(np.mean(values)) for cell, values in right.items()}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("none")
    prepared, config = spurious(folder)
    train(config, folder / "prepared", folder / "run")
    found = rates(folder, prepared)
    assert min(found, key=found.__getitem__) == ("rare", "healthy") and found["rare", "healthy"] < 0.6
    return found


@pytest.mark.parametrize("method", ["sampling", "reweighting", "group_dro"])
def test_the_worst_group_gains(baseline, tmp_path, method):
    prepared, config = spurious(tmp_path, method=method, patients=8, dro_adjustment=2.0)
    train(config, tmp_path / "prepared", tmp_path / "run")
    found = rates(tmp_path, prepared)
    print(method, baseline, found)
    assert min(found.values()) > min(baseline.values()) + 0.1


def test_group_dro_stopped_and_resumed_gives_the_same_to_the_bit(tmp_path):
    """Its weights are part of the checkpoint: the run ends as one that was never stopped."""
    fairness = {"method": "group_dro", "select": "worst_group", "patients": 8}
    _, config = spurious(tmp_path, train={"epochs": 3, "validate_every": 1}, **fairness)
    result = train(config, tmp_path / "prepared", tmp_path / "whole")

    def interrupt(event):
        if event["event"] == "step" and event["step"] >= 9:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(config, tmp_path / "prepared", tmp_path / "run", on_event=interrupt)
    resumed = train(config, tmp_path / "prepared", tmp_path / "run", resume=True)
    first, second = (last_arrays(tmp_path / name) for name in ("whole", "run"))
    assert first[-1].shape == (4,) and np.exp(first[-1]).sum() == pytest.approx(1, abs=1e-5)
    assert len(first) == len(second) and all(map(np.array_equal, first, second))
    assert resumed.best == result.best
    the_worst_group_chose(result, tmp_path / "whole")


def the_worst_group_chose(result, run: Path) -> None:
    rows = read_csv(run / "history.csv")
    assert "weight/site=rare, healthy" in rows[-1]
    groups = np.array([[float(row[f"val_auroc/site={name}"]) for name in ("common", "rare")] for row in rows])
    worst = [float(row["val_worst_auroc"]) for row in rows]
    assert worst == pytest.approx(groups.min(1).tolist())
    best = max(range(len(worst)), key=lambda number: (worst[number], number))
    assert (result.best["epoch"], result.best["val_worst_auroc"]) == (best + 1, worst[best])
    known = json.loads((run / "groups.json").read_text())
    assert known["counted_on_validation"] == ["site=common", "site=rare"]
    assert known["cells"]["site=rare, healthy"]["patients"] == 8


def last_arrays(run: Path) -> list[np.ndarray]:
    with np.load(sorted((run / "checkpoints").glob("step-*.npz"))[-1]) as content:
        return [content[name] for name in sorted(content.files) if name != "state"]


# ---- groups that are too small, and messages


def test_small_groups_and_small_classes_of_groups_are_left_alone(tmp_path):
    prepared, config = spurious(tmp_path, method="sampling", patients=20)
    groups = training_groups(config, prepared)
    cells = cells_of(groups, prepared.split("train"), prepared.plan, config.train.fairness)
    # Eight healthy ones of the rare group are fewer than half of twenty.
    assert cells.names == ["site=common, healthy", "site=common, ill", "site=rare, ill"]
    assert cells.left_alone == {"site=rare, healthy": "too few: 8 of at least 10 patients"}
    assert (cells.codes == -1).sum() == 8 and cells.patients.tolist() == [100, 100, 50]
    with pytest.raises(
        ConfigError, match=r"at least two groups of site with 70 patients .* found 1 \(site=common\)"
    ):
        training_groups(with_fairness(config, patients=70), prepared)


def test_too_few_groups_on_the_validation_part_are_told_before_the_work(tmp_path):
    _, config = spurious(tmp_path, select="worst_group", patients=58)
    few = [record for record in Prepared.open(tmp_path / "prepared").records if record.case < "case280"]
    write_manifest(tmp_path / "prepared", few)
    with pytest.raises(
        ConfigError, match=r"worst_group needs at least two groups of site .* found 0 \(none\)"
    ):
        train(config, tmp_path / "prepared", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def with_fairness(config: Config, **changes) -> Config:
    fairness = config.train.fairness.model_copy(update=changes)
    return config.model_copy(update={"train": config.train.model_copy(update={"fairness": fairness})})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"fairness": {"columns": ["site"]}},
            "train.fairness.columns: expected columns that data.columns.groups names",
        ),
        (
            {"fairness": {"method": "sampling"}},
            "expected columns to divide the cases by, since method is sampling",
        ),
        ({"fairness": {"select": "worst_group"}}, "since select is worst_group"),
        ({"fairness": {"columns": ["sex", "sex"]}}, "expected every column once, got sex, sex"),
        ({"fairness": {"columns": ["sex"], "method": "group_dro"}}, "`none` or `sampling` for segmentation"),
    ],
)
def test_what_cannot_be_is_told(content, message):
    task = "segmentation" if "segmentation" in message else "classification"
    whole = {"task": task, "data": {"columns": {"groups": ["sex"]}}, "train": content}
    with pytest.raises(ConfigError, match=message):
        from_dict(whole, folder=Path(), name="made_up")


# ---- segmentation and detection


def with_sites(folder: Path, task: str, **train) -> tuple[Prepared, Config]:
    """Site A has every fourth case, site B the others."""
    fairness = {"columns": ["site"], "method": "sampling", "select": "worst_group", "patients": 1}
    config = prepared_folder(
        folder / "prepared", task, cases=16, data={"columns": {"groups": ["site"]}},
        model={"width": 8, "stages": 2}, train={"tensorboard": False, "fairness": fairness} | train,
    )  # fmt: skip
    records = [
        replace(record, groups={"site": "BA"[number % 4 == 0]})
        for number, record in enumerate(Prepared.open(folder / "prepared").records)
    ]
    write_manifest(folder / "prepared", records)
    return Prepared.open(folder / "prepared"), config


def first_sites(prepared: Prepared, draw) -> list[str]:
    records = prepared.split("train")
    return [records[int(draw(tf.constant(number, tf.int64)))].groups["site"] for number in range(12)]


def test_segmentation_samples_groups_and_follows_the_worst(tmp_path, monkeypatch):
    prepared, config = with_sites(tmp_path, "segmentation")
    records = prepared.split("val")
    task = Segmentation(config, prepared.plan)
    sites = first_sites(prepared, task.training_set(prepared, prepared.split("train"))._draw)
    assert sites.count("A") == sites.count("B") == 6
    answers = iter(  # the truth for site B, nothing for site A
        [np.eye(2)[prepared.label(record) * (record.groups["site"] == "B")] for record in records]
    )
    monkeypatch.setattr(task, "_slabs", lambda *_, **__: Slabs.of(next(answers)))
    measures = task.validate(None, prepared, records)
    assert (measures["dice/site=A"], measures["dice/site=B"], measures["worst_dice"]) == (0, 1, 0)
    assert measures["dice"] == pytest.approx(0.75) and task.monitor == "worst_dice"


def test_detection_samples_groups_and_follows_the_worst(tmp_path, monkeypatch):
    prepared, config = with_sites(tmp_path, "detection")
    records = prepared.split("val")
    task = Detection(config, prepared.plan)
    sites = first_sites(prepared, task.training_set(prepared, prepared.split("train"))._first)
    assert sites.count("A") == sites.count("B") == 6

    def found(images):  # the true boxes for site B, nothing for site A
        labels = [prepared.label(record) for record in records]
        chances = [np.eye(2)[[int(label[0, 4])]] * (record.groups["site"] == "B")
                   for label, record in zip(labels, records, strict=True)]  # fmt: skip
        return None, tf.constant(np.stack([label[:, :4] for label in labels])), tf.constant(np.stack(chances))

    monkeypatch.setattr(task, "_decoder", lambda model: found)
    monkeypatch.setattr(task, "loss", lambda targets, outputs: 0.0)
    measures = task.validate(None, prepared, records)
    assert (measures["map50/site=A"], measures["map50/site=B"], measures["worst_map50"]) == (0, 1, 0)
    assert 0 < measures["map50"] < 1 and task.monitor == "worst_map50"
