"""Trains a small VR-Net on synthetic slices of beating hearts and registers a pair of new ones.

    python examples/vr_net_2d.py --steps 200

Every slice is a bright cavity in a dark muscle within textured tissue; between the end of diastole
and the end of systole the muscle contracts by a smooth field. The network registers the contracted
heart to the relaxed one and never sees the true motion. The script prints the overlap of the
muscle (Dice) before and after, and theta, the weight of the denoised flow in each data step.
"""

import argparse

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates

import custom_ops
import rcn_tf
from rcn_tf.keras_api import keras
from rcn_tf.metrics import folding_fraction
from rcn_tf.training.step import make_train_step

SHAPE = (64, 64)
LOSS = {"final": {"mae": 1.0, "central_gradient": 0.05}}  # VR-Net, eq. 8
BATCH = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    keras.utils.set_random_seed(1)
    model = rcn_tf.VRNet(SHAPE, n_warps=2, channels=4)
    optimizer = keras.optimizers.legacy.Adam(1e-3)
    train_step = make_train_step(
        tf.distribute.get_strategy(), model, optimizer, weights=LOSS, batch_size=BATCH
    )
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        fixed, moving = batch(rng, BATCH)[:2]
        terms = train_step(fixed, moving)
        if step % 20 == 0 or step == steps:
            print(f"step {step}: loss {np.mean(terms['total']):.4f}")

    fixed, moving, fixed_muscle, moving_muscle = batch(np.random.default_rng(1), 8)
    out = model(fixed, moving)
    warped_muscle = custom_ops.warp(moving_muscle, out.flow)
    print(f"Dice before {dice(fixed_muscle, moving_muscle):.3f}, ", end="")
    print(f"after {dice(fixed_muscle, warped_muscle):.3f}")
    print(f"folded {100 * np.mean(folding_fraction(out.flow)):.2f} %")
    print("theta", {name: round(theta, 4) for name, theta in model.thetas().items()})


def batch(rng, number):
    """Relaxed and contracted slices and their muscles, each [number, *SHAPE, 1] float32."""
    pairs = [heart(rng) for _ in range(number)]
    return [tf.constant(np.stack(part)[..., None], tf.float32) for part in zip(*pairs)]


def heart(rng):
    """A relaxed slice, the same contracted, and the muscle of each."""
    grid = np.indices(SHAPE)
    centre = np.array(SHAPE) / 2 + rng.uniform(-3, 3, 2)
    offset = grid - centre[:, None, None]
    radius = np.hypot(*(offset / rng.uniform(0.85, 1.15, 2)[:, None, None]))
    inner, outer = rng.uniform(9, 12), rng.uniform(15, 18)
    muscle = ((radius > inner) & (radius < outer)).astype(float)
    tissue = 0.35 + 0.08 * noise(rng, 4.0)
    image = np.select([radius < inner, radius < outer], [0.9, 0.15], tissue)
    image = gaussian_filter(image + 0.02 * noise(rng, 1.0), 0.7)
    strength = rng.uniform(0.2, 0.35)  # of the contraction, which ends outside the heart
    motion = offset * strength * np.exp(-((radius / 20) ** 2))
    motion += 0.7 * np.stack([noise(rng, 8.0), noise(rng, 8.0)])
    contracted = [
        map_coordinates(a, grid + motion, order=1, mode="nearest") for a in (image, muscle)
    ]
    contracted[0] = contracted[0] + 0.02 * noise(rng, 1.0)
    return np.clip(image, 0, 1), np.clip(contracted[0], 0, 1), muscle, contracted[1]


def noise(rng, width):
    """A smooth random field of unit variance."""
    field = gaussian_filter(rng.standard_normal(SHAPE), width)
    return field / field.std()


def dice(one, other):
    one, other = np.asarray(one) > 0.5, np.asarray(other) > 0.5
    return 2 * (one & other).sum() / (one.sum() + other.sum())


if __name__ == "__main__":
    main()
