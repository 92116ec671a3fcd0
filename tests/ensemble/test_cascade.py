"""A cascade from training to prediction: who answers whom, what is resumed, what the fine network is given."""

import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.case import Case, Source  # noqa: E402
from medcli.cli.explain import explain  # noqa: E402
from medcli.config.loading import from_dict, load_config, save_config  # noqa: E402
from medcli.ensemble import cascade as module  # noqa: E402
from medcli.ensemble.assemble import ensemble  # noqa: E402
from medcli.ensemble.cascade import HALVES, half, train  # noqa: E402
from medcli.errors import ConfigError, DataError, RunError, UsageError  # noqa: E402
from medcli.files import write_array  # noqa: E402
from medcli.image import Image  # noqa: E402
from medcli.prediction.predictor import Predictor  # noqa: E402
from medcli.preprocessing.coarse import coarse_image  # noqa: E402
from medcli.preprocessing.geometry import resize  # noqa: E402
from medcli.preprocessing.plan import Coarse, save_plan  # noqa: E402
from medcli.preprocessing.prepared import Prepared, answer_path  # noqa: E402
from medcli.preprocessing.regions import most_probable  # noqa: E402
from medcli.run import COARSE, Run  # noqa: E402
from medcli.search.study import search  # noqa: E402
from medcli.sliding import sliding_window  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.tasks.running import first as first_of  # noqa: E402
from medcli.training import Stopped  # noqa: E402
from medcli.training.checkpoint import State  # noqa: E402
from medcli.training.loop import Loop  # noqa: E402
from medcli.training.result import Result  # noqa: E402
from medcli.training.train import settle  # noqa: E402
from medcli.training.train import train as train_one  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402

FACTORS = [1.0, 1.6, 1.5]
TRAIN = {
    "epochs": 1, "steps_per_epoch": 6, "batch_size": 2, "max_minutes": 10, "mixed_precision": "float32",
    "tensorboard": False, "augment": "none", "ema": 0.0, "learning_rate": 0.01,
}  # fmt: skip


def planned(folder, **train_settings):
    """The made-up balls in volumes of 8 x 16 x 12, planned for patches of 4 x 8 x 8."""
    config = prepared_folder(
        folder / "prepared", "segmentation", dimensions=3, cases=8, model={"width": 4}, train=TRAIN | train_settings,
        deterministic=True,
    )  # fmt: skip
    network = {"patch": [4, 8, 8], "strides": [[1, 1, 1], [2, 2, 2]]}
    plan = Prepared.open(folder / "prepared").plan.model_copy(update=network)
    coarse = Coarse(
        factors=FACTORS, batch_size=2, stages=2, width=4, cost={"seconds_per_step": 0.01}, **network
    )
    save_plan(plan.model_copy(update={"cascade": coarse}), folder / "prepared" / "plan.yaml")
    return config, Prepared.open(folder / "prepared")


class Interrupted:
    """Stops the work when the fine network is about to be trained; notes what happens."""

    def __init__(self, stop):
        self.stop, self.events = stop, []

    def __call__(self, event):
        self.events.append(event)
        if self.stop and event["event"] == "start" and "coarse" not in event:
            raise Stopped("stopped by a test", 15)

    def started(self):
        return [event.get("coarse", "fine") for event in self.events if event["event"] == "start"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cascade that was interrupted before its fine network and resumed; the coarse answers as they were then."""
    folder = tmp_path_factory.mktemp("cascade")
    config, prepared = planned(folder)
    first, second = Interrupted(True), Interrupted(False)
    with pytest.raises(Stopped):
        train(config, folder / "prepared", folder / "run", on_event=first)
    answers = {
        record.case: np.load(answer_path(folder / "run" / COARSE / "answers", record.key))
        for record in prepared.records
    }
    before = {name: Run.open(folder / "run" / COARSE / name).weights_digest for name in HALVES}
    result = train(config, folder / "prepared", folder / "run", resume=True, on_event=second)
    return folder, prepared, answers, before, result, (first, second)


def test_resuming_trains_no_finished_network_again(trained):
    folder, _, _, before, result, (first, second) = trained
    assert (first.started(), second.started()) == ([0, 1, "fine"], ["fine"])
    coarse = folder / "run" / COARSE
    assert {name: Run.open(coarse / name).weights_digest for name in HALVES} == before
    assert sorted(path.name for path in coarse.iterdir() if path.is_dir()) == list(HALVES), "the rest is gone"
    earlier = sum(Result.load(coarse / name).seconds for name in HALVES)
    assert result.seconds > earlier, "their time counts"


def test_no_case_is_answered_by_a_network_that_trained_on_its_patient(trained):
    folder, prepared, answers, *_ = trained
    run = Run.open(folder / "run" / COARSE)
    patients = [{one.patient for one in member.records if one.split == "train"} for member in run.members]
    assert patients[0] and patients[1] and not patients[0] & patients[1]
    assert patients[0] | patients[1] == {record.patient for record in prepared.split("train")}
    task = task_for(run.members[0].config, run.members[0].plan)
    models = run.load_model()
    for record in prepared.records:
        image = prepared.picture(record)
        said = [whole_answer(task, model, image) for model in models]
        voters = [number for number, known in enumerate(patients) if record.patient not in known]
        assert len(voters) == (1 if record.split == "train" else 2)
        expected = np.mean([said[number] for number in voters], axis=0)
        np.testing.assert_allclose(answers[record.case] / 255, expected, atol=2.5 / 255)
        if len(voters) == 1:
            assert abs(answers[record.case] / 255 - said[1 - voters[0]]).max() > 5 / 255, "they differ"


def whole_answer(task, model, image):
    """Of one coarse network, all at once: float32 (spatial + class)."""
    small = coarse_image(image, FACTORS)
    return resize(task.predict(model, [small])[0].whole()[..., 1:], image.shape[:-1])


def test_prediction_part_by_part_is_that_of_the_whole(trained):
    """From the image as read to labels, and by hand from whole arrays."""
    folder, prepared, *_ = trained
    record = prepared.split("val")[0]
    image = prepared.picture(record)
    predictor = Predictor.load(folder / "run").reading(lambda case: Image(image))
    ((_, _, found),) = predictor.predict_cases([Case("a", (Source(folder),))])

    run = Run.open(folder / "run")
    fine, coarse = run.load_model("float32")
    small_task = task_for(run.coarse.members[0].config, run.coarse.members[0].plan)
    said = np.mean([whole_answer(small_task, model, image) for model in coarse], axis=0)
    given = np.concatenate([image, said], axis=-1)
    chances = sliding_window(
        lambda batch: tf.nn.softmax(first_of(fine(batch, training=False))),
        given,
        patch=(4, 8, 8),
        num_outputs=2,
    ).whole()
    slabs = run.task.predict((fine, coarse), [image])[0]
    parts = list(slabs)
    assert len(parts) > 1
    np.testing.assert_allclose(np.concatenate(parts), chances, atol=0.01)
    unsure = abs(chances[..., 1] - 0.5) < 0.01
    assert (found.labels == most_probable(chances))[~unsure].all() and unsure.mean() < 0.5


def test_the_coarse_networks_are_a_run_by_themselves(trained):
    folder, prepared, *_ = trained
    image = prepared.picture(prepared.split("val")[0])
    run = Run.open(folder / "run" / COARSE)
    settings = run.config.predict.model_copy(update={"save_probabilities": True})
    predictor = Predictor.load(run, settings=settings).reading(lambda case: Image(image))
    ((_, _, found),) = predictor.predict_cases([Case("a", (Source(folder),))])
    task = task_for(run.members[0].config, run.members[0].plan)
    expected = np.mean([whole_answer(task, model, image) for model in run.load_model()], axis=0)
    np.testing.assert_allclose(found.label_probabilities[..., 1:], expected, atol=0.01)


def test_cascades_make_an_ensemble_with_their_coarse_networks(trained, tmp_path):
    """Of one cascade twice: their mean is its own answer."""
    folder, prepared, *_ = trained
    image = prepared.picture(prepared.split("val")[0])
    made = ensemble([folder / "run", folder / "run"], tmp_path / "both")
    assert [member.coarse.folder for member in made.members] == [
        tmp_path / "both" / name / COARSE for name in ("member_0", "member_1")
    ]
    one = Run.open(folder / "run")
    alone = one.task.predict(one.load_model(), [image])[0].whole()
    np.testing.assert_allclose(made.task.predict(made.load_model(), [image])[0].whole(), alone, atol=1e-5)


def test_what_does_not_take_a_cascade_says_so(trained, tmp_path):
    folder, *_ = trained
    with pytest.raises(UsageError, match="a cascade, whose answers go back to two coarse networks"):
        explain(folder / "run", tmp_path / "out")
    pytest.importorskip("optuna")
    config = tmp_path / "job.yaml"
    save_config(load_config(folder / "prepared" / "config.yaml"), config)
    with pytest.raises(UsageError, match="a search tries single networks"):
        search(config, [], {}, tmp_path / "search", prepared_folder=folder / "prepared", minutes=1)


def test_other_coarse_networks_are_another_network(trained, tmp_path):
    """What was learned about a network (calibration, thresholds) does not hold once a coarse one is exchanged."""
    folder, *_ = trained
    shutil.copytree(folder / "run", tmp_path / "run")
    digest = Run.open(folder / "run").weights_digest
    assert digest and Run.open(tmp_path / "run").weights_digest == digest
    first, second = (tmp_path / "run" / COARSE / name / "model.keras" for name in HALVES)
    shutil.copyfile(second, first)
    assert Run.open(tmp_path / "run").weights_digest != digest


def test_missing_coarse_networks_are_told(trained, tmp_path):
    folder, *_ = trained
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / COARSE)
    with pytest.raises(RunError, match="the coarse networks of this cascade are missing"):
        Run.open(tmp_path / "run")


def test_time_that_coarse_networks_took_says_nothing_of_an_epoch():
    """10 min, of which coarse networks took 4 and the first epoch 20 s: what is left is for 16 more such epochs."""
    loop = object.__new__(Loop)
    loop.settings, loop.task = SimpleNamespace(max_minutes=10.0), SimpleNamespace(passes_at_end=0)
    loop.state, loop.epochs = State(epoch=1, planned_epochs=100), 100
    loop.started, loop.spent, loop.pace = time.monotonic() - 260, 240.0, [15.0]
    loop._adopt_length = lambda: None
    loop._plan_for_time()
    assert loop.state.planned_epochs == 1 + (600 - 260 - 3) // 20
    loop.pace, loop.steps_per_epoch = [15.0, 0.5, 0.1, 0.1], 50
    loop._plan_for_time()
    assert loop.state.planned_epochs == 1 + (600 - 260 - 3) // 5, (
        "50 steps of 0.1 s: most of the 20 s was compiling"
    )


@pytest.mark.parametrize(("augment", "unchanged"), [("medium", (0.25, 0.75)), ("none", (1, 1))])
def test_training_sees_answers_that_are_sometimes_worse(tmp_path, augment, unchanged):
    """Here they are the truth, and patches are only cut and mirrored, so it can be told what else was done to them."""
    config, prepared = planned(tmp_path, augment=augment, augmentations=[])
    _, plan = settle(config, prepared, smoke=False)
    for record in prepared.records:
        truth = (prepared.label(record) == 1)[..., None]
        write_array(answer_path(tmp_path / "answers", record.key), 255 * truth.astype(np.uint8))
    prepared = Prepared(prepared.folder, plan, prepared.records, tmp_path / "answers")
    np.testing.assert_array_equal(prepared.image(record)[..., 1:], truth)
    samples = task_for(config, plan).training_set(prepared, prepared.split("train"))
    samples.total_samples = 60
    draw = tf.function(samples.sample)
    pairs = [draw(tf.constant(number, tf.int64)) for number in range(60)]
    assert all(image.shape == (4, 8, 8, 2) for image, _ in pairs)
    there = [(image[..., 1].numpy(), label.numpy() == 1) for image, label in pairs if label.numpy().any()]
    assert unchanged[0] <= np.mean([np.array_equal(said, true) for said, true in there]) <= unchanged[1]
    if augment != "none":
        assert 0 < np.mean([not said.any() for said, _ in there]) < 0.25
        assert any(said.sum() > true.sum() for said, true in there), "grown or shifted in"
        assert any(((said > 0) & (said < 1)).any() for said, _ in there), "blurred"


def test_halves_need_two_patients(tmp_path):
    config, prepared = planned(tmp_path)
    one = prepared.split("train")[0].patient
    few = Prepared(
        prepared.folder,
        prepared.plan,
        tuple(r for r in prepared.records if r.split == "val" or r.patient == one),
    )
    with pytest.raises(DataError):
        half(few, config, 0)
    module.write_manifest(prepared.folder, few.records)
    with pytest.raises(DataError, match="needs at least 2 training patients"):
        train(config, prepared.folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit(tmp_path):
    config, prepared = planned(tmp_path)
    with pytest.raises(RunError, match="expected the answers of coarse networks"):
        train_one(config, prepared.folder, tmp_path / "run")
    off = config.model_copy(update={"model": config.model.model_copy(update={"cascade": "off"})})
    assert settle(off, prepared, smoke=False)[1].cascade is None
    hurry = config.train.model_copy(update={"max_minutes": 0.9 * 1000 * 0.01 / (0.85 * 0.2 * 60)})
    hasty = config.model_copy(update={"train": hurry})
    assert settle(hasty, prepared, smoke=False)[1].cascade is None, (
        "auto: coarse networks would get 900 steps"
    )
    assert settle(config, prepared, smoke=False)[1].cascade is not None
    save_plan(prepared.plan.model_copy(update={"cascade": None}), prepared.folder / "plan.yaml")
    on = config.model_copy(update={"model": config.model.model_copy(update={"cascade": "on"})})
    with pytest.raises(RunError, match="planned without a cascade"):
        settle(on, Prepared.open(prepared.folder), smoke=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"task": "classification", "model": {"cascade": "on"}},
            "is for segmentation, not for classification",
        ),
        (
            {"task": "segmentation", "model": {"cascade": "on", "planes": 3}},
            "expected all with model.cascade: on",
        ),
    ],
)
def test_configs_that_do_not_fit(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(content, folder=tmp_path)
