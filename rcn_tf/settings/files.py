"""JSON and YAML files of settings, read strictly.

A key given twice is an error in both. YAML is read as YAML 1.2's core schema has it: `1e-4` is a
number and `no` a word, both unlike PyYAML's default, and only `true` and `false` are booleans.
Aliases, tags that make Python objects and files above 1 MB are refused: a few lines of nested
aliases can stand for gigabytes.
"""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import yaml

from rcn_tf.files.kinds import because, explain, require_file

SUFFIXES = (".json", ".yaml", ".yml")
MAX_BYTES = 1_000_000


def read_settings_file(path: str | pathlib.Path) -> dict[str, Any]:
    """The mapping that a JSON or YAML file holds.

    Args: path: ends in .json, .yaml or .yml.
    Returns: dict of plain values, lists and dicts.
    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, too large, not JSON or YAML, a key twice, or not a mapping.
    """
    path = pathlib.Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: the name of a training config must end in {', '.join(SUFFIXES)}."
        )
    require_file(path, "a training config", absent=f"{path} does not exist.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes: that is not a training config.")
    language, parse = ("JSON", _parse_json) if path.suffix == ".json" else ("YAML", _parse_yaml)
    try:
        value = parse(path.read_text(encoding="utf-8-sig"))
    except _DuplicateKeyError as error:
        raise ValueError(f"{path}: {error}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = because(path, error, wanted=("json", "text"))
        raise ValueError(f"{path} is not valid {language}: {reason}.") from error
    if not isinstance(value, dict):
        found = explain(path, wanted=("json", "text")) or f"got {type(value).__name__}"
        raise ValueError(f"{path} must hold a {language} object; {found}.")
    return value


def parse_value(text: str) -> Any:
    """The value of one line of YAML ("3", "1e-4", "[1, 2]", "null"); the text if it is not YAML."""
    try:
        return _parse_yaml(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return text


class _DuplicateKeyError(ValueError):
    def __init__(self, key):
        super().__init__(f"key {key!r} is given twice.")


def _parse_json(text):
    return json.loads(text, object_pairs_hook=_unique)


def _parse_yaml(text):
    return yaml.load(text, Loader=_Loader)


def _unique(pairs):
    result = {}
    for key, value in pairs:
        if key in result:
            raise _DuplicateKeyError(key)
        result[key] = value
    return result


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's core schema, unique keys and no aliases."""

    yaml_implicit_resolvers: dict[str, list] = {}  # filled below

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        _unique((key.value, None) for key in keys if isinstance(key, yaml.ScalarNode))
        return super().construct_mapping(node, deep=deep)


# Tag, pattern and possible first characters; the first entry that matches decides.
_CORE_SCHEMA = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[0-9]+[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
for _tag, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first)
    )
