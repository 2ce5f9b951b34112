"""Settings on the command line: "optimizer.learning_rate=3e-4" applied to a config's dict."""

from __future__ import annotations

import collections.abc
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from rcn_tf.settings.fields import known_keys, plain, unknown_key
from rcn_tf.settings.files import parse_value


def apply_settings(
    cls, values: Mapping[str, Any], settings: Iterable[str], paths: Iterable[str] = ()
) -> dict[str, Any]:
    """Copy of a config's dict with "key.subkey=value" strings applied.

    The value is YAML on one line ("3", "[1, 2]", "null"); text that is not YAML is a string. Where
    the key takes a string, the value is used as it is, so that "data.scheme=1" is the name "1". A
    free mapping can be set as a whole or entry by entry, "loss.final.similarity=0.5".

    Args:
        cls: nested dataclass of the config.
        values: dict with all its keys.
        settings: the strings.
        paths: keys that name files, made absolute from the working directory.

    Raises: ValueError: a setting has another form, or there is no such key.
    """
    result = plain(values)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set needs key=value; got {setting!r}.")
        hint = _hint(cls, key)
        if hint is Optional[str] and text == "null":
            value = None
        elif key in paths and text:
            value = str(pathlib.Path(text).resolve())
        else:
            value = text if hint in (str, Optional[str]) else parse_value(text)
        _put(result, key, value)
    return result


def _hint(cls, key):
    """Type of a key's value; None inside a free mapping."""
    known = known_keys(cls)
    free = [name for name, hint in known.items() if hint is collections.abc.Mapping]
    if key in known or any(key.startswith(f"{name}.") for name in free):
        return known.get(key)
    members = [name for name in known if name.startswith(f"{key}.")]
    if members:
        raise ValueError(f"--set: {key!r} is a group of keys: {', '.join(members)}.")
    raise ValueError(f"--set: {unknown_key(cls, key)}")


def _put(values, key, value):
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ValueError(f"--set: `{parent}` in {key!r} has no keys; set it as a whole.")
    values[last] = value
