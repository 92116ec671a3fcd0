"""JSON sidecars: every named value by the standard's table, every other text masked; order and numbers as they were."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from medcli.deidentify.formats.common import Cleaned
from medcli.deidentify.formats.fields import Collector, action_on, cleaned_number, cleaned_text
from medcli.deidentify.formats.meanings import Meaning, meaning_of
from medcli.deidentify.identifiers import MASK
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action
from medcli.errors import FormatError

_SURROGATE = re.compile("[\ud800-\udfff]")
_VALUES_OF = frozenset({"value", "alphabetic", "ideographic", "phonetic"})
"""Keys under which the DICOM JSON model (PS3.18 Annex F) holds the values of an attribute."""
_GONE = object()


class Members(list[tuple[str, Any]]):
    """A JSON object as it was written: in order, keys perhaps twice."""


class Number(str):
    """A number as it was spelled."""


def fits(head: bytes, name: str) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:4]
    return name.lower().endswith(".json") and (text[:1] in (b"{", b"[", b'"') or wide)


def parse(content: bytes) -> tuple[Any, str]:
    """The tree and the text. Bytes that are not UTF-8 become lone surrogates. Raises FormatError."""
    coding = json.detect_encoding(content)
    try:
        text = content.decode(coding, "surrogateescape" if coding.startswith("utf-8") else "strict")
        tree = json.loads(
            text,
            object_pairs_hook=Members,
            parse_float=Number,
            parse_int=Number,
            parse_constant=Number,
            strict=False,
        )
    except (ValueError, RecursionError) as error:
        raise FormatError("It is not valid JSON.") from error
    return tree, text


# --- collecting ---------------------------------------------------------------------------------------------------


def collect(content: bytes, collector: Collector) -> None:
    _collect(parse(content)[0], "", "", collector)


def _collect(node: Any, name: str, parent: str, collector: Collector) -> None:
    if isinstance(node, Members):
        for key, value in node:
            if key.lower() in _VALUES_OF and meaning_of(name):
                _collect(value, name, parent, collector)
            else:
                _collect(value, key, name, collector)
    elif isinstance(node, list):
        for item in node:
            _collect(item, name, parent, collector)
    elif isinstance(node, str):
        collector.field(name, _readable(node), parent)


def _readable(text: str) -> str:
    """Bytes that were not UTF-8 as Latin-1, which is what they most often are."""
    raw = re.sub("[\ud800-\udc7f\udd00-\udfff]", "?", text).encode("utf-8", "surrogateescape")
    return raw.decode("latin-1") if _SURROGATE.search(text) else text


# --- cleaning -----------------------------------------------------------------------------------------------------


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    tree, text = parse(content)
    cleaner = _Cleaner(policy)
    new = cleaner.node(tree, "", "", None)
    if new is _GONE:
        new = MASK
    if not cleaner.changed and content.isascii():
        return Cleaned(content)
    written = _written(new, *_style(text), ascii_only=text.isascii()) + ("\n" if text.endswith("\n") else "")
    return Cleaned(written.encode("utf-8"), cleaner.actions, cleaner.notes())


@dataclass
class _Cleaner:
    policy: Policy
    actions: dict[str, str] = field(default_factory=dict)
    changed: bool = False
    unreadable: int = 0
    keys: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        return [f"{self.unreadable} texts that are not UTF-8 were removed"] if self.unreadable else []

    def node(self, node: Any, name: str, parent: str, meaning: Meaning | None) -> Any:
        """The cleaned node, or _GONE when it has to go. `meaning`: of a text or number that stands here."""
        if isinstance(node, Members):
            return self._members(node, name, meaning)
        if isinstance(node, list):
            new = [self.node(item, name, parent, meaning) for item in node]
            return [_blank(old) if item is _GONE else item for old, item in zip(node, new, strict=True)]
        if isinstance(node, Number):
            return self._scalar(node, meaning, cleaned_number, Number)
        if isinstance(node, str):
            if _SURROGATE.search(node):
                self.unreadable += 1
                self._note("texts that are not UTF-8", "removed")
                return _GONE
            return self._scalar(node, meaning, cleaned_text, str)
        return node

    def _members(self, node: Members, name: str, inherited: Meaning | None) -> Members:
        result, taken = Members(), Counter[str]()
        for key, value in node:
            meaning = inherited if key.lower() in _VALUES_OF and inherited else meaning_of(key, name)
            if self._goes(meaning, value):
                assert meaning is not None
                self._note(meaning.keyword, "removed")
                continue
            around, outer = (name, "") if meaning is inherited and inherited else (key, name)
            new = self.node(value, around, outer, meaning)
            if new is not _GONE:
                result.append((self._key(key, taken), new))
        return result

    def _goes(self, meaning: Meaning | None, value: Any) -> bool:
        """Whether all that stands under a name goes with it."""
        if meaning is None or not isinstance(value, list):
            return False
        if action_on(meaning, self.policy) not in (Action.REMOVE, Action.EMPTY, Action.DUMMY):
            return False
        if meaning.keyword in ("PatientID", "PatientName", "AccessionNumber"):
            return False
        return _has_text(value) if meaning.text_only else True

    def _scalar(
        self, node: str, meaning: Meaning | None, clean_: Callable[..., str | None], kind: type
    ) -> Any:
        new = clean_(str(node), meaning, self.policy)
        if new is None:
            self._note(meaning.keyword if meaning else "what is like an identifier", "removed")
            return _GONE
        if new != node:
            self._note(meaning.keyword if meaning else "other texts", _word(meaning, self.policy))
        return Number(new) if kind is Number and _is_number(new) else new

    def _key(self, key: str, taken: Counter[str]) -> str:
        new = self.policy.finder.mask(key, free=meaning_of(key) is None) if key else key
        if _SURROGATE.search(new):
            new = MASK
        if new != key:
            self._note("keys", "masked")
            taken[new] += 1
            new = new if taken[new] == 1 else f"{new}_{taken[new]}"
        return new

    def _note(self, place: str, word: str) -> None:
        self.changed = True
        self.actions[place] = word


def _blank(node: Any) -> str | None:
    """Holds the place of a text or number in a list."""
    return None if isinstance(node, Number) else MASK


def _word(meaning: Meaning | None, policy: Policy) -> str:
    if meaning is None:
        return "masked"
    if meaning.vr == "UI":
        return "new uid"
    action = action_on(meaning, policy)
    if action is Action.SHIFT:
        return "shifted"
    return "masked" if action in (Action.KEEP, Action.CLEAN) else "pseudonym"


def _has_text(node: Any) -> bool:
    if isinstance(node, Members):
        return any(_has_text(value) for _, value in node)
    if isinstance(node, list):
        return any(map(_has_text, node))
    return isinstance(node, str) and not isinstance(node, Number)


def _is_number(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# --- writing ------------------------------------------------------------------------------------------------------


def _style(text: str) -> tuple[str | None, str]:
    """Indentation of one level (None: all in one line), and what stands after a colon."""
    found = re.match(r"\s*[{\[]\s*?\n([ \t]*)", text)
    colon = re.search(r'"\s*:(\s?)', text)
    return (found[1] if found else None), (" " if colon is None or colon[1] else "")


def _written(node: Any, indent: str | None, gap: str, *, ascii_only: bool, level: int = 0) -> str:
    def inner(child: Any) -> str:
        return _written(child, indent, gap, ascii_only=ascii_only, level=level + 1)

    if isinstance(node, Members):
        parts = [f"{json.dumps(key, ensure_ascii=ascii_only)}:{gap}{inner(value)}" for key, value in node]
        return _joined("{", parts, "}", indent, gap, level)
    if isinstance(node, list):
        parts = [inner(child) for child in node]
        flat = not any(isinstance(child, list) for child in node)
        return _joined("[", parts, "]", None if flat else indent, gap, level)
    if isinstance(node, Number):
        return str(node)
    return json.dumps(node, ensure_ascii=ascii_only)


def _joined(start: str, parts: list[str], end: str, indent: str | None, gap: str, level: int) -> str:
    if indent is None or not parts:
        return start + ("," + gap).join(parts) + end
    line = "\n" + indent * (level + 1)
    return start + line + ("," + line).join(parts) + "\n" + indent * level + end


def parts(content: bytes) -> Iterator[bytes]:
    """All texts without the escapes of JSON, and without what stands between them."""
    tree, _ = parse(content)
    yield "\n".join(_texts(tree)).encode("utf-8", "surrogateescape")


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, Members):
        for key, value in node:
            yield key
            yield from _texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, str):
        yield node
