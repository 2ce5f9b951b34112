"""Learn2Reg's displacements, against SimpleITK and the challenge's formula written out in SciPy."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates, zoom

from rcn_tf.volumes import Grid
from rcn_tf.volumes.learn2reg.displacement import (
    file_name,
    half_resolution,
    voxel_displacement,
    write_displacement,
)

TURNED = np.array([[0.0, -0.8, 0.6], [1, 0, 0], [0, 0.6, 0.8]])


def image_of(array, spacing, origin, direction, vectors=False):
    image = sitk.GetImageFromArray(array, isVector=vectors)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.ravel(direction).tolist())
    return image


@pytest.fixture
def pair(rng, tmp_path):
    """(displacement in mm, moving image): two oblique grids that differ in everything."""
    noise = sitk.SmoothingRecursiveGaussian(
        sitk.GetImageFromArray(rng.normal(0, 40, (10, 14, 12, 3)), isVector=True), 2.0
    )
    vectors = sitk.GetArrayFromImage(noise).astype(np.float32)
    field = image_of(vectors, (1.5, 2, 2.5), (3, -4, 5), TURNED, vectors=True)
    smooth = sitk.GetImageFromArray(rng.normal(0, 900, (15, 16, 18)))
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(smooth, 2.0))
    turned = TURNED.T[:, [1, 0, 2]] * (1, -1, 1)
    moving = image_of(smooth.astype(np.float32), (1.4, 1.2, 1.7), (-9, 4, 20), turned)
    centre = field.TransformContinuousIndexToPhysicalPoint((5.5, 6.5, 4.5))
    middle = moving.TransformContinuousIndexToPhysicalPoint((8.5, 7.5, 7))
    moving.SetOrigin((np.array(moving.GetOrigin()) + centre - middle).tolist())
    return field, moving


def test_the_challenges_warp_is_simpleitks(pair, tmp_path):
    """identity + disp_field into map_coordinates, on arrays as nibabel reads them."""
    field, moving = pair
    sitk.WriteImage(moving, str(tmp_path / "moving.nii.gz"))
    write_displacement(field, Grid.from_image(moving), tmp_path / "disp.nii.gz")
    disp_field = nibabel.load(tmp_path / "disp.nii.gz")
    assert disp_field.get_data_dtype() == np.float32
    disp_field = disp_field.get_fdata()
    D, H, W = field.GetSize()
    assert disp_field.shape == (D, H, W, 3)

    array = nibabel.load(tmp_path / "moving.nii.gz").get_fdata()
    identity = np.meshgrid(np.arange(D), np.arange(H), np.arange(W), indexing="ij")
    position = identity + disp_field.transpose(3, 0, 1, 2)
    warped = map_coordinates(array, position, order=1)

    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    transform_of = sitk.Image(field.GetSize(), sitk.sitkFloat32)
    transform_of.CopyInformation(field)
    expected = sitk.Resample(moving, transform_of, transform, sitk.sitkLinear, np.nan)
    expected = sitk.GetArrayFromImage(expected).transpose(2, 1, 0)
    last = np.reshape(array.shape, (3, 1, 1, 1)) - 1
    inside = ((position >= 0) & (position <= last)).all(axis=0)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(warped[inside], expected[inside], atol=2e-3 * np.ptp(array))


def test_a_point_by_hand(pair):
    """Voxel (2, 3, 4) of the fixed file, by SimpleITK's own geometry."""
    field, moving = pair
    point = np.array(field.TransformIndexToPhysicalPoint((2, 3, 4))) + field.GetPixel(2, 3, 4)
    index = moving.TransformPhysicalPointToContinuousIndex(point.tolist())
    found = voxel_displacement(field, Grid.from_image(moving))
    np.testing.assert_allclose(found[2, 3, 4], np.array(index) - (2, 3, 4), atol=1e-4)


@pytest.mark.parametrize("form", ["npz", "npz-half"])
def test_packed_forms(pair, tmp_path, form):
    field, moving = pair
    grid = Grid.from_image(moving)
    path = tmp_path / file_name("disp_0001_0002", form)
    assert path.name == "disp_0001_0002.npz"
    write_displacement(field, grid, path, form)
    disp = np.load(path)["arr_0"]
    assert disp.dtype == np.float16
    full = voxel_displacement(field, grid)
    if form == "npz":
        np.testing.assert_array_equal(disp, full.astype(np.float16))
        return
    assert disp.shape == (3, 6, 7, 5)
    np.testing.assert_allclose(disp[:, -1, 0, -1], full[-1, 0, -1], rtol=1e-3)


def test_half_resolution_is_enlarged_as_the_challenge_did():
    """`zoom(x, 2, order=2)` gives a smooth field back, but for its spline's border."""
    x, y, z = np.meshgrid(*[np.linspace(0, 1, n) for n in (24, 28, 20)], indexing="ij")
    full = np.stack([6 * x * (1 - y), 5 * y + z, 4 * np.sin(2 * z) + x], axis=-1)
    half = half_resolution(full.astype(np.float32))
    enlarged = np.array([zoom(half[i], 2, order=2) for i in range(3)])
    error = np.abs(enlarged.transpose(1, 2, 3, 0) - full)
    assert error[4:-4, 4:-4, 4:-4].max() < 0.02  # a shift by half a voxel would give 0.1
    assert error.max() < 0.2


def test_faults(pair, tmp_path):
    field, moving = pair
    grid = Grid.from_image(moving)
    with pytest.raises(ValueError, match="one of nii, npz, npz-half; got 'npy'"):
        write_displacement(field, grid, tmp_path / "d.npy", "npy")
    with pytest.raises(ValueError, match="even sizes from 4 on; .* has 11 x 14 x 10 voxels"):
        write_displacement(field[1:], grid, tmp_path / "d.npz", "npz-half")
    assert not list(tmp_path.iterdir())
