"""Whether two scans show the same tissue with the same contrast, up to one slope.

    one_sign = |sum cov(a, b)| / sum |cov(a, b)|

over the small windows in which `rcn_tf.registration.agreement` compares the scans. Scans of one
contrast rise and fall together, so the covariances have one sign; in scans of different contrasts
(MR and ultrasound, T1 and T2, arbitrary grey values) some structures rise where others fall. Local
correlation then has no clear optimum, and descriptors of structure are compared instead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rcn_tf.registration.agreement import Comparison, windows

BEFORE = 0.4
"""Before any alignment scans of one contrast mostly have more, everywhere and inside.

Measured: at least 0.45 for 34 of 35 pairs of hippocampi (0.30 for one), 0.81 for brains, 0.98 for
ED and ES of hearts; at most 0.32 for 14 prostates in MR and ultrasound, 0.36 for a brain of
arbitrary contrast.
"""

MIXED, ONE = 0.78, 0.92
"""After an affine alignment they have more than `MIXED` everywhere, and more than `ONE` says
that the contrasts are the same whatever it was before.

Measured: at least 0.82 for the hippocampi (0.94 for the one above), 0.99 for brains; T1 and T2 of
one head 0.73; at most 0.93 for the prostates.
"""


def differs(comparison: Comparison, before: Callable | None, aligned: Callable) -> bool:
    """Whether two scans have different contrasts.

    Args:
        comparison: Comparison of the scans.
        before: map of points (`transform_points`) before any alignment, or None.
        aligned: map of points after an alignment.
    """
    everywhere = one_sign(*comparison.values(aligned)[0])
    if everywhere < MIXED or everywhere > ONE or before is None:
        return everywhere < MIXED
    return min(one_sign(*values) for values in comparison.values(before)) < BEFORE


def one_sign(a: np.ndarray, b: np.ndarray, shown: np.ndarray) -> float:
    """See the module. Args: as of `agreement`. Returns: in [0, 1]; 1 where nothing varies."""
    covariance, _, _ = windows(a, b, shown)
    size = np.abs(covariance).sum()
    return float(abs(covariance.sum()) / size) if size else 1.0
