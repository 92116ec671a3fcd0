"""What this machine offers, as far as it can be told without TensorFlow: cores, memory, CPU abilities."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NVIDIA = Path("/proc/driver/nvidia/version")
BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""CPU flags with which bfloat16 is faster than float32; without them it is several times slower."""


def cpu_cores() -> int:
    """Cores that this process may use: the affinity mask and a container's quota are honoured."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    quota = _quota(CGROUP / "cpu.max")
    return max(1, min(cores, quota or cores))


def _quota(path: Path) -> int | None:
    """Whole cores granted by a cgroup, rounded up; None: unlimited or unknown."""
    try:
        granted, period = path.read_text().split()
        return -(-int(granted) // int(period))
    except (OSError, ValueError):
        return None


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or less where a container is limited."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(total, int((CGROUP / name).read_text()))
        except (OSError, ValueError):
            continue
    return total


def cpu_flags() -> frozenset[str]:
    """Abilities of the CPU as Linux names them; empty elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def cpu_has_bf16() -> bool:
    """Whether bfloat16 is fast on this CPU (and oneDNN has not been told to stay below it)."""
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    capped = not any(word in cap for word in ("ALL", "DEFAULT", "AMX", "BF16"))
    return not capped and any(flag in cpu_flags() for flag in BF16_FLAGS)


def gpu_memory_bytes() -> int | None:
    """Memory of the smallest NVIDIA GPU that this process may use; None: there is none, or the driver does not tell."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not NVIDIA.exists():
        return None
    import subprocess

    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return min(int(line) for line in told.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
