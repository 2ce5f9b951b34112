"""AVSM: affine steps, then velocity steps of a momentum network (Shen et al., CVPR 2019).

    affine_1, affine_2, ...      one network, applied to the moving image as warped so far
    velocity_1, velocity_2, ...  another one predicts a momentum, whose smoothed version is a
                                 stationary velocity; it carries the map so far for a unit of time

All steps of a kind share their weights, so that a call may take more steps than the training did.
Maps are composed and the moving image is warped once per step, always from the original. Velocity
steps work at half the resolution. Momenta and velocities are in the unit lengths of `AVSM`.

`original=True` computes what the authors' code computes. By default the model takes any size and
starts near the identity; its Gaussians are equally wide in mm along all axes and stop at the
border, where the code's are fractions of each side and wrap around; images show their border
outside instead of zeros; and one wrong tensor of a residual block is the right one.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from rcn_tf import fields
from rcn_tf.models.inputs import check_whole
from rcn_tf.models.model import RECOMPUTE, CallOption, RegistrationModel
from rcn_tf.models.output import RegistrationOutput, unregistered
from rcn_tf.networks.momentum import MomentumNetwork
from rcn_tf.networks.pytorch_layers import torch_weights
from rcn_tf.networks.shared_affine import SharedAffineNetwork

SIGMAS = (0.05, 0.1, 0.15, 0.2, 0.25)
WEIGHTS = (1 / 15, 2 / 15, 3 / 15, 4 / 15, 5 / 15)
_MULTIPLE = 16  # sizes of the authors' network


class AVSM(RegistrationModel):
    """Affine steps and vector-momentum parameterised stationary velocity fields.

    Args:
        volume_shape: (D, H, W) or (H, W), at least 32 per axis.
        n_affine_steps, n_velocity_steps: steps of a call, unless it asks for others.
        time_steps: Runge-Kutta steps of a velocity step.
        sigmas: standard deviations of the Gaussians that make a velocity of a momentum, in unit
            lengths. The unit length is the longest side of the volume in mm, or with `original`
            each axis' own side; a side is measured between the centres of its first and last voxel.
        weights: of the Gaussians.
        spacing: mm per voxel along each axis of the network's grid, as typical for the scans; by
            default the same along all axes. Only the ratios matter.
        channels: width of both networks, their first convolution; the authors' have 16.
        original: computes what the authors' code computes, with its fixed-size affine network,
            zeros outside the moving image, initial weights far from the identity, and slips.

    Raises:
        ValueError: a volume shape, number of steps, sigma, weight or spacing does not fit.
    """

    CALL_OPTIONS: Mapping[str, CallOption] = {
        "n_affine_steps": CallOption(7, "affine steps, with the same weights", 0),
        "n_velocity_steps": CallOption(2, "velocity steps, with the same weights", 0),
        "time_steps": CallOption(10, "Runge-Kutta steps of a velocity step", 1),
        "recompute": RECOMPUTE,
    }

    def __init__(
        self,
        volume_shape: tuple[int, ...],
        *,
        n_affine_steps: int = 7,
        n_velocity_steps: int = 2,
        time_steps: int = 10,
        sigmas: tuple[float, ...] = SIGMAS,
        weights: tuple[float, ...] = WEIGHTS,
        spacing: Optional[tuple[float, ...]] = None,
        channels: int = 16,
        original: bool = False,
        name: str = "avsm",
    ):
        super().__init__(volume_shape, name=name)
        steps = {"n_affine_steps": n_affine_steps, "n_velocity_steps": n_velocity_steps}
        for key, value in steps.items():
            check_whole(key, value, 0)
        check_whole("time_steps", time_steps, 1)
        check_whole("channels", channels, 1)
        _check_steps(**steps)
        sigmas, weights = _numbers("sigmas", sigmas), _numbers("weights", weights)
        if len(sigmas) != len(weights):
            raise ValueError(f"{len(sigmas)} `sigmas` need as many `weights`; got {len(weights)}.")
        if spacing is not None:
            spacing = _numbers("spacing", spacing)
            if len(spacing) != self.rank or original:
                raise ValueError(
                    f"`spacing` must be {self.rank} numbers, one per axis of {self.volume_shape}, "
                    f"and is not for `original`, which knows no mm; got {spacing}."
                )
        if original and any(size % _MULTIPLE for size in self.volume_shape):
            raise ValueError(
                f"the original's sizes are multiples of {_MULTIPLE}; got {self.volume_shape}."
            )
        self._config: dict[str, Any] = {
            "volume_shape": self.volume_shape,
            **steps,
            "time_steps": time_steps,
            "sigmas": sigmas,
            "weights": weights,
            "spacing": spacing,
            "channels": channels,
            "original": original,
        }
        # Not a plain dict, which Keras would track.
        self.CALL_OPTIONS = MappingProxyType(
            {
                key: CallOption(self._config.get(key, option.default), *_rest(option))
                for key, option in type(self).CALL_OPTIONS.items()
            }
        )
        self.original = original
        self.unit_voxels = (
            np.array(self.half_shape, np.float32) - 1
            if original
            else unit_voxels(self.volume_shape, self.half_shape, spacing)
        )
        self.affine = SharedAffineNetwork(self.volume_shape, channels=channels, original=original)
        self.momentum = MomentumNetwork(rank=self.rank, channels=channels, original=original)
        blank = tf.zeros((1, *self.volume_shape, 1))
        for network in (self.affine, self.momentum):  # creates the weights
            network(blank, blank)
        self.built = True

    @property
    def half_shape(self) -> tuple[int, ...]:
        """Sizes of the grid of momenta and velocities; its outer voxels lie on the volume's."""
        return tuple(-(-size // 2) for size in self.volume_shape)

    @tf.autograph.experimental.do_not_convert  # nothing here needs it, and it takes seconds
    def call(
        self, fixed: tf.Tensor, moving: tf.Tensor, training: bool, options: Any
    ) -> RegistrationOutput:
        """Runs the registration on checked inputs, for `__call__`.

        A training looks at its loss itself, so that there an unstable step is no error.
        """
        return self.register(fixed, moving, check=not training, **options)

    def register(  # type: ignore[override]  # its options by name
        self,
        fixed: tf.Tensor,
        moving: tf.Tensor,
        *,
        n_affine_steps: int,
        n_velocity_steps: int,
        time_steps: int,
        recompute: bool = False,
        check: bool = True,
    ) -> RegistrationOutput:
        """The steps, once the inputs are checked.

        Raises: ValueError: no step is asked for, or one became unstable (in a graph
            tf.errors.InvalidArgumentError).
        """
        _check_steps(n_affine_steps, n_velocity_steps)
        affine, momentum = (
            tf.recompute_grad(network) if recompute else network
            for network in (self.affine, self.momentum)
        )
        out = unregistered(moving, padding="zeros" if self.original else "border")
        total = None
        for number in range(1, n_affine_steps + 1):
            step = affine(fixed, out.warped)
            total = step if total is None else composed(step, total)
            own = to_voxels(step[0], step[1], self.volume_shape)
            both = to_voxels(total[0], total[1], self.volume_shape)
            out = out.then_affine(*own, name=f"affine_{number}", total=both)
        for number in range(1, n_velocity_steps + 1):
            stage = f"velocity_{number}"
            predicted = momentum(fixed, out.warped)
            velocity = self.velocity(predicted, time_steps)
            half = fields.advect(
                fields.resize(out.flow, self.half_shape, ends=True),
                velocity * self.unit_voxels,
                time_steps,
                check=check,
                name=f"the advection of stage {stage!r}",
            )
            flow = fields.resize(half, self.volume_shape, ends=True)
            extras = {"momentum": predicted, "velocity": velocity}
            out = out.then(flow, name=stage, kind="velocity", update="replace", extras=extras)
        return out

    def velocity(self, momentum: tf.Tensor, time_steps: int) -> tf.Tensor:
        """The velocity of a momentum: smoothed, and cut to what the advection can follow.

        Args: momentum: [B, *half_shape, R] float32. time_steps: of the advection.
        Returns: same shape, unit lengths per unit of time.
        """
        smoothed = fields.multi_gaussian(
            momentum,
            self._config["sigmas"],
            self._config["weights"],
            spacing=(1 / self.unit_voxels).tolist(),
            periodic=self.original,
        )
        return fields.limit_velocity(smoothed * self.unit_voxels, time_steps) / self.unit_voxels

    def inverse_flow(
        self, output: RegistrationOutput, time_steps: Optional[int] = None
    ) -> tf.Tensor:
        """Flow of the inverse map, from the moving image to the fixed one, by the same velocities.

        Args: output: of this model. time_steps: by default the model's.
        Returns: [B, *volume_shape, R] float32, voxels.
        """
        number: int = time_steps or self._config["time_steps"]
        flow = fields.resize(_inverse_affine(output, self.volume_shape), self.half_shape, ends=True)
        for stage in output.stages:
            if stage.kind == "velocity":
                velocity = stage.extras["velocity"] * self.unit_voxels
                flow = fields.follow(flow, velocity, number)
        return fields.resize(flow, self.volume_shape, ends=True)

    def reference_weights(self) -> dict[str, tf.Variable]:
        """Weights under the names of the authors' code; it has 3D images and `original` only."""
        if not self.original or self.rank != 3:
            raise ValueError("AVSM has reference weights with `original=True` and 3D images only.")
        found = {}
        for prefix, network in (
            ("avsm/affine_net.affine_gen", self.affine),
            ("avsm/momentum_net.mom_gen", self.momentum),
        ):
            for name, layer in network.layers_by_name.items():
                kind = "fc" if name.startswith("fc_") else "conv"
                for part, variable in torch_weights(layer).items():
                    found[f"{prefix}.{name}.{kind}.{part}"] = variable
        return found

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the same model again, JSON-serialisable."""
        return dict(self._config)


def composed(
    step: tuple[tf.Tensor, tf.Tensor], before: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The map x -> A x + b that applies `before`, then `step` (AVSM, eq. 1).

    Args: step, before: (A [B, R, R], b [B, R]), in coordinates of any one kind.
    Returns: (A, b).
    """
    matrix, offset = step
    return tf.matmul(matrix, before[0]), tf.linalg.matvec(matrix, before[1]) + offset


def to_voxels(
    matrix: tf.Tensor, offset: tf.Tensor, shape: Sequence[int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """A map in coordinates from -1 to 1 as a displacement in voxels.

    Args: matrix: [B, R, R], A of x -> A x + b. offset: [B, R], b. shape: the R sizes of the grid.
    Returns: the deviation from the identity [B, R, R] and the offset [B, R] in voxels, both about
        the centre of the volume, as `rcn_tf.fields.affine_flow` takes them.
    """
    side = tf.cast(shape, matrix.dtype) - 1
    linear = matrix * side[:, None] / side[None, :]
    return linear - tf.eye(len(shape), dtype=matrix.dtype), offset * side / 2


def unit_voxels(
    shape: Sequence[int], half: Sequence[int], spacing: Optional[Sequence[float]] = None
) -> np.ndarray:
    """Voxels of the half grid per unit length, which is the longest side.

    Args: shape, half: R sizes of a grid and of that of its momenta. spacing: mm per voxel along
        each axis of the grid; by default the same along all.
    Returns: [R] float32.
    """
    sides = (np.array(shape) - 1) * np.array(spacing or [1.0] * len(shape))
    return (sides.max() / sides * (np.array(half) - 1)).astype(np.float32)


def _inverse_affine(output, shape):
    """Flow of the inverse of the affine steps; zero if there are none."""
    if output.affine is None:
        return tf.zeros_like(output.flow)
    matrix, offset = output.affine
    identity = tf.eye(len(shape), dtype=matrix.dtype)
    inverse = tf.linalg.inv(matrix + identity)
    return fields.affine_flow(inverse - identity, -tf.linalg.matvec(inverse, offset), shape)


def _check_steps(n_affine_steps, n_velocity_steps):
    if not n_affine_steps + n_velocity_steps:
        raise ValueError("AVSM needs at least one affine or velocity step.")


def _numbers(name, values):
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(0 < number < np.inf for number in numbers):
        raise ValueError(f"`{name}` must be positive numbers; got {values!r}.")
    return numbers


def _rest(option):
    return option.help, option.least, option.flag, option.for_training
