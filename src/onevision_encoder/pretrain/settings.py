"""Configurations to and from JSON, single settings by name, and what differs between two."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from onevision_encoder.checks import meant
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.config import PretrainConfig

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as it reads back from a file."""
    made: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return made


def read_config(path: Path) -> PretrainConfig:
    """A configuration from a JSON file, ``config.json`` of another run say.

    Raises:
        InvalidArgumentError: no such file, no JSON, or a setting that is unknown or not accepted.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError("config", str(path), f"a file of JSON ({error})") from error
    return from_json(PretrainConfig, found)


def from_json(kind: type[T], found: Any, where: str = "") -> T:
    """A dataclass of ``kind`` from what :func:`to_json` gave; settings that are left out keep their defaults.

    Raises:
        InvalidArgumentError: naming the setting with its path.
    """
    if not isinstance(found, Mapping):
        raise InvalidArgumentError(where or "config", found, f"an object with the settings of {kind.__name__}")
    hints = get_type_hints(kind)
    for name in found:
        if name not in hints:
            raise InvalidArgumentError(
                _path(where, name), found[name], f"no such setting{meant(str(name), hints, {})}; {', '.join(hints)}"
            )
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    for name in needed:
        if name not in found:
            raise InvalidArgumentError(_path(where, name), None, f"{kind.__name__} needs it")
    return kind(**{name: _value(hints[name], value, _path(where, name)) for name, value in found.items()})


def with_setting(config: PretrainConfig, text: str) -> PretrainConfig:
    """The configuration with one setting changed, written ``optimizer.lr=1e-4``; the value is JSON or a plain word.

    Raises:
        InvalidArgumentError: no such setting, or a value it does not take.
    """
    path, equals, written = text.partition("=")
    if not equals:
        raise InvalidArgumentError("set", text, "NAME=VALUE, optimizer.lr=1e-4 say")
    try:
        value = json.loads(written)
    except ValueError:
        value = written
    tree = to_json(config)
    place: Any = tree
    *above, last = path.split(".")
    for depth, name in enumerate(above):
        found = place.get(name, MISSING) if isinstance(place, dict) else MISSING
        if found is None:  # a part that is left out by default: its first setting brings it
            found = place[name] = {}
        if found is MISSING or not isinstance(found, dict):
            raise InvalidArgumentError("set", text, f"a setting: there is no {'.'.join(above[: depth + 1])} to set")
        place = found
    if isinstance(place, dict):
        place[last] = value
    return from_json(PretrainConfig, tree)


def differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, value, other value) of every setting in which two JSON trees differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in sorted({*one, *other}):
            yield from differences(one.get(name), other.get(name), _path(where, name))
    elif one != other:
        yield where, one, other


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _value(hint: Any, value: Any, where: str) -> Any:
    """JSON -> what the type hint says: dataclasses, tuples, mappings, unions of them, plain values."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        kinds = [kind for kind in inner if kind is not type(None)]
        return _value(_alternative(kinds, value), value, where)
    if is_dataclass(hint):
        return from_json(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InvalidArgumentError(where, value, "a list")
        kinds_of = [inner[0]] * len(value) if inner[-1] is ... else list(inner)
        if len(kinds_of) != len(value):
            raise InvalidArgumentError(where, value, f"a list of {len(kinds_of)}")
        return tuple(_value(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds_of, value)))  # noqa: B905
    if origin is not None and issubclass(_class(origin), Mapping):
        if not isinstance(value, Mapping):
            raise InvalidArgumentError(where, value, "an object")
        return {name: _value(inner[1], item, _path(where, name)) for name, item in value.items()}
    return _plain(hint, value, where)


def _alternative(kinds: list[Any], value: Any) -> Any:
    """Which of a union's types a value is meant for: lists for tuples, else the first that it is of, else the first."""
    lists = [kind for kind in kinds if get_origin(kind) is tuple]
    if lists and isinstance(value, list | tuple):
        return lists[0]
    plain = [kind for kind in kinds if kind not in lists]
    return next((kind for kind in plain if isinstance(kind, type) and isinstance(value, kind)), plain[0])


def _class(origin: Any) -> type:
    return origin if isinstance(origin, type) else object


def _plain(hint: Any, value: Any, where: str) -> Any:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if hint not in words:  # Literal, Any: the dataclass checks it
        return value
    ok = isinstance(value, hint) or (hint is float and isinstance(value, int))
    if not ok or (isinstance(value, bool) and hint is not bool):
        raise InvalidArgumentError(where, value, words[hint])
    return float(value) if hint is float else value
