"""How well two scans agree at low resolution, whatever their contrasts.

    agreement = sum |cov(a, b)| / sqrt(sum var(a) * sum var(b))

with covariance and variances of every small window, summed over the windows. It is 1 where each
image is locally a linear function of the other, with any slope, also a negative one: bones that
are bright in one scan and dark in the other agree. Images that show unrelated things reach 0.1 to
0.4. A `Comparison` measures it for any transform between two prepared volumes, on one coarse
grid over the fixed one and only where both scans show something.
"""

from typing import Callable, NamedTuple

import numpy as np
from scipy import ndimage

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.preparation.network_input import PreparedVolume, sample_array
from rcn_tf.volumes.sampling import inside, sample

VOXELS = 40**3
"""Voxels of the coarse grid: about 4 mm for a head; a comparison takes a tenth of a second."""

WINDOW = 5
"""Coarse voxels along each side of a window."""

TISSUE = 0.15
"""Fraction of the intensity range above which a coarse voxel belongs to the organ."""

BINS = 16
"""Bins for each image's intensities in the joint histogram."""

MIN_PART = 0.3
"""Fraction of a window that both scans must show for the window to count."""


class Fit(NamedTuple):
    """What `Comparison.of` measures of a transform.

    Attributes:
        agreement: in [0, 1]; 0 where the scans do not meet.
        inside: agreement inside the fixed organ's outline, which a registration of outlines
            alone does not improve.
        overlap: fraction of the fixed volume's box that the moving scan shows.
        shown: [D, H, W] bool, the voxels of the coarse grid that it shows.
    """

    agreement: float
    inside: float
    overlap: float
    shown: np.ndarray


class Comparison:
    """Compares a fixed volume with a moving one under transforms of any kind.

    Args:
        fixed, moving: PreparedVolume.
        field_of_view: Grid of the whole moving image; nothing outside it was scanned.

    Attributes:
        points: [D, H, W, 3], the coarse grid on which the volumes are compared, LPS, mm.
    """

    def __init__(self, fixed: PreparedVolume, moving: PreparedVolume, field_of_view: Grid):
        grid = coarse_grid(fixed.grid)
        self._fixed = sample_array(fixed.array, fixed.grid, grid, order=1, outside=None)
        self._inside = inner_part(self._fixed)
        self.points = grid.points()
        self._moving_grid = coarse_grid(moving.grid)
        self._moving = sample_array(
            moving.array, moving.grid, self._moving_grid, order=1, outside=None
        )
        self._field_of_view = field_of_view

    def of(self, transform_points: Callable) -> Fit:
        """The fit of a transform: a function of points [..., 3], LPS, mm, fixed -> moving."""
        everywhere, within = self.values(transform_points)
        shown = everywhere[2]
        return Fit(agreement(*everywhere), agreement(*within), float(shown.mean()), shown)

    def values(self, transform_points: Callable) -> tuple[tuple, tuple]:
        """What is compared under a transform, everywhere and inside the fixed organ's outline.

        Returns: twice (fixed, moved, shown), [D, H, W] of the coarse grid, as `agreement` takes.
        """
        points = transform_points(self.points)
        moved = sample(self._moving, self._moving_grid.point_to_index(points))
        field = self._field_of_view
        shown = inside(field.shape, field.point_to_index(points))
        return (self._fixed, moved, shown), (self._fixed, moved, shown & self._inside)


def coarse_grid(grid: Grid, voxels: int = VOXELS) -> Grid:
    """A grid over the same box with about `voxels` voxels, as cubic as the box allows."""
    extent = grid.spacing * grid.shape
    step = (extent.prod() / voxels) ** (1 / 3)
    shape = np.maximum(np.rint(extent / step).astype(int), 2 * WINDOW)
    return grid.crop_resampled([(0, size) for size in grid.shape], tuple(shape))


def inner_part(array: np.ndarray) -> np.ndarray:
    """[D, H, W] bool: the inside of the organ of a coarse array [D, H, W], without its rim."""
    return ndimage.binary_erosion(ndimage.binary_fill_holes(array > TISSUE), border_value=1)


def agreement(a: np.ndarray, b: np.ndarray, shown: np.ndarray) -> float:
    """Agreement of two arrays; see the module.

    Args:
        a, b: [D, H, W] floats.
        shown: [D, H, W] bool, the voxels that count.
    Returns: in [0, 1]; 0 where either is constant or too little is shown.
    """
    covariance, variance_a, variance_b = windows(a, b, shown)
    norm = np.sqrt(variance_a.sum() * variance_b.sum())
    enough = norm > 1e-9 * shown.size
    return float(min(np.abs(covariance).sum() / norm, 1.0)) if enough else 0.0


def windows(
    a: np.ndarray, b: np.ndarray, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance and variances of two arrays in the window around every voxel that counts.

    Args: as of `agreement`. Returns: three arrays [N]; N is 0 where too little is shown.
    """
    weight = shown.astype(np.float64)

    def window_mean(values):
        return ndimage.uniform_filter(values, WINDOW, mode="constant")

    part = window_mean(weight)
    counted = shown & (part > MIN_PART)
    part = np.maximum(part, 1e-6)
    a, b = (np.asarray(array, np.float64) * weight for array in (a, b))
    mean_a, mean_b = window_mean(a) / part, window_mean(b) / part
    variance_a = np.maximum(window_mean(a * a) / part - mean_a**2, 0)
    variance_b = np.maximum(window_mean(b * b) / part - mean_b**2, 0)
    covariance = window_mean(a * b) / part - mean_a * mean_b
    return covariance[counted], variance_a[counted], variance_b[counted]


def shared_information(a: np.ndarray, b: np.ndarray) -> float:
    """Normalised mutual information (H(a) + H(b)) / H(a, b) - 1 of two arrays.

    Args: a, b: arrays of one shape, values in [0, 1].
    Returns: 0 for independent images, 1 where each determines the other; 0 if both are constant.
    """
    levels = [np.minimum((np.ravel(array) * BINS).astype(int), BINS - 1) for array in (a, b)]
    counts = np.bincount(levels[0] * BINS + levels[1], minlength=BINS * BINS)
    joint = counts.reshape(BINS, BINS) / levels[0].size
    together = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / together - 1 if together else 0.0


def _entropy(probabilities):
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
