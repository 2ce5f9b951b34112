"""Cost volume: how well the features of every voxel match those of the voxels around it.

The native op (`cc/cost_volume.h`) needs hardly more memory than its result;
`python_cost_volume.py` is the definition, and the fallback.
"""

from __future__ import annotations

import tensorflow as tf

from custom_ops import planes, python_cost_volume
from custom_ops.sampling import resolve_backend

KINDS = ("l1", "correlation")
_DTYPES = (tf.bfloat16, tf.float32, tf.float64)


@tf.autograph.experimental.do_not_convert
def cost_volume(
    fixed: tf.Tensor,
    moving: tf.Tensor,
    radius: int,
    kind: str = "l1",
    *,
    box_mean: bool = True,
    backend: str = "auto",
) -> tf.Tensor:
    """Costs of moving every voxel by every whole offset of at most `radius` voxels per axis.

        l1           cost_o(x) = sum over channels of |fixed(x) - moving(x + o)|
        correlation  cost_o(x) = sum over channels of fixed(x) moving(x + o)

    Outside the volume the moving features are zero. With `box_mean` a cost is the mean over the
    3 voxels per axis around x, of which those outside the volume count as zero, divided by 27 (in
    2D by 9) everywhere.

    The first axis of the offset varies fastest. In 3D channel
    ((o_w + r) (2 r + 1) + (o_h + r)) (2 r + 1) + (o_d + r) has the offset (o_d, o_h, o_w), in 2D
    channel (o_w + r) (2 r + 1) + (o_h + r) has (o_h, o_w):

    >>> import tensorflow as tf
    >>> fixed = tf.reshape([0.0, 0.0, 1.0, 0.0], [1, 4, 1, 1])
    >>> moving = tf.reshape([0.0, 1.0, 0.0, 0.0], [1, 4, 1, 1])  # one voxel back
    >>> costs = cost_volume(fixed, moving, 1, box_mean=False)
    >>> costs[0, 2, 0, 3:6].numpy()  # offsets (-1, 0), (0, 0) and (1, 0) of the voxel with 1
    array([0., 1., 1.], dtype=float32)

    Args:
        fixed, moving: [B, D, H, W, C] or [B, H, W, C], features in bfloat16, float32 or float64;
            bfloat16 is computed in float32.
        radius: r, the largest offset along an axis, voxels, at least 1.
        kind: "l1", the sum of absolute differences, or "correlation", the inner product.
        box_mean: whether costs are smoothed by the box mean.
        backend: as in `warp`. Both backends are differentiable once; the native one gives the same
            bits for any number of threads.

    Returns: [B, *spatial, (2 r + 1)^R], R the number of spatial axes, same dtype.

    Raises:
        ValueError: a shape, the radius or the kind is wrong.
        TypeError: the features are of another type, or of two types.
        ImportError: if the native backend is demanded but not available.

    Reference: RWCNet, section 3, whose code takes "l1" with the box mean as ConvexAdam does;
        "correlation" is the cost volume of optical flow networks (FlowNet, PWC-Net, RAFT).
    """
    fixed, moving = tf.convert_to_tensor(fixed), tf.convert_to_tensor(moving)
    _check(fixed, moving, radius, kind)
    run = python_cost_volume.cost_volume
    if resolve_backend(backend) == "native":
        from custom_ops import native_backend

        run = native_backend.cost_volume
    planar, correlation = fixed.shape.rank == 4, kind == "correlation"
    if not planar:
        return run(fixed, moving, int(radius), False, correlation, box_mean)
    lifted = planes.lift_image(fixed), planes.lift_image(moving)
    return planes.lower_image(run(*lifted, int(radius), True, correlation, box_mean))


def _check(fixed, moving, radius, kind):
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}; got {kind!r}.")
    if isinstance(radius, bool) or int(radius) != radius or radius < 1:
        raise ValueError(f"`radius` must be a whole number of at least 1; got {radius!r}.")
    if fixed.shape.rank not in (4, 5):
        raise ValueError(
            f"`fixed` must have shape [B, D, H, W, C] or [B, H, W, C]; got {fixed.shape}."
        )
    if not fixed.shape.is_compatible_with(moving.shape):
        raise ValueError(
            f"`moving` must have shape {fixed.shape} to match `fixed`; got {moving.shape}."
        )
    if fixed.dtype not in _DTYPES:
        raise TypeError(f"`fixed` must be bfloat16, float32 or float64; got {fixed.dtype.name}.")
    if fixed.dtype != moving.dtype:
        raise TypeError(
            f"`fixed` and `moving` must share a dtype; got {fixed.dtype.name} and "
            f"{moving.dtype.name}."
        )
