"""A YAML 1.2 file as plain values, with the line of every key; anchors and repeated keys are refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from medcli.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH, MAX_BRACKETS = 20, 2000
"""The time that the parser takes grows with the square of open brackets."""
Key = tuple[str | int, ...]
"""The way to a value: names of mappings and indices of lists."""


@dataclass(frozen=True)
class Document:
    """Attributes:
    values: The mapping at the top, of dict, list, str, int, float, bool, None (and what YAML makes of dates).
    lines: Line (from 1) of every key and list item.
    """

    values: dict[str, Any]
    lines: dict[Key, int]


def read_document(path: Path) -> Document:
    """Raises ConfigError that names file and line when the file is missing, too large or not such a YAML."""
    text = _read_text(path)
    if text.lstrip().startswith("%"):
        raise ConfigError(
            f"{path}:1: expected YAML without directives, got a line that starts with %; remove it."
        )
    lines: dict[Key, int] = {}
    problems: list[str] = []
    try:
        _check_depth(text)
        node = _yaml().compose(text)
        if node is not None:
            _walk(node, (), lines, problems)
        if problems:
            raise ConfigError("\n".join(f"{path}:{problem}" for problem in problems))
        values = _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = " ".join(str(error.problem or error.context or "").split())
        raise ConfigError(f"{where}: not valid YAML: {reason}") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{path}: not valid YAML: nested too deeply, or a value out of range") from None
    if values is None:
        raise ConfigError(f"{path}: expected a config, got an empty file; see the examples in configs/.")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected settings (key: value), got {type(values).__name__}")
    return Document(values, lines)


def parse_value(text: str) -> Any:
    """One YAML value from a command line: number, text, list [a, b] or mapping {a: b}. Raises ConfigError."""
    problems: list[str] = []
    try:
        _check_depth(text)
        node = _yaml().compose(text)
        if node is not None:
            _walk(node, (), {}, problems)
        if problems:
            raise ConfigError(problems[0].partition(": ")[2])
        return _yaml().load(text)
    except (YAMLError, RecursionError, ValueError):
        raise ConfigError(
            f"expected a YAML value, got `{shorten(text)}`; quote text with special signs"
        ) from None


def shorten(value: Any, limit: int = 80) -> str:
    """A value as it may stand in a message, on one line."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _check_depth(text: str) -> None:
    """Raises ValueError on deep nesting, before the parser spends minutes or the whole stack on it."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise ValueError
    depth = 0
    for event in _yaml().parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: expected a config file (YAML), got a folder.")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: expected a config of at most 1 MB, got {path.stat().st_size / 1e6:.1f} MB."
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected a YAML text in UTF-8, got something else.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None


def _walk(node: Node, key: Key, lines: dict[Key, int], problems: list[str]) -> None:
    """Note the line of every key; what is not allowed becomes a problem, "LINE: KEY: ..."."""
    if node.anchor:
        where = f"{node.start_mark.line + 1}: {dotted(key) or 'top level'}"
        problems.append(f"{where}: anchors and aliases (&, *) are not used in configs; write the value out")
        return  # an alias may hold itself
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*key, index)] = item.start_mark.line + 1
            _walk(item, (*key, index), lines, problems)
    elif isinstance(node, MappingNode):
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, ScalarNode) or not str(name_node.tag).endswith(":str"):
                found = shorten(name_node.value)
                where = dotted(key) or "top level"
                problems.append(f"{line}: {where}: expected text as key, got `{found}`; put it in quotes")
                continue
            here = (*key, name_node.value)
            if here in lines:
                problems.append(
                    f"{line}: {dotted(here)}: the key is given twice, first in line {lines[here]}"
                )
                continue
            lines[here] = line
            _walk(value_node, here, lines, problems)


def dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
