"""Scans and flows looked up on the grids of other scans, at full resolution.

These functions take and return NumPy arrays of one volume without a batch. Positions are affine
maps of a grid's voxels, computed on the way in double precision; no array of coordinates is made.
They are native ops for CPUs (`cc/resampling_cpu.h`) without gradient and without a form in
TensorFlow: `rcn_tf.volumes` has one in NumPy and SciPy, for where they are not available.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from custom_ops.loader import library

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Types of images that `resample` takes."""

LOOKUPS = ("linear", "nearest", "vote")


def resample(
    image: np.ndarray,
    shape: Sequence[int],
    to_image: np.ndarray,
    *,
    displacement: np.ndarray | None = None,
    to_index: np.ndarray | None = None,
    lookup: str = "linear",
    outside: float | None = None,
) -> np.ndarray:
    """image(to_image x + to_index displacement(x)) at the voxels x of a grid.

    Args:
        image: [D, H, W], one of `TYPES`.
        shape: (D', H', W') of the grid.
        to_image: [4, 4] or [3, 4], voxel of the grid -> array index in the image.
        displacement: [D', H', W', 3] float32, mm, or None.
        to_index: [3, 3], mm -> voxels of the image; needed with a displacement.
        lookup: "linear"; "nearest"; or "vote", for labels: of the eight voxels around a position
            the value with the largest weight, on a tie the smallest.
        outside: value where the index is not in [-0.5, n - 0.5); None repeats the border.
    Returns: [D', H', W'], the image's type; integers are rounded to the nearest, halves to even.
    Raises: ValueError: an unknown lookup. ImportError: there are no native ops here.
        tf.errors.InvalidArgumentError: shapes do not match.
    """
    if lookup not in LOOKUPS:
        raise ValueError(f"`lookup` must be one of {', '.join(LOOKUPS)}; got {lookup!r}.")
    with tf.device("CPU:0"):
        moved = np.zeros(0, np.float32) if displacement is None else displacement
        found = library().rcn_resample(
            image,
            moved,
            _rows(to_image),
            _linear(np.zeros((3, 3)) if to_index is None else to_index),
            np.asarray(shape, np.int64),
            np.float64(0 if outside is None else outside),
            lookup=lookup,
            fills=outside is not None,
        )
    return found.numpy()


def look_up_flow(
    flow: np.ndarray,
    shape: Sequence[int],
    to_flow: np.ndarray,
    vector: np.ndarray,
    affine: np.ndarray,
    dtype: npt.DTypeLike = np.float32,
) -> np.ndarray:
    """affine x + vector flow(to_flow x) at the voxels x of a grid; outside, the border's flow.

    Args:
        flow: [D, H, W, 3] float32.
        shape: (D', H', W') of the grid.
        to_flow: [4, 4] or [3, 4], voxel of the grid -> array index in the flow.
        vector: [3, 3]. affine: [4, 4] or [3, 4].
        dtype: float32 or float64.
    Returns: [D', H', W', 3] of that type, read-only; computed in float64.
    Raises: as `resample`.
    """
    with tf.device("CPU:0"):
        found = library().rcn_look_up_flow(
            flow,
            _rows(to_flow),
            _linear(vector),
            _rows(affine),
            np.asarray(shape, np.int64),
            T=tf.as_dtype(np.dtype(dtype)),
        )
    return np.asarray(found)  # without a copy


def invert_field(
    vectors: np.ndarray,
    shape: Sequence[int],
    to_field: np.ndarray,
    to_index: np.ndarray,
    start: np.ndarray,
    along: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse of a displacement field d at the voxels of a grid, by Newton's method.

    For the point y of a voxel u is wanted with y + u + d(y + u) = y. Every voxel starts from the
    one before it, and from `start` where that leads nowhere.

    Args:
        vectors: [D, H, W, 3] float32, d in mm.
        shape: (D', H', W') of the grid.
        to_field: [4, 4] or [3, 4], voxel of the grid -> array index in the field.
        to_index: [3, 3], mm -> voxels of the field.
        start: [4, 4] or [3, 4], voxel of the grid -> first guess of u, mm.
        along: [3], from one voxel of the grid to the next along its last axis, mm.
        tolerance: error in mm at which a voxel is left alone.
    Returns:
        u [D', H', W', 3] float32, mm; its error [D', H', W'] float32, how far y + u + d(y + u) is
        from y, mm, NaN where the field is NaN; whether y + u lies within the field's voxels
        [D', H', W'] bool.
    Raises: as `resample`.
    """
    with tf.device("CPU:0"):
        found = library().rcn_invert_field(
            vectors,
            _rows(to_field),
            _linear(to_index),
            _rows(start),
            np.asarray(along, np.float64),
            np.float64(tolerance),
            np.asarray(shape, np.int64),
        )
    return tuple(part.numpy() for part in found)


def turned_cells(vectors: np.ndarray, to_index: np.ndarray) -> np.ndarray:
    """Cells between the voxels of a displacement field that it turns inside out.

    Args: vectors: [D, H, W, 3] float32, mm. to_index: [3, 3], mm -> voxels of the field.
    Returns: [D - 1, H - 1, W - 1] bool: at one of the cell's corners the edges are no right-handed
        frame.
    Raises: as `resample`.
    """
    with tf.device("CPU:0"):
        return library().rcn_turned_cells(vectors, _linear(to_index)).numpy()


def _rows(matrix):
    """[3, 4] float64 of a map of points."""
    return np.asarray(matrix, np.float64)[:3]


def _linear(matrix):
    """The same of a map of vectors, [3, 3]."""
    return np.concatenate([np.asarray(matrix, np.float64), np.zeros((3, 1))], axis=1)
