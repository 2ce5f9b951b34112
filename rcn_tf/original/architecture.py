"""The network that a checkpoint of the original belongs to, from its variables' names and shapes.

`affine_stem` and `deform_stem_0`, `deform_stem_1`, … are the stages. VTN's last layer is called
`upsamp1to0`, VoxelMorph's `flow`. The first layer shows the number of channels. The size of the
affine stage's last kernel is the volume's size divided by 64 and rounded up.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rcn_tf.models.weights import SCOPE
from rcn_tf.original.arguments import OriginalArguments
from rcn_tf.original.checkpoint import listed

if TYPE_CHECKING:
    import tensorflow as tf

STRIDE = 64  # of the affine stage
_LAST_LAYERS = {"vtn": "upsamp1to0", "voxelmorph": "flow"}
_STAGE = re.compile(rf"{SCOPE}/deform_stem_(\d+)/.+")
_MAX_CHANNELS = 64  # the original has 16; a damaged file must not ask for all memory
_MAX_CASCADES = 100


@dataclasses.dataclass(frozen=True)
class Architecture:
    """base: "vtn", "voxelmorph", or None without dense stages; n_cascades; channels and
    affine_channels: of the first layers; head: size (d, h, w) of the affine stage's last kernel."""

    base: str | None
    n_cascades: int
    channels: int
    affine_channels: int
    head: tuple[int, ...]

    def check_volume(self, shape: Sequence[int], origin: str) -> None:
        """Raises ValueError if the affine stage does not fit volumes of `shape` (D, H, W)."""
        if tuple(-(-size // STRIDE) for size in shape) != self.head:
            sizes = " x ".join(f"{STRIDE * n - STRIDE + 1}..{STRIDE * n}" for n in self.head)
            raise ValueError(
                f"volume shape {tuple(shape)} ({origin}) does not fit the checkpoint, whose "
                f"affine stage is of {sizes} voxels: name the shape with --volume-shape."
            )


def infer_architecture(
    shapes: Mapping[str, tuple[int, ...]], where: str | pathlib.Path
) -> Architecture:
    """The network that weights belong to.

    Args: shapes: {name: shape} of the weights. where: the checkpoint, for errors.
    Returns: Architecture.
    Raises: ValueError: they do not belong to one of the original's networks.
    """
    affine = _shape(shapes, "affine_stem/conv1/W", where)
    head = _shape(shapes, "affine_stem/conv7_W/W", where)[:3]
    stages = sorted({int(match[1]) for match in map(_STAGE.fullmatch, shapes) if match})
    if stages != list(range(len(stages))) or len(stages) > _MAX_CASCADES:
        raise ValueError(
            f"{where} has the dense stages {listed(list(map(str, stages)), 10)}; expected 0, 1, … "
            f"without a gap, at most {_MAX_CASCADES}."
        )
    if not stages:
        return Architecture(None, 0, affine[-1], affine[-1], head)
    bases = [
        base for base, layer in _LAST_LAYERS.items() if f"{SCOPE}/deform_stem_0/{layer}/W" in shapes
    ]
    if len(bases) != 1:
        expected = " or ".join(f"{layer} ({base})" for base, layer in _LAST_LAYERS.items())
        raise ValueError(f"{where}: the last layer of deform_stem_0 is not {expected}.")
    channels = _shape(shapes, "deform_stem_0/conv1/W", where)[-1]
    return Architecture(bases[0], len(stages), channels, affine[-1], head)


def check_arguments(
    architecture: Architecture, arguments: OriginalArguments, where: str | pathlib.Path
) -> None:
    """Raises ValueError if `args.json` (OriginalArguments) contradicts the variables."""
    for key, said in (("base", arguments.base), ("n_cascades", arguments.n_cascades)):
        held = getattr(architecture, key)
        if None not in (said, held) and said != held:
            name = "base_network" if key == "base" else key
            raise ValueError(
                f"{where} is of {key} {held}, but args.json has `{name}` {said}: they do not "
                "belong together."
            )


def check_weights(
    wanted: Mapping[str, Sequence[int]],
    found: Mapping[str, tuple[tuple[int, ...], tf.DType]],
    where: str | pathlib.Path,
) -> None:
    """Compares what a network needs with what a checkpoint has.

    Args: wanted: {name: shape}. found: {name: (shape, tf.DType)}. where: name for errors.
    Raises: ValueError: weights are missing, unknown, of another shape or not floats; the message
        counts them all and names the first ones.
    """
    other = [
        f"{name}: {tuple(found[name][0])} {found[name][1].name}, not {tuple(shape)}"
        for name, shape in wanted.items()
        if name in found and (tuple(found[name][0]) != tuple(shape) or not _is_float(found[name]))
    ]
    groups = {
        "missing": [name for name in wanted if name not in found],
        "unknown": [name for name in found if name not in wanted],
        "of another shape or type": other,
    }
    faults = [f"{len(names)} {what} ({listed(names)})" for what, names in groups.items() if names]
    if faults:
        raise ValueError(f"{where} does not fit its network; weights {'; '.join(faults)}.")


def _is_float(variable):
    return variable[1].is_floating


def _shape(shapes, name, where):
    shape = shapes.get(f"{SCOPE}/{name}")
    if shape is None:
        raise ValueError(f"{where} is not a checkpoint of the original: it has no {SCOPE}/{name}.")
    if len(shape) != 5 or not min(shape) > 0 or shape[-1] > _MAX_CHANNELS:
        raise ValueError(
            f"{where}: {SCOPE}/{name} must be the kernel of a 3D convolution with at most "
            f"{_MAX_CHANNELS} channels; got {tuple(shape)}."
        )
    return tuple(shape)
