"""Call options of a model on the command line: `--option NAME=VALUE`, and flags for common ones.

The model declares its options, so they are known once it is loaded. An option that it does not
declare is refused then, with a list of those that it has.
"""

from __future__ import annotations

import argparse
from typing import Any

from rcn_tf.commands.options import SetOnce, check_positive

_FLAGS = {"n_repeats": "repeats", "diffeomorphic": "diffeomorphic"}


def add_model_options(parser: argparse.ArgumentParser, diffeomorphic: bool = True) -> None:
    """Declares `--option`, `--repeats` (RCN, section 3.3) and, if wanted, `--diffeomorphic`."""
    parser.add_argument(
        "--option",
        dest="model_options",
        action=SetOnce,
        default=[],
        metavar="NAME=VALUE",
        help="call option of the model (repeatable; `rcn info MODEL` lists the options)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        metavar="R",
        help="apply each dense stage R times (shared-weight cascading; default 1)",
    )
    if diffeomorphic:
        parser.add_argument(
            "--diffeomorphic",
            action="store_true",
            default=None,
            help="integrate each dense stage's flow as a velocity field, so that it hardly folds",
        )


def check_model_options(args: argparse.Namespace) -> None:
    """Checks the arguments before the model is loaded. Raises: ValueError."""
    check_positive(args, ["repeats"])
    for setting in args.model_options:
        name, equals, _ = setting.partition("=")
        if not equals:
            raise ValueError(f"--option needs NAME=VALUE; got {setting!r}")
        flag = _FLAGS.get(name)
        if flag is not None and getattr(args, flag, None) is not None:
            raise ValueError(f"--{flag} and --option {name} set the same option; give one")


def model_options(model: Any, args: argparse.Namespace) -> dict[str, Any]:
    """{name: value} of the call options that the arguments set.

    Args: model: RegistrationModel, or None where no network runs, which then takes no option.
    Raises: ValueError: the model does not declare one, or its value is wrong.
    """
    if model is None:
        flags = [f"--{flag}" for flag in _FLAGS.values() if getattr(args, flag, None) is not None]
        given = [*flags, *(["--option"] if args.model_options else [])]
        if given:
            raise ValueError(f"{', '.join(given)}: no network runs here that could take options")
        return {}
    from rcn_tf.models.model import checked_options
    from rcn_tf.settings.files import parse_value

    declared = {k: o for k, o in model.CALL_OPTIONS.items() if not o.for_training}
    known = ", ".join(declared) or "none"
    chosen = {}
    for name, flag in _FLAGS.items():
        value = getattr(args, flag, None)
        if value is not None and name not in declared:
            kind = type(model).__name__
            raise ValueError(f"--{flag}: model {kind} has no option {name!r}; it has: {known}")
        if value is not None:
            chosen[name] = value
    for setting in args.model_options:
        name, _, text = setting.partition("=")
        if name not in declared:
            kind = type(model).__name__
            raise ValueError(f"--option: model {kind} has no option {name!r}; it has: {known}")
        is_text = isinstance(declared[name].default, str)
        chosen[name] = text if is_text else parse_value(text)
    return {name: checked_options(model, chosen)[name] for name in chosen}
