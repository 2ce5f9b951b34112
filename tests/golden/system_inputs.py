"""Inputs behind the numbers of VR-Net, AVSM and RWCNet in `losses.npz`, from their seeds."""

import numpy as np
from scipy.ndimage import gaussian_filter


def volume(seed, shape):
    """A smooth random image [D, H, W] in [0, 1], float32, with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    coarse = gaussian_filter(rng.standard_normal(shape), [n / 14 for n in shape], mode="wrap")
    fine = gaussian_filter(rng.standard_normal(shape), 1.5, mode="wrap")
    v = coarse / coarse.std() + 0.5 * fine / fine.std()
    return ((v - v.min()) / (v.max() - v.min())).astype("float32")


def pair(seed, shape):
    """(fixed, moving), each [1, D, H, W, 1] in [0, 1]; two views of partly common content."""
    common, a, b = (volume(seed + k, shape) for k in range(3))
    fixed, moving = 0.7 * common + 0.3 * a, 0.7 * common + 0.3 * b
    return fixed[None, ..., None].astype("float32"), moving[None, ..., None].astype("float32")


def field(seed, shape, channels=3, std=1.0, sigma=2.0):
    """A smooth random field [1, D, H, W, channels] of the given standard deviation, float32."""
    rng = np.random.default_rng(seed)
    f = rng.standard_normal((*shape, channels))
    if sigma:
        f = gaussian_filter(f, [sigma] * 3 + [0], mode="nearest")
    return (std * f / f.std())[None].astype("float32")
