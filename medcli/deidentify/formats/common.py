"""What the formats share: an entry in their table, what cleaning hands back, decompression that ends."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from medcli.deidentify.formats.fields import Collector
from medcli.deidentify.policy import Policy
from medcli.errors import FormatError

MAX_BYTES = 4 * 2**30
"""Nothing is unpacked to more than this."""
_BLOCK = 2**16


@dataclass(frozen=True)
class Cleaned:
    """A finished file.

    Attributes:
        content: The whole file.
        actions: Place in the format -> what was done there; never a value.
        notes: Repairs and oddities; never a value.
        suffix: The new suffix where the file had to become another format.
    """

    content: bytes
    actions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    suffix: str | None = None


@dataclass(frozen=True)
class Format:
    """One format that can be cleaned.

    Attributes:
        name: As reports say it.
        suffixes: Lower case, the usual one first.
        fits: (first bytes, file name) -> whether a file is of this format.
        collect: Tell the collector what the file says about its patient.
        clean: (content, policy, whether to clean pixels) -> the finished file.
        parts: What of a finished file cannot be searched as it stands: unpacked, unescaped or put together.
    """

    name: str
    suffixes: tuple[str, ...]
    fits: Callable[[bytes, str], bool]
    collect: Callable[[bytes, Collector], None]
    clean: Callable[[bytes, Policy, bool], Cleaned]
    parts: Callable[[bytes], Iterator[bytes]]


def inflate(data: bytes | memoryview, limit: int) -> tuple[bytes, int]:
    """What a zlib stream holds, and how many bytes follow the stream.

    At most `limit` bytes and one more, which tells that there are too many. Raises FormatError for damage.
    """
    unpacker = zlib.decompressobj()
    pieces, size, at = [], 0, 0
    try:
        while not unpacker.eof and size <= limit and at < len(data):
            pieces.append(unpacker.decompress(data[at : at + _BLOCK], limit + 1 - size))
            at += _BLOCK
            size += len(pieces[-1])
    except zlib.error as error:
        raise FormatError("A compressed part is damaged.") from error
    if not unpacker.eof and size <= limit:
        raise FormatError("A compressed part ends early.")
    return b"".join(pieces), len(unpacker.unused_data) + max(len(data) - at, 0)
