"""Which devices TensorFlow sees and how they are used: precision, memory, threads, strategy, XLA."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medcli.errors import RunError
from medcli.machine import BF16_FLAGS, cpu_cores, cpu_flags, cpu_has_bf16

if TYPE_CHECKING:
    import tensorflow as tf

Precision = Literal["auto", "float32", "bfloat16", "float16"]
NEWEST_CAPABILITY = (9, 9)
"""TensorFlow 2.21 has CUDA kernels up to compute capability 9 (Hopper); Blackwell (10, 12) fails to start."""


@dataclass(frozen=True)
class Gpu:
    """Attributes:
    device: TensorFlow's name, "/physical_device:GPU:0".
    name: The vendor's name.
    capability: CUDA compute capability (major, minor); (0, 0) when unknown.
    """

    device: str
    name: str
    capability: tuple[int, int]

    @property
    def problem(self) -> str:
        """Why this TensorFlow cannot use it; "" when it can."""
        if self.capability <= NEWEST_CAPABILITY:
            return ""
        major, minor = self.capability
        return (
            f"{self.name} has compute capability {major}.{minor} (Blackwell or later), which TensorFlow 2.21 "
            "does not support; use another GPU, or the CPU with CUDA_VISIBLE_DEVICES=-1"
        )


def gpus() -> list[Gpu]:
    """The GPUs that TensorFlow sees."""
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        capability = tuple(details.get("compute_capability", (0, 0)))
        found.append(Gpu(device.name, str(details.get("device_name", "GPU")), capability))
    return found


def choose_precision(setting: Precision = "auto") -> tuple[str, str]:
    """Keras' dtype policy ("float32", "mixed_bfloat16" or "mixed_float16") and the reason for it."""
    seen = gpus()
    if setting != "auto":
        policy = "float32" if setting == "float32" else f"mixed_{setting}"
        slow = setting != "float32" and not seen and not (setting == "bfloat16" and cpu_has_bf16())
        return policy, "set in the config" + ("; slow on this CPU, which lacks it" if slow else "")
    if seen:
        return _precision_of_gpu(min(seen, key=lambda gpu: gpu.capability))
    if cpu_has_bf16():
        flags = ", ".join(flag for flag in BF16_FLAGS if flag in cpu_flags())
        return "mixed_bfloat16", f"no GPU seen; the CPU has {flags}"
    return "float32", f"no GPU seen; the CPU has neither {' nor '.join(BF16_FLAGS)}"


def _precision_of_gpu(gpu: Gpu) -> tuple[str, str]:
    about = f"{gpu.name} has compute capability {gpu.capability[0]}.{gpu.capability[1]}"
    if gpu.capability >= (8, 0):
        return "mixed_bfloat16", f"{about}, and from 8.0 (Ampere) on bfloat16 needs no loss scaling"
    if gpu.capability >= (7, 0):
        return "mixed_float16", f"{about}, which has tensor cores for float16 but not for bfloat16"
    return "float32", f"{about}, which has no tensor cores"


def setup_devices(
    devices: Literal["auto"] | int = "auto", *, deterministic: bool = False, threads: int | None = None
) -> "tf.distribute.Strategy":
    """Prepare the devices for training or prediction and give the strategy to build the model under.

    One device: the default strategy; several GPUs: MirroredStrategy. GPU memory is taken as needed.
    CPU threads follow the cores that this process may use, unless TF_NUM_INTRAOP_THREADS is set. May be
    called again.

    Args:
        devices: How many GPUs to use; "auto": all.
        deterministic: Equal runs to the bit on one machine, slower.
        threads: CPU threads per operation; None: by the cores.
    Raises:
        RunError: Fewer GPUs are seen than asked for, or a GPU is too new for this TensorFlow.
    """
    import tensorflow as tf

    _limit_threads(threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    seen = gpus()
    if devices != "auto" and devices > max(1, len(seen)):
        raise RunError(
            f"train.devices: expected at most {max(1, len(seen))}, the devices seen here, got {devices}."
        )
    used = seen if devices == "auto" else seen[:devices]
    if unusable := next((gpu.problem for gpu in used if gpu.problem), ""):
        raise RunError(unusable + ".")
    _grow_memory()
    names = [gpu.device.replace("/physical_device:", "/") for gpu in used]
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    if len(seen) > 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    return tf.distribute.get_strategy()


def _limit_threads(threads: int | None) -> None:
    import tensorflow as tf

    cores = cpu_cores()
    if threads is None:
        if "TF_NUM_INTRAOP_THREADS" in os.environ or cores == os.cpu_count():
            return
        threads = cores
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    except RuntimeError:  # TensorFlow has already started with what it had
        pass


def _grow_memory() -> None:
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except (RuntimeError, ValueError):  # already started
            return


def use_xla(setting: Literal["auto", "on", "off"], strategy: "tf.distribute.Strategy") -> bool:
    """Whether to compile with XLA: only when asked for, and never under MirroredStrategy, which it breaks.

    On an H100 compiling took longer than short trainings (docs/results.md); on a CPU convolutions get far slower.
    """
    return setting == "on" and strategy.num_replicas_in_sync == 1
