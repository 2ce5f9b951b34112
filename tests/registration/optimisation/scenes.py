"""Scans of an analytic scene: a textured ball in physical space, seen on grids of any pose."""

import numpy as np
import SimpleITK as sitk

RADIUS = 40.0  # mm


def brightness(points, seed=0):
    """Grey values of the scene at points [..., 3], mm: a ball with blobs, dark outside."""
    rng = np.random.default_rng(seed)
    value = 60.0 + np.zeros(points.shape[:-1])
    for centre, width, height in zip(
        rng.uniform(-30, 30, (40, 3)), rng.uniform(5, 10, 40), rng.uniform(-70, 90, 40)
    ):
        distance = ((points - centre) ** 2).sum(axis=-1)
        value += height * np.exp(-distance / (2 * width**2))
    inside = 1 / (1 + np.exp((np.linalg.norm(points, axis=-1) - RADIUS) / 1.5))
    return np.clip(value, 5, None) * inside


def turn(degrees, axis):
    """Rotation matrix [3, 3] about an axis."""
    transform = sitk.VersorTransform(list(map(float, axis)), float(np.deg2rad(degrees)))
    return np.array(transform.GetMatrix()).reshape(3, 3)


def grid_image(shape, spacing, direction=None):
    """An image of zeros [D, H, W], centred on the origin of physical space."""
    image = sitk.Image(shape[::-1], sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetDirection(np.eye(3).ravel() if direction is None else direction.ravel())
    middle = [(n - 1) / 2 for n in image.GetSize()]
    image.SetOrigin((-np.array(image.TransformContinuousIndexToPhysicalPoint(middle))).tolist())
    return image


def points_of(image):
    """Physical points [D, H, W, 3] of an image's voxels, as SimpleITK's own geometry has them."""
    index = np.moveaxis(np.indices(image.GetSize()[::-1]), 0, -1)[..., ::-1]
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return index * np.array(image.GetSpacing()) @ direction.T + np.array(image.GetOrigin())


def scan(image, seen=lambda points: points, seed=0):
    """The scene on an image's grid: at each voxel what it shows at `seen` of the voxel's point."""
    result = sitk.GetImageFromArray(brightness(seen(points_of(image)), seed).astype("float32"))
    result.CopyInformation(image)
    return result


def pair(to_moving, moving_seen=lambda points: points):
    """(fixed, moving) of which `to_moving` maps fixed points to moving points.

    Args:
        to_moving: f(points) -> points.
        moving_seen: what the moving scan shows; its inverse must be part of `to_moving`.
    """
    fixed = grid_image((36, 34, 40), (2.6, 3.0, 2.8), turn(7, (1, 2, 3)))
    moving = grid_image((40, 38, 36), (2.8, 2.6, 3.0), turn(-5, (3, 1, 2)))
    return scan(fixed, lambda points: moving_seen(to_moving(points))), scan(moving, moving_seen)


def inner_points(number=200, radius=32.0, seed=1):
    """Points [number, 3] inside the ball."""
    points = np.random.default_rng(seed).normal(size=(4 * number, 3)) * radius / 2
    return points[np.linalg.norm(points, axis=1) < radius][:number]
