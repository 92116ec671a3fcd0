"""`--set section.key=value`: one value of the config, given on the command line."""

from collections.abc import Mapping
from typing import Any

from medcli.config.document import Key, parse_value
from medcli.errors import ConfigError


def parse_override(text: str) -> tuple[Key, Any]:
    """Split `section.key=value`; the value is YAML (5, 1e-3, true, [64, 64], {organ: 1}); empty means null.

    >>> parse_override("train.epochs=5")
    (('train', 'epochs'), 5)
    """
    name, sign, value = text.partition("=")
    key = tuple(name.strip().split("."))
    if not sign or not all(key):
        raise ConfigError(f"--set {text}: expected section.key=value, for example --set train.epochs=5")
    try:
        return key, parse_value(value)
    except ConfigError as error:
        raise ConfigError(f"--set {name.strip()}: {error}") from None


def put(values: dict[str, Any], key: Key, value: Any) -> None:
    """Set a value in nested mappings, making the missing ones; ConfigError where something else stands."""
    inner: dict[Any, Any] = values
    for depth, name in enumerate(key[:-1], start=1):
        found = inner.get(name)
        if found is None:
            found = inner[name] = {}
        if not isinstance(found, dict):
            here = ".".join(map(str, key[:depth]))
            raise ConfigError(
                f"--set {'.'.join(map(str, key))}: {here} holds one value, not keys; set {here} itself"
            )
        inner = found
    inner[key[-1]] = value


def get(values: Mapping[str, Any], key: Key) -> Any:
    """The value at a key, or None where nothing stands."""
    inner: Any = values
    for name in key:
        if not isinstance(inner, Mapping) or name not in inner:
            return None
        inner = inner[name]
    return inner
