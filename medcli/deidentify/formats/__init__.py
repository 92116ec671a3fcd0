"""What is not DICOM, by format: who it is about (`collect`), the file without that (`clean`), parts to search.

A format is chosen by what a file holds; by its name only where text is just text. To add one, write a module with the
five functions and add a row to `FORMATS`.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec, TypeVar

from medcli.deidentify.formats import csv_file, gradients, jpeg, json_file, nifti, png, tiff
from medcli.deidentify.formats.common import Cleaned, Format
from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action
from medcli.errors import FormatError

__all__ = ["FORMATS", "Cleaned", "Format", "clean", "collect", "format_of", "opaque_parts"]

_MODULES = (
    ("png", (".png",), png),
    ("jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"), jpeg),
    ("tiff", (".tif", ".tiff", ".btf", ".svs"), tiff),
    ("nifti", (".nii", ".nii.gz", ".hdr"), nifti),
    ("json", (".json",), json_file),
    ("gradients", (".bval", ".bvec"), gradients),
    ("table", (".tsv", ".csv"), csv_file),
)
FORMATS = tuple(
    Format(name, suffixes, module.fits, module.collect, module.clean, module.parts)
    for name, suffixes, module in _MODULES
)
"""In the order in which they are tried: first those that their first bytes tell."""

_DAMAGE = (
    struct.error, zlib.error, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError,
    MemoryError, EOFError, OSError, SyntaxError, AssertionError,
)  # fmt: skip
"""What readers of others raise for damaged files."""
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def format_of(head: bytes, name: str) -> Format | None:
    """The format of a file with these first bytes (512 are enough) and this name; None: it is not handled."""
    return next((form for form in FORMATS if form.fits(head, name)), None)


def collect(
    form: Format, content: bytes, identifiers: Identifiers, actions: Mapping[int, Action] | None = None
) -> str | None:
    """Add what the file says about its patient; the patient's ID if it holds one.

    `actions`: by tag, as in `profile.actions_for`; what they keep is not collected. None: those of the Basic Profile.
    """
    collector = Collector(identifiers, actions)
    _damage_known(form.collect, content, collector)
    return collector.patient


def clean(form: Format, content: bytes, policy: Policy, *, pixels: bool = False) -> Cleaned:
    """The finished file. Raises FormatError when it cannot be cleaned with certainty.

    `pixels`: also search pictures for burned-in text and blank it.
    """
    return _damage_known(form.clean, content, policy, pixels)


def opaque_parts(form: Format, content: bytes) -> Iterator[bytes]:
    """What of a finished file cannot be searched as it stands: unpacked, unescaped, put together."""
    return iter(_damage_known(lambda: list(form.parts(content))))


def _damage_known(
    function: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    try:
        return function(*args, **kwargs)
    except RecursionError:
        raise FormatError("It is nested too deeply.") from None
    except _DAMAGE as error:
        raise FormatError(f"It is damaged ({type(error).__name__}).") from None
