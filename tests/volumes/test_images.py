"""Reading and writing, and one clear error for each kind of bad file."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.volumes import read_image, write_image
from rcn_tf.volumes.images import (
    read_displacement,
    require_integers,
    require_same_geometry,
)


def volume(dtype=np.int16):
    image = sitk.GetImageFromArray(np.arange(60).reshape(3, 4, 5).astype(dtype))
    image.SetSpacing([1.0, 2.0, 3.5])
    image.SetOrigin([4.0, -5.0, 6.0])
    return image


def test_a_field_of_integers_is_not_taken_for_floats(tmp_path):
    """The bytes of the integer -1 would be a float's NaN."""
    vectors = sitk.GetImageFromArray(np.full((3, 4, 5, 3), -1, np.int32), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "field.nii.gz"))
    field = read_displacement(tmp_path / "field.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(field), -1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    write_image(volume(), path)
    image = read_image(path)
    assert image.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(volume()))
    np.testing.assert_allclose(image.GetSpacing(), (1.0, 2.0, 3.5))
    np.testing.assert_allclose(image.GetOrigin(), (4.0, -5.0, 6.0))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_four_dimensions_with_one_frame_pass(tmp_path):
    path = tmp_path / "one.nrrd"
    sitk.WriteImage(sitk.JoinSeries([volume()]), str(path))
    assert read_image(path).GetSize() == (5, 4, 3)


def test_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="scan.nothing"):
        write_image(volume(), tmp_path / "scan.nothing")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="absent"):
        write_image(volume(), tmp_path / "absent" / "scan.nii")


def test_missing_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.nii"):
        read_image(tmp_path / "absent.nii")
    with pytest.raises(ValueError, match="is without DICOM files; expected an image"):
        read_image(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image"])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.mha", "scan.txt"])
def test_unreadable(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot read .*{name}"):
        read_image(path)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.mha", "scan.nrrd"])
def test_cut_off(tmp_path, name, rng):
    path = tmp_path / name
    write_image(sitk.GetImageFromArray(rng.normal(size=(20, 20, 20))), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot read"):
        read_image(path)


def test_not_three_dimensional(tmp_path):
    flat, slice_, moving, colour = (tmp_path / f"{k}.nrrd" for k in ("2d", "1", "4d", "rgb"))
    sitk.WriteImage(sitk.Image([5, 4], sitk.sitkUInt8), str(flat))
    sitk.WriteImage(sitk.Image([5, 4, 1], sitk.sitkUInt8), str(slice_))
    sitk.WriteImage(sitk.JoinSeries([volume(), volume()]), str(moving))
    sitk.WriteImage(sitk.Image([5, 4, 3], sitk.sitkVectorUInt8, 3), str(colour))
    for path, message in [
        (flat, r"2D \(5 x 4\)"),
        (slice_, "single slice"),
        (moving, r"4D \(5 x 4 x 3 x 2\)"),
        (colour, "3 values per voxel"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_image(path)


def test_require_integers():
    assert require_integers(volume(), "labels").dtype == np.int16
    assert require_integers(volume(np.float64), "labels").dtype == np.int32
    with pytest.raises(ValueError, match=r"labels .* got 0\.5"):
        require_integers(sitk.Cast(volume(), sitk.sitkFloat32) + 0.5, "labels")


def test_require_same_geometry():
    image, other = volume(), volume()
    other.SetOrigin([4.0 + 1e-5, -5.0, 6.0])
    require_same_geometry(image, other, "fixed", "mask")
    other.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="mask must have the geometry .* of fixed"):
        require_same_geometry(image, other, "fixed", "mask")
    with pytest.raises(ValueError, match=r"\(5, 4, 3\); got \(5, 4, 2\)"):
        require_same_geometry(image, volume()[:, :, :2], "fixed", "mask")


@pytest.mark.parametrize("name", ["scan.img", "scan.mhd", "scan.nhdr", "scan.tif"])
def test_only_single_files_with_geometry_are_written(tmp_path, name):
    with pytest.raises(ValueError, match="expected .nii.gz, .nii, .mha, .nrrd"):
        write_image(volume(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_upper_case_suffix(tmp_path):
    write_image(volume(), tmp_path / "SCAN.NII.GZ")
    np.testing.assert_allclose(read_image(tmp_path / "SCAN.NII.GZ").GetSpacing(), (1.0, 2.0, 3.5))


def test_large_ids_of_floating_point_labels():
    ids = np.zeros((3, 4, 5))
    ids[1] = 3e9
    found = require_integers(sitk.GetImageFromArray(ids), "labels")
    assert found.dtype == np.int64
    assert found.max() == 3_000_000_000


def test_full_disk_is_named_although_itk_says_nothing(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(ValueError, match="cannot write .*scan.nii.gz: no space left on the disk"):
        write_image(volume(), tmp_path / "scan.nii.gz")
    assert not list(tmp_path.iterdir())
