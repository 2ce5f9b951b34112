"""Warping of label maps on the network grid.

Label ids are names, not amounts: mixing them linearly would invent structures along every
boundary. Each structure's mask is warped linearly, and the strongest one wins the voxel.
"""

from __future__ import annotations

import numpy as np

from rcn_tf.volumes.sampling import sample_labels


def warp_labels(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Moving label map on the fixed grid: argmax of the linearly warped one-hot channels.

    Args:
        labels: [*spatial] integers, of two or three axes.
        flow: [*spatial, R], voxels, axis order ij; outside the volume the nearest border voxel.

    Returns: [*spatial], dtype of `labels`; on a tie the smallest id.
    Raises: ValueError: if the shapes do not fit, or `labels` are not integers.
    """
    labels, flow = np.asarray(labels), np.asarray(flow)
    wanted = (*labels.shape, labels.ndim)
    if labels.ndim not in (2, 3) or flow.shape != wanted:
        raise ValueError(f"`flow` must have shape {wanted} to match `labels`; got {flow.shape}.")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be integers; got {labels.dtype}.")
    position = np.moveaxis(np.indices(labels.shape), 0, -1) + flow.astype(np.float64)
    return sample_labels(labels, np.clip(position, 0, np.asarray(labels.shape) - 1))
