"""What the schema says about every setting: for messages, for the reference page and for `config schema`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from medcli.config.schema import WINDOWS, Config


@dataclass(frozen=True)
class Setting:
    """One key of the config.

    Attributes:
        key: Dotted, for example `train.epochs`.
        expected: What may stand there, in words.
        default: As plain value; None when there is none.
        required: Whether it must be given.
        description: From the schema.
        is_path: Whether its text is a path, relative to the config's folder.
        is_section: Whether it holds further settings.
        is_mapping: Whether its keys are the user's own.
    """

    key: str
    expected: str
    default: Any
    required: bool
    description: str
    is_path: bool = False
    is_section: bool = False
    is_mapping: bool = False


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the config (draft 2020-12), from which editors complete keys and explain them."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@cache
def settings() -> Mapping[str, Setting]:
    """Every setting and section by its dotted key, in the order of the schema."""
    schema = Config.model_json_schema()
    return {setting.key: setting for setting in _walk(schema, schema["$defs"], prefix="")}


def _walk(section: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[Setting]:
    required = set(section.get("required", ()))
    for name, node in section["properties"].items():
        reference = node.get("$ref", "").rpartition("/")[2]
        yield Setting(
            key=prefix + name,
            expected="a section (key: value)" if reference else expected(node),
            default=node.get("default"),
            required=name in required,
            description=node.get("description") or definitions.get(reference, {}).get("description", ""),
            is_path=any(choice.get("format") == "path" for choice in _choices(node)),
            is_section=bool(reference),
            is_mapping=any(choice.get("type") == "object" for choice in _choices(node)),
        )
        if reference:
            yield from _walk(definitions[reference], definitions, prefix + name + ".")


def _choices(node: dict[str, Any]) -> list[dict[str, Any]]:
    return node.get("anyOf", [node])


def expected(node: dict[str, Any]) -> str:
    """What a node of the JSON Schema allows, in words: "`auto` or a whole number of at least 1"."""
    return " or ".join(_expected_one(choice) for choice in _choices(node))


def _expected_one(node: dict[str, Any]) -> str:
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return "one of " + ", ".join(f"`{value}`" for value in node["enum"])
    match node.get("type"):
        case "null":
            return "`null`"
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return "a whole number" + _range(node)
        case "number":
            return "a number" + _range(node)
        case "string":
            return "a path" if node.get("format") == "path" else "text"
        case "array":
            least, most = node.get("minItems"), node.get("maxItems")
            size = f"{least} of " if least is not None and least == most else ""
            return f"a list [{size}{expected(node.get('items', {}))}]"
        case "object":
            key = _expected_one(node["propertyNames"]) if "propertyNames" in node else "text"
            values = node.get("additionalProperties")
            return f"a mapping {{{key}: {expected(values) if isinstance(values, dict) else 'anything'}}}"
    return "anything"


def _range(node: dict[str, Any]) -> str:
    low = _bound(node, "minimum", "of at least", "exclusiveMinimum", "above")
    high = _bound(node, "maximum", "at most", "exclusiveMaximum", "below")
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']:g} to {node['maximum']:g}"
    return " and".join(part for part in (low, high) if part)


def _bound(node: dict[str, Any], closed: str, closed_words: str, open_: str, open_words: str) -> str:
    if closed in node:
        return f" {closed_words} {node[closed]:.12g}"
    if open_ in node:
        return f" {open_words} {node[open_]:.12g}"
    return ""


def markdown() -> str:
    """The text of `docs/configuration.md`; a test keeps the file equal to it."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `medcli/config/schema.py` with `medcli config reference`; do not edit by hand.",
        "",
        "One YAML (version 1.2) describes one job. Unknown keys are refused. Paths are relative to the",
        "folder of the YAML; the patterns, files and folders of `data` start from `data.root`. On the",
        "command line `--set section.key=value` overrides any key; paths given there are relative to the",
        "current folder. `auto` lets the data decide: the decision and the numbers behind it stand in",
        "`plan.yaml` of the prepared folder.",
        "",
        "```bash",
        "medcli config check my.yaml                      # every fault at once, with file, line and key",
        "medcli config show my.yaml --set train.epochs=5  # the resolved config",
        "medcli config schema > medcli.schema.json        # for completion in an editor",
        "```",
        "",
    ]
    sections = ["", *(setting.key + "." for setting in settings().values() if setting.is_section)]
    for prefix in sections:
        lines += _section(prefix)
    lines += ["## Named windows", "", "For `preprocess.window`, as [low, high] in HU.", ""]
    lines += ["| name | low | high |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {low:g} | {high:g} |" for name, (low, high) in WINDOWS.items()]
    return "\n".join(lines) + "\n"


def _section(prefix: str) -> list[str]:
    rows = [s for s in settings().values() if s.key.startswith(prefix) and "." not in s.key[len(prefix) :]]
    title = f"`{prefix[:-1]}`" if prefix else "Top level"
    lines = [f"## {title}", ""]
    if prefix:
        lines += [settings()[prefix[:-1]].description, ""]
    lines += ["| key | expected | default | meaning |", "| --- | --- | --- | --- |"]
    for setting in rows:
        default = "required" if setting.required else "" if setting.is_section else _code(setting.default)
        name = setting.key[len(prefix) :]
        cells = (f"`{name}`", setting.expected, default, setting.description)
        escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
        lines.append("| " + " | ".join(escaped) + " |")
    return [*lines, ""]


def _code(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"
