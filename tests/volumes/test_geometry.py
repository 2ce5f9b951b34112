"""Nearest rotations and largest shifts, against brute force over all voxels."""

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from rcn_tf.volumes.geometry import Geometry, largest_shift

SIZE, SPACING, ORIGIN = (5, 6, 9), np.array([1.0, 2.0, 3.5]), np.array([10.0, -20.0, 30.0])
TURN = Rotation.from_euler("xyz", [20, -40, 70], degrees=True).as_matrix()


def test_of_an_image_and_back():
    image = sitk.Image(list(SIZE), sitk.sitkUInt8)
    Geometry(SIZE, SPACING, ORIGIN, TURN).set_on(image)
    found = Geometry.of(image)
    for index in itertools.product((0, 4), (0, 5), (0, 8)):
        point = found.affine[:3, :3] @ index + found.affine[:3, 3]
        np.testing.assert_allclose(point, image.TransformIndexToPhysicalPoint(index))
    np.testing.assert_allclose(
        found.centre, image.TransformContinuousIndexToPhysicalPoint((2, 2.5, 4))
    )
    four = Geometry.of(sitk.JoinSeries([image, image]))
    np.testing.assert_array_equal(four.affine, found.affine)
    again = Geometry.from_affine(found.affine, SIZE)
    np.testing.assert_allclose(again.spacing, SPACING)
    np.testing.assert_allclose(again.direction, TURN)


@pytest.mark.parametrize("hand", [1, -1])
def test_the_nearest_rotation(hand):
    rounded = np.round(TURN * [1, 1, hand], 2)
    geometry = Geometry(SIZE, SPACING, ORIGIN, rounded)
    rigid = geometry.rigid()
    np.testing.assert_allclose(rigid.direction @ rigid.direction.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rigid.direction) == pytest.approx(hand)
    np.testing.assert_allclose(rigid.centre, geometry.centre)
    # No small further turn comes closer.
    distance = np.linalg.norm(rigid.direction - rounded)
    for turn in Rotation.random(50, random_state=0):
        small = Rotation.from_rotvec(turn.as_rotvec() * 1e-3).as_matrix()
        assert np.linalg.norm(small @ rigid.direction - rounded) > distance


def test_shear_in_degrees():
    direction = np.eye(3)
    direction[1, 2] = np.tan(np.deg2rad(15))
    geometry = Geometry(SIZE, SPACING, ORIGIN, TURN @ direction)
    assert geometry.shear() == pytest.approx(15)
    assert not geometry.is_orthonormal()
    assert Geometry(SIZE, SPACING, ORIGIN, TURN).shear() == pytest.approx(0, abs=1e-5)


def test_largest_shift():
    one = Geometry(SIZE, SPACING, ORIGIN, TURN)
    other = dataclasses.replace(one, spacing=SPACING * [1, 1.1, 1], origin=ORIGIN + [1, 2, 3])
    indices = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"), -1).reshape(-1, 3)
    points = [g.affine[:3, 3] + indices @ g.affine[:3, :3].T for g in (one, other)]
    millimetres, voxels = largest_shift(one, other)
    assert millimetres == pytest.approx(np.linalg.norm(points[1] - points[0], axis=1).max())
    moved = (points[1] - one.affine[:3, 3]) @ np.linalg.inv(one.affine[:3, :3]).T
    assert voxels == pytest.approx(np.abs(moved - indices).max())


@pytest.mark.parametrize(
    "change",
    [
        {"spacing": np.array([1.0, 0, 1])},
        {"spacing": np.array([1.0, np.nan, 1])},
        {"origin": np.array([np.inf, 0, 0])},
        {"direction": np.diag([1.0, 1, 0])},
        {"direction": np.ones((3, 3))},
    ],
)
def test_unsound(change):
    sound = Geometry(SIZE, SPACING, ORIGIN, TURN)
    assert sound.is_sound()
    assert not dataclasses.replace(sound, **change).is_sound()
