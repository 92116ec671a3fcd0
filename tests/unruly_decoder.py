"""A decoder with a fault that some files bring to light."""

import os
import signal
from pathlib import Path

from medcli.io.dicom import decoders

DECODE = decoders.decode


def decode(dataset, path: Path, shape):
    """As the real one, but it crashes on files whose name begins with "bad"."""
    if path.name.startswith("bad"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return DECODE(dataset, path, shape)
