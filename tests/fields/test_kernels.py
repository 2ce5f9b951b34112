"""Multi-Gaussian smoothing against the authors' numbers, SciPy and the properties of a kernel."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from rcn_tf import fields
from rcn_tf.models.avsm import SIGMAS, WEIGHTS
from tests.conftest import GOLDEN
from tests.golden import system_inputs

AVSM = np.load(GOLDEN / "avsm" / "avsm_ops.npz")
SEED = int(AVSM["seed"])


def authors(field, shape):
    """AVSM's smoothing, in [0, 1] units."""
    spacing = 1 / (np.array(shape) - 1)
    return fields.multi_gaussian(field, SIGMAS, WEIGHTS, spacing=spacing, periodic=True)


@pytest.mark.parametrize("case", [0, 1])
def test_smoothing_clamp_and_gradient_are_the_authors(case):
    """The second case has odd axes, whose kernels add up to more than 1."""
    shape = tuple(AVSM[f"shape{case}"])
    side = np.array(shape) - 1
    momentum = tf.constant(system_inputs.field(SEED + case, shape, 3, 12.0, 0))
    with tf.GradientTape() as tape:
        tape.watch(momentum)
        smooth = authors(momentum, shape)
        clamped = fields.limit_velocity(smooth * side, 10) / side
    np.testing.assert_allclose(smooth, AVSM[f"smooth{case}"], atol=5e-6)
    np.testing.assert_allclose(clamped, AVSM[f"smooth{case}_clamped"], atol=5e-6)
    upstream = system_inputs.field(SEED + 10 + case, shape, 3, 1, 0)
    gradient = tape.gradient(clamped, momentum, upstream)
    np.testing.assert_allclose(gradient, AVSM[f"smooth{case}_clamped_grad"], atol=1e-6)
    impulse = np.zeros((1, *shape, 1), "float32")
    impulse[(0, *(n // 2 for n in shape))] = 1
    np.testing.assert_allclose(authors(impulse, shape), AVSM[f"impulse{case}"], atol=1e-7)


@pytest.mark.parametrize("shape", [(12, 10, 14), (11, 16)])
def test_spacing_makes_the_kernel_equally_wide_in_mm(rng, shape):
    """SciPy's filter with zeros outside, its standard deviations in voxels."""
    spacing = np.linspace(0.7, 1.6, len(shape))
    field = rng.standard_normal((2, *shape, 2))
    found = fields.multi_gaussian(field, (2.0, 3.5), (0.4, 0.8), spacing=spacing)
    expected = sum(
        weight * gaussian_filter(field, (0, *(sigma / spacing), 0), mode="constant", truncate=12)
        for sigma, weight in ((2.0, 0.4), (3.5, 0.8))
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("periodic", [False, True])
def test_it_is_symmetric_and_gives_a_norm(rng, periodic):
    shape = (1, 8, 6, 10, 3)
    a, b = (rng.standard_normal(shape) for _ in range(2))

    def smooth(field):
        return fields.multi_gaussian(field, (0.8, 2.0), (0.5, 0.5), periodic=periodic).numpy()

    np.testing.assert_allclose((a * smooth(b)).sum(), (b * smooth(a)).sum(), rtol=1e-10)
    assert (a * smooth(a)).sum() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1.0,), (0.5, 0.5)), "must be equally many"),
        (((), ()), "must be equally many, at least one"),
        (((0.0,), (1.0,)), "must be positive"),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        fields.multi_gaussian(tf.zeros((1, 4, 5, 2)), *arguments)
    with pytest.raises(ValueError, match="2 numbers of `spacing` must be positive"):
        fields.multi_gaussian(tf.zeros((1, 4, 5, 2)), (1.0,), (1.0,), spacing=(1.0,))
