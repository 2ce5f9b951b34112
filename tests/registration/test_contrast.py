"""Whether scans have one contrast: windows by hand, and scans of an analytic scene."""

import numpy as np
import pytest

from rcn_tf.registration import contrast
from rcn_tf.registration.contrast import one_sign


def structures(rng, level):
    """An array of blocks, and the same with `level` of the blocks' grey values turned round."""
    blocks = rng.uniform(size=(6, 6, 6))
    other = np.where(rng.uniform(size=blocks.shape) < level, 1 - blocks, blocks)
    return [np.kron(array, np.ones((6, 6, 6))) for array in (blocks, other)]


@pytest.mark.parametrize(("slope", "level"), [(1, 0), (-2, 5), (0.01, -1)])
def test_one_slope_has_one_sign(rng, slope, level):
    a, _ = structures(rng, 0)
    assert one_sign(a, slope * a + level, np.ones(a.shape, bool)) == pytest.approx(1, abs=1e-6)


def test_a_part_of_inverted_structures_counts_against_the_others(rng):
    a = rng.normal(size=(40, 12, 12))
    b = np.concatenate([a[:30], -a[30:]])
    shown = np.ones(a.shape, bool)
    shown[25:35] = False  # so that no window mixes both
    assert one_sign(a, b, shown) == pytest.approx((25 - 5) / 30, abs=0.06)


def test_mixed_contrasts_have_both_signs(rng):
    a, b = structures(rng, 0.5)
    assert one_sign(a, b, np.ones(a.shape, bool)) < 0.4
    assert one_sign(a, 0 * b, np.ones(a.shape, bool)) == 1


@pytest.mark.parametrize(
    ("before", "aligned", "expected"),
    [
        ((0.9, 0.9), (0.95, 0.95), False),
        ((0.9, 0.9), (0.70, 0.95), True),  # T1 and T2: the outline against the inside
        ((0.6, 0.3), (0.85, 0.85), True),
        ((0.6, 0.3), (0.95, 0.95), False),
        (None, (0.85, 0.2), False),
        (None, (0.70, 0.95), True),
    ],
)
def test_the_decision(monkeypatch, before, aligned, expected):
    class Known:
        def values(self, signs):
            return [(sign,) for sign in signs]

    monkeypatch.setattr(contrast, "one_sign", lambda sign: sign)
    assert contrast.differs(Known(), before, aligned) == expected
