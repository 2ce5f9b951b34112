"""PyTorch's convolutions in NumPy, and the U-Nets made of them: sizes, counts, receptive fields."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.networks.light_unet import LightUNet
from rcn_tf.networks.pytorch_layers import (
    convolution,
    doubling_convolution,
    halving_convolution,
)
from rcn_tf.networks.ronneberger import RonnebergerUNet

SHAPES = [(6, 5, 7), (7, 6)]  # even and odd sizes


def expected_convolution(image, kernel, bias, stride):
    """[*spatial, C] padded by one on both sides, window by window."""
    rank = image.ndim - 1
    padded = np.pad(image, [(1, 1)] * rank + [(0, 0)])
    sizes = [(n - 1) // stride + 1 for n in image.shape[:-1]]
    result = np.empty((*sizes, kernel.shape[-1]))
    for place in itertools.product(*map(range, sizes)):
        window = tuple(slice(stride * i, stride * i + 3) for i in place)
        axes = list(range(rank + 1))
        result[place] = np.tensordot(padded[window], kernel, (axes, axes)) + bias
    return np.maximum(result, 0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=["3D", "2D"])
def test_convolutions(shape, stride, rng):
    rank = len(shape)
    make = convolution if stride == 1 else halving_convolution
    layer = make(2, 3, rank=rank, name="layer")
    image = rng.standard_normal((1, *shape, 2)).astype("float32")
    layer.build(image.shape)
    layer.bias.assign(rng.standard_normal(3).astype("float32"))
    expected = expected_convolution(image[0], layer.kernel.numpy(), layer.bias.numpy(), stride)
    np.testing.assert_allclose(layer(image)[0], expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=["3D", "2D"])
def test_doubling(shape, rng):
    """Each voxel becomes a block of 2^R: the kernel's taps times its channels."""
    rank = len(shape)
    layer = doubling_convolution(3, rank=rank, name="layer", activation=None)
    image = rng.standard_normal((1, *shape, 2)).astype("float32")
    found = layer(image)[0].numpy()
    assert found.shape == (*(2 * n for n in shape), 3)
    for tap in itertools.product((0, 1), repeat=rank):
        block = tuple(slice(k, None, 2) for k in tap)
        expected = image[0] @ layer.kernel.numpy()[tap].T + layer.bias.numpy()
        np.testing.assert_allclose(found[block], expected, atol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_weights_start_as_pytorch_s(rank):
    """Uniform in +-1 / sqrt(fan); a transposed kernel's fan counts output channels."""
    tf.random.set_seed(1)
    layers = [  # layer, its input channels, its fan
        (convolution(5, 40, rank=rank, name="layer"), 5, 3**rank * 5),
        (halving_convolution(7, 40, rank=rank, name="layer"), 7, 3**rank * 7),
        (doubling_convolution(40, rank=rank, name="layer"), 9, 2**rank * 40),
    ]
    for layer, inputs, fan in layers:
        layer.build((None, *[None] * rank, inputs))
        for variable in (layer.kernel, layer.bias):
            largest = np.abs(variable).max() * fan**0.5
            assert 0.9 < largest <= 1.0


@pytest.mark.parametrize(
    ("inputs", "channels", "expected"),
    [(2, 4, 281_416), (3, 4, 281_524), (2, 8, 1_118_448), (3, 8, 1_118_664)],
)
def test_light_unet_has_the_authors_number_of_weights(inputs, channels, expected):
    unet = LightUNet(inputs, channels)
    unet(tf.zeros((1, 16, 16, 16, inputs)))
    assert unet.count_params() == expected
    assert sum(v.shape.num_elements() for v in unet.reference_weights().values()) == expected


def test_ronneberger_s_unet_has_its_widths():
    """Counted from the layers: 64, 128, 256, 512 and 1024 channels."""
    unet = RonnebergerUNet(2)
    unet(tf.zeros((1, 16, 16, 2)))
    widths = [2, 64, 128, 256, 512, 1024]
    down = sum(9 * a * b + b + 9 * b * b + b for a, b in zip(widths, widths[1:]))
    up = sum(4 * 2 * b * b + b + 9 * 2 * b * b + b + 9 * b * b + b for b in widths[1:-1])
    assert unet.count_params() == down + up + 64 * 2 + 2


@pytest.mark.parametrize(
    ("kind", "shape"), [("light", (33, 40, 35)), ("light", (37, 32)), ("ronneberger", (37, 32))]
)
def test_any_size(kind, shape, rng):
    """The last planes are computed too, and the flow depends on them."""
    tf.random.set_seed(4)
    unet = LightUNet(2, 2, rank=len(shape)) if kind == "light" else RonnebergerUNet(2, 2)
    image = rng.uniform(size=(1, *shape, 2)).astype("float32")
    flow = unet(image).numpy()
    assert flow.shape == (1, *shape, len(shape))
    changed = image.copy()
    changed[0, -1] += 1.0
    assert np.abs(unet(changed).numpy()[0, -1] - flow[0, -1]).max() > 1e-4
