import pytest

from medcli import devices
from medcli.devices import Gpu, choose_precision
from medcli.errors import RunError


def gpu(major: int, minor: int, name: str = "Some GPU") -> Gpu:
    return Gpu("/physical_device:GPU:0", name, (major, minor))


@pytest.fixture
def seen(monkeypatch):
    """Pretend that these GPUs, and a CPU with or without bfloat16, are there."""

    def seen(*found: Gpu, bf16: bool = False) -> None:
        monkeypatch.setattr(devices, "gpus", lambda: list(found))
        monkeypatch.setattr(devices, "cpu_has_bf16", lambda: bf16)
        monkeypatch.setattr(devices, "cpu_flags", lambda: frozenset({"amx_bf16"} if bf16 else ()))

    return seen


@pytest.mark.parametrize(
    ("found", "bf16", "policy"),
    [
        ([], False, "float32"),
        ([], True, "mixed_bfloat16"),
        ([gpu(9, 0)], False, "mixed_bfloat16"),
        ([gpu(8, 0)], False, "mixed_bfloat16"),
        ([gpu(7, 5)], True, "mixed_float16"),
        ([gpu(6, 1)], True, "float32"),
        ([gpu(9, 0), gpu(7, 0)], False, "mixed_float16"),
    ],
)
def test_precision_follows_the_weakest_device(seen, found, bf16, policy):
    seen(*found, bf16=bf16)
    assert choose_precision()[0] == policy


def test_the_reason_names_the_number_behind_it(seen):
    seen(bf16=True)
    assert choose_precision() == ("mixed_bfloat16", "no GPU seen; the CPU has amx_bf16")
    seen()
    assert choose_precision("float16") == (
        "mixed_float16",
        "set in the config; slow on this CPU, which lacks it",
    )
    assert choose_precision("float32") == ("float32", "set in the config")


def test_blackwell_is_named_as_unsupported(seen):
    assert gpu(9, 0).problem == ""
    seen(gpu(10, 0, "B200"))
    with pytest.raises(
        RunError, match=r"^B200 has compute capability 10.0 .* TensorFlow 2.21 does not support"
    ):
        devices.setup_devices()


def test_more_devices_than_seen_is_an_error(seen):
    seen()
    with pytest.raises(RunError, match=r"train.devices: expected at most 1, the devices seen here, got 2"):
        devices.setup_devices(2)


def test_one_device_needs_no_special_strategy_and_xla_is_on_only_when_asked_for(seen):
    seen()
    strategy = devices.setup_devices()
    assert strategy.num_replicas_in_sync == 1
    assert [devices.use_xla(setting, strategy) for setting in ("auto", "on", "off")] == [False, True, False]
