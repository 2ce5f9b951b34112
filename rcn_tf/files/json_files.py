"""Reading and writing of JSON files that hold an object."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from rcn_tf.files.kinds import because, require_file
from rcn_tf.files.whole_files import replacing


def write_json(path: str | pathlib.Path, value: object) -> None:
    """Writes `value` as indented JSON, replacing `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | pathlib.Path) -> dict[str, Any]:
    """Reads a JSON file that must hold an object.

    Raises: FileNotFoundError: no such file. ValueError: not JSON, or not an object.
    """
    path = pathlib.Path(path)
    require_file(path, "a JSON file", absent=f"{path} does not exist.")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not only JSON's: too many digits
        reason = because(path, error, wanted=("json", "text"))
        raise ValueError(f"{path} is not valid JSON: {reason}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object; got {type(value).__name__}.")
    return value


def write_json_if_new(path: pathlib.Path, content: Any) -> None:
    """Writes a file as `write_json`, unless it holds this already. Args: as there."""
    if not path.exists() or read_json(path) != content:
        write_json(path, content)
