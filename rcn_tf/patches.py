"""Patches that cover a grid, one after the other, and how their results become one map.

    cover = Cover(grid=(80, 96, 112), patch=(40, 48, 56), overlap=0.25)
    flow = cover.blend(lambda start: predicted_in(start), batch, channels=3)

Neighbours overlap; where they do, their results are averaged with weights that fall linearly from
one to the other, so that nothing jumps at a patch's border. Without overlap they are pasted.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Cover:
    """Patches of one size that cover a grid.

    Attributes:
        grid: sizes of the grid.
        patch: sizes of the patches without their overlap, at most the grid's.
        overlap: voxels that neighbours share, as a fraction of `patch`.
    """

    grid: tuple[int, ...]
    patch: tuple[int, ...]
    overlap: float = 0.0

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of patches along each axis."""
        return tuple(math.ceil(n / p) for n, p in zip(self.grid, self.patch))

    @property
    def size(self) -> tuple[int, ...]:
        """Sizes of a patch with its overlap."""
        return tuple(
            n if count == 1 else min(n, p + round(self.overlap * p))
            for n, p, count in zip(self.grid, self.patch, self.counts)
        )

    @property
    def starts(self) -> np.ndarray:
        """[patches, R] int32: first voxel of every patch, evenly spread."""
        return np.array(list(itertools.product(*self._starts())), np.int32)

    def weights(self) -> np.ndarray:
        """[patches, *size] float32: share of a patch in the result; they add up to 1 everywhere."""
        axes = [self._shares(axis) for axis in range(len(self.grid))]
        shares = [
            math.prod(np.ix_(*(axis[k] for axis, k in zip(axes, place))))
            for place in itertools.product(*(range(count) for count in self.counts))
        ]
        return np.stack(shares).astype("float32")

    def blend(
        self,
        compute: Callable[[tf.Tensor], Sequence[tf.Tensor]],
        batch: tf.Tensor | int,
        channels: Sequence[int],
        chosen: tf.Tensor | None = None,
    ) -> list[tf.Tensor]:
        """Computes patch by patch, one at a time.

        All patches are computed in a loop of the graph, which holds one of them. A few that are
        chosen, for training, are computed without it: the graph of a loop's gradient takes
        several times as long to make.

        Args:
            compute: f(start [R]) -> one map [batch, *size, channels] per entry of `channels`.
            batch: number of samples.
            channels: of the maps.
            chosen: [K], numbers of the patches that are computed; elsewhere the result is 0 and
                falls off to it within the overlap. By default all.
        Returns: one map [batch, *grid, channels] per entry of `channels`.
        """
        starts, weights = tf.constant(self.starts), tf.constant(self.weights())
        shapes = [tf.TensorShape([None, *self.grid, count]) for count in channels]

        def add(k, *sums):
            start, weight = starts[k], weights[k][None, ..., None]
            after = tf.constant(self.grid) - start - tf.constant(self.size)
            inner = tf.stack([start, after], axis=1)
            paddings = tf.pad(inner, [[1, 1], [0, 0]])
            parts = [tf.pad(weight * part, paddings) for part in compute(start)]
            totals = [total + part for total, part in zip(sums, parts)]
            return (k + 1, *(tf.ensure_shape(x, shape) for x, shape in zip(totals, shapes)))

        sums = [tf.zeros([batch, *self.grid, count]) for count in channels]
        if chosen is not None:
            for k in tf.unstack(chosen):
                sums = add(k, *sums)[1:]
            return list(sums)
        _, *sums = tf.while_loop(
            lambda k, *_: k < len(self.starts),
            add,
            (tf.constant(0), *sums),
            shape_invariants=(tf.TensorShape([]), *shapes),
            parallel_iterations=1,
        )
        return sums

    def _starts(self):
        """First voxels along each axis."""
        return [
            [round(k * (n - size) / max(count - 1, 1)) for k in range(count)]
            for n, size, count in zip(self.grid, self.size, self.counts)
        ]

    def _shares(self, axis):
        """[patches, size] along one axis."""
        starts, size, n = self._starts()[axis], self.size[axis], self.grid[axis]
        heights = np.zeros((len(starts), size))
        for k, start in enumerate(starts):
            before = starts[k - 1] + size - start if k else 0
            after = start + size - starts[k + 1] if k + 1 < len(starts) else 0
            place = np.arange(size) + 0.5
            rising = place / before if before else np.ones(size)
            falling = (size - place) / after if after else np.ones(size)
            heights[k] = np.clip(np.minimum(rising, falling), 0, 1)
        total = np.zeros(n)
        for height, start in zip(heights, starts):
            total[start : start + size] += height
        return np.stack([h / total[s : s + size] for h, s in zip(heights, starts)])
