"""From a YAML file to a checked `Config` and back; all faults are told at once, with file, line and key."""

import copy
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from medcli.config.document import Key, dotted, read_document, shorten
from medcli.config.overrides import get, parse_override, put
from medcli.config.reference import settings
from medcli.config.rules import broken_rules
from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.files import write_text

WEIGHTS: Key = ("model", "weights")
"""A path unless it is one of these words; the schema cannot tell, so it is said here."""
WEIGHTS_WORDS = {"none", "imagenet"}


def load_config(path: Path, overrides: Sequence[str] = (), implied: Sequence[str] = ()) -> Config:
    """Read a YAML, apply `section.key=value` overrides and then those that the command implies, and check everything.

    Paths become absolute: those of the file start from its folder, those of an override from the current
    directory. `name`, `prepared` and `run` are filled in. Raises ConfigError, which lists every problem.
    """
    path = Path(path)
    document = read_document(path)
    folder = path.absolute().parent
    values = absolute_paths(document.values, folder)
    origins: dict[Key, str] = {key: f"{path}:{line}" for key, line in document.lines.items()}
    given = [(text, "--set") for text in overrides] + [(text, "this command") for text in implied]
    for text, origin in given:
        key, value = parse_override(text)
        own: dict[str, Any] = {}
        put(own, key, value)
        put(values, key, get(absolute_paths(own, Path.cwd()), key))
        origins = {known: place for known, place in origins.items() if known[: len(key)] != key}
        origins |= {key[:length]: origin for length in range(1, len(key)) if key[:length] not in origins}
        origins[key] = origin
    return _checked(_filled(values, folder, path.stem), origins, source=str(path))


def from_dict(values: Mapping[str, Any], *, folder: Path = Path(), name: str = "config") -> Config:
    """A Config from plain values; paths start from `folder`. Raises ConfigError like `load_config`."""
    folder = Path(folder).absolute()
    return _checked(_filled(absolute_paths(values, folder), folder, name), {}, source=name)


def save_config(config: Config, path: Path) -> None:
    """Write every setting; `load_config` reads the file back to an equal Config."""
    write_text(path, to_yaml(config))


def to_yaml(config: Config) -> str:
    yaml: Any = YAML(typ="safe", pure=True)  # its settings are untyped
    yaml.default_flow_style = False  # one line per key
    yaml.sort_base_mapping_type_on_output = False  # the order of the schema
    yaml.allow_unicode = True
    yaml.width = 110
    yaml.representer.add_representer(str, _quoted_where_needed)
    stream = io.StringIO()
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def _quoted_where_needed(representer: Any, text: str) -> Any:
    """Text with line breaks or control characters in double quotes, where escapes keep them; the rest as usual."""
    return representer.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
    )


def absolute_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A copy in which the text of every path setting has become an absolute Path (`~` is the home folder)."""
    result = copy.deepcopy(dict(values))
    for setting in settings().values():
        key = tuple(setting.key.split("."))
        found = get(result, key)
        if setting.is_path and isinstance(found, str | Path):
            put(result, key, _absolute(found, folder))
    weights = get(result, WEIGHTS)
    if isinstance(weights, str) and weights not in WEIGHTS_WORDS:
        put(result, WEIGHTS, str(_absolute(weights, folder)))
    return result


def _absolute(path: str | Path, folder: Path) -> Path:
    """Symbolic links are kept as they are written, except where `..` has to step out of one."""
    absolute = folder / Path(path).expanduser()
    return absolute.resolve() if ".." in absolute.parts else absolute


def _filled(values: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    """What the schema cannot know: the job's name and the folders that follow from the config's place."""
    if values.get("name") is None:
        values["name"] = name
    for kind, parent in (("prepared", "prepared"), ("run", "runs")):
        if values.get(kind) is None:
            values[kind] = folder / parent / str(values["name"])
    data = values.get("data")
    if data is None:
        values["data"] = {"root": folder}
    elif isinstance(data, dict):
        data.setdefault("root", folder)
    for section in (setting.key for setting in settings().values() if setting.is_section):
        key = tuple(section.split("."))
        if len(key) == 1 and key[0] in values and values[key[0]] is None:
            del values[key[0]]  # "train:" with every key commented out
    return values


def _checked(values: dict[str, Any], origins: Mapping[Key, str], *, source: str) -> Config:
    try:
        config = Config.model_validate(values, strict=True)
    except ValidationError as error:
        problems = {
            _problem(fault, values, origins, source): None for fault in error.errors(include_url=False)
        }
    else:
        problems = {
            f"{_where(key, origins, source)}: {dotted(key)}: {reason}": None
            for key, reason in broken_rules(config)
        }
        if not problems:
            return config
    raise ConfigError("\n".join(sorted(problems, key=_line)))


def _line(problem: str) -> tuple[bool, int]:
    """Order of the file; what has no line comes last."""
    found = re.match(r".*?:(\d+): ", problem)
    return not found, int(found[1]) if found else 0


def _problem(fault: Any, values: Mapping[str, Any], origins: Mapping[Key, str], source: str) -> str:
    """One of pydantic's faults as `file:line: key: expected ..., got ...`."""
    location: Key = tuple(fault["loc"])
    key = _known_part(location, values)
    if fault["type"] == "extra_forbidden":
        return f"{_where(key, origins, source)}: {dotted(key)}: {_unknown(key)}"
    name = _setting_name(location)
    expected = settings()[name].expected if name else fault["msg"]
    if fault["type"] == "missing":
        return f"{source}: {name}: expected {expected}, got nothing; the key is required"
    where = _where(key, origins, source)
    found = get(values, tuple(name.split("."))) if name else fault["input"]
    guess = _nearest(str(found), _quoted(expected)) if isinstance(found, str) else ""
    shown = "null" if found is None else shorten(str(found) if isinstance(found, Path) else found)
    return f"{where}: {name or dotted(key)}: expected {expected}, got {shown}{guess}"


def _known_part(location: Key, values: Any) -> Key:
    """The leading part of pydantic's location that exists in the values; the rest names members of unions."""
    key: list[str | int] = []
    for part in location:
        if isinstance(values, list):
            values = dict(enumerate(values))
        if not isinstance(values, Mapping) or part not in values:
            break
        values = values[part]
        key.append(part)
    return tuple(key)


def _setting_name(location: Key) -> str:
    """The longest leading part of a location that is a setting, dotted; "" when there is none."""
    names = (dotted(location[:length]) for length in range(len(location), 0, -1))
    return next((name for name in names if name in settings()), "")


def _where(key: Key, origins: Mapping[Key, str], source: str) -> str:
    """Where a key, or the nearest one around it, was written."""
    parts = (key[:length] for length in range(len(key), 0, -1))
    return next((origins[part] for part in parts if part in origins), source)


def _unknown(key: Key) -> str:
    """What to do about a key that the schema does not have."""
    *section, name = (str(part) for part in key)
    prefix = "".join(part + "." for part in section)
    siblings = [known[len(prefix) :] for known in settings() if known.startswith(prefix)]
    siblings = [known for known in siblings if "." not in known]
    elsewhere = [known for known in settings() if known.rpartition(".")[2] == name]
    if guess := _nearest(name, siblings):
        return "unknown key" + guess
    if elsewhere:
        return f"unknown key here; did you mean `{elsewhere[0]}`?"
    return "unknown key; expected one of " + ", ".join(f"`{known}`" for known in siblings)


def _nearest(text: str, choices: Sequence[str]) -> str:
    if text in choices:  # right but for the brackets
        return f"; did you mean `[{text}]`?"
    found = difflib.get_close_matches(text.lower(), choices, n=1, cutoff=0.6)
    return f"; did you mean `{found[0]}`?" if found else ""


def _quoted(expected: str) -> list[str]:
    return expected.split("`")[1::2]
