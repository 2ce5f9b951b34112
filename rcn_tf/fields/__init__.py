"""Displacement and velocity fields on a voxel grid, in 2D and 3D.

A flow is [B, *spatial, R] with R = 2 or 3 the number of spatial axes; channel k displaces along
spatial axis k ("ij") in voxels, and acts by pull-back: `warped(x) = moving(x + flow(x))`.

    displacements   flows: affine_flow, invert, integrate, resize, jacobian_determinant, ...
    advection       maps moved by a velocity, by Runge-Kutta: advect, follow, limit_velocity
    kernels         smoothing by a sum of Gaussians, which makes a velocity of a momentum
"""

from custom_ops import compose
from rcn_tf.fields.advection import advect, follow, limit_velocity
from rcn_tf.fields.displacements import (
    affine_flow,
    identity_grid,
    integrate,
    invert,
    invert_on,
    invert_points,
    jacobian_determinant,
    resize,
    sample,
)
from rcn_tf.fields.kernels import multi_gaussian

__all__ = [
    "advect",
    "affine_flow",
    "compose",
    "follow",
    "identity_grid",
    "integrate",
    "invert",
    "invert_on",
    "invert_points",
    "jacobian_determinant",
    "limit_velocity",
    "multi_gaussian",
    "resize",
    "sample",
]
