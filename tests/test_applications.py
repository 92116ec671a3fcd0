"""Networks of `keras.applications`: what they are given, and what happens without the network (the other one)."""

import importlib
import socket
import urllib.error

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.config.schema import Config  # noqa: E402
from medcli.errors import ConfigError  # noqa: E402
from medcli.models import applications  # noqa: E402
from medcli.models.applications import build_application, names  # noqa: E402
from medcli.preprocessing.plan import Intensity, Plan  # noqa: E402
from medcli.run import Run, save_model  # noqa: E402
from medcli.training.fine_tuning import published  # noqa: E402

MODULES = {
    "EfficientNetB": "efficientnet", "EfficientNetV2": "efficientnet_v2", "ConvNeXt": "convnext",
    "DenseNet": "densenet",
    "InceptionResNetV2": "inception_resnet_v2", "InceptionV3": "inception_v3", "MobileNetV2": "mobilenet_v2",
    "MobileNetV3": "mobilenet_v3", "MobileNet": "mobilenet", "NASNet": "nasnet", "VGG16": "vgg16", "VGG19": "vgg19",
    "Xception": "xception", "ResNet50V2": "resnet_v2", "ResNet101V2": "resnet_v2", "ResNet152V2": "resnet_v2",
    "ResNet": "resnet",
}  # fmt: skip


def module_of(name):
    fitting = [prefix for prefix in MODULES if name.startswith(prefix)]
    return importlib.import_module(f"keras.applications.{MODULES[max(fitting, key=len)]}")


@pytest.mark.parametrize("name", names())
def test_every_network_is_given_about_what_it_was_trained_on(name):
    """z-scores of pixels with ImageNet's mean and spread become what the family's own `preprocess_input` makes."""
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 5, 3)).astype(np.float32)
    expected = module_of(name).preprocess_input(pixels.copy())
    inputs = keras.Input((4, 5, 3))
    given = keras.Model(inputs, applications._rescale(inputs, name))((pixels - 118) / 58)
    spread = np.ptp(expected)
    assert np.abs(given - expected).max() < 0.1 * spread
    assert np.corrcoef(np.ravel(given), np.ravel(expected))[0, 1] > 0.99


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels_in_full_depth(channels):
    model = build_application("MobileNet", (32, 40, channels), 2, weights="none", dropout=0.0)
    assert model.output_shape == (None, 2)
    image = np.random.default_rng(0).normal(size=(1, 32, 40, channels)).astype(np.float32)
    step = image.copy()
    step[0, 5, 7] += 4 / 65535  # about one of 16 bit
    given = keras.Model(model.input, model.get_layer("to_unit").output)
    first, second = given(image).numpy(), given(step).numpy()
    assert first.shape == (1, 32, 40, 3)
    assert (first != second).any(-1).sum() == 1
    if channels == 4:
        np.testing.assert_allclose(first, np.repeat(0.5 * image.mean(-1, keepdims=True), 3, -1), atol=1e-6)


def test_weights_that_cannot_be_had_are_told_soon(monkeypatch):
    seen = []

    def builder(**settings):
        seen.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("timed out")

    monkeypatch.setattr(keras.applications, "DenseNet121", builder)
    monkeypatch.setattr(applications, "names", lambda: ["DenseNet121"])
    with pytest.raises(
        ConfigError, match=r"ImageNet weights of DenseNet121 are not in Keras' cache .*timed out"
    ):
        build_application("densenet121", (32, 32, 1), 2, weights="imagenet", dropout=0.0)
    assert seen == [applications.SECONDS] and socket.getdefaulttimeout() is None


def test_published_weights_are_taken_from_the_cache(tmp_path, monkeypatch):
    """A file of random weights in the format of the published ones (HDF5 of Keras 2) stands in for them."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.utils import file_utils

    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    keras.utils.set_random_seed(3)
    there = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(128, 128, 3))
    (tmp_path / "models").mkdir()
    with h5py.File(tmp_path / "models" / "mobilenet_1_0_128_tf_no_top.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, there)

    model = build_application("MobileNet", (128, 128, 1), 2, weights="imagenet", dropout=0.0)
    taken = model.get_layer("backbone").weights
    assert len(taken) == len(there.weights) > 100
    for one, other in zip(taken, there.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(published(model)) == len([layer for layer in there.layers if layer.weights])


def test_volumes_and_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="MobileNet takes pictures, the data are volumes"):
        build_application("MobileNet", (8, 32, 32, 1), 2, weights="none", dropout=0.0)
    with pytest.raises(ConfigError, match="did you mean DenseNet121"):
        build_application("DenseNet12", (32, 32, 1), 2, weights="none", dropout=0.0)


def test_a_finished_run_needs_no_published_weights(tmp_path, monkeypatch):
    config = Config(task="classification", model={"name": "MobileNet", "weights": "imagenet"})
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey", size=[32, 32],
        intensity=[Intensity(kind="none")], batch_size=2, stages=4,
    )  # fmt: skip
    save_model(build_application("MobileNet", (32, 32, 1), 2, weights="none", dropout=0.0), tmp_path)
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: pytest.fail("asked for weights"))
    assert Run(tmp_path, config, plan, ()).load_model("float32").output_shape == (None, 2)
