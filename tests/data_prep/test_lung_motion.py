"""Known motions of a lung, and the points at which they are measured."""

import numpy as np
import pytest

from data_prep import lung_motion
from data_prep.key_points import corner_points, distinctiveness
from rcn_tf.metrics import jacobian_determinant

SPACING = (6.0, 5.0, 4.0)


def lung(shape=(24, 20, 22)):
    place = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    return np.square(place / np.array(shape)).sum(axis=-1) < 0.16


@pytest.mark.parametrize("pull", [0.0, 1.0])
@pytest.mark.parametrize("distance", [6.0, 15.0])
def test_a_breath_has_the_size_that_is_asked_for_and_does_not_fold(distance, pull):
    mask = lung()
    field = lung_motion.breathing(mask, SPACING, distance, np.random.default_rng(0), pull=pull)
    size = np.linalg.norm(field[mask] * SPACING, axis=-1)
    np.testing.assert_allclose(np.percentile(size, 95), distance, rtol=1e-4)
    assert jacobian_determinant(field[None]).numpy().min() > lung_motion.LEAST_VOLUME


def test_what_cannot_be_made_is_said(monkeypatch):
    with pytest.raises(ValueError, match="mask is empty"):
        lung_motion.breathing(np.zeros((8, 8, 8)), SPACING, 5.0, np.random.default_rng(0))
    monkeypatch.setattr(lung_motion, "KNOT_SPACING", 15.0)
    with pytest.raises(ValueError, match="does not fold"):
        lung_motion.breathing(lung(), SPACING, 100.0, np.random.default_rng(0))


def test_the_moved_image_shows_the_tissue_at_the_moved_place():
    mask, field = lung(), np.zeros((24, 20, 22, 3), np.float32)
    field[..., 0] = 2.0
    image = np.where(mask, -700.0, 0.0)
    moved = lung_motion.breathed(image, mask, field, np.random.default_rng(0))
    np.testing.assert_array_equal(lung_motion.warped(mask, field, 0)[:-2], mask[2:])
    inside = lung_motion.warped(image, field)[4:-4] < -650
    assert moved[4:-4][inside].mean() == pytest.approx(-700, abs=lung_motion.DENSITY + 2)


def test_a_corner_is_distinct_and_an_edge_is_not():
    image = np.zeros((20, 22, 24), np.float32)
    image[8:, 10:, 12:] = 1
    found = corner_points(image, np.ones_like(image), 1)
    assert np.abs(found[0] - [8, 10, 12]).max() <= 1
    values = distinctiveness(image)
    assert values[15, 10, 12] < 1e-3 * values[tuple(found[0])]  # an edge along the first axis
    assert not corner_points(np.ones_like(image), np.ones_like(image), 5).size


def test_distinctiveness_is_that_of_the_structure_tensor():
    """Foerstner's measure from eigenvalues of tensors made by NumPy's own steps."""
    from scipy import ndimage

    image = np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32)
    slopes = [
        ndimage.gaussian_filter(image, 1.0, order=order) / step
        for order, step in zip(([1, 0, 0], [0, 1, 0], [0, 0, 1]), (1.0, 2.0, 0.5))
    ]
    tensor = np.array(
        [[ndimage.gaussian_filter(a * b, 1.5) for a in slopes] for b in slopes], np.float64
    )
    inverse = np.linalg.inv(np.moveaxis(tensor, (0, 1), (-2, -1)))
    expected = 1 / np.trace(inverse, axis1=-2, axis2=-1)
    np.testing.assert_allclose(distinctiveness(image, (1.0, 2.0, 0.5)), expected, rtol=2e-3)


def test_points_keep_their_distance_and_stay_in_the_mask():
    image = np.random.default_rng(0).normal(size=(20, 20, 20))
    mask = np.zeros((20, 20, 20))
    mask[5:15, 5:15, 5:15] = 1
    points = corner_points(image, mask, 1000, apart=2)
    assert len(points) and np.all((points >= 5) & (points < 15))
    distances = np.abs(points[:, None] - points[None]).max(axis=-1)
    assert distances[~np.eye(len(points), dtype=bool)].min() > 2
    assert len(corner_points(image, mask, 3, apart=1)) == 3
