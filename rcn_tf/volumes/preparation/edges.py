"""The outermost voxels of an image's content, where its background must be.

Arrays are [D, H, W]; `inside` is a mask of the voxels that are still in question. Their edges are
those of the box around them (12 lines). If the box's edges lie outside the mask, as with a
scanner's circle or an organ, the edges are the layer of voxels that touches the rest.
"""

from __future__ import annotations

import numpy as np

BOX_LIKE = 0.1
"""Share of the box's edges inside the mask from which on the edges are the box's."""

REACH = 0.05  # of an extent: largest distance of a frame from the image's borders


def bounds(mask: np.ndarray) -> tuple[slice, ...]:
    """Slices of the box around a mask that is not empty. Args: mask: [D, H, W] bool."""
    found = []
    for axis in range(3):
        line = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        found.append(slice(int(line[0]), int(line[-1]) + 1))
    return tuple(found)


def edges(inside: np.ndarray) -> tuple[tuple[np.ndarray, ...], bool]:
    """Indices of the outermost voxels (as `np.nonzero`); whether they are a box's edges."""
    box = bounds(inside)
    lines = []
    for axis in range(3):
        sides: list = [(slab.start, slab.stop - 1) for slab in box]
        sides[axis] = range(box[axis].start, box[axis].stop)
        lines.append(np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3))
    index = tuple(np.unique(np.concatenate(lines), axis=0).T)
    on_box = inside[index]
    if on_box.mean() >= BOX_LIKE:
        return tuple(axis[on_box] for axis in index), True
    return np.nonzero(layer(inside)), False


def flatness(equal: np.ndarray, inside: np.ndarray) -> float:
    """Share of the neighbours (inside) of the given voxels that are given too, 0..1."""
    same = pairs = 0
    for axis in range(3):
        a, b = _shifted(equal, axis)
        c, d = _shifted(inside, axis)
        same += 2 * np.count_nonzero(a & b)
        pairs += np.count_nonzero(a & d) + np.count_nonzero(c & b)
    return same / pairs if pairs else 0.0


def contact(mask: np.ndarray, inside: np.ndarray) -> int:
    """Number of pairs of neighbours of which one is in the mask, the other inside."""
    pairs = 0
    for axis in range(3):
        a, b = _shifted(mask, axis)
        c, d = _shifted(inside, axis)
        pairs += np.count_nonzero(a & d) + np.count_nonzero(b & c)
    return pairs


def is_frame(inside: np.ndarray) -> bool:
    """Whether voxels reach all borders of the image, as a scanner's field of view does."""
    return all(
        axis.start <= REACH * n and axis.stop >= (1 - REACH) * n
        for axis, n in zip(bounds(inside), inside.shape)
    )


def layer(inside: np.ndarray) -> np.ndarray:
    """Voxels inside with a neighbour outside."""
    layer = np.zeros_like(inside)
    for axis in range(3):
        a, b = _shifted(inside, axis)
        c, d = _shifted(layer, axis)
        c |= a & ~b
        d |= b & ~a
    return layer


def _shifted(array, axis):
    """Views without the last and without the first plane along an axis: pairs of neighbours."""
    lower, upper = [slice(None)] * 3, [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    return array[tuple(lower)], array[tuple(upper)]
