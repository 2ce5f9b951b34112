"""`args.json` of the original project: all options of its training command.

Two of the options, `net_args` and `data_args`, are keyword arguments as text, such as
"det_factor=0.2, augmentation='identity'", which the original had Python evaluate. Here they are
parsed: only literal values are allowed, and nothing in them is executed.
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import warnings
from typing import Any

from rcn_tf.files.json_files import read_json
from rcn_tf.files.kinds import require_file

FILE = "args.json"
MAX_BYTES = 100_000
MAX_TEXT = 2000  # characters of `net_args` or `data_args`
BASES = {"VTN": "vtn", "VoxelMorph": "voxelmorph"}

# Entries of `net_args` that do not change what a trained network computes.
_FOR_TRAINING = (
    *("det_factor", "ortho_factor", "reg_factor", "extra_losses", "warp_gradient"),
    *("summary", "augmentation"),
)
_NO_FILE = f"there is no {FILE}: the network is inferred from the variables, with 1 repeat"
_OPENING = "dict("
_OVERRIDES = ("base_network", "n_cascades", "rep")


@dataclasses.dataclass(frozen=True)
class OriginalArguments:
    """What `args.json` says about a network; None where it says nothing.

    base: "vtn" or "voxelmorph"; n_cascades; n_repeats: in training (the original's `rep`);
    dataset: path of the dataset config as the user typed it; raw: the whole file, None if there
    is none; notes: sentences about entries that have no effect here.
    """

    base: str | None = None
    n_cascades: int | None = None
    n_repeats: int = 1
    dataset: str | None = None
    raw: dict | None = None
    notes: tuple[str, ...] = ()


def read_arguments(folder: str | pathlib.Path) -> OriginalArguments:
    """Reads the original's options beside its checkpoints; `net_args` overrides the others.

    Args: folder: the checkpoints' folder, which may hold `args.json`.
    Returns: OriginalArguments.
    Raises: ValueError: the file is not JSON, too large, has a value of the wrong kind or out of
        range, or asks for something that this project's networks cannot do.
    """
    path = pathlib.Path(folder) / FILE
    if not path.exists() and not path.is_symlink():
        return OriginalArguments(notes=(_NO_FILE,))
    require_file(path, "a JSON file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes: that is not the original's.")
    raw = read_json(path)
    texts = {key: _typed(path, raw, key, str) or "" for key in ("net_args", "data_args")}
    net_args, data_args = (parse_keywords(text, f"{path}: `{key}`") for key, text in texts.items())
    _check_padding(path, net_args)
    options = {**raw, **{key: net_args[key] for key in _OVERRIDES if key in net_args}}
    base = _typed(path, options, "base_network", str)
    if base is not None and base not in BASES:
        known = " or ".join(BASES)
        raise ValueError(f"{path}: `base_network` must be {known}; got {base!r}.")
    n_repeats = _whole_number(path, options, "rep", 1)
    return OriginalArguments(
        base=BASES.get(base),
        n_cascades=_whole_number(path, options, "n_cascades", 0),
        n_repeats=1 if n_repeats is None else n_repeats,
        dataset=_typed(path, options, "dataset", str),
        raw=raw,
        notes=_notes(net_args, data_args),
    )


def parse_keywords(text: str, where: str = "arguments") -> dict[str, Any]:
    """Parses keyword arguments in text, as in a call of `dict`, without evaluating anything.

    Args: text: "name=value, name=value", each value a Python literal (numbers, strings, None,
        booleans, and lists, tuples, sets and dicts of these). where: name for errors.
    Returns: dict.
    Raises: ValueError: anything else, with the text and the position in it.
    """
    call = _parsed_call(text, where)
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise _fault(where, text, call, "goes on after its bracket is closed")
    if call.args:
        raise _fault(where, text, call.args[0], "has a value without a name")
    values = {}
    for keyword in call.keywords:
        name, value = keyword.arg, keyword.value
        if name is None:
            raise _fault(where, text, value, "may not have **")
        if name in values:
            raise _fault(where, text, value, f"has {name!r} twice")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, TypeError, MemoryError, RecursionError) as error:
            raise _fault(where, text, value, f"must give {name!r} a literal value") from error
    return values


def _parsed_call(text, where):
    if len(text) > MAX_TEXT:
        raise ValueError(f"{where} has more than {MAX_TEXT} characters.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about odd backslashes in the text
            return ast.parse(f"{_OPENING}{text})", mode="eval").body
    except SyntaxError as error:
        place = (error.offset or 0) - len(_OPENING) if error.lineno == 1 else 1
        reason = f"is not 'name=value, ...' ({error.msg})"
        raise ValueError(f"{where} {reason} {_shown(text, place)}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"{where} cannot be parsed: {error or type(error).__name__}.") from error


def _fault(where, text, node, rule):
    place = node.col_offset - len(_OPENING) + 1 if node.lineno == 1 else 1
    return ValueError(f"{where} {rule} {_shown(text, place)}")


def _shown(text, place):
    place = min(max(place, 1), len(text))
    part = text if len(text) <= 80 else f"…{text[place - 1 : place + 40]}…"
    return f"at character {place} of {part!r}."


def _check_padding(path, net_args):
    if net_args.get("warp_padding"):
        raise ValueError(
            f"{path}: `net_args` has warp_padding={net_args['warp_padding']!r}: that network saw "
            "zeros outside the moving image, those of this project repeat its border."
        )


def _notes(net_args, data_args):
    groups = {
        "matter in training only": [name for name in net_args if name in _FOR_TRAINING],
        "are unknown, the original ignored them too": [
            name for name in net_args if name not in (*_FOR_TRAINING, *_OVERRIDES, "warp_padding")
        ],
    }
    notes = [f"`net_args` that {why}: {', '.join(names)}" for why, names in groups.items() if names]
    if data_args:
        notes.append(f"`data_args` are not used: {', '.join(data_args)}")
    return tuple(notes)


def _typed(path, options, key, kind):
    value = options.get(key)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{path}: `{key}` must be a string; got {value!r}.")
    return value


def _whole_number(path, options, key, least):
    value = options.get(key)
    if value is not None and (type(value) is not int or value < least):
        raise ValueError(f"{path}: `{key}` must be a whole number from {least}; got {value!r}.")
    return value
