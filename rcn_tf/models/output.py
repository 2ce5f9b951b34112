"""What every registration model returns: the total flow and the stages that led to it.

A model starts from the moving image and adds its stages one by one:

    out = unregistered(moving)
    out = out.then_affine(matrix, offset, name="affine")
    out = out.then(flow, name="dense_1")                      # composed with what came before
    out = out.then(total, name="warp_2", update="replace")    # a stage that gives the total flow

The moving image is warped once by the total flow, never stage by stage. Composition is exact,
without sampling, as long as all earlier stages are affine. Names and kinds are static: they stay
Python strings in the output of a tf.function.
"""

from collections.abc import Mapping
from typing import Optional

import tensorflow as tf

from custom_ops import compose, warp
from rcn_tf import fields

UPDATES = ("compose", "add", "replace")


class StageOutput(tf.experimental.ExtensionType):
    """Result of one stage; R is the rank, 2 or 3, and `*spatial` the R sizes of the grid.

    Attributes:
        flow: [B, *spatial, R] float32, this stage's own flow, voxels, axis order ij.
        total_flow: [B, *spatial, R], flow of all stages up to this one together.
        warped: [B, *spatial, 1], the moving image warped once by `total_flow`.
        matrix: [B, R, R], A of an affine stage (deviation from the identity), else None.
        offset: [B, R], b of an affine stage in voxels, else None.
        total_matrix, total_offset: A and b of `total_flow` where it is affine, else None.
        name: unique among the stages, such as "affine", "dense_2", "warp_1/iteration_2".
        kind: "affine", "dense", or another kind that the model defines.
        extras: {name: tensor} that the model adds, such as a velocity or a momentum.
    """

    flow: tf.Tensor
    total_flow: tf.Tensor
    warped: tf.Tensor
    matrix: Optional[tf.Tensor] = None
    offset: Optional[tf.Tensor] = None
    total_matrix: Optional[tf.Tensor] = None
    total_offset: Optional[tf.Tensor] = None
    name: str = "dense_1"
    kind: str = "dense"
    extras: Mapping[str, tf.Tensor] = {}

    def __repr__(self) -> str:
        extras = "".join(f", {name}={list(x.shape)}" for name, x in self.extras.items())
        return f"StageOutput({self.name}, {self.kind}, flow={list(self.flow.shape)}{extras})"


class RegistrationOutput(tf.experimental.ExtensionType):
    """Result of a registration: total flow, warped image and all stages.

    Attributes:
        flow: [B, *spatial, R] float32, total flow, voxels, axis order ij.
        warped: [B, *spatial, 1] float32, `warp(moving, flow)`.
        stages: tuple of StageOutput, in the order of application.
        moving: [B, *spatial, 1] float32, the moving image, needed to add further stages.
        padding: what `warped` shows outside the moving image, "border" or "zeros" (as
            `custom_ops.warp`), the same for all stages.
    """

    flow: tf.Tensor
    warped: tf.Tensor
    stages: tuple[StageOutput, ...]
    moving: Optional[tf.Tensor] = None
    padding: str = "border"

    @property
    def rank(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return self.flow.shape[-1]

    @property
    def affine(self) -> Optional[tuple[tf.Tensor, tf.Tensor]]:
        """(A [B, R, R], b [B, R]) of the affine stages that the registration begins with.

        None if it begins with another kind of stage.
        """
        found = None
        for stage in self.stages:
            if stage.total_matrix is None:
                break
            found = stage.total_matrix, stage.total_offset
        return found

    def then(
        self,
        flow: tf.Tensor,
        *,
        name: str = "",
        kind: str = "dense",
        update: str = "compose",
        extras: Optional[Mapping[str, tf.Tensor]] = None,
    ) -> "RegistrationOutput":
        """The output with one more stage.

        >>> moving = tf.random.uniform([1, 8, 9, 1])
        >>> out = unregistered(moving).then(tf.zeros([1, 8, 9, 2]) + [1.0, 0.0])
        >>> out = out.then(out.flow, name="again")
        >>> out
        RegistrationOutput(flow=[1, 8, 9, 2], stages: dense_1, again)
        >>> out.flow[0, 0, 0].numpy()  # both displacements, composed
        array([2., 0.], dtype=float32)

        Args:
            flow: [B, *spatial, R] float32, voxels.
            name: name of the stage; by default its kind and its number among that kind.
            kind: kind of the stage.
            update: how the total flow changes. "compose": `compose(total so far, flow)`,
                exact after affine stages. "add": total so far + flow. "replace": the flow is
                the new total flow.
            extras: {name: tensor}, kept with the stage.

        Returns: RegistrationOutput with one stage more.

        Raises: ValueError: the name is taken, the update unknown, or the flow of another shape.
        """
        if update not in UPDATES:
            raise ValueError(f"`update` must be one of {UPDATES}; got {update!r}.")
        flow = tf.convert_to_tensor(flow)
        if not flow.shape.is_compatible_with(self.flow.shape):
            raise ValueError(
                f"`flow` must have the output's shape {tuple(self.flow.shape)}; "
                f"got {tuple(flow.shape)}."
            )
        return self._with(flow, self._total(flow, update), name, kind, extras=extras)

    def then_affine(
        self,
        matrix: tf.Tensor,
        offset: tf.Tensor,
        *,
        name: str = "",
        total: Optional[tuple[tf.Tensor, tf.Tensor]] = None,
        extras: Optional[Mapping[str, tf.Tensor]] = None,
    ) -> "RegistrationOutput":
        """The output with one more affine stage.

        Args:
            matrix: [B, R, R] float32, A, the deviation from the identity.
            offset: [B, R] float32, b, voxels from the centre of the volume.
            name: name of the stage; by default "affine", "affine_2", ...
            total: (A, b) of all stages up to this one, for systems that combine their affine steps
                in another order; by default this step is composed with the earlier ones.
            extras: {name: tensor}, kept with the stage.

        Returns: RegistrationOutput with one stage more.

        Raises: ValueError: the name is taken, or a shape is wrong.
        """
        matrix, offset = tf.convert_to_tensor(matrix), tf.convert_to_tensor(offset)
        for what, tensor, wanted in (
            ("matrix", matrix, (None, self.rank, self.rank)),
            ("offset", offset, (None, self.rank)),
        ):
            if not tensor.shape.is_compatible_with(wanted):
                shape = ", ".join(map(str, wanted[1:]))
                raise ValueError(f"`{what}` must have shape [B, {shape}]; got {tensor.shape}.")
        flow = fields.affine_flow(matrix, offset, self.flow.shape[1:-1])
        affine = total or self._total_affine(matrix, offset)
        if affine is None:
            total_flow = compose(self.flow, flow)
        elif total is None and not self.stages:
            total_flow = flow
        else:
            total_flow = fields.affine_flow(affine[0], affine[1], self.flow.shape[1:-1])
        return self._with(
            flow, total_flow, name, "affine", extras, (matrix, offset), affine or (None, None)
        )

    def _total(self, flow, update):
        if update == "replace" or not self.stages:
            return flow
        if update == "add":
            return self.flow + flow
        matrix = self.stages[-1].total_matrix
        if matrix is None:
            return compose(self.flow, flow)
        linear = matrix + tf.eye(self.rank, dtype=matrix.dtype)
        return tf.einsum("bij,b...j->b...i", linear, flow) + self.flow

    def _total_affine(self, matrix, offset):
        """A and b after one more affine step; None if the total is not affine.

        The step maps x to y = (I + A) x + b, the earlier stages map y to (I + A') y + b'.
        """
        if not self.stages:
            return matrix, offset
        before, shift = self.stages[-1].total_matrix, self.stages[-1].total_offset
        if before is None:
            return None
        total_offset = tf.linalg.matvec(before, offset) + offset + shift
        return before + matrix + tf.matmul(before, matrix), total_offset

    def _with(self, flow, total_flow, name, kind, extras=None, affine=(None, None), total=None):
        name = name or self._free_name(kind)
        if name in [stage.name for stage in self.stages]:
            raise ValueError(f"two stages are called {name!r}: stage names must be unique.")
        if self.moving is None:
            raise ValueError("an output made without `moving` takes no further stage.")
        warped = warp(self.moving, total_flow, self.padding)
        total = total or (None, None)
        stage = StageOutput(flow, total_flow, warped, *affine, *total, name, kind, extras or {})
        stages = (*self.stages, stage)
        return RegistrationOutput(total_flow, warped, stages, self.moving, self.padding)

    def _free_name(self, kind):
        number = 1 + sum(stage.kind == kind for stage in self.stages)
        return kind if kind == "affine" and number == 1 else f"{kind}_{number}"

    def __repr__(self) -> str:
        names = ", ".join(stage.name for stage in self.stages)
        return f"RegistrationOutput(flow={list(self.flow.shape)}, stages: {names})"


def unregistered(moving: tf.Tensor, padding: str = "border") -> RegistrationOutput:
    """The output before any stage: no displacement.

    Args: moving: [B, *spatial, 1] float32. padding: of the warped images, "border" or "zeros".
    Returns: RegistrationOutput without stages, from which a model goes on with `then`.
    """
    moving = tf.convert_to_tensor(moving)
    rank = moving.shape.rank - 2
    flow = tf.zeros(tf.concat([tf.shape(moving)[:-1], [rank]], axis=0), moving.dtype)
    flow = tf.ensure_shape(flow, [*moving.shape[:-1], rank])
    return RegistrationOutput(flow, moving, (), moving, padding)
