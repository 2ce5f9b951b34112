"""Images of two axes as volumes of one plane, which is how the kernels take them.

A flow in the plane becomes one that stays in it: its displacement along the new first axis is
zero. Gradients pass through; that of the zero displacement is dropped.
"""

import tensorflow as tf


def lift_image(image):
    """[B, H, W, C] -> [B, 1, H, W, C]."""
    return image[:, tf.newaxis]


def lift_flow(flow):
    """[B, H, W, 2] -> [B, 1, H, W, 3], with no displacement along the new axis."""
    return tf.pad(flow, [[0, 0]] * 3 + [[1, 0]])[:, tf.newaxis]


def drop_image(image):
    """[B, 1, H, W, C] -> [B, H, W, C]."""
    return tf.squeeze(image, axis=1)


def drop_flow(flow):
    """[B, 1, H, W, 3] -> [B, H, W, 2]."""
    return tf.squeeze(flow, axis=1)[..., 1:]
