"""Text of DICOM elements in the file's own character sets (PS3.5 section 6.1)."""

import warnings
from collections.abc import Sequence

from pydicom import charset
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "PN"})
"""Representations that follow Specific Character Set; other text is ASCII."""
_TAG = 0x00080005


class Charsets:
    """Decodes and encodes values of one data set.

    Args:
        names: The values of Specific Character Set; unknown ones are ignored.
    """

    def __init__(self, names: Sequence[str] = ()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._encodings = charset.convert_encodings(list(names) or [""])
            except LookupError:
                self._encodings = ["iso8859"]
        self._default = not any(name.strip() for name in names)

    def decode(self, value: bytes | memoryview, vr: str) -> str:
        """The text without its padding; bytes that no declared set explains are read as UTF-8, else as Latin-1."""
        value = bytes(value)
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii").rstrip(" \0")
        if self._default or vr not in TEXT:
            return _guessed(value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                text = charset.decode_bytes(
                    value, self._encodings, PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS
                )
            except (UnicodeError, LookupError):
                return _guessed(value)
        return text.rstrip(" \0")

    def encode(self, text: str, vr: str) -> bytes:
        """Bytes without padding; what the character sets cannot write becomes a question mark."""
        if text.isascii():
            return text.encode("ascii")
        if vr not in TEXT:
            return text.encode("latin-1", "replace")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return charset.encode_string(text, self._encodings)
            except (UnicodeError, ValueError, LookupError):
                return text.encode("ascii", "replace")


def _guessed(value: bytes) -> str:
    try:
        return value.decode("utf-8").rstrip(" \0")
    except UnicodeDecodeError:
        return value.decode("latin-1").rstrip(" \0")


def charsets_of(value: bytes | memoryview | None, parent: Charsets) -> Charsets:
    """Those that this Specific Character Set declares, or the parent's where there is none."""
    if value is None:
        return parent
    return _known(bytes(value))


ASCII = Charsets()
"""Where nothing is declared."""
_CACHE: dict[bytes, Charsets] = {}


def _known(value: bytes) -> Charsets:
    found = _CACHE.get(value)
    if found is None:
        found = Charsets([name.strip(" \0") for name in value.decode("ascii", "replace").split("\\")])
        if len(_CACHE) < 1000:
            _CACHE[value] = found
    return found
