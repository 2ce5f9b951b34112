"""Trilinear warp in C++ and CUDA (`cc/`), and its gradients.

Each gradient is a separate op, so that it is computed only if it is needed.
"""

from __future__ import annotations

import tensorflow as tf

from custom_ops.loader import library


def warp(image: tf.Tensor, flow: tf.Tensor, padding: str) -> tf.Tensor:
    """Image [B, D, H, W, C] sampled at x + flow(x); see `custom_ops.warp`."""
    dtype = image.dtype
    if tf.float64 in (dtype, flow.dtype):  # the op's image must not be wider than its flow
        image = tf.cast(image, flow.dtype)
    return tf.cast(library().rcn_warp(image, flow, padding=padding), dtype)


def compose(previous: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
    """update(x) + previous(x + update(x)), in one pass; see `custom_ops.compose`."""
    return library().rcn_compose(previous, update)


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


@tf.RegisterGradient("RcnWarpImageGrad")
@tf.RegisterGradient("RcnWarpFlowGrad")
@tf.RegisterGradient("RcnComposeUpdateGrad")
@tf.RegisterGradient("RcnSquaredDifferencesGrad")
def _no_second_derivative(op, *_):
    raise NotImplementedError(
        f"{op.type} has no derivative: the native warp is differentiable once. For second "
        "derivatives use backend='python' or RCN_OPS=python."
    )


def _is_needed(op, index):
    """Whether the tape needs the gradient of an input; True if unknown, as in graphs."""
    return index not in (getattr(op, "skip_input_indices", None) or ())
