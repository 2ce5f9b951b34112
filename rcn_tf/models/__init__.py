"""Registration systems: `model(fixed, moving)` returns a RegistrationOutput.

`MODELS` names those of this package. A model of one's own is named "package.module:Class".
"""

import importlib

MODELS = {"RecursiveCascade": "rcn_tf.models.cascade:RecursiveCascade"}
"""{name: where the class is}."""

CASCADE = "RecursiveCascade"
"""The model of folders and configs that name none."""


def model_class(name: str) -> type:
    """The class of a model; importing a model of one's own runs its module.

    Args: name: of `MODELS`, or "package.module:Class".
    Raises: ValueError: there is no such model, or what is there is no RegistrationModel.
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


def model_name(cls: type) -> "str | None":
    """The name that leads back to a model's class; None where none does (a local class, say)."""
    path = f"{cls.__module__}:{cls.__qualname__}"
    for name, known in MODELS.items():
        if known == path:
            return name
    try:
        return path if model_class(path) is cls else None
    except ValueError:
        return None
