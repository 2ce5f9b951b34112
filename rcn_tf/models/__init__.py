"""Registration systems: `model(fixed, moving)` returns a RegistrationOutput.

`MODELS` names those of this package. Your own model is named by its path, "package.module:Class".
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rcn_tf.models.model import RegistrationModel

MODELS = {
    "RecursiveCascade": "rcn_tf.models.cascade:RecursiveCascade",
    "VRNet": "rcn_tf.models.vr_net:VRNet",
    "AVSM": "rcn_tf.models.avsm:AVSM",
    "RWCNet": "rcn_tf.models.rwcnet:RWCNet",
}
"""{name: import path of the class}."""

CASCADE = "RecursiveCascade"
"""The model that is meant where a folder or config names none."""


def model_class(name: str) -> type[RegistrationModel]:
    """The class of a model. A model from outside this package is imported, which runs its module.

    Args: name: a key of `MODELS`, or "package.module:Class".
    Raises: ValueError: there is no such model, or the name leads to something else.
    """
    from rcn_tf.models.model import RegistrationModel  # loads TensorFlow

    path = MODELS.get(name, name)
    if not isinstance(path, str) or ":" not in path:
        raise ValueError(
            f"`model` must be one of {tuple(MODELS)} or 'package.module:Class'; got {name!r}."
        )
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"`model` {name!r} cannot be imported: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, RegistrationModel)):
        raise ValueError(f"`model` {name!r} is not a subclass of rcn_tf.RegistrationModel.")
    return found


def model_name(cls: type) -> str | None:
    """The name by which a model's class is found again; None if there is none (a local class)."""
    path = f"{cls.__module__}:{cls.__qualname__}"
    for name, known in MODELS.items():
        if known == path:
            return name
    try:
        return path if model_class(path) is cls else None
    except ValueError:
        return None
