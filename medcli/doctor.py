"""What `medcli doctor` tells: versions, devices, precision, and what is missing for a GPU."""

import ctypes
import platform
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import medcli
from medcli.machine import cpu_cores, cpu_flags, cpu_name, memory_bytes

PACKAGES = ("tensorflow", "keras", "numpy", "pydicom", "nibabel", "SimpleITK")
CUDA_LIBRARIES = {
    "CUDA runtime": "libcudart.so.12",
    "cuBLAS": "libcublas.so.12",
    "cuDNN": "libcudnn.so.9",
    "cuFFT": "libcufft.so.11",
    "cuSOLVER": "libcusolver.so.11",
    "cuSPARSE": "libcusparse.so.12",
    "NCCL": "libnccl.so.2",
}
"""What TensorFlow 2.21 loads for a GPU; `pip install medcli[gpu]` brings all of it."""
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def diagnose() -> dict[str, Any]:
    """Everything as plain values; `remarks` says in words what is missing or not supported."""
    import tensorflow as tf

    from medcli.devices import choose_precision, gpus

    remarks: list[str] = []
    seen = gpus()
    remarks += [gpu.problem for gpu in seen if gpu.problem]
    with_cuda = tf.test.is_built_with_cuda()
    driver = _loads("libcuda.so.1")
    libraries = {name: _loads(file) for name, file in CUDA_LIBRARIES.items()}
    if not seen:
        remarks += [_why_no_gpu(with_cuda, driver, [name for name, found in libraries.items() if not found])]
    policy, reason = choose_precision()
    return {
        "medcli": medcli.__version__,
        "python": platform.python_version(),
        **{name.lower(): _version(name) for name in PACKAGES},
        "system": platform.platform(terse=True),
        "cpu": cpu_name(),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in cpu_flags()],
        "cores": cpu_cores(),
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "gpus": [
            {"name": gpu.name, "compute_capability": ".".join(map(str, gpu.capability))} for gpu in seen
        ],
        "built_with_cuda": with_cuda,
        "cuda_built_for": tf.sysconfig.get_build_info().get("cuda_version"),
        "cudnn_built_for": tf.sysconfig.get_build_info().get("cudnn_version"),
        "nvidia_driver": driver,
        "cuda_libraries": libraries,
        "precision": policy,
        "precision_reason": reason,
        "remarks": remarks,
    }


def _why_no_gpu(with_cuda: bool, driver: bool, missing: list[str]) -> str:
    if not with_cuda:
        return "No GPU: this TensorFlow is built without CUDA; install `tensorflow`, not `tensorflow-cpu`."
    if not driver:
        return "No GPU: the NVIDIA driver (libcuda.so.1) was not found; medcli computes on the CPU."
    if missing:
        names = ", ".join(missing)
        return f"No GPU: the driver is there, but not {names}; `pip install medcli[gpu]` brings them."
    return "No GPU: driver and libraries are there, but no device; see CUDA_VISIBLE_DEVICES and nvidia-smi."


def _version(package: str) -> str | None:
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _loads(library: str) -> bool:
    """Whether a shared library can be loaded: from the system, or from NVIDIA's Python packages."""
    packaged = Path(sysconfig.get_paths()["platlib"]) / "nvidia"
    for candidate in (library, *map(str, packaged.glob(f"*/lib/{library}"))):
        try:
            ctypes.CDLL(candidate)
            return True
        except OSError:
            continue
    return False
