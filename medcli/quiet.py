"""Keep libraries from talking: TensorFlow's start-up notices, warnings that may quote a patient's data."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def silence(*, python_warnings: bool = True) -> None:
    """Call once, before TensorFlow is imported. What the user has set stays; child processes inherit it.

    `python_warnings=False` keeps Python's own warnings (for `--debug` and for tests).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # CPU flags, missing GPU libraries
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if python_warnings:
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        warnings.simplefilter("ignore")
        logging.lastResort = None  # pydicom and others log the values of elements where logging is not set up


def import_tensorflow() -> None:
    """Import TensorFlow without its notice on oneDNN, which no setting turns off. Failures are shown."""
    if "tensorflow" in sys.modules:
        return
    with _stderr_held_back():
        import tensorflow  # noqa: F401
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # every network of an ensemble is traced, as it must be


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, by C++ too; shown only when an exception passes."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
