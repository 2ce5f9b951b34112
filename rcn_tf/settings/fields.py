"""Nested frozen dataclasses from nested mappings and back: types, unknown keys, nearest names.

A dataclass whose fields are values or further dataclasses describes a settings file; a key of it
is written with dots, "optimizer.learning_rate". A field annotated `Mapping` is free: the engine
does not check what is inside it and makes it read-only.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

_DESCRIPTIONS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list",
    collections.abc.Mapping: "an object",
}


def known_keys(cls: type, prefix: str = "") -> dict[str, Any]:
    """{dotted key: type annotation} of every value in nested dataclasses."""
    keys = {}
    for name, hint in typing.get_type_hints(cls).items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            keys.update(known_keys(hint, f"{prefix}{name}."))
        else:
            keys[f"{prefix}{name}"] = hint
    return keys


def check_keys(cls: type, values: Mapping, root: type | None = None, prefix: str = "") -> None:
    """Checks that all keys are known and that every group of keys is an object.

    Args: root, prefix: the outer dataclass, and where in it the values lie.
    Raises: ValueError: naming the key.
    """
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        if key not in hints:
            raise ValueError(unknown_key(root or cls, f"{prefix}{key}"))
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, collections.abc.Mapping):
                raise ValueError(f"`{prefix}{key}` must be an object; got {value!r}.")
            check_keys(hints[key], value, root or cls, f"{prefix}{key}.")


def unknown_key(cls: type, key: str) -> str:
    """Message about an unknown dotted key: names the nearest one, or those of its level."""
    found = nearest_key(key, [*typing.get_type_hints(cls), *known_keys(cls)], otherwise="")
    if found:
        return found
    level = cls
    for parent in key.split(".")[:-1]:
        inner = typing.get_type_hints(level).get(parent)
        if not (isinstance(inner, type) and dataclasses.is_dataclass(inner)):
            break
        level = inner
    return f"unknown key {key!r}; known there: {', '.join(typing.get_type_hints(level))}."


def nearest_key(key: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Message about an unknown dotted key: names the nearest known one, by its last part.

    Args: otherwise: the message where none is near; by default it lists the known keys.
    """
    endings = difflib.get_close_matches(_ending(key), map(_ending, known), n=1)
    if endings:
        candidates = [name for name in known if _ending(name) in endings]
        near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.0)
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    if otherwise is None:
        return f"unknown key {key!r}; known there: {', '.join(map(_ending, known))}."
    return otherwise


def build(cls: type, values: Mapping) -> Any:
    """Nested dataclasses from nested mappings; a key that is left out keeps its default.

    Raises:
        KeyError: a key without default is missing.
        ValueError: `check_keys`, or what the dataclasses raise.
    """
    check_keys(cls, values)
    for field in dataclasses.fields(cls):
        defaults = (field.default, field.default_factory)
        if defaults == (dataclasses.MISSING,) * 2 and field.name not in values:
            raise KeyError(f"key `{field.name}` is missing.")
    return _build(cls, values)


def _build(cls, values):
    hints = typing.get_type_hints(cls)
    return cls(
        **{
            key: _build(hints[key], value) if dataclasses.is_dataclass(hints[key]) else value
            for key, value in values.items()
        }
    )


def plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as the dicts and lists that JSON has, copied."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, collections.abc.Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def convert_fields(instance: Any, prefix: str = "") -> None:
    """Converts each field of a frozen dataclass to its annotated type, in its `__post_init__`.

    The rules are those of `converted`.

    Raises: ValueError: a value of another type, named with `prefix`.
    """
    for name, hint in typing.get_type_hints(type(instance)).items():
        value = converted(getattr(instance, name), hint, f"{prefix}{name}")
        object.__setattr__(instance, name, value)


def _ending(key):
    return key.rpartition(".")[2]


def converted(value: Any, hint: Any, name: str) -> Any:
    """A value converted to its annotated type.

    A whole number counts as a number, 1e5 as a whole number and a list as a tuple. A boolean does
    not count as a number.

    Raises: ValueError: a value of another type, called `name`.
    """
    options = typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)
    for option in options:
        fits, result = _as(value, option)
        if fits:
            return result
    wanted = " or ".join(_description(option) for option in options if option is not type(None))
    raise ValueError(f"`{name}` must be {wanted}; got {value!r}.")


def _as(value, option):
    """(Whether `value` fits one type, the value as that type)."""
    kind = typing.get_origin(option) or option
    if kind is typing.Any:
        return True, read_only(value)
    if kind is typing.Literal:
        return isinstance(value, str) and value in typing.get_args(option), value
    if kind is float and type(value) is int and abs(value) < 2**1000:
        return True, float(value)
    if kind is int and type(value) is float and value.is_integer():  # 1e5
        return True, int(value)
    if kind is tuple:
        return isinstance(value, (list, tuple)), read_only(value)
    if kind is collections.abc.Mapping:
        return isinstance(value, kind), read_only(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), value


def _description(option):
    if typing.get_origin(option) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(option)))
    if dataclasses.is_dataclass(option):
        return f"a {option.__name__}"
    return _DESCRIPTIONS[typing.get_origin(option) or option]


def read_only(value: Any) -> Any:
    """Nested mappings and lists as mappings and tuples that cannot be changed."""
    if isinstance(value, collections.abc.Mapping):
        return types.MappingProxyType({key: read_only(inner) for key, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(read_only(inner) for inner in value)
    return value
