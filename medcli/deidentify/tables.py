"""The standard's tables, read from the package: which attribute needs which action, which private ones are safe."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

OPTIONS = {
    "pixels": ("113101", "Clean Pixel Data Option"),
    "faces": ("113102", "Clean Recognizable Visual Features Option"),
    "graphics": ("113103", "Clean Graphics Option"),
    "structured": ("113104", "Clean Structured Content Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "full-dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified-dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "uids": ("113110", "Retain UIDs Option"),
    "safe-private": ("113111", "Retain Safe Private Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
}
"""Our names of the twelve options, with their codes and meanings in PS3.16 CID 7050."""
PROFILE_CODE = ("113100", "Basic Application Confidentiality Profile")
CLEAN = ("descriptors", "structured", "graphics", "pixels", "faces")
RETAIN = ("safe-private", "uids", "device", "institution", "patient", "full-dates", "modified-dates")


@dataclass(frozen=True)
class Row:
    """One row of Table E.1-1."""

    tag: str
    keyword: str
    vr: str | None
    basic: str
    options: Mapping[str, str]


def _content(name: str) -> Any:
    return json.loads((files("medcli.deidentify") / "data" / name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def rows() -> dict[int, Row]:
    """Table E.1-1 by tag, without the rows for repeating groups and for private attributes (see `GROUPS`)."""
    table = [Row(*row) for row in _content("attributes.json")["rows"]]
    return {int(row.tag, 16): row for row in table if row.tag.isalnum() and _is_tag(row.tag)}


def _is_tag(text: str) -> bool:
    return all(character in "0123456789ABCDEF" for character in text)


@lru_cache(maxsize=1)
def _iods() -> dict[str, dict[int, str]]:
    """SOP Class UID -> tag -> action."""
    result = {}
    for _, sop_classes, actions in _content("compound_actions.json")["rows"]:
        by_tag = {int(tag, 16): action for tag, action in actions.items()}
        result.update(dict.fromkeys(sop_classes, by_tag))
    return result


def compound_actions(sop_class: str) -> dict[int, str]:
    """Single actions for the compound rows in the IOD of this SOP Class; empty where it is not known."""
    return _iods().get(sop_class, {})


@lru_cache(maxsize=1)
def safe_private() -> dict[tuple[str, int, int], str]:
    """(creator, group, low byte) -> k (keep), h (UID), o (date) or oi (seconds since 1970)."""
    result = {
        (creator, int(group, 16), int(element, 16)): disposition
        for creator, group, element, disposition in _content("safe_private_tcia.json")["rows"]
    }
    for creator, group, element in _content("safe_private.json")["rows"]:
        result.setdefault((creator, int(group, 16), int(element, 16)), "k")
    return result
