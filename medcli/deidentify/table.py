"""The way back, for those who may: originals and pseudonyms in an encrypted table (AES-256-GCM, NIST SP 800-38D)."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medcli.deidentify.pseudonyms import Pseudonyms
from medcli.errors import DataError
from medcli.files import atomic_path

_MAGIC = b"MEDCLI-TABLE-1\n"
_NONCE = 12
COLUMNS = ("kind", "original", "pseudonym", "days")
Row = tuple[str, str, str, str]


def rows_for(patients: Iterable[str], uids: Iterable[str], pseudonyms: Pseudonyms) -> set[Row]:
    """One row per patient (with the days by which dates move) and per UID."""
    rows = {
        ("patient", name, pseudonyms.patient(name), str(pseudonyms.day_shift(name)))
        for name in patients
        if name
    }
    return rows | {("uid", uid, pseudonyms.uid(uid), "") for uid in uids}


def add_rows(path: Path, rows: set[Row], key: bytes) -> None:
    """Add to the table, which is made if it is missing. Raises DataError when it was made with another key."""
    known = read_rows(path, key) if path.exists() else set()
    nonce = os.urandom(_NONCE)
    content = json.dumps(sorted(known | rows), ensure_ascii=False).encode()
    with atomic_path(path) as target:
        target.write_bytes(_MAGIC + nonce + _cipher(key).encrypt(nonce, content, _MAGIC))
    os.chmod(path, 0o600)


def read_rows(path: Path, key: bytes) -> set[Row]:
    """Raises DataError when the file is no such table, was changed, or belongs to another key."""
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        raise DataError(f"{path}: expected a table that medcli wrote, found something else.")
    nonce, sealed = content[len(_MAGIC) : len(_MAGIC) + _NONCE], content[len(_MAGIC) + _NONCE :]
    try:
        opened = _cipher(key).decrypt(nonce, sealed, _MAGIC)
    except (InvalidTag, ValueError):
        raise DataError(f"{path}: the table cannot be opened with this key, or it was changed.") from None
    return {
        (str(kind), str(original), str(pseudonym), str(days))
        for kind, original, pseudonym, days in json.loads(opened)
    }


def _cipher(key: bytes) -> AESGCM:
    """A key of its own, so that the pseudonyms' key is used for nothing else (HKDF, RFC 5869)."""
    return AESGCM(HKDF(hashes.SHA256(), 32, salt=None, info=b"medcli re-identification table").derive(key))
