"""Patch, batch and width within memory and time."""

import numpy as np
import pytest

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing import plan_budget
from medcli.preprocessing.network_cost import unet_cost
from medcli.preprocessing.plan_budget import Machine
from medcli.preprocessing.plan_network import decide_network

BODY = [(300, 400, 400)] * 3


@pytest.fixture
def machine(monkeypatch):
    """100 GFLOP/s in float32, and memory as given in GB."""

    def is_like(memory=100.0, gflops=100.0):
        here = Machine(4, gflops, memory * 1e9, "2 cores")
        monkeypatch.setattr(plan_budget.Machine, "here", lambda precision: here)

    is_like()
    return is_like


def decided(shapes=BODY, *, model=None, **train):
    reasons = {}
    config = Config(task="segmentation", train=train, model=model or {})
    found = decide_network(config, shapes, (1.0,) * len(shapes[0]), None, reasons, channels=1, outputs=3)
    return found, reasons


def test_without_a_budget_that_binds_it_is_as_ever(machine):
    found, reasons = decided()
    assert (found.patch, found.batch_size, found.width, found.stages) == ((64, 64, 64), 2, 16, 5)
    assert "budget" not in reasons["patch"] + reasons["batch_size"] + reasons["width"]
    flat, _ = decided([(500, 500)] * 3)
    assert (flat.patch, flat.batch_size, flat.width) == ((256, 256), 8, 32)
    assert found.cost["gflop_per_patch"] > 10


def test_short_memory_lowers_batch_then_patch_then_width(machine):
    pictures = [(500, 500)] * 3
    machine(memory=0.8 * decided(pictures)[0].cost["memory_gb"])
    flat, reasons = decided(pictures)
    assert flat.patch == (256, 256) and 2 <= flat.batch_size < 8
    assert "; lowered: the memory budget of " in reasons["batch_size"]
    machine()
    machine(memory=0.8 * decided()[0].cost["memory_gb"])
    found, reasons = decided()
    assert np.prod(found.patch) < 64**3 and found.batch_size == 2 and found.width == 16
    assert reasons["patch"].endswith(" GB allows no more")
    found, reasons = decided(patch=[64, 64, 64])
    assert found.width == 8 and "allows no more" in reasons["width"]


def test_memory_that_is_given_is_used(machine):
    small, _ = decided(memory_gb=3.0)
    large, reasons = decided(memory_gb=24.0)
    assert np.prod(small.patch) < np.prod(large.patch)
    assert "grown to the memory budget of 24 GB" in reasons["patch"]
    assert 12 < large.cost["memory_gb"] <= 24
    whole, _ = decided([(40, 56, 40)] * 3, memory_gb=50.0)
    assert (whole.patch, whole.batch_size, whole.width) == ((40, 56, 40), 8, 32)


def test_memory_that_cannot_be_kept_is_refused(machine):
    with pytest.raises(
        ConfigError, match=r"train.memory_gb: training this network takes about .* GB, got 1.5"
    ):
        decided(memory_gb=1.5, patch=[96, 96, 96], batch_size=4)


def test_a_short_time_asks_for_a_smaller_network(machine):
    found, reasons = decided(max_minutes=600)
    assert found.width == 16 and found.cost["steps"] > 100
    short, reasons = decided(max_minutes=3)
    assert short.width == 8
    assert "lowered so that 100 steps fit into train.max_minutes" in reasons["width"]
    assert "fewer than 100: more time or a smaller network would serve" in decided(max_minutes=0.5)[1]["cost"]


def test_what_the_config_fixes_stays(machine):
    machine(memory=1.2)
    found, reasons = decided(patch=[64, 64, 64], batch_size=4, model={"width": 32}, max_minutes=1)
    assert (found.patch, found.batch_size, found.width) == ((64, 64, 64), 4, 32)
    assert "more memory than there is" in reasons["cost"]


@pytest.mark.parametrize("encoder", ["plain", "residual"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(
    ("patch", "strides"),
    [((40, 24), [(1, 1), (2, 2), (2, 2), (2, 1)]), ((12, 16, 20), [(1, 1, 1), (1, 2, 2), (2, 2, 2)])],
)
def test_the_formula_counts_what_keras_builds(encoder, norm, patch, strides):
    pytest.importorskip("tensorflow")
    import keras

    from medcli.models.unet import build_unet

    settings = {"strides": strides, "width": 4, "encoder": encoder, "norm": norm}
    model = build_unet((*patch, 2), 3, **settings)
    cost = unet_cost(patch, 2, 3, **settings)
    assert cost.parameters == model.count_params()
    assert cost.elements == sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    operations = 0
    for layer in model.layers:
        transposed = isinstance(layer, (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose))
        if transposed or isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv3D)):
            positions = (layer.input if transposed else layer.output).shape[1:-1]
            operations += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(positions))
    assert cost.gflop * 1e9 == pytest.approx(operations)
