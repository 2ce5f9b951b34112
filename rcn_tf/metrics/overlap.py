"""Overlap of structures: Dice score and Jaccard coefficient (RCN, section 4.2).

Label maps hold one integer per voxel, 0 being background. For each structure k, with A and
B the voxels labelled k in either map:

    Dice(A, B) = 2 |A n B| / (|A| + |B|),    Jaccard(A, B) = |A n B| / |A u B|

A structure absent from both maps has no score (NaN, so that `numpy.nanmean` leaves it out); one
that is absent from a single map scores 0. Arrays with three axes are one volume; a batch of 2D maps
has a last axis of size 1, [B, H, W, 1]. TensorFlow tensors are accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MASK_THRESHOLD = 128  # the original stores masks as 0 and 255


def structures(*label_maps: np.ndarray) -> np.ndarray:
    """Sorted ids of the structures (labels other than 0) present in any of `label_maps`."""
    ids = np.unique(np.concatenate([_present(np.asarray(labels)) for labels in label_maps]))
    return ids[ids != 0]


def _present(labels):
    """Sorted values of an array; small ids are counted, which is faster than sorting voxels."""
    if labels.size and labels.dtype.kind in "iu" and 0 <= labels.min() <= labels.max() < 1 << 16:
        return np.flatnonzero(np.bincount(labels.ravel()))
    return np.unique(labels)


def dice(a: np.ndarray, b: np.ndarray, labels: Sequence[int] | None = None) -> np.ndarray:
    """Dice score of each structure.

    >>> dice([[1, 1, 2, 2]], [[1, 1, 1, 2]], labels=[1, 2]).round(3)
    array([0.8  , 0.667])

    Args:
        a, b: integer label maps [D, H, W], [H, W], [B, D, H, W] or [B, H, W, 1]; boolean masks
            count as label 1.
        labels: sequence of K structure ids; by default all that occur in `a` or `b`.

    Returns: float64 [K] or [B, K] in [0, 1], in the order of `labels`.
    Raises: ValueError: if the shapes differ, or the maps are not integers.
    """
    shared, size_a, size_b = _counts(a, b, labels)
    return _ratio(2 * shared, size_a + size_b)


def jaccard(a: np.ndarray, b: np.ndarray, labels: Sequence[int] | None = None) -> np.ndarray:
    """Jaccard coefficient (intersection over union) of each structure; see `dice`."""
    shared, size_a, size_b = _counts(a, b, labels)
    return _ratio(shared, size_a + size_b - shared)


def mask_overlap(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dice and Jaccard of a single structure given as masks 0..255, as in the original's code.

    The original warps the moving mask linearly, like an image, and then thresholds both masks: a
    voxel belongs to the structure if its value is above `MASK_THRESHOLD`.

    Args:
        a, b: [D, H, W], [H, W], [B, D, H, W] or [B, *spatial, 1], any number type, 0..255.

    Returns: (dice, jaccard), float64 scalars for [D, H, W] and [H, W], else [B].
    Raises: ValueError: if the shapes differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim == 5 and a.shape[-1] == 1:
        a, b = a[..., 0], b[..., 0]
    counts = _counts(a > MASK_THRESHOLD, b > MASK_THRESHOLD, [1])
    shared, size_a, size_b = (count[..., 0] for count in counts)
    return _ratio(2 * shared, size_a + size_b), _ratio(shared, size_a + size_b - shared)


def _counts(a, b, labels):
    """Voxels of each label in both maps, in `a`, and in `b`: three arrays [..., K]."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim not in (2, 3, 4):
        raise ValueError(
            "label maps must have equal shapes [D, H, W], [H, W], [B, D, H, W] or [B, H, W, 1]; "
            f"got {a.shape} and {b.shape}."
        )
    for array in (a, b):
        if array.dtype.kind not in "biu":
            raise ValueError(f"label maps must be integers; got {array.dtype}.")
    labels = structures(a, b) if labels is None else np.asarray(labels)
    if a.ndim == 4:
        samples = [_counts_of_one(x, y, labels) for x, y in zip(a, b)]
        return tuple(np.stack(column) for column in zip(*samples))
    return _counts_of_one(a, b, labels)


def _counts_of_one(a, b, labels):
    if labels.size == 0:
        return (np.zeros(0),) * 3
    a, b = _positions(a, labels), _positions(b, labels)
    k = labels.size
    return (
        np.bincount(a[a == b], minlength=k + 1)[:k],
        np.bincount(a, minlength=k + 1)[:k],
        np.bincount(b, minlength=k + 1)[:k],
    )


def _positions(label_map, labels):
    """Position of each voxel's label within `labels`, or len(labels) for any other value."""
    order = np.argsort(labels)
    flat = label_map.ravel()
    nearest = np.minimum(np.searchsorted(labels, flat, sorter=order), labels.size - 1)
    position = order[nearest]
    return np.where(labels[position] == flat, position, labels.size)


def _ratio(numerator, denominator):
    with np.errstate(invalid="ignore"):
        return np.true_divide(numerator, denominator)
