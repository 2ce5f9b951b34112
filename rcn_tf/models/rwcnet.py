"""RWCNet: recurrent matching with cost volumes, coarse to fine over resolutions (section 3).

Each resolution has a sub-network (`rcn_tf.networks.rwcnet`) that sees the fixed image and the
moving one as warped so far, both at its resolution, and the hidden state of the coarser one. Its
flow is composed with what came before. Fine resolutions run on patches, since their costs for the
whole volume would not fit into memory.

`original=True` computes what the authors' published code computes, slips included: images and
flows by nearest neighbours, zeros outside the volume, patches that are pasted side by side, the
sub-networks' original form, and in training hidden states multiplied by the ratio of the
resolutions. It is there for the authors' weights.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from custom_ops import warp
from rcn_tf import fields, pyramid
from rcn_tf.models.inputs import check_whole
from rcn_tf.models.model import RECOMPUTE, CallOption, RegistrationModel
from rcn_tf.models.output import RegistrationOutput, unregistered
from rcn_tf.networks.rwcnet import RecurrentMatcher
from rcn_tf.patches import Cover

STAGES = (
    {"resolution": 0.25, "patch": 0.25, "iterations": 12, "radius": 3},
    {"resolution": 0.5, "patch": 0.25, "iterations": 12, "radius": 3},
    {"resolution": 1.0, "patch": 0.5, "iterations": 4, "radius": 2},
)
"""The paper's resolutions (Table 1), with the search radii of the authors' config."""

OVERLAP = 0.25
"""Voxels that neighbouring patches share, as a fraction of a patch."""

_MOST = {"iterations": 100, "radius": 12}
_SMALLEST_GRID = 4  # voxels of a sub-network's grid or patch along an axis


class RWCNet(RegistrationModel):
    """Recurrence with correlation network.

    Args:
        volume_shape: (D, H, W) or (H, W), at least 32 per axis.
        stages: the resolutions from coarse to fine, each with "resolution" and "patch", sizes of
            the grid and of a patch as fractions of the full size, "iterations" of the recurrent
            unit, and "radius", the largest offset of the cost volume in voxels.
        features: features per voxel that are compared.
        hidden: channels of the recurrent unit's state.
        correlation: False leaves the cost volume out and passes both images' features on.
        original: as the authors' published code, see the module's docstring.
        dropout: probability of dropping a channel of the feature networks in training; the paper
            has 0.5 (section 4.2), its code none.

    Raises:
        ValueError: a stage lacks an entry or has a wrong one, or the volume is too small for it;
            with `original`, sizes that the patches do not divide.
        ImportError: if `RCN_OPS` demands a warp backend that is not available.
    """

    CALL_OPTIONS = {
        "n_stages": CallOption(0, "resolutions that run, from the coarsest; 0 for all", 0),
        "whole": CallOption(False, "no patches: whole volumes at every resolution, more memory"),
        "diffeomorphic": CallOption(
            False, "integrate each stage's flow as a velocity", flag="diffeomorphic"
        ),
        "patches_per_step": CallOption(
            0,
            "patches, drawn at random, on which the finest resolution runs in training; 0 for all",
            0,
            for_training=True,
        ),
        "recompute": RECOMPUTE,
    }

    def __init__(
        self,
        volume_shape: tuple[int, ...] = (160, 192, 224),
        *,
        stages: Sequence[Mapping[str, Any]] = STAGES,
        features: int = 16,
        hidden: int = 64,
        correlation: bool = True,
        original: bool = False,
        dropout: float = 0.0,
        name: str = "rwcnet",
    ):
        super().__init__(volume_shape, name=name)
        check_whole("features", features, 2)
        check_whole("hidden", hidden, 1)
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must lie in [0, 1); got {dropout!r}.")
        self.original, self.dropout, self.hidden = original, dropout, hidden
        self.settings = _checked_stages(stages)
        self._config = {
            "volume_shape": self.volume_shape,
            "features": features,
            "hidden": hidden,
            "correlation": correlation,
            "original": original,
            "dropout": dropout,
        }
        self._covers = [self._cover(stage) for stage in self.settings]
        self._draws = tf.random.Generator.from_seed(0)  # a checkpoint keeps its state
        for number, stage in enumerate(self.settings, start=1):
            network = RecurrentMatcher(
                iterations=stage["iterations"],
                radius=stage["radius"],
                features=features,
                hidden=hidden,
                correlation=correlation,
                dropout=dropout,
                original=original,
                rank=self.rank,
                name=f"stage_{number}",
            )
            setattr(self, f"stage_{number}", network)
        self._make_weights()

    @property
    def networks(self) -> list[RecurrentMatcher]:
        """The sub-networks from coarse to fine; as attributes `stage_1`, `stage_2`, ..."""
        return [getattr(self, f"stage_{k}") for k in range(1, len(self.settings) + 1)]

    @tf.autograph.experimental.do_not_convert
    def call(
        self, fixed: tf.Tensor, moving: tf.Tensor, training: bool, options: Any
    ) -> RegistrationOutput:
        """Runs the registration on checked inputs, for `__call__`."""
        return self._registered(fixed, moving, bool(training), **options)

    def _registered(self, fixed, moving, training, n_stages, whole, diffeomorphic, **computed):
        if n_stages > len(self.settings):
            raise ValueError(
                f"`n_stages` must be at most {len(self.settings)}, the model's; got {n_stages}."
            )
        last = n_stages or len(self.settings)
        out, total, hidden = unregistered(moving), None, None
        for number in range(1, last + 1):
            cover = self._covers[number - 1]
            cover = Cover(cover.grid, cover.grid) if whole else cover
            images = self._images(fixed, moving, out, total, cover.grid)
            flow, hidden = self._matched(
                number, cover, images, hidden, training, keep_hidden=number < last, **computed
            )
            extras = {} if hidden is None else {"hidden": hidden}
            if self.original:
                total = flow if total is None else self._composed(flow, total)
                extras["grid_flow"] = total
                full = self._on_grid(total, self.volume_shape)
                out = out.then(full, name=f"stage_{number}", update="replace", extras=extras)
                continue
            if cover.grid != self.volume_shape:
                flow = fields.resize(flow, self.volume_shape)
            flow = fields.integrate(flow) if diffeomorphic else flow
            out = out.then(flow, name=f"stage_{number}", extras=extras)
        return out

    def _images(self, fixed, moving, out, total, grid):
        """Both images on a stage's grid, the moving one as warped so far."""
        if not self.original:
            return pyramid.area_mean(fixed, grid), pyramid.area_mean(out.warped, grid)
        fixed, moving = pyramid.nearest(fixed, grid), pyramid.nearest(moving, grid)
        if total is not None:
            moving = warp(moving, self._on_grid(total, grid), "zeros")
        return fixed, moving

    def _matched(
        self, number, cover, images, coarser, training, *, keep_hidden, patches_per_step, recompute
    ):
        """Flow on the grid of a stage, and its hidden state if that is wanted, else None."""
        network, batch = self.networks[number - 1], tf.shape(images[0])[0]
        resize = pyramid.nearest if self.original else pyramid.linear
        factor = 1.0
        if self.original and training and coarser is not None:
            factor = cover.grid[0] / coarser.shape[1]
        draws = training and (self.dropout or patches_per_step)
        seed = self._draws.make_seeds(1)[:, 0] if draws else None
        keep = (None, None)
        if training and self.dropout:
            keep = network.draw_keep(batch, seed)

        def compute(start):
            size = cover.size
            windows = [_window(image, start, size) for image in images]
            state = None
            if coarser is not None:
                state = factor * resize(coarser, cover.grid, list(tf.unstack(start)), size)
            flow, hidden = network(*windows, state, keep=keep, recompute=recompute)
            return [flow, hidden] if keep_hidden else [flow]

        count = len(cover.starts)
        if count == 1:
            state = None if coarser is None else factor * resize(coarser, cover.grid)
            flow, hidden = network(*images, state, keep=keep, recompute=recompute)
            return flow, hidden if keep_hidden else None
        chosen = None
        if training and 0 < patches_per_step < count and not keep_hidden:
            order = tf.random.stateless_uniform([count], seed + [3, 0], alg="philox")
            chosen = tf.argsort(order)[:patches_per_step]
        channels = [self.rank, self.hidden] if keep_hidden else [self.rank]
        flow, *hidden = cover.blend(compute, batch, channels, chosen)
        return flow, hidden[0] if hidden else None

    def _on_grid(self, flow, grid):
        """The original's flow on another grid, by nearest neighbours."""
        return pyramid.nearest(flow, grid) * pyramid.scale(flow.shape[1:-1], grid)

    def _composed(self, update, previous):
        """The original's total flow: zeros outside the volume."""
        return update + warp(self._on_grid(previous, update.shape[1:-1]), update, "zeros")

    def _cover(self, stage):
        """The patches of a stage."""
        grid = tuple(_fraction(n, stage["resolution"]) for n in self.volume_shape)
        patch = tuple(min(m, _fraction(n, stage["patch"])) for n, m in zip(self.volume_shape, grid))
        if min(patch) < _SMALLEST_GRID:
            raise ValueError(
                f"`stages`: {stage} makes patches of {patch} voxels of {self.volume_shape}; at "
                f"least {_SMALLEST_GRID} per axis are needed."
            )
        if self.original and any(m % p for m, p in zip(grid, patch)):
            raise ValueError(
                f"`stages`: {stage} makes patches of {patch} voxels, which do not divide the grid "
                f"{grid} as `original` needs; leave `original` out, or choose another size."
            )
        return Cover(grid, patch, 0.0 if self.original else OVERLAP)

    def _make_weights(self):
        """Creates all weights by a call of every sub-network on a small blank image."""
        blank = tf.zeros((1, *[8] * self.rank, 1))
        for network in self.networks:
            iterations, network.iterations = network.iterations, 1
            network(blank, blank)
            network.iterations = iterations
        self.built = True

    def reference_weights(self) -> dict[str, tf.Variable]:
        """Weights under the names of the authors' state dicts, "rwcnet/stage1/context...".

        Those of released weights fit `original=True`, which has the layers that their code never
        calls.
        """
        return {
            f"rwcnet/stage{number}/{name}": variable
            for number, network in enumerate(self.networks, start=1)
            for name, variable in network.reference_names().items()
        }

    @classmethod
    def rough_bytes(cls, network: Mapping[str, Any]) -> int:
        """Upper bound of the memory of a model with these arguments, without making it."""
        shape, stages = network.get("volume_shape", (160, 192, 224)), network.get("stages", STAGES)
        rank, total = len(shape), 0
        for stage in stages if isinstance(stages, (list, tuple)) else ():
            if isinstance(stage, Mapping) and set(stage) == set(STAGES[0]):
                costs = (2 * stage["radius"] + 1) ** rank + 8 * network.get("hidden", 64)
                total += 4 * costs * math.prod(shape) * min(1, stage["patch"]) ** rank
        return int(total) + 16 * 2**20 * len(stages)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the same model again, JSON-serialisable."""
        return {**self._config, "stages": [dict(stage) for stage in self.settings]}


def _window(image, start, size):
    begin, count = tf.pad(start, [[1, 1]]), [-1, *size, -1]
    return tf.ensure_shape(tf.slice(image, begin, count), [image.shape[0], *size, image.shape[-1]])


def _fraction(size, fraction):
    """Whole voxels in a fraction of an axis; rounding errors of the fraction do not lose one."""
    return int(math.floor(size * fraction + 1e-6))


def _checked_stages(stages):
    """The stages as dicts of plain numbers."""
    if not isinstance(stages, (list, tuple)) or not stages:
        raise ValueError(f"`stages` must be a list of at least one resolution; got {stages!r}.")
    checked = []
    for number, stage in enumerate(stages, start=1):
        wanted = tuple(STAGES[0])
        if not isinstance(stage, Mapping) or set(stage) != set(wanted):
            raise ValueError(
                f"`stages`: entry {number} must have {', '.join(wanted)}; got {stage!r}."
            )
        for key in ("resolution", "patch"):
            value = stage[key]
            if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 < value <= 1:
                raise ValueError(
                    f"`stages`: {key!r} of entry {number} must lie in (0, 1]; got {value!r}."
                )
        for key, most in _MOST.items():
            check_whole(f"stages[{number - 1}].{key}", stage[key], 1)
            if stage[key] > most:
                raise ValueError(
                    f"`stages`: {key!r} of entry {number} must be at most {most}; got {stage[key]}."
                )
        if checked and stage["resolution"] <= checked[-1]["resolution"]:
            raise ValueError("`stages` must go from coarse to fine resolutions.")
        checked.append(
            {
                "resolution": float(stage["resolution"]),
                "patch": float(stage["patch"]),
                "iterations": int(stage["iterations"]),
                "radius": int(stage["radius"]),
            }
        )
    return checked
