"""A registration written as ITK transforms moves points as the registration does."""

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from rcn_tf.models.output import unregistered
from rcn_tf.volumes import Grid, GridTransform
from rcn_tf.volumes.transforms import itk_transforms
from rcn_tf.volumes.transforms.itk_transforms import (
    affine_transform,
    composite_transform,
    write_transform,
)
from tests.volumes.preparation.test_network_input import blob
from tests.volumes.test_warping import SHAPE, grids, smooth_flow, turned_copy

MATRIX = np.array([[0.1, 0.05, -0.02], [0.0, -0.12, 0.03], [0.04, 0.0, 0.08]], np.float32)
OFFSET = np.array([1.5, -2.0, 0.7], np.float32)


def cascade_flow():
    """Total flow of an affine stage and a dense one."""
    out = unregistered(tf.zeros((1, *SHAPE, 1)))
    out = out.then_affine(tf.constant(MATRIX[None]), tf.constant(OFFSET[None]))
    return out.then(tf.constant(smooth_flow()[None])).flow[0].numpy()


@pytest.fixture
def fixed():
    return turned_copy(sitk.DICOMOrient(blob(), "SPL"), degrees=35)[0]


@pytest.fixture
def transform(fixed):
    moving = grids(turned_copy(sitk.DICOMOrient(blob(), "LIA"))[0])[1]
    return GridTransform(grids(fixed)[1], moving, cascade_flow())


def points_of(image):
    grid = Grid.from_image(image)
    corners = np.stack(np.meshgrid(*[[0.0, n - 1.0] for n in grid.shape], indexing="ij"), axis=-1)
    index = np.random.default_rng(0).uniform(0, np.subtract(grid.shape, 1), (300, 3))
    return grid.index_to_point(np.concatenate([index, corners.reshape(8, 3)]))


@pytest.mark.parametrize("suffix", ["h5", "tfm"])
def test_composite_is_the_transform_all_over_the_fixed_image(fixed, transform, tmp_path, suffix):
    composite = composite_transform(transform, Grid.from_image(fixed), MATRIX, OFFSET)
    path = tmp_path / f"transform.{suffix}"
    write_transform(composite, path)
    read = sitk.CompositeTransform(sitk.ReadTransform(str(path)))
    points = points_of(fixed)
    moved = [read.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(moved, transform.transform_points(points), atol=1e-4)
    kinds = [read.GetNthTransform(k).GetName() for k in range(read.GetNumberOfTransforms())]
    assert kinds == ["AffineTransform", "DisplacementFieldTransform"]


def test_dense_part_is_what_the_dense_stage_adds(fixed, transform):
    """At the network's voxel centres the composite's field is the dense stage's own flow."""
    composite = composite_transform(transform, Grid.from_image(fixed), MATRIX, OFFSET)
    field = sitk.DisplacementFieldTransform(composite.GetNthTransform(1))
    index = np.array([[3, 5, 7], [10, 12, 20], [19, 0, 27]])
    points = transform.fixed_grid.index_to_point(index)
    moved = np.array([field.TransformPoint(point) for point in points.tolist()])
    found = transform.fixed_grid.point_to_index(moved) - index
    np.testing.assert_allclose(found, smooth_flow()[tuple(index.T)], atol=1e-4)


def test_affine_part_alone(transform, fixed):
    affine = affine_transform(transform, MATRIX, OFFSET)
    points = points_of(fixed)
    index = transform.fixed_grid.point_to_index(points)
    centred = index - (np.array(SHAPE) - 1) / 2
    expected = transform.moving_grid.index_to_point(index + centred @ MATRIX.T + OFFSET)
    moved = [affine.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_without_an_affine_stage_the_boxes_are_aligned(transform, fixed):
    boxes = GridTransform(transform.fixed_grid, transform.moving_grid, np.zeros((*SHAPE, 3)))
    affine = affine_transform(transform)
    points = points_of(fixed)
    moved = [affine.TransformPoint(point) for point in points.tolist()]
    inside = transform.fixed_grid.point_to_index(points)
    np.testing.assert_allclose(moved, boxes.transform_points(points), atol=1e-6)
    assert inside.shape == points.shape
    composite = composite_transform(transform, Grid.from_image(fixed))
    moved = [composite.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(moved, transform.transform_points(points), atol=1e-4)


def test_a_small_box_in_a_large_image_takes_the_images_grid(transform, monkeypatch):
    """Covering it at the box's spacing would need far more voxels; T is then exact at voxels."""
    network = transform.fixed_grid
    large = network.crop_resampled(np.array([[-80, 100], [-90, 110], [-70, 90]]), (30, 28, 26))
    monkeypatch.setattr(itk_transforms, "MAX_VOXELS", 50_000)
    composite = composite_transform(transform, large, MATRIX, OFFSET)
    field = sitk.DisplacementFieldTransform(composite.GetNthTransform(1)).GetDisplacementField()
    assert field.GetSize() == large.shape[::-1]
    points = large.points().reshape(-1, 3)[::37]
    moved = [composite.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(moved, transform.transform_points(points), atol=1e-4)


def test_too_large_a_composite_is_refused(transform, monkeypatch):
    monkeypatch.setattr(itk_transforms, "MAX_VOXELS", 100)
    with pytest.raises(ValueError, match="composite transform of .* voxels is too large"):
        composite_transform(transform, transform.fixed_grid)


def test_unknown_format_is_refused(transform, tmp_path):
    with pytest.raises(ValueError, match="cannot write .*transform.xyz"):
        write_transform(affine_transform(transform), tmp_path / "transform.xyz")
    assert not list(tmp_path.iterdir())
