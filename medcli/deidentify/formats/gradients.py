"""b-values and b-vectors of diffusion MR (.bval, .bvec): kept as they are, if they are numbers and nothing else."""

import re
from collections.abc import Iterator

from medcli.deidentify.formats.common import Cleaned
from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.policy import Policy
from medcli.errors import FormatError

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)", re.IGNORECASE)


def fits(head: bytes, name: str) -> bool:
    return name.lower().endswith((".bval", ".bvec", ".bvals", ".bvecs")) and b"\0" not in head


def collect(content: bytes, collector: Collector) -> None:
    """Numbers say nothing of a patient."""


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    try:
        numbers = content.decode("ascii").split()
    except UnicodeDecodeError:
        numbers = [""]
    if not all(map(_NUMBER.fullmatch, numbers)):
        raise FormatError("Only numbers were expected in it, something else was found.")
    if any(policy.finder.mask_number(number) != number for number in numbers):
        raise FormatError("One of its numbers is an identifier of the patient.")
    return Cleaned(content)


def parts(content: bytes) -> Iterator[bytes]:
    return iter(())
