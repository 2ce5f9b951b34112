"""The arguments of a class or function as settings: checked against its signature.

values = checked_arguments(RecursiveCascade, {"base": "voxelmorph"}, "network.")
values.base, values["n_cascades"]
"""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Mapping
from typing import Any, Callable

from rcn_tf.settings.fields import converted, nearest_key, read_only


class Arguments(collections.abc.Mapping):
    """A read-only mapping of arguments, which are attributes as well."""

    def __init__(self, values: Mapping[str, Any]):
        object.__setattr__(self, "_values", read_only(values))

    def __getitem__(self, key):
        return self._values[key]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __getattr__(self, name):
        try:
            return object.__getattribute__(self, "_values")[name]
        except KeyError as error:
            raise AttributeError(f"there is no argument {name!r}.") from error

    def __setattr__(self, name, value):
        raise AttributeError(f"arguments cannot be changed: {name!r}.")

    def __eq__(self, other):
        return isinstance(other, Mapping) and dict(self) == dict(other)

    def __repr__(self):
        return f"Arguments({dict(self)!r})"


def checked_arguments(
    target: Callable,
    values: Mapping[str, Any],
    prefix: str = "",
    *,
    leave_out: tuple[str, ...] = (),
    defaults: Mapping[str, Any] | None = None,
) -> Arguments:
    """All arguments of a class or function, those that are not given at their defaults.

    Args:
        target: its signature says which there are, of what types, with what defaults.
        values: those that are given.
        prefix: of their names in messages, such as "network.".
        leave_out: arguments that are no settings.
        defaults: where a setting's default differs from the signature's.

    Raises: ValueError: an unknown argument, one of another type, or one without value or default.
    """
    hints = _hints(target)
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in (*leave_out, "self", "name")
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    for key in values:
        if key not in parameters:
            raise ValueError(nearest_key(f"{prefix}{key}", [f"{prefix}{k}" for k in parameters]))
    found = {}
    for name, parameter in parameters.items():
        default = (defaults or {}).get(name, parameter.default)
        value = values.get(name, default)
        if value is parameter.empty:
            raise ValueError(f"`{prefix}{name}` must be given.")
        known = name in values and name in hints
        found[name] = converted(value, hints[name], f"{prefix}{name}") if known else value
    return Arguments(found)


def _hints(target):
    """{name: type} of the arguments whose types are ones that settings can have."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # names of a module that is not imported at run time
        return {}
    return {name: hint for name, hint in hints.items() if _is_plain(hint)}


def _is_plain(hint):
    options = typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)
    return all(
        (typing.get_origin(option) or option)
        in (bool, int, float, str, tuple, type(None), collections.abc.Mapping, typing.Literal)
        for option in options
    )
