"""Sampling of arrays at continuous indices, slab by slab so that memory stays bounded.

Linear interpolation with ITK's boundary rule: a sample whose index lies in [-0.5, n - 0.5)
on every axis is inside (its outermost half voxel repeats the border), any other is outside.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from rcn_tf.volumes.linear_sampling import sample_linear

SLAB_VOXELS = 1 << 20


def slabs(shape: Sequence[int]) -> list[slice]:
    """Slices along axis 0 that cover `shape` in parts of about SLAB_VOXELS voxels."""
    thickness = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    return [slice(d, min(d + thickness, shape[0])) for d in range(0, shape[0], thickness)]


def sample(
    array: np.ndarray, index: np.ndarray, order: int = 1, outside: float | None = None
) -> np.ndarray:
    """Samples an array at continuous indices.

    Args:
        array: [D, H, W].
        index: [..., 3] float64 array indices (d, h, w).
        order: 1 linear, 0 nearest.
        outside: value of samples outside the array; None repeats the border.
    Returns: [...] float64 where order is 1, the array's dtype where it is 0.
    """
    if order:
        values = sample_linear(array, index)
    else:
        values = ndimage.map_coordinates(
            array, index.reshape(-1, 3).T, output=array.dtype, order=0, mode="nearest"
        ).reshape(index.shape[:-1])
    if outside is not None:
        values[~inside(array.shape, index)] = outside
    return values


def inside(shape: Sequence[int], index: np.ndarray) -> np.ndarray:
    """Boolean [...]: which continuous indices [..., 3] lie inside an array of `shape`."""
    return ((index >= -0.5) & (index < np.asarray(shape) - 0.5)).all(axis=-1)


def sample_labels(labels: np.ndarray, index: np.ndarray, outside: int = 0) -> np.ndarray:
    """Samples a label map: each label's mask linearly, then the strongest one.

    Args:
        labels: [*spatial] integers, of two or three axes.
        index: [..., R] float64 array indices.
        outside: id of samples outside the array.
    Returns: [...], dtype of `labels`; on a tie the smallest id.
    """
    return LabelSampler(labels)(index, outside)


class LabelSampler:
    """`sample_labels` of one label map at many points.

    A linear sample depends on the eight surrounding voxels only (four in the plane), so the argmax
    over one-hot channels is a vote among their weights and needs no channel per label. Where the
    eight are equal, as nearly everywhere, there is nothing to vote on.

    Args: labels: as of `sample_labels`.
    """

    def __init__(self, labels: np.ndarray):
        self._labels = labels
        alike = np.ones(labels.shape, bool)  # the voxel and those after it, along every axis
        for axis in range(labels.ndim):
            first = [slice(None)] * labels.ndim
            first[axis] = slice(0, -1)
            after = [slice(None)] * labels.ndim
            after[axis] = slice(1, None)
            here, next_ = tuple(first), tuple(after)
            alike[here] &= alike[next_] & (labels[here] == labels[next_])
        self._alike = alike

    def __call__(self, index: np.ndarray, outside: int = 0) -> np.ndarray:
        """Labels [...] at array indices [..., R]."""
        labels, rank = self._labels, self._labels.ndim
        last = np.asarray(labels.shape) - 1
        position = np.clip(index.reshape(-1, rank), 0, last)
        low = np.minimum(position.astype(np.intp), np.maximum(last - 1, 0))
        place = np.ravel_multi_index(tuple(low.T), labels.shape)
        result = labels.ravel()[place]
        mixed = np.flatnonzero(~self._alike.ravel()[place])
        if mixed.size:
            low, fraction = low[mixed], (position - low)[mixed]
            high = np.minimum(low + 1, last)
            sides = list(itertools.product((0, 1), repeat=rank))
            corners = [labels[tuple(np.where(side, high, low).T)] for side in sides]
            weights = [np.prod(np.where(side, fraction, 1 - fraction), axis=1) for side in sides]
            result[mixed] = _vote(corners, weights)
        result[~inside(labels.shape, index.reshape(-1, rank))] = outside
        return result.reshape(index.shape[:-1])


def _vote(corners, weights):
    """The label of largest total weight among the corners of each sample, [N]."""
    totals = [
        sum(weight * (corner == other) for other, weight in zip(corners, weights))
        for corner in corners
    ]
    # Totals of one label differ by rounding, and a tie must not depend on that.
    best = np.max(totals, axis=0) - 1e-9
    highest = np.iinfo(corners[0].dtype).max
    return np.min(
        [np.where(total >= best, corner, highest) for corner, total in zip(corners, totals)], axis=0
    )
