"""Inputs and weights behind the numbers of VR-Net, AVSM and RWCNet, from seeds and names."""

import json
import pathlib
import zlib

import numpy as np
from scipy.ndimage import gaussian_filter

# Last layers and other special cases: (part of the name, gain), first match wins.
GAINS = (
    ("vrnet/init_block.dc9.", 2.0),
    (".dc9.", 2.0),
    ("avsm/momentum_net.mom_gen.up_path_2_3.", 0.015),
    ("avsm/affine_net.affine_gen.fc_2.", 0.25),
    ("update.flowhead.2.", 0.5),
    ("update.gru.", 1.0),
)


def _rng(name):
    return np.random.default_rng(zlib.crc32(name.encode("ascii")))


def is_transposed(name):
    """True for the weights of transposed convolutions."""
    vrnet = any(f".up{k}." in name for k in (1, 2, 3, 4))
    avsm = any(f".up_path_{k}_1." in name for k in (8, 4, 2))
    return name.endswith("weight") and (vrnet or avsm)


def weight(name, shape):
    """Weight of the variable `name`, float32, in TensorFlow's layout.

    Args:
        name: e.g. 'vrnet/cnn_blocks.0.ec1.0.weight': system, '/', name in the authors' state dict.
        shape: [kd, kh, kw, in, out] for a convolution, [kd, kh, kw, out, in] for a transposed one,
            [in, out] for a dense layer, [n] for a bias, a group-norm scale or VR-Net's theta.
    """
    rng, shape = _rng(name), tuple(int(n) for n in shape)
    if name.startswith("vrnet/ic_blocks."):  # theta, one positive number per cascade
        return (0.01 + 0.02 * rng.random(shape)).astype("float32")
    if name.endswith("affine_gen.fc_2.fc.bias"):  # near the identity: rows of A, then b
        identity = np.concatenate([np.eye(3).ravel(), np.zeros(3)])
        return (identity + 0.02 * rng.standard_normal(shape)).astype("float32")
    if len(shape) == 1:
        base = 1.0 if name.endswith("weight") else 0.0  # group-norm scale, else a bias
        std = 0.01 if "mom_gen.up_path_2_3." in name else 0.05
        return (base + std * rng.standard_normal(shape)).astype("float32")
    if is_transposed(name):
        fan_in = shape[4]
    else:
        fan_in = int(np.prod(shape[:-1]))
    gain = next((g for part, g in GAINS if part in name), 1.4)
    return (gain * rng.standard_normal(shape) / np.sqrt(fan_in)).astype("float32")


def reference_weights(path):
    """{name of a variable: array} behind a golden file. Args: path: without its endings."""
    shapes = json.loads(pathlib.Path(f"{path}.variables.json").read_text())
    return {name: weight(name, shape) for name, shape in shapes.items()}


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


def labels(seed, shape, n=4):
    """Integer label map [1, D, H, W, 1] with values 0..n, float32."""
    v = volume(seed, shape)
    cuts = np.quantile(v, np.linspace(0.4, 1.0, n + 1)[:-1])
    return np.digitize(v, cuts)[None, ..., None].astype("float32")


def points(seed, shape, n=12):
    """Points [n, 3] in voxels (ijk), float32, some of them whole numbers, all inside."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(1, np.array(shape) - 2, (n, 3))
    p[: n // 3] = np.round(p[: n // 3])
    return p.astype("float32")
