"""medcli takes medical images the whole way: prepared data, a trained model, honest measures, predictions."""

import os
import platform

__version__ = "0.1.0"

if platform.machine() in ("x86_64", "AMD64"):
    # TensorFlow 2.21 leaves oneDNN off on processors without AVX-512, and training takes three times as long there.
    # Set here since it must be set before any module imports TensorFlow.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
