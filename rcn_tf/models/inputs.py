"""Checks of a model's inputs, with one clear line for each fault.

Keras and TensorFlow need twenty lines to say the same, or convert a wrong value silently.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from rcn_tf.errors import warn

_SIZES = {2: "two sizes (H, W)", 3: "three sizes (D, H, W)"}
RANGE_TOLERANCE = 0.01
"""How far beyond [0, 1] images may reach, as resampling and rounding do."""


def checked_pair(fixed: Any, moving: Any, volume_shape: tuple) -> tuple:
    """Both images as float32 tensors of one batch size.

    Values outside [0, 1], on which no network was trained, cause a warning, and NaN an error. While
    a tf.function is traced, values are not checked.

    Args: fixed, moving: [B, *volume_shape, 1], numbers. volume_shape: the model's.
    Returns: two tf.Tensor [B, *volume_shape, 1] float32.
    Raises:
        TypeError: an image does not hold real numbers.
        ValueError: a shape is wrong, the batch sizes differ, or a value is NaN or infinite.
    """
    fixed = _checked_image(fixed, "fixed", volume_shape)
    moving = _checked_image(moving, "moving", volume_shape)
    if not fixed.shape[:1].is_compatible_with(moving.shape[:1]):
        raise ValueError(
            "`fixed` and `moving` must have the same batch size; "
            f"got {fixed.shape[0]} and {moving.shape[0]}."
        )
    return fixed, moving


def checked_volume_shape(shape: Any, smallest: int, ranks: tuple = (3,)) -> tuple:
    """The shape as a tuple of ints.

    Raises: ValueError: it is not two or three whole sizes (as `ranks` allows) >= `smallest`.
    """
    sizes = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray, tf.TensorShape)) else ()
    if len(sizes) not in ranks or not all(_is_whole(size) and size >= smallest for size in sizes):
        wanted = " or ".join(_SIZES[rank] for rank in sorted(ranks, reverse=True))
        raise ValueError(f"`volume_shape` must be {wanted} of at least {smallest}; got {shape!r}.")
    return tuple(int(size) for size in sizes)


def check_whole(name: str, value: Any, smallest: int) -> None:
    """Raises: ValueError: an argument is not a whole number of at least `smallest`."""
    if not (_is_whole(value) and value >= smallest):
        raise ValueError(f"`{name}` must be a whole number of at least {smallest}; got {value!r}.")


def check_choice(name: str, value: Any, choices: tuple) -> None:
    """Raises: ValueError: an argument is none of `choices`."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}; got {value!r}.")


def _is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _checked_image(image, name, volume_shape):
    if not tf.is_tensor(image):
        image = np.asarray(image)
    kind = image.dtype.as_numpy_dtype if tf.is_tensor(image) else image.dtype
    if np.dtype(kind).kind not in "fiub" and not getattr(image.dtype, "is_floating", False):
        raise TypeError(f"`{name}` must hold real numbers; got {np.dtype(kind).name}.")
    image = tf.cast(image, tf.float32)
    if not image.shape.is_compatible_with((None, *volume_shape, 1)):
        raise ValueError(
            f"`{name}` must have shape [B, {', '.join(map(str, volume_shape))}, 1] "
            f"for this model; got {tuple(image.shape.as_list())}."
        )
    if hasattr(image, "numpy"):
        _check_range(image.numpy(), name)
    return image


def _check_range(array, name):
    low, high = array.min(initial=0), array.max(initial=1)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"`{name}` has NaN or infinite values.")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        warn(
            f"`{name}` has values from {low:.4g} to {high:.4g}; networks expect intensities scaled "
            "to [0, 1]"
        )
