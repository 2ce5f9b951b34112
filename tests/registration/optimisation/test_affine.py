"""The search for rigid and affine maps, on scans whose map is known."""

import numpy as np
import pytest

from rcn_tf.registration.optimisation.optimise import align_images
from rcn_tf.volumes import prepare_volume
from tests.registration.optimisation.scenes import (
    grid_image,
    inner_points,
    pair,
    points_of,
    scan,
    turn,
)

SHAPE = (32, 32, 32)


def aligned(to_moving, kind):
    fixed, moving = pair(to_moving)
    volumes = (prepare_volume(image, SHAPE) for image in (fixed, moving))
    return align_images(*volumes, np.eye(4), kind=kind)


def test_a_rigid_map_is_found_in_physical_space():
    rotation, shift = turn(9, (2, -1, 1)), np.array([3.0, 4.0, -4.0])
    found = aligned(lambda points: points @ rotation.T + shift, "rigid")
    points = inner_points()
    expected = points @ rotation.T + shift
    assert np.linalg.norm(expected - points, axis=1).mean() > 5
    moved = found.transform.transform_points(points)
    assert np.linalg.norm(moved - expected, axis=1).mean() < 0.25
    linear = found.affine[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-4)


@pytest.mark.slow
def test_an_affine_map_is_found():
    matrix = turn(8, (1, 1, -2)) @ np.diag([1.12, 0.93, 1.05])
    found = aligned(lambda points: points @ matrix.T, "affine")
    points = inner_points()
    moved = found.transform.transform_points(points)
    assert np.linalg.norm(points @ matrix.T - points, axis=1).mean() > 2
    assert np.linalg.norm(moved - points @ matrix.T, axis=1).mean() < 0.5


@pytest.mark.parametrize(("shape", "normal"), [((1, 60, 64), (0, 0, 1)), ((56, 60, 1), (1, 0, 0))])
@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_a_slice_is_moved_within_its_plane(shape, normal, kind):
    """An oblique slice, whose normal is no axis of space."""
    direction = turn(12, (1, 2, 0))
    spacing = np.where(np.array(shape[::-1]) == 1, 5.0, 1.5)
    image = grid_image(shape, spacing.tolist(), direction)
    normal = direction @ np.array(normal, float)
    rotation = turn(8, normal)
    shift = np.cross(normal, (3.0, -2.0, 4.0))
    fixed, moving = scan(image, lambda p: p @ rotation.T + shift), scan(image)
    volumes = [prepare_volume(i, tuple(min(n, 48) for n in shape)) for i in (fixed, moving)]
    found = align_images(*volumes, np.eye(4), kind=kind)
    np.testing.assert_allclose(found.affine[:3, :3] @ normal, normal, atol=1e-4)
    points = points_of(image).reshape(-1, 3)
    points = points[np.linalg.norm(points, axis=1) < 30]
    missed = found.transform.transform_points(points) - points @ rotation.T - shift
    assert np.linalg.norm(missed, axis=1).mean() < 0.5
    assert (
        np.abs((points @ found.affine[:3, :3].T + found.affine[:3, 3] - points) @ normal).max()
        < 0.01
    )
