"""What `medcli deidentify` is asked to do: from options of the command and a YAML file to one checked `Settings`."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydicom.datadict import tag_for_keyword

from medcli.config.document import read_document
from medcli.deidentify.profile import Action
from medcli.deidentify.tables import CLEAN, RETAIN
from medcli.errors import ConfigError

ATTRIBUTE_ACTIONS = {
    "keep": Action.KEEP,
    "clean": Action.CLEAN,
    "remove": Action.REMOVE,
    "empty": Action.EMPTY,
    "dummy": Action.DUMMY,
    "uid": Action.UID,
    "shift": Action.SHIFT,
}


class Settings(BaseModel):
    """The content of a deid.yaml; every key may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["basic"] = Field(
        "basic", description="the Basic Application Level Confidentiality Profile of PS3.15"
    )
    retain: tuple[str, ...] = Field((), description=f"what stays: any of {', '.join(RETAIN)}")
    clean: tuple[str, ...] = Field((), description=f"what is cleaned: any of {', '.join(CLEAN)}")
    attributes: Mapping[str, Literal["keep", "clean", "remove", "empty", "dummy", "uid", "shift"]] = Field(
        default_factory=dict, description="other actions for single attributes, by keyword or (gggg,eeee)"
    )
    mask: tuple[str, ...] = Field(
        (), description="further words to mask wherever they stand, such as names of staff"
    )
    verify: bool = Field(True, description="search the finished bytes for what was collected")

    @property
    def options(self) -> frozenset[str]:
        return frozenset(self.retain) | frozenset(self.clean)

    @property
    def overrides(self) -> dict[int, Action]:
        """Tag -> action for the attributes that have one of their own."""
        return {_tag(name): ATTRIBUTE_ACTIONS[action] for name, action in self.attributes.items()}


def load_settings(
    path: Path | None, *, retain: Sequence[str] = (), clean: Sequence[str] = (), verify: bool | None = None
) -> Settings:
    """Read a YAML (or the defaults) and add what the command line asks for. Raises ConfigError with file and line."""
    values: dict[str, Any] = {}
    lines: Mapping[Any, int] = {}
    if path is not None:
        document = read_document(path)
        values, lines = dict(document.values), document.lines
    for name in ("retain", "clean", "mask"):
        if isinstance(values.get(name), str):
            values[name] = [values[name]]
    for name, given, known in (("retain", retain, RETAIN), ("clean", clean, CLEAN)):
        values[name] = (
            *_names(values.get(name) or (), known, f"{path}:{lines.get((name,), 1)}: {name}"),
            *_names(given, known, f"--{name}"),
        )
    if verify is not None:
        values["verify"] = verify
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_problem(fault, path, lines) for fault in error.errors(include_url=False))
        ) from None
    for name in settings.attributes:
        if _tag(name) < 0:
            where = f"{path}:{lines.get(('attributes', name), 1)}"
            raise ConfigError(
                f"{where}: attributes: expected a keyword of DICOM or (gggg,eeee), got {name!r}"
            )
    return settings


def _names(given: Any, known: Sequence[str], where: str) -> list[str]:
    if not isinstance(given, Sequence):
        raise ConfigError(f"{where}: expected a list of names, got {type(given).__name__}")
    result = []
    for name in (part.strip().lower().replace("_", "-") for text in given for part in str(text).split(",")):
        if name and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"; did you mean `{near[0]}`?" if near else ""
            raise ConfigError(f"{where}: expected any of {', '.join(known)}, got {name!r}{guess}")
        if name and name not in result:
            result.append(name)
    return result


def _problem(fault: Any, path: Path | None, lines: Mapping[Any, int]) -> str:
    key = tuple(fault["loc"])
    where = f"{path}:{lines.get(key[:2]) or lines.get(key[:1]) or 1}"
    name = ".".join(map(str, key))
    if fault["type"] == "extra_forbidden":
        return f"{where}: {name}: unknown key; expected one of {', '.join(Settings.model_fields)}"
    field = Settings.model_fields.get(str(key[0])) if key else None
    return f"{where}: {name}: expected {field.description if field else 'something else'}; {fault['msg'].lower()}"


def _tag(name: str) -> int:
    """The tag of a keyword or of (gggg,eeee); -1 when it is neither."""
    found = re.fullmatch(r"\(?([0-9A-Fa-f]{4}),?\s?([0-9A-Fa-f]{4})\)?", name.strip())
    if found:
        return int(found[1] + found[2], 16)
    tag = tag_for_keyword(name.strip())
    return -1 if tag is None else int(tag)
