"""Linear sampling of arrays at continuous indices, in float64.

The native warp does it where TensorFlow is loaded anyway, on all cores and many times faster than
SciPy. Commands that do without TensorFlow are not made to wait for it: SciPy samples there. Both
give the same values up to float64's rounding.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy import ndimage

FEW = 0.1
"""Coordinates per value of the array below which the native warp is not worth its copy of it."""


def sample_linear(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values at continuous indices, by linear interpolation; outside, the border's values.

    Args:
        array: [D, H, W] or [D, H, W, C], real.
        index: [..., 3] float64 array indices (d, h, w).
    Returns: [...] or [..., C] float64.
    """
    channels = array.shape[3:]
    if index.size == 0:
        return np.empty((*index.shape[:-1], *channels))
    if index.size >= FEW * array.size and has_native_ops():
        return _by_warp(array, index)
    points = index.reshape(-1, 3).T
    parts = np.moveaxis(array.reshape(*array.shape[:3], -1), -1, 0)
    values = [
        ndimage.map_coordinates(
            part, points, output=np.float64, order=1, mode="nearest", prefilter=False
        )
        for part in parts
    ]
    return np.stack(values, axis=-1).reshape(*index.shape[:-1], *channels)


def has_native_ops() -> bool:
    """Whether the native ops can be used without waiting for TensorFlow."""
    if "tensorflow" not in sys.modules:
        return False
    from custom_ops import resolve_backend

    return resolve_backend() == "native"


def _by_warp(array, index):
    """The native op on the part of the array that the indices need.

    A warp looks up x + flow(x): the flow is the index less that of the sample itself.
    """
    import tensorflow as tf

    from custom_ops import warp

    shape = index.shape[:-1]
    flow = index.reshape(1, *_three(shape), 3)
    low, high = _bounds(flow, array.shape[:3])
    part = array[tuple(slice(a, b) for a, b in zip(low, high))]
    part = np.ascontiguousarray(part.reshape(1, *part.shape[:3], -1), np.float64)
    flow = flow - low
    for axis, size in enumerate(flow.shape[1:4]):
        flow[..., axis] -= np.arange(size).reshape(-1, *[1] * (2 - axis))
    with tf.device("CPU:0"):
        values = warp(tf.constant(part), tf.constant(flow), backend="native").numpy()
    return values.reshape(*shape, *array.shape[3:])


def _three(shape):
    """Three sizes of an array of samples; points in a row become planes, which threads share."""
    if len(shape) == 3:
        return shape
    number = int(np.prod(shape))
    planes = next(k for k in (64, 32, 16, 8, 4, 2, 1) if number % k == 0)
    return planes, 1, number // planes


def _bounds(flow, shape):
    """First and one past the last voxel that the indices depend on, per axis; NaN has no say."""
    last = np.array(shape) - 1
    parts = [flow[..., axis].ravel() for axis in range(3)]
    low = np.nan_to_num([np.fmin.reduce(part) for part in parts])
    high = np.nan_to_num([np.fmax.reduce(part) for part in parts])
    low = np.clip(np.floor(low), 0, last).astype(int)
    high = np.clip(np.floor(high) + 1, 0, last).astype(int)
    return low, np.maximum(low, high) + 1
