"""Referred cases and promises in an evaluation, learned through a predictor that answers from the truth."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.config.schema import Evaluate
from medcli.evaluation.controlled import controlled_row, missed_boxes, missed_voxels, outer_row
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.learn_refusal import learn, with_refusal
from medcli.io.masks import read_mask
from medcli.io.readers import read_channels
from medcli.metrics.risk import THRESHOLDS, levels
from medcli.prediction.result import Prediction, Signals
from medcli.refusal.gate import look
from medcli.refusal.learned import Learned, Refusal, save
from tests.evaluation.runs import cells, classification, make_run, right_class, right_labels, volumes

OFF = {"robustness": "off"}


@dataclass
class Collecting:
    """Answers from the truth, with signals; then with answers by what was learned."""

    run: object
    answer: object
    refusal: Refusal | None = None

    def collecting(self):
        return self

    def referring(self, refusal):
        return replace(self, refusal=refusal)

    def predict_cases(self, cases):
        for number, case in enumerate(cases):
            image = read_channels(case.images)
            features = (np.float32([image.array.mean() + 0.01 * number, 1.0]),)
            prediction = self.answer(case, image)
            if self.refusal is None:
                chances = prediction.label_probabilities
                heights = None if chances is None else levels(chances[..., 1:])
                signals = Signals(look(image, self.run.plan), features, 0.8, prediction.boxes, heights)
                yield case, image, replace(prediction, signals=signals)
                continue
            score = float(self.refusal.unlikeness(np.concatenate(features)[None])[0])
            usual = self.refusal.record.usual
            faults = tuple(usual.faults(look(image, self.run.plan))) if usual else ()
            answer = self.refusal.answer(faults=faults, score=score, raw_quality=0.8)
            yield case, image, replace(prediction, answer=answer)


def with_files(run):
    run.folder.mkdir(exist_ok=True)
    (run.folder / "model.keras").write_bytes(b"weights")
    return run


def test_missed_boxes_by_hand():
    truth = Boxes.of([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 1])
    found = Boxes.of(
        [[0, 0, 10, 9], [20, 0, 30, 9], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 0, 0], [0.9, 0.2, 0.6, 0.8]
    )
    thresholds = np.array([0.0, 0.5, 0.7, 1.0])
    losses = missed_boxes(found, truth, 3, overlap=0.5, thresholds=thresholds)
    np.testing.assert_allclose(losses[0], [0, 0, 0.5, 1])
    np.testing.assert_allclose(losses[1], 1, err_msg="a box of another class hits nothing")
    assert np.isnan(losses[2]).all()
    plan = type("P", (), {"classes": ["a", "b", "c"], "num_classes": 3})
    row = controlled_row(found.take(found.scores >= 0.7), truth, plan, overlap=0.5)
    assert (row["missed/a"], row["missed/b"], row["boxes/a"]) == (0.5, 1, 2) and np.isnan(row["missed/c"])


def test_missed_voxels_and_outer_masks_by_hand(tmp_path):
    run = volumes(tmp_path, cases=2)
    from medcli.io.cases import discover

    case = discover(run.config).cases[0]
    image = read_channels(case.images)
    truth = read_mask(case.masks, image)
    chance = np.where(truth == 1, 0.3, 0.0)
    chance[truth == 1] = np.where(np.arange((truth == 1).sum()) % 4 == 0, 0.05, 0.3)
    losses = missed_voxels(case, image, levels(np.stack([chance, np.zeros_like(chance)], -1)), run.plan)
    assert losses.shape == (2, len(THRESHOLDS))
    np.testing.assert_allclose(losses[0, [0, -1]], [0, 1])
    np.testing.assert_allclose(losses[0, np.searchsorted(THRESHOLDS, 0.1)], 0.25)
    row = outer_row(truth, (chance >= 0.1, np.ones(truth.shape, bool)), run.plan)
    assert row["missed/left"] == 0.25 and row["outer_size/left"] == 0.75
    assert row["missed/right"] == 0 and row["outer_size/right"] == truth.size / (truth == 2).sum()


def test_a_classifier_learns_and_is_judged(tmp_path):
    run = with_files(classification(tmp_path, cases=24))
    predictor = with_refusal(Collecting(run, right_class))
    assert predictor.refusal is not None and Refusal.of(run) is not None
    record = predictor.refusal.record
    assert (record.training_cases, record.validation_cases, record.validation_patients) == (12, 12, 6)
    assert record.usual is None, "constant images tell nothing of what is usual"
    assert with_refusal(predictor) is predictor


def textured(folder, cases=24):
    """Pictures that are not constant, so that the gate has something to learn."""
    from PIL import Image as Pillow

    run = classification(folder, cases=cases)
    for number, path in enumerate(sorted((folder / "data").glob("*/*.png"))):
        values = np.random.default_rng(number).normal(100, 20, (9, 12)).clip(0, 255)
        Pillow.fromarray(values.astype(np.uint8)).save(path)
    return with_files(make_run(folder / "run", run.config, classes=["healthy", "ill"]))


def test_referred_cases_are_reported(tmp_path):
    run = textured(tmp_path)
    predictor = with_refusal(Collecting(run, right_class))
    result = evaluate(run, split="all", settings=Evaluate(unusual=0.5, **OFF), predictor=predictor)
    content = json.loads((result.folder / "metrics.json").read_text())["referral"]
    assert content["of_these_cases"] == 12
    assert any("was learned from 12 of these 24 cases" in note for note in result.notes)
    share = content["referred"]["share"]
    assert share["cases"] == 24 and 0 <= share["interval"][0] <= share["value"] <= share["interval"][1]
    assert set(content["referred"]["by_reason"]) <= {"not_like_training", "several_labels", "no_label"}
    assert content["unlikeness"]["told"]["cases"] == 24 and (result.folder / "unlikeness.png").is_file()
    assert "Referral" in (result.folder / "report.html").read_text()


def test_a_run_without_it_is_evaluated_as_before(tmp_path):
    from tests.evaluation.runs import Answers

    result = evaluate(textured(tmp_path), predictor=Answers(right_class), settings=Evaluate(**OFF))
    assert "referral" not in json.loads((result.folder / "metrics.json").read_text())


def half_found(case, image):
    """The truth is known with probability 0.3 on half of it and 0.9 on the rest."""
    truth = right_labels(case, image).labels
    chance = np.stack([truth == index for index in range(3)], -1) * np.float32(0.9)
    weak = np.indices(truth.shape).sum(0) % 2 == 0
    chance[weak & (truth > 0)] *= np.float32(1 / 3)
    chance[..., 0] = 1 - chance[..., 1:].sum(-1)
    return Prediction(labels=chance.argmax(-1).astype(np.uint8), label_probabilities=chance)


@pytest.mark.parametrize(("rate", "promised"), [(0.4, True), (0.1, False)])
def test_outer_masks_keep_their_promise_or_say_that_there_is_none(tmp_path, rate, promised):
    run = with_files(volumes(tmp_path))
    predictor = Collecting(run, half_found)
    settings = Evaluate(miss_rate=rate, **OFF)
    run = replace(run, config=run.config.model_copy(update={"evaluate": settings}))
    record, learned = learn(replace(predictor, run=run))
    np.testing.assert_allclose(learned.losses[0, 0, np.searchsorted(THRESHOLDS, 0.31)], 0.5, atol=0.02)
    save(run.folder, record, learned)
    refusal = Refusal.of(run)
    assert record.quality == "dice" and record.validation_patients == 2
    assert np.isfinite(refusal.limits).all() == promised
    limits = np.nan_to_num(refusal.limits, nan=0.0)

    def outer(case, image):
        found = half_found(case, image)
        masks = tuple(found.label_probabilities[..., j + 1] >= limits[j] for j in range(2))
        return replace(found, outer=masks, label_probabilities=None)

    result = evaluate(run, split="all", settings=settings, predictor=Collecting(run, outer, refusal))
    content = json.loads((result.folder / "metrics.json").read_text())["referral"]
    left = content["promises"]["left"]
    assert (
        left["promised"] == promised and left["missed"] == 0 and left["cases"] == 8 and left["patients"] == 4
    )
    # 0 of 4 patients: a binomial share has the upper end 1 - 0.025 ** (1 / 4)
    np.testing.assert_allclose(left["interval"], [0, 1 - 0.025**0.25])
    assert left["outer_size"] >= 1
    assert any("(no_promise)" in note for note in result.notes) != promised
    assert content["quality"]["cases"] == 8 and content["quality"]["of"] == "dice"


def test_boxes_that_miss_too_much_are_told(tmp_path):
    run = with_files(cells(tmp_path, cases=24))
    names = np.array([f"v{number}" for number in range(20)])
    nothing = np.zeros((20, 2, len(THRESHOLDS)), np.float32)
    record, learned = learn(
        Collecting(
            run, lambda case, image: Prediction(boxes=Boxes.of(case.boxes.corners, case.boxes.classes))
        )
    )
    learned = Learned(**(vars(learned) | {
        "cases": names, "patients": names, "scores": np.arange(20.0), "expected": np.linspace(0, 1, 20),
        "quality": np.linspace(0, 1, 20), "losses": nothing,
    }))  # fmt: skip
    save(run.folder, record, learned)
    refusal = Refusal.of(run)

    def only_a(case, image):
        boxes = Boxes.of(case.boxes.corners, case.boxes.classes)
        return Prediction(boxes=boxes, controlled=boxes.take(boxes.classes == 0))

    result = evaluate(run, split="all", settings=Evaluate(**OFF), predictor=Collecting(run, only_a, refusal))
    promises = json.loads((result.folder / "metrics.json").read_text())["referral"]["promises"]
    assert promises["a"]["missed"] == 0 and promises["b"]["missed"] == 1 and promises["b"]["boxes"] == 0
    assert any(note.startswith("More is missed of b than the 0.1 asked for: 1.000") for note in result.notes)
    assert not any("missed of a" in note for note in result.notes)
