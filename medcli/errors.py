"""The few kinds of faults that medcli reports, each with the exit code of the command that meets it.

Library code raises these; `medcli.cli` turns them into one line of text and an exit code. A message says what
was expected, what was found, in which file, and what to do. It names files, keys and tags, never the data of
a patient.
"""

from typing import Any


class MedcliError(Exception):
    """A fault that medcli understands and can explain."""

    exit_code = 1


class UsageError(MedcliError):
    """The command was called wrongly."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration cannot be used; the message names file, line and key."""


class DataError(MedcliError):
    """The data do not hold what the task needs (no cases, one class, a patient in two splits, ...)."""


class FormatError(DataError):
    """One file cannot be read as what it claims to be."""


class RunError(MedcliError):
    """A prepared folder or run folder is missing, incomplete, damaged, unsafe or made for another task."""


class SomeCasesFailed(MedcliError):
    """The work finished, but some cases failed; the message says how many and where they are listed."""

    exit_code = 3


class GateNotMet(MedcliError):
    """A measure missed the bar that the user set with `--gate`; `result` is what was measured."""

    exit_code = 4

    def __init__(self, message: str, result: Any = None):
        super().__init__(message)
        self.result = result


def in_a_sentence(error: Exception, done: str, relief: str) -> MedcliError:
    """A foreign fault while an image is worked on; only its kind is told, as its own words may quote a header.

    Args:
        done: What could not be done with the image: "predicted".
        relief: What needs less memory: "lower predict.batch_size".
    """
    if isinstance(error, MedcliError):
        return error
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        told = DataError(f"The image needs more memory than there is; {relief}.")
    else:
        told = DataError(f"The image could not be {done} ({kind}); check that it is whole.")
    told.__cause__ = error
    return told
