"""Pseudonyms from a secret key: the same original always gets the same replacement, on any machine, in any order.

Every pseudonym is an HMAC-SHA256 (RFC 2104) of the kind and the original under the key. Without the key the
originals cannot be found by trying a dictionary, and nothing has to be stored to stay consistent.
"""

import hmac
import os
import re
import secrets
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from medcli.errors import DataError

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 letters and digits that are not mistaken for one another
PSEUDONYM = re.compile(f"[PA]-[{_ALPHABET}]{{12}}")
"""A patient's or accession number's pseudonym."""
_MOST_DAYS = 3650
_KEY_BYTES = 32
_LEAST_BYTES = 16


class Pseudonyms:
    """Replacements under one key.

    Args:
        key: At least 16 secret bytes.
    """

    def __init__(self, key: bytes):
        self._key = key
        cached: Callable[[Callable], Callable] = lru_cache(maxsize=100_000)
        self.uid: Callable[[str], str] = cached(self._uid)

    def digest(self, kind: str, original: str) -> bytes:
        """32 bytes for this original of this kind."""
        return hmac.digest(self._key, f"{kind}\0{original}".encode("utf-8", "surrogatepass"), "sha256")

    def _uid(self, original: str) -> str:
        """A UID under 2.25 (a UUID as one number, ISO/IEC 9834-8) of version 8 (RFC 9562: vendor specific)."""
        number = int.from_bytes(self.digest("uid", original)[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76
        return f"2.25.{number & ~(3 << 62) | 2 << 62}"

    def token(self, kind: str, original: str, length: int = 12) -> str:
        """Letters and digits, 5 bits each, at most 51."""
        number = int.from_bytes(self.digest(kind, original), "big")
        return "".join(_ALPHABET[number >> 5 * place & 31] for place in range(length))

    def patient(self, original: str) -> str:
        """The Patient ID that stands for this patient; also used as Patient's Name."""
        return f"P-{self.token('patient', original.strip())}"

    def accession(self, original: str) -> str:
        return f"A-{self.token('accession', original.strip())}"

    def day_shift(self, patient: str) -> int:
        """Whole days, from -3650 to -1: one number for all dates of a patient."""
        return -1 - int.from_bytes(self.digest("days", patient.strip())[:8], "big") % _MOST_DAYS

    def shift(self, text: str, patient: str) -> str | None:
        """A date YYYYMMDD, or a date and time that starts with one, moved by the patient's days; None if it is none."""
        try:
            moved = date(int(text[:4]), int(text[4:6]), int(text[6:8])) + timedelta(self.day_shift(patient))
        except (ValueError, OverflowError):
            return None
        return moved.strftime("%Y%m%d").zfill(8) + text[8:]


def load_key(path: Path) -> bytes:
    """The secret in this file; made, readable by its owner alone, when the file is not there.

    What `create_key` writes, or any other content of at least 16 bytes. Raises DataError for less.
    """
    if not path.exists():
        create_key(path)
    content = path.read_bytes().strip()
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = content
    if len(key) < _LEAST_BYTES:
        raise DataError(f"{path}: expected a key of at least {_LEAST_BYTES} bytes, found {len(key)}.")
    return key


def create_key(path: Path) -> None:
    """Write a new random secret (mode 0600); an existing file is never replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(random_key().hex() + "\n")


def random_key() -> bytes:
    return secrets.token_bytes(_KEY_BYTES)
