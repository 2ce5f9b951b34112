"""The ops on scans' own grids: against NumPy, SciPy and closed forms."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import custom_ops
from custom_ops import resampling
from rcn_tf.volumes.grids import affine_on
from rcn_tf.volumes.sampling import LabelSampler, inside

pytestmark = pytest.mark.usefixtures("native")


def turned(shift, scale=(0.9, 1.2, 0.8)):
    """An oblique map of voxels, other along every axis."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.96, -0.2, 0.1], [0.22, 0.93, -0.15], [-0.08, 0.17, 0.97]]) * scale
    affine[:3, 3] = shift
    return affine


def index_of(shape, to_image, displacement=None, to_index=None):
    index = affine_on(to_image, shape)
    return index if displacement is None else index + displacement @ to_index.T


@pytest.mark.parametrize("outside", [None, -3])
@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_linear(rng, dtype, moves, outside):
    image = rng.uniform(0, 200, (6, 7, 9)).astype(dtype)
    outside = 3 if outside and dtype.startswith("u") else outside
    shape, to_image = (5, 8, 70), turned((-1.0, 0.5, -2.0), (0.9, 0.8, 0.13))
    moved = rng.normal(0, 1, (*shape, 3)).astype(np.float32) if moves else None
    to_index = turned((0, 0, 0))[:3, :3] if moves else None
    found = resampling.resample(
        image, shape, to_image, displacement=moved, to_index=to_index, outside=outside
    )
    index = index_of(shape, to_image, moved, to_index)
    expected = ndimage.map_coordinates(
        image.astype(float), index.reshape(-1, 3).T, order=1, mode="nearest"
    ).reshape(shape)
    if outside is not None:
        beyond = ~inside(image.shape, index)
        assert 0.1 < beyond.mean() < 0.9
        expected[beyond] = outside
    if not dtype.startswith("float"):
        expected = np.rint(expected)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == "float32" else 1e-9)


def test_nearest(rng):
    image = rng.integers(0, 9, (6, 7, 9)).astype(np.uint8)
    shape, to_image = (5, 8, 12), turned((-0.7, 0.6, -1.9))
    found = resampling.resample(image, shape, to_image, lookup="nearest")
    index = index_of(shape, to_image)
    expected = ndimage.map_coordinates(
        image, index.reshape(-1, 3).T, order=0, mode="nearest"
    ).reshape(shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(6, 7, 9), (1, 7, 9), (6, 1, 1)])
def test_votes(rng, size):
    """As in NumPy, ties among them: whole steps of half a voxel make many."""
    labels = rng.integers(0, 4, size).astype(np.int16) * 7
    for affine in (turned((-0.7, 0.6, -1.9)), np.diag([0.5, 0.5, 0.5, 1.0])):
        found = resampling.resample(labels, (9, 8, 12), affine, lookup="vote", outside=5)
        expected = LabelSampler(labels)(affine_on(affine, (9, 8, 12)), 5)
        np.testing.assert_array_equal(found, expected)


def test_a_nan_is_outside(rng):
    image = rng.uniform(0, 9, (4, 5, 6)).astype(np.float32)
    moved = np.zeros((4, 5, 6, 3), np.float32)
    moved[1, 2, 3, 0] = np.nan
    options = {"displacement": moved, "to_index": np.eye(3)}
    found = resampling.resample(image, image.shape, np.eye(4), outside=-1.0, **options)
    expected = image.copy()
    expected[1, 2, 3] = -1
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(resampling.resample(image, image.shape, np.eye(4), **options)[1, 2, 3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(6, 7, 9), (1, 7, 9)])
def test_flows(rng, dtype, size):
    flow = rng.normal(0, 2, (*size, 3)).astype(np.float32)
    to_flow, vector, affine = turned((-1, 0.5, -2)), turned((0, 0, 0))[:3, :3], turned((30, 0, -9))
    found = resampling.look_up_flow(flow, (5, 8, 12), to_flow, vector, affine, dtype)
    index = affine_on(to_flow, (5, 8, 12)).reshape(-1, 3).T
    values = [
        ndimage.map_coordinates(f, index, float, 1, "nearest") for f in np.moveaxis(flow, 3, 0)
    ]
    expected = np.stack(values, axis=-1) @ vector.T
    expected = expected.reshape(5, 8, 12, 3) + affine_on(affine, (5, 8, 12))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == np.float32 else 1e-12)


def bent(shape, amplitude=0.8):
    """A field in mm that does not fold, on voxels of 1.5 x 0.8 x 2 mm."""
    d, h, w = np.indices(shape)
    parts = [np.sin(w / 3) + 4, np.cos(d / 2) - h / 20, np.sin((d + h) / 4)]
    return (amplitude * np.stack(parts, axis=-1)).astype(np.float32)


def test_inverse_of_a_field(rng):
    shape, grid = (12, 15, 17), (9, 11, 13)
    vectors, to_index = bent(shape), np.linalg.inv(np.diag([1.5, 0.8, 2.0])[:, ::-1])
    to_field = turned((1.5, 2.0, 4.5), (0.8, 0.7, 1.1))
    along = np.linalg.solve(to_index, to_field[:3, 2])
    arguments = (grid, to_field, to_index, np.zeros((4, 4)), along, 1e-5)
    inverse, error, within = resampling.invert_field(vectors, *arguments)
    assert error.max() < 2e-5
    index = affine_on(to_field, grid) + inverse.astype(float) @ to_index.T
    np.testing.assert_array_equal(within, inside(shape, index))
    assert 0.5 < within.mean() < 1
    coordinates = index.reshape(-1, 3).T
    there = [
        ndimage.map_coordinates(v, coordinates, float, 1, "nearest")
        for v in vectors.T.swapaxes(1, 3)
    ]
    missed = np.linalg.norm(inverse + np.stack(there, axis=-1).reshape(*grid, 3), axis=-1)
    np.testing.assert_allclose(missed, error, atol=1e-6)


def test_inverse_says_where_there_is_none(rng):
    """A fold in the middle; voxels before and behind it are solved none the less."""
    vectors = np.zeros((4, 5, 40, 3), np.float32)
    vectors[..., 2] = 4 * np.sin(np.arange(40) / 3)
    vectors[..., 20, 2] = np.nan
    arguments = (np.eye(4), np.eye(3), np.zeros((4, 4)), (0, 0, 1), 1e-5)
    _, error, _ = resampling.invert_field(vectors, (4, 5, 40), *arguments)
    solved = error < 1e-4  # False for NaN
    assert 0.5 < solved.mean() < 1
    assert solved[:, :, 0].all()
    assert solved[:, :, -1].all()


def test_the_number_of_threads_changes_nothing(native):
    """A row is the unit of work, so that it makes no difference who has it."""
    shape = (12, 15, 17)
    arguments = (np.eye(4), np.eye(3), np.zeros((4, 4)), (0, 0, 1), 1e-6)
    whole = resampling.invert_field(bent(shape), shape, *arguments)
    lowest = resampling.invert_field(bent(shape), (1, 15, 17), *arguments)
    for a, b in zip(whole, lowest):
        np.testing.assert_array_equal(a[:1], b)


def test_turned_cells(rng):
    vectors = rng.normal(0, 0.5, (6, 7, 21, 3)).astype(np.float32)
    to_index = turned((0, 0, 0))[:3, :3]
    found = resampling.turned_cells(vectors, to_index)
    moved = np.moveaxis(np.indices((6, 7, 21)), 0, -1) + vectors @ to_index.T
    for d, h, w in itertools.product(range(0, 5, 2), range(0, 6, 2), range(0, 20, 3)):
        cell = moved[d : d + 2, h : h + 2, w : w + 2]
        volumes = [
            np.linalg.det(
                [
                    cell[1, b, c] - cell[0, b, c],
                    cell[a, 1, c] - cell[a, 0, c],
                    cell[a, b, 1] - cell[a, b, 0],
                ]
            )
            for a, b, c in itertools.product((0, 1), repeat=3)
        ]
        assert found[d, h, w] == (min(volumes) <= 0)
    assert 0.2 < found.mean() < 0.9
    assert resampling.turned_cells(vectors[:1], to_index).shape == (0, 6, 20)


def test_errors():
    image, eye = np.zeros((3, 4, 5), np.float32), np.eye(4)
    with pytest.raises(ValueError, match="`lookup` must be one of linear, nearest, vote"):
        resampling.resample(image, (3, 4, 5), eye, lookup="cubic")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"`image` must have shape \[D, H, W\]"
    ):
        resampling.resample(image[0], (3, 4, 5), eye)
    with pytest.raises(tf.errors.InvalidArgumentError, match="three positive sizes"):
        resampling.resample(image, (3, 0, 5), eye)
    with pytest.raises(tf.errors.InvalidArgumentError, match="shape of the grid"):
        moved = np.zeros((3, 4, 6, 3), np.float32)
        resampling.resample(image, (3, 4, 5), eye, displacement=moved, to_index=np.eye(3))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`to_flow` must have shape \(3, 4\)"):
        resampling.look_up_flow(np.zeros((3, 4, 5, 3), "f4"), (3, 4, 5), np.eye(3), np.eye(3), eye)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"`vectors` must have .*and be filled"
    ):
        resampling.turned_cells(np.zeros((3, 0, 5, 3), np.float32), np.eye(3))
    assert custom_ops.available_backends()[0] == "native"
