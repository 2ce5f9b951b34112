"""data_prep.spatial_maps: random maps stay within their bounds and move consistently."""

import numpy as np
import pytest
from scipy import ndimage

from data_prep.spatial_maps import random_spatial_map, sample, smooth_random_field

SHAPE, SPACING = (60, 50, 40), (1.0, 1.2, 1.5)
RIGID = {"scale": 0, "shear": 0, "elastic": (), "translation": 0}


def test_nothing_random_is_a_resampling(rng):
    index = random_spatial_map(SHAPE, SPACING, rng, rotation=0, margin=0, **RIGID)
    size = np.ceil(np.multiply(SHAPE, SPACING) / 1.5)
    assert index.shape == (*size.astype(int), 3)
    step = np.stack([np.diff(index[..., k], axis=k).mean() for k in range(3)])
    np.testing.assert_allclose(step, 1.5 / np.array(SPACING), rtol=1e-5)
    np.testing.assert_allclose(index.reshape(-1, 3).mean(axis=0), (np.array(SHAPE) - 1) / 2, 1e-5)


def test_rotation_keeps_lengths_and_its_limit(rng):
    for _ in range(10):
        index = random_spatial_map(SHAPE, SPACING, rng, rotation=15, **RIGID)
        axes = np.stack(
            [(np.diff(index, axis=k) * SPACING).reshape(-1, 3).mean(axis=0) for k in range(3)]
        )
        np.testing.assert_allclose(axes @ axes.T, 1.5**2 * np.eye(3), atol=1e-3)
        angle = np.rad2deg(np.arccos(np.clip((np.trace(axes / 1.5) - 1) / 2, -1, 1)))
        assert 0.5 < angle < 15 * np.sqrt(3) + 1


def test_elastic_part_is_bounded_and_does_not_fold(rng):
    plain = {**RIGID, "rotation": 0}
    flat = random_spatial_map(SHAPE, SPACING, rng, **plain)
    for _ in range(5):
        index = random_spatial_map(SHAPE, SPACING, rng, **{**plain, "elastic": ((5, 4.0),)})
        shift = (index - flat) * SPACING
        assert 0.5 < np.abs(shift).max() <= 4
        derivatives = [np.diff(index, axis=k)[:-1, :-1, :-1][:58, :58, :58] for k in range(3)]
        size = tuple(n - 1 for n in index.shape[:3])
        columns = [d[tuple(map(slice, np.subtract(size, 1)))] for d in derivatives]
        assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0


def test_object_stays_inside_the_output(rng):
    """The output is large enough for an ellipsoid that fills the source array."""
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    centre = (np.array(SHAPE) - 1) / 2
    ball = (((grid - centre) / (np.array(SHAPE) / 2)) ** 2).sum(axis=-1) < 1
    for _ in range(5):
        index = random_spatial_map(SHAPE, SPACING, rng, translation=0, margin=0.1)
        moved = sample(ball.astype(np.uint8), index, order=0)
        border = moved.sum() - moved[1:-1, 1:-1, 1:-1].sum()
        assert border < 0.002 * moved.sum()


def test_same_generator_same_map():
    maps = [random_spatial_map(SHAPE, SPACING, np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert maps[0].shape != maps[2].shape or np.abs(maps[0] - maps[2]).max() > 0.1


@pytest.mark.parametrize("order", [0, 1])
def test_sample_against_scipy(rng, order):
    array = rng.integers(0, 200, (9, 8, 7)).astype(np.uint8)
    index = rng.uniform(-2, 10, (500, 3)).astype(np.float32)
    inside = ((index >= 0) & (index <= np.array(array.shape) - 1)).all(axis=-1)
    expected = ndimage.map_coordinates(array.astype(np.float32), index.T, order=order)
    result = sample(array, index, order)
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-3)
    assert result[(index < -1).any(axis=-1)].max() == 0


def test_smooth_field_is_smooth_and_bounded(rng):
    field = smooth_random_field((40, 30, 20), (5, 4, 6), rng, components=2, uniform=True)
    assert field.shape == (40, 30, 20, 2)
    assert field.dtype == np.float32
    assert np.abs(field).max() <= 1
    assert field.std() > 0.05
    for axis in range(3):
        assert np.abs(np.diff(field, n=2, axis=axis)).max() < 0.15
