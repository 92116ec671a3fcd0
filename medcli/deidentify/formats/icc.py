"""Colour profiles (ICC.1): rebuilt from what colours need, without names, dates, devices and texts."""

import struct

_HEADER = 128
_TAGS = frozenset({
    b"wtpt", b"bkpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"chad", b"chrm", b"lumi",
    b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2", b"gamt",
})  # fmt: skip
_TYPES = frozenset({b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"chrm"})
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
_KEPT = ((8, 24), (36, 40), (64, 80))  # version, class, spaces; "acsp"; intent and illuminant
_MAX_TAGS = 100


def without_texts(profile: bytes) -> bytes | None:
    """A profile that gives the same colours; None when it cannot be read."""
    tags = _numeric_tags(profile)
    if tags is None or profile[36:40] != b"acsp":
        return None
    version4 = profile[8] >= 4
    tags = {b"desc": _description(version4), b"cprt": _text("none", version4)} | tags
    bodies = list(dict.fromkeys(tags.values()))
    offsets, at = {}, _HEADER + 4 + 12 * len(tags)
    for body in bodies:
        offsets[body] = at
        at += -(-len(body) // 4) * 4
    header = bytearray(_HEADER)
    for start, stop in _KEPT:
        header[start:stop] = profile[start:stop]
    header[0:4] = struct.pack(">I", at)
    header[24:36] = _DATE
    table = struct.pack(">I", len(tags))
    table += b"".join(name + struct.pack(">2I", offsets[body], len(body)) for name, body in tags.items())
    return bytes(header) + table + b"".join(body.ljust(-(-len(body) // 4) * 4, b"\0") for body in bodies)


def _numeric_tags(profile: bytes) -> dict[bytes, bytes] | None:
    """Name -> content of the tags that hold numbers and give the colours."""
    if len(profile) < _HEADER + 4:
        return None
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    if count > _MAX_TAGS or len(profile) < _HEADER + 4 + 12 * count:
        return None
    tags = {}
    for place in range(_HEADER + 4, _HEADER + 4 + 12 * count, 12):
        name, start, size = struct.unpack_from(">4s2I", profile, place)
        body = profile[start : start + size]
        if len(body) < size:
            return None
        if name in _TAGS and body[:4] in _TYPES:
            tags[name] = body
    return tags


def _text(text: str, version4: bool) -> bytes:
    if not version4:
        return b"text\0\0\0\0" + text.encode("ascii") + b"\0"
    wide = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4I", 0, 1, 12, 0x656E5553) + struct.pack(">2I", len(wide), 28) + wide


def _description(version4: bool) -> bytes:
    if version4:
        return _text("colours", version4)
    return b"desc\0\0\0\0" + struct.pack(">I", 8) + b"colours\0" + bytes(8 + 3 + 67)
