"""The ops in C++ and CUDA (`cc/`), and their gradients.

Each gradient is a separate op, so that it is computed only if it is needed; but the local NCC
computes its own along with the value.
"""

from __future__ import annotations

import tensorflow as tf

from custom_ops.loader import library

_ONCE = (
    "has no derivative: the native ops are differentiable once. For second derivatives use "
    "backend='python' or RCN_OPS=python."
)


def warp(image: tf.Tensor, flow: tf.Tensor, padding: str) -> tf.Tensor:
    """Image [B, D, H, W, C] sampled at x + flow(x); see `custom_ops.warp`."""
    dtype = image.dtype
    if tf.float64 in (dtype, flow.dtype):  # the op's image must not be wider than its flow
        image = tf.cast(image, flow.dtype)
    return tf.cast(library().rcn_warp(image, flow, padding=padding), dtype)


def compose(previous: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
    """update(x) + previous(x + update(x)), in one pass; see `custom_ops.compose`."""
    return library().rcn_compose(previous, update)


def local_ncc(fixed, warped, masks, window, squared, variance_floor, gradients):
    """Values [B] for volumes and a list of one mask or none; see `custom_ops.local_ncc`."""
    floor = tf.cast(variance_floor, tf.float64)
    options = {"window": window, "squared": squared, "gradients": gradients}
    return library().rcn_local_ncc(floor, fixed, warped, masks, **options).values


def cost_volume(fixed, moving, radius, planar, correlation, box_mean):
    """Costs of volumes [B, D, H, W, C]; see `custom_ops.cost_volume`.

    Args: planar: no offsets and no mean along D.
    """
    options = {"planar": planar, "correlation": correlation, "box_mean": box_mean}
    return library().rcn_cost_volume(fixed, moving, radius=radius, **options)


@tf.RegisterGradient("RcnWarp")
def _warp_gradient(op, upstream):
    image, flow = op.inputs
    padding = op.get_attr("padding")
    image_gradient = flow_gradient = None
    if _is_needed(op, 0):
        image_gradient = library().rcn_warp_image_grad(
            tf.shape(image), flow, upstream, padding=padding
        )
    if _is_needed(op, 1):
        flow_gradient = library().rcn_warp_flow_grad(image, flow, upstream, padding=padding)
    return image_gradient, flow_gradient


@tf.RegisterGradient("RcnCompose")
def _compose_gradient(op, upstream):
    previous, update = op.inputs
    previous_gradient = update_gradient = None
    if _is_needed(op, 0):
        previous_gradient = library().rcn_warp_image_grad(tf.shape(previous), update, upstream)
    if _is_needed(op, 1):
        update_gradient = library().rcn_compose_update_grad(previous, update, upstream)
    return previous_gradient, update_gradient


@tf.RegisterGradient("RcnSquaredDifferences")
def _squared_differences_gradient(op, upstream):
    return library().rcn_squared_differences_grad(op.inputs[0], upstream)


@tf.RegisterGradient("RcnLocalNcc")
def _local_ncc_gradient(op, upstream, *_):
    floor, fixed, warped, *masks = op.inputs

    def gradient(index, output, by, other):
        if not _is_needed(op, index):
            return None
        if op.outputs[output].shape.rank == 1:  # it was not computed: the images change places
            options = {key: op.get_attr(key) for key in ("window", "squared")}
            slope = library().rcn_local_ncc(floor, other, by, masks, **options).warped_gradient
        else:
            slope = op.outputs[output]
        return tf.reshape(upstream, [-1, 1, 1, 1, 1]) * _without_derivative(slope)

    by_warped = gradient(2, 1, warped, fixed)
    by_fixed = gradient(1, 2, fixed, warped)
    return [None, by_fixed, by_warped, *[None] * len(masks)]


@tf.RegisterGradient("RcnCostVolume")
def _cost_volume_gradient(op, upstream):
    names = ("radius", "planar", "correlation", "box_mean")
    options = {name: op.get_attr(name) for name in names}
    needed = [_is_needed(op, index) for index in (0, 1)]
    options["gradients"] = {(True, False): "fixed", (False, True): "moving"}.get(
        tuple(needed), "both"
    )
    slopes = library().rcn_cost_volume_grad(*op.inputs, upstream, **options)
    return [slope if wanted else None for slope, wanted in zip(slopes, needed)]


@tf.custom_gradient
def _without_derivative(slope):
    def refuse(_):
        raise NotImplementedError("RcnLocalNcc " + _ONCE)

    return tf.identity(slope), refuse


@tf.RegisterGradient("RcnWarpImageGrad")
@tf.RegisterGradient("RcnWarpFlowGrad")
@tf.RegisterGradient("RcnCostVolumeGrad")
@tf.RegisterGradient("RcnComposeUpdateGrad")
@tf.RegisterGradient("RcnSquaredDifferencesGrad")
def _no_second_derivative(op, *_):
    raise NotImplementedError(f"{op.type} {_ONCE}")


def _is_needed(op, index):
    """Whether the tape needs the gradient of an input; True if unknown, as in graphs."""
    return index not in (getattr(op, "skip_input_indices", None) or ())
