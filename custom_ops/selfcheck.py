"""Checks freshly loaded native ops before they are used, since compilers have bugs too."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import tensorflow as tf

from custom_ops import python_backend, python_cost_volume
from custom_ops.toolchain import BuildError

_TOLERANCE = 1e-4


def check(module: Any) -> None:
    """Compares the ops of a small problem with the Python backend, on the device in use.

    Args: module: what `tf.load_op_library` returned.

    Raises: BuildError: if a result or a gradient differs.
    """
    problems = [(dtype, channels) for dtype in (tf.float32, tf.float64) for channels in (1, 3)]
    # The first use may be inside a traced function; a thread of its own runs eagerly.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        for dtype, channels in problems:
            thread.submit(_check_one, module, dtype, channels).result()
            thread.submit(_check_local_ncc, module, dtype, channels).result()
        for dtype, channels in ((tf.float32, 1), (tf.float64, 3)):
            thread.submit(_check_cost_volume, module, dtype, channels).result()
        thread.submit(_check_scans, module).result()


def _check_one(module, dtype, channels):
    image, flow, upstream = (
        scale * tf.random.stateless_uniform((1, *shape, c), (k, 7), -1, 1, dtype)
        for k, (shape, c, scale) in enumerate(
            [((3, 4, 5), channels, 1), ((2, 3, 17), 3, 4), ((2, 3, 17), channels, 1)]
        )
    )
    with tf.GradientTape() as tape:
        tape.watch([image, flow])
        out = python_backend.warp(image, flow, "border")
    image_gradient, flow_gradient = tape.gradient(out, [image, flow], upstream)
    shape = tf.shape(image)
    by_flow = module.rcn_warp_flow_grad(image, flow, upstream)
    by_image = module.rcn_warp_image_grad(shape, flow, upstream)
    problem = f"({dtype.name}, {channels} channels)"
    _compare(f"warp {problem}", module.rcn_warp(image, flow), out)
    _compare(f"its gradient by the flow {problem}", by_flow, flow_gradient)
    _compare(f"its gradient by the image {problem}", by_image, image_gradient)


def _check_local_ncc(module, dtype, channels):
    shape = (2, 3, 4, 17, channels)
    fixed, warped, mask = (
        tf.random.stateless_uniform(shape, (k, 9), dtype=dtype) for k in range(3)
    )
    mask = tf.round(mask[..., :1])
    with tf.GradientTape() as tape:
        tape.watch(warped)
        values = python_backend.local_ncc(fixed, warped, mask, 3, True, 1e-3)
    slope = tape.gradient(values, warped)
    floor = tf.constant(1e-3, tf.float64)
    found = module.rcn_local_ncc(floor, fixed, warped, [mask], window=3)
    problem = f"({dtype.name}, {channels} channels)"
    _compare(f"local NCC {problem}", found.values, values)
    _compare(f"its gradient {problem}", found.warped_gradient, slope)


def _check_cost_volume(module, dtype, channels):
    shape, correlation = (1, 3, 4, 17, channels), channels > 1
    fixed, moving = (tf.random.stateless_normal(shape, (k, 11), dtype=dtype) for k in range(2))
    with tf.GradientTape() as tape:
        tape.watch([fixed, moving])
        costs = python_cost_volume.cost_volume(fixed, moving, 1, False, correlation, True)
    upstream = tf.random.stateless_normal(costs.shape, (2, 11), dtype=dtype)
    slopes = tape.gradient(costs, [fixed, moving], upstream)
    options = {"radius": 1, "correlation": correlation}
    problem = f"({dtype.name}, {channels} channels)"
    _compare(f"cost volume {problem}", module.rcn_cost_volume(fixed, moving, **options), costs)
    found = module.rcn_cost_volume_grad(fixed, moving, upstream, **options)
    for which, slope, expected in zip(("fixed", "moving"), found, slopes):
        _compare(f"its gradient by the {which} features {problem}", slope, expected)


def _check_scans(module):
    """On a ramp, and on a field that stretches it, results are known."""
    depth, height, width = tf.meshgrid(*map(tf.range, (4, 5, 19)), indexing="ij")
    ramp = tf.cast(3 * depth - 2 * height + width, tf.float32)
    unit = tf.eye(3, 4, dtype=tf.float64)
    shape = tf.constant([4, 5, 19], tf.int64)
    shift = tf.concat([unit[:, :3], tf.constant([[0.5], [0.25], [-0.5]], tf.float64)], axis=1)
    with tf.device("CPU:0"):
        zero, nothing = tf.constant(0.0, tf.float64), tf.zeros([0])
        sampled = module.rcn_resample(ramp, nothing, shift, unit, shape, zero, fills=False)
        stretched = 0.25 * tf.cast(tf.stack([depth, height, width], axis=-1), tf.float32)
        along = tf.constant([0.0, 0.0, 1.0], tf.float64)
        tolerance = tf.constant(1e-5, tf.float64)
        inverse, error, _ = module.rcn_invert_field(
            stretched, unit, unit, 0 * unit, along, tolerance, shape
        )
    _compare("resampling", sampled[:3, :4, 1:], ramp[:3, :4, 1:] + 0.5)
    _compare("the inverse of a field", inverse, -0.8 * stretched)
    _compare("its error", error, 0 * error)


def _compare(name, found, expected):
    if not float(tf.reduce_max(abs(found - expected))) <= _TOLERANCE:
        raise BuildError(
            f"{name} is wrong, probably through an error of the compiler; set CXX to use another "
            "compiler"
        )
