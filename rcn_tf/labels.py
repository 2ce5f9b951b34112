"""Warping of label maps: each structure's mask linearly, then the strongest one per voxel.

Label ids are names, not amounts: mixing them linearly would invent structures along every
boundary. The classes of a trilinear sample are those of its eight surrounding voxels, so the
argmax over one-hot channels is a vote among eight weights, whatever the number of classes.
"""

import itertools

import numpy as np

CHUNK = 1 << 14  # samples voted on at a time, so that they stay in the processor's cache


def warp_labels(labels, flow):
    """Moving label map on the fixed grid: argmax of the linearly warped one-hot channels.

    Args:
        labels: [D, H, W] integers.
        flow: [D, H, W, 3], voxels, axis order ij; outside the volume the nearest border voxel.

    Returns: [D, H, W], dtype of `labels`; on a tie the smallest id.
    Raises: ValueError: if the shapes do not fit, or `labels` are not integers.
    """
    labels, flow = np.asarray(labels), np.asarray(flow)
    if labels.ndim != 3 or flow.shape != (*labels.shape, 3):
        raise ValueError(
            f"`flow` must have shape {(*labels.shape, 3)} to match `labels`; got {flow.shape}."
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be integers; got {labels.dtype}.")
    lower, fractions = [], []
    for axis, size in enumerate(labels.shape):
        position = flow[..., axis] + np.arange(size).reshape(
            [-1 if k == axis else 1 for k in range(3)]
        )
        position = np.clip(position, 0, size - 1)
        low = np.minimum(position.astype(np.intp), max(size - 2, 0))
        lower.append(low.ravel())
        fractions.append((position - low).ravel())
    corners = _corners(labels, lower)  # [8, N]
    result = corners[0].copy()
    mixed = np.flatnonzero((corners != corners[0]).any(axis=0))
    for part in np.array_split(mixed, mixed.size // CHUNK + 1):
        weights = _weights([fraction[part] for fraction in fractions])
        result[part] = _vote(corners[:, part], weights)
    return result.reshape(labels.shape)


def _corners(labels, lower):
    """Labels of the eight voxels around each sample, [8, N]."""
    upper = [np.minimum(low + 1, size - 1) for low, size in zip(lower, labels.shape)]
    return np.stack([labels[index] for index in itertools.product(*zip(lower, upper))])


def _weights(fractions):
    """Trilinear weights in the order of `_corners`, [8, N]."""
    sides = [(1 - fraction, fraction) for fraction in fractions]
    return np.stack([x * y * z for x, y, z in itertools.product(*sides)])


def _vote(corners, weights):
    """Label with the largest total weight, [N]."""
    totals = weights.copy()
    for i, j in itertools.combinations(range(len(corners)), 2):
        same = corners[i] == corners[j]
        totals[i] += weights[j] * same
        totals[j] += weights[i] * same
    # Totals of one label differ by rounding, and a tie must not depend on that.
    is_best = totals >= totals.max(axis=0) - 1e-6
    highest = np.iinfo(corners.dtype).max
    return np.where(is_best, corners, highest).min(axis=0)
