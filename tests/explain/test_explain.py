"""Networks asked for their reasons: layers, randomised weights, and the way from a run to a folder."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow

pytest.importorskip("tensorflow")

import keras
from keras import layers

from medcli.boxes import Boxes
from medcli.case import Case, Source
from medcli.config.schema import Config, Explain
from medcli.errors import DataError, UsageError
from medcli.explain.cam import gradcam
from medcli.explain.explainer import explain_cases
from medcli.explain.faithfulness import similarity
from medcli.explain.integrated import integrated_gradients
from medcli.explain.maps import make
from medcli.explain.network import Network, choose_layer, randomised
from medcli.explain.work import explain
from medcli.prediction.inputs import cases_for
from medcli.prediction.predictor import Predictor
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepared import Prepared
from medcli.run import Run, create_run, save_model
from medcli.tasks.choose import task_for
from medcli.tasks.target import covering, cut, one_hot, paste
from tests.made_up import prepared_folder

SMALL = {"train": {"mixed_precision": "float32"}}


def bright_corner_network(nested: bool = False) -> Network:
    """Two classes of 16x16 pictures: the logit of b is the mean of a doubled picture's bright top left corner."""
    inputs = keras.Input((16, 16, 1), name="image")
    convolution = layers.Conv2D(2, 1, use_bias=False, name="conv")
    x = convolution(inputs)
    x = layers.Activation("relu", name="relu")(x)
    if nested:
        inner = keras.Model(inputs, x, name="backbone")
        inputs = keras.Input((16, 16, 1), name="outer")
        x = inner(inputs)
    x = layers.Flatten(name="flatten")(x)
    dense = layers.Dense(2, use_bias=False, name="logits")
    outputs = dense(x)
    convolution.kernel.assign(np.array([2.0, -1.0]).reshape(1, 1, 1, 2))
    weights = np.zeros((16, 16, 2, 2), np.float32)
    weights[:4, :4, 0, 1] = 1 / 16
    dense.kernel.assign(weights.reshape(512, 2))
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=[16, 16],
        intensity=[Intensity(kind="none")], batch_size=2, stages=1,
    )  # fmt: skip
    return Network(task_for(Config(task="classification"), plan), keras.Model(inputs, outputs))


@pytest.mark.parametrize("nested", [False, True])
def test_gradcam_of_a_network_worked_by_hand(nested):
    network = bright_corner_network(nested)
    assert network.layers == {"conv": (16, 16), "relu": (16, 16)}
    image = np.random.default_rng(0).random((16, 16, 1)).astype(np.float32)
    question = network.ask([one_hot(1, 2)])
    # log odds of b against a, whose logit is 0: the mean of 2 x over the corner
    log_odds, probability = question.scores(image[None])
    assert log_odds[0] == pytest.approx(2 * image[:4, :4].mean(), abs=1e-5)
    assert probability[0] == pytest.approx(1 / (1 + np.exp(-log_odds[0])), abs=1e-5)
    activations, gradients = question.at_layer(image, "relu")
    np.testing.assert_allclose(activations[..., 0], 2 * image[..., 0], rtol=1e-5)
    # the gradient is 1/16 in the corner, so the mean over 256 places is 1/256 for channel 0
    np.testing.assert_allclose(gradients[:4, :4, 0], 1 / 16)
    np.testing.assert_allclose(gradcam(activations, gradients), 2 * image[..., 0] / 256, rtol=1e-5)
    layercam = make("layercam", question, image, image, layer="relu", steps=1).values
    np.testing.assert_allclose(layercam[:4, :4], 2 * image[:4, :4, 0] / 16, rtol=1e-5)
    assert not layercam[4:].any()


def test_integrated_gradients_of_a_network_add_up_and_occlusion_sees_the_corner():
    network = bright_corner_network()
    image = np.random.default_rng(0).random((16, 16, 1)).astype(np.float32)
    question = network.ask([one_hot(1, 2)])
    zero = np.zeros_like(image)
    found = integrated_gradients(question.gradients, lambda x: question.scores(x)[0], image, zero, steps=5)
    np.testing.assert_allclose(found.values[:4, :4], image[:4, :4, 0] / 8, rtol=1e-4)
    assert found.error < 1e-4
    covered = make("occlusion", question, image, zero, layer="", steps=1).values
    assert covered[:4, :4].min() > 0
    assert np.abs(covered[5:, 5:]).max() < 1e-6


def test_a_map_of_edges_is_alike_after_the_network_lost_its_weights_and_a_real_one_is_not():
    network = bright_corner_network()
    image = np.random.default_rng(0).random((16, 16, 1)).astype(np.float32)
    question = network.ask([one_hot(1, 2)])

    def maps():
        edges = np.abs(np.diff(image[..., 0], axis=0, append=0))
        return edges, make("layercam", question, image, image, layer="relu", steps=1).values

    before = maps()
    weights = [np.array(weight) for weight in network.model.weights]
    alike = []
    for seed in range(5):
        with randomised(network, 1.0, seed):
            assert not np.array_equal(network.model.weights[1], weights[1])
            alike.append([similarity(a, b)[0] for a, b in zip(before, maps(), strict=True)])
    edges, real = np.mean(alike, axis=0)
    assert edges == pytest.approx(1)
    assert abs(real) < 0.5
    for weight, value in zip(network.model.weights, weights, strict=True):  # all is as it was
        np.testing.assert_array_equal(weight, value)
    with randomised(network, 0.5, 0):  # from the answer down
        np.testing.assert_array_equal(network.model.weights[0], weights[0])
        assert not np.array_equal(network.model.weights[1], weights[1])


def test_the_layer_is_the_last_that_still_has_places():
    shapes = {"stem": (32, 48), "one": (16, 24), "two": (8, 12), "three": (4, 6)}
    assert choose_layer(shapes) == "two"
    assert choose_layer(shapes, ["stem", "one"]) == "one"
    assert choose_layer({"only": (3, 9)}) == "only"
    assert choose_layer(shapes, wanted="three") == "three"
    with pytest.raises(UsageError, match=r"no layer 'four'; it has stem \(32x48\), one"):
        choose_layer(shapes, wanted="four")
    with pytest.raises(UsageError, match="no layer that keeps the place"):
        choose_layer({})


def test_windows_cover_the_region_and_come_back_to_their_place():
    region = np.zeros((30, 5), bool)
    region[2:6], region[25:28] = True, True
    starts = covering(region, (8, 9), most=5)
    assert len(starts) == 2
    assert all(start[1] == -2 for start in starts)  # five columns in a window of nine
    total = np.zeros(region.shape)
    for start in starts:
        window = cut(region, start, (8, 9))
        assert window.shape == (8, 9)
        paste(total, window.astype(float), start)
    np.testing.assert_array_equal(total > 0, region)
    assert len(covering(region, (8, 9), most=1)) == 1


# ---- whole runs


def make_run(folder, task, **settings):
    """A run folder as training leaves it, untrained."""
    config = prepared_folder(folder / "prepared", task, cases=4, **SMALL, **settings)
    prepared = Prepared.open(folder / "prepared")
    create_run(folder / "run", config, prepared.plan, prepared.records, resume=False, force=False)
    keras.utils.set_random_seed(1)
    model = task_for(config, prepared.plan).build_model()
    if task == "segmentation":
        model.get_layer("logits1").bias.assign([0, 0.5])  # so that a region is found
    save_model(model, folder / "run")
    return folder / "run"


def picture(path, shape, seed=0):
    path.parent.mkdir(exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    Pillow.fromarray(array).save(path)
    return path


def test_classification_by_the_command_line(tmp_path, capfd):
    from medcli.cli import faults
    from medcli.cli.app import app

    run = make_run(tmp_path, "classification", model={"name": "cnn", "width": 4})
    picture(tmp_path / "in" / "a.png", (16, 24))
    picture(tmp_path / "in" / "b.png", (32, 30), seed=1)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG not at all")
    out = tmp_path / "out"
    arguments = ["explain", str(run), str(tmp_path / "in"), "--out", str(out), "--set", "explain.steps=4"]
    silence, faults.silence = faults.silence, lambda **_: None
    try:
        code = faults.run(app, [*arguments, "--json"])
        told = json.loads(capfd.readouterr().out)
        again = faults.run(app, arguments)
        wrong = faults.run(app, [*arguments, "--force", "--layer", "nonsense", "--methods", "gradcam"])
        error = capfd.readouterr().err
    finally:
        faults.silence = silence
    assert code == 3
    assert list(told["failed"]) == ["bad"]
    assert [row["method"] for row in told["methods"]] == ["gradcam", "ig", "occlusion"]
    assert all(row["passed"] + row["failed"] + row["cannot_be_told"] == 2 for row in told["methods"])
    assert again == 2
    assert "the folder is not empty" in error
    assert wrong == 2
    assert "no layer 'nonsense'; it has stage1_conv (16x24)" in error
    with open(out / "status.csv", newline="") as stream:
        assert [row["status"][:2] for row in csv.DictReader(stream)] == [
            "ok",
            "ok",
            str(told["failed"]["bad"])[:2],
        ]
    content = json.loads((out / "explanations.json").read_text())
    (answer,) = content["cases"][1]["answers"]
    assert answer["layer"] == "stage2_relu"
    assert [one["method"] for one in answer["maps"]] == ["gradcam", "ig", "occlusion"]
    for one in answer["maps"]:
        assert np.load(out / one["file"]).shape == (32, 30)
        assert 0 <= one["deletion_auc"] <= 1
        assert one["verdict"] in ("passed", "failed", "cannot be told")
    assert answer["maps"][1]["completeness_error"] < 0.1
    assert Pillow.open(out / answer["overlay"]).size[0] > 4 * 300
    page = (out / "report.html").read_text()
    assert "Can the maps be believed?" in page
    assert "1 cases could not be explained, such as bad" in page


def test_another_class_and_several(tmp_path):
    run = Run.open(make_run(tmp_path, "classification", model={"name": "cnn", "width": 4}))
    predictor = Predictor.load(run, policy="mixed_bfloat16")  # maps are made in float32 all the same
    cases = cases_for(run, [picture(tmp_path / "in" / "a.png", (16, 24))])
    settings = Explain(methods=["layercam"], check=False, top=2)
    ((_, found),) = explain_cases(predictor, cases, settings=settings)
    first, second = found.answers
    assert first.probability + second.probability == pytest.approx(1)
    ((_, found),) = explain_cases(predictor, cases, settings=settings, label=second.label)
    assert [answer.label for answer in found.answers] == [second.label]
    assert found.explanations[0].verdict is None
    assert "not checked" in found.explanations[0].sentence
    with pytest.raises(UsageError, match="'big' is no class of this run; use one of small, large"):
        list(explain_cases(predictor, cases, label="big"))


def test_detection_points_at_the_true_box_or_at_the_strongest_score(tmp_path):
    run = Run.open(make_run(tmp_path, "detection", predict={"score_threshold": 0.5}))
    noise = picture(tmp_path / "in" / "a.png", (30, 50))
    predictor = Predictor.load(run)
    ((_, _, prediction),) = predictor.predict_cases(cases_for(run, [noise]))
    found = prediction.boxes
    case = Case("a", (Source(noise),), boxes=Boxes.of(found.corners[:1], found.classes[:1]))
    settings = Explain(methods=["layercam"], check=False)
    explain(run, [case], tmp_path / "out", settings=settings, predictor=predictor)
    content = json.loads((tmp_path / "out" / "explanations.json").read_text())
    ((first,),) = (case["answers"] for case in content["cases"])
    np.testing.assert_allclose(first["box"], found.corners[0], atol=0.01)
    assert first["probability"] == pytest.approx(found.scores[0], abs=1e-4)
    assert first["layer"].endswith("_mix_relu")
    (layercam,) = first["maps"]
    assert np.load(tmp_path / "out" / layercam["file"]).shape == (30, 50)
    if "pointing" in layercam:
        x0, y0, x1, y1 = np.rint(found.corners[0])
        assert layercam["pointing"]["chance"] == pytest.approx((x1 - x0) * (y1 - y0) / 1500)
    black = np.zeros((64, 96, 1), np.float32)
    (second,) = predictor.task.targets(
        predictor.model, black, wanted=1, most=3, windows=1, calibrated=lambda probabilities: probabilities
    )
    assert (second.box, second.class_index) == (None, 1)
    assert second.probability == pytest.approx(0.01, abs=0.005)  # what an untrained detector says


def test_segmentation_of_a_volume_keeps_its_geometry(tmp_path):
    run = Run.open(make_run(tmp_path, "segmentation", dimensions=3, model={"width": 4}))
    affine = np.array([[0, 1.0, 0, 5], [2.0, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    values = np.random.default_rng(0).normal(size=(17, 20, 13)).astype(np.float32)
    path, mask = tmp_path / "v.nii.gz", tmp_path / "m.nii.gz"
    nib.save(nib.Nifti1Image(values, affine), path)
    nib.save(nib.Nifti1Image((values > 0).astype(np.uint8), affine), mask)
    case = Case("v", (Source(path),), masks=(Source(mask),))
    settings = Explain(methods=["layercam"], windows=2)
    explain(run, [case], tmp_path / "out", settings=settings)
    written = nib.load(tmp_path / "out" / "maps" / "v_layercam.nii.gz")
    assert written.shape == (17, 20, 13)
    np.testing.assert_allclose(written.affine, affine)
    content = json.loads((tmp_path / "out" / "explanations.json").read_text())
    (answer,) = content["cases"][0]["answers"]
    assert 0 < answer["share_explained"] <= 1
    assert answer["layer"].startswith("down")
    heat = np.asarray(written.dataobj)
    if heat.any():
        truth = values > 0
        best = np.unravel_index(heat.argmax(), heat.shape)
        assert answer["maps"][0]["pointing"]["hit"] == bool(truth[best])


def test_when_every_case_fails_it_is_an_error(tmp_path):
    run = Run.open(make_run(tmp_path, "classification", model={"name": "cnn", "width": 4}))
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(
        DataError, match=r"Every case failed \(1 in all\), see .*status\.csv; the first, bad: "
    ):
        explain(run, [Case("bad", (Source(tmp_path / "bad.png"),))], tmp_path / "out")
