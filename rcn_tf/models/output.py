"""What every registration network of the project returns."""

from typing import NamedTuple, Optional

import tensorflow as tf


class StageOutput(NamedTuple):
    """Result of one stage of a cascade.

    Attributes:
        flow: [B, D, H, W, 3] float32, this stage's own flow, voxels, axis order ij.
        total_flow: [B, D, H, W, 3], composition of all flows up to this stage.
        warped: [B, D, H, W, 1], moving image warped once by `total_flow`.
        matrix: [B, 3, 3], A of an affine stage (deviation from the identity), else None.
        offset: [B, 3], b of an affine stage in voxels, else None.
    """

    flow: tf.Tensor
    total_flow: tf.Tensor
    warped: tf.Tensor
    matrix: Optional[tf.Tensor] = None
    offset: Optional[tf.Tensor] = None

    def __repr__(self):
        return f"StageOutput({_shapes(self)})"


class RegistrationOutput(NamedTuple):
    """Result of a registration: the last stage's total flow and warped image, and all stages.

    Attributes:
        flow: [B, D, H, W, 3] float32, total flow, voxels, axis order ij.
        warped: [B, D, H, W, 1] float32, `warp(moving, flow)`.
        stages: tuple of StageOutput, in the order of application.
    """

    flow: tf.Tensor
    warped: tf.Tensor
    stages: tuple

    def __repr__(self):
        kinds = ["dense" if stage.matrix is None else "affine" for stage in self.stages]
        return (
            f"RegistrationOutput(\n  {_shapes(self[:2], self._fields)},\n"
            f"  stages={len(kinds)}: {', '.join(kinds)})"
        )


def _shapes(values, names=None):
    """The tensors among named values by shape; their numbers would fill pages."""
    named = zip(names or values._fields, values)
    return ", ".join(f"{name}={list(value.shape)}" for name, value in named if value is not None)
