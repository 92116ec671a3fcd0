"""`medcli doctor`: what this machine and this installation can do."""

from typing import Any

from medcli.cli.options import Debug, Json


def doctor(json: Json = False, debug: Debug = False) -> None:
    """Show versions, devices and what is missing.

    Also which precision is chosen and why.

    \b
    Example:
      medcli doctor --json
    """
    from medcli.cli import show
    from medcli.doctor import diagnose
    from medcli.quiet import import_tensorflow

    import_tensorflow()
    found = diagnose()
    if json:
        return show.as_json(found)
    show.facts("medcli doctor", _for_people(found))
    for remark in found["remarks"]:
        print(remark)
    return None


def _for_people(found: dict[str, Any]) -> dict[str, Any]:
    gpus = [f"{gpu['name']} (compute capability {gpu['compute_capability']})" for gpu in found["gpus"]]
    libraries = found["cuda_libraries"]
    missing = [name for name, there in libraries.items() if not there]
    versions = ("medcli", "python", "tensorflow", "keras", "numpy", "pydicom", "nibabel", "simpleitk")
    return {
        **{name: found[name] for name in versions},
        "system": found["system"],
        "CPU": f"{found['cpu']}, {found['cores']} cores ({', '.join(found['cpu_flags']) or 'no AVX'})",
        "memory": f"{found['memory_gb']} GB",
        "GPUs": gpus or "none seen",
        "TensorFlow built for": f"CUDA {found['cuda_built_for']}, cuDNN {found['cudnn_built_for']}"
        if found["built_with_cuda"]
        else "CPU only",
        "NVIDIA driver": "found" if found["nvidia_driver"] else "not found",
        "CUDA libraries": f"missing: {', '.join(missing)}" if missing else "all found",
        "precision": f"{found['precision']} ({found['precision_reason']})",
    }
