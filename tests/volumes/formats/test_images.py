"""Reading and writing, and one clear error for each kind of bad file."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes import read_image, write_image
from rcn_tf.volumes.formats.vector_images import read_displacement
from rcn_tf.volumes.label_ids import require_integers


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
    with pytest.warns(InputWarning, match="does not state its orientation; LPS"):
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
    with pytest.raises(ValueError, match="holds no DICOM files; expected an image"):
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
        (moving, "is 4D with 2 frames; expected 3D: of the fixed and the moving image"),
        (colour, "3 values per voxel"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_image(path)


def test_require_integers():
    assert require_integers(volume(), "labels").dtype == np.int16
    assert require_integers(volume(np.float64), "labels").dtype == np.int32
    with pytest.raises(ValueError, match=r"labels .* got 0\.5"):
        require_integers(sitk.Cast(volume(), sitk.sitkFloat32) + 0.5, "labels")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [3, 2.9999998, 3.0000002, 1.00000035 * 3])
def test_labels_off_by_rounding_are_whole(kind, value):
    array = np.zeros((3, 4, 5), kind)
    array[1], array[2] = value, 2035 * value / 3  # ids of a cortical parcellation
    found = require_integers(sitk.GetImageFromArray(array), "labels")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found[:, 0, 0], [0, 3, 2035])


@pytest.mark.parametrize("value", [2.9999, 3.0002, -1.00005])
def test_labels_further_off_are_rounded_with_a_warning(value):
    array = np.zeros((3, 4, 5), np.float32)
    array[1] = value
    with pytest.warns(InputWarning, match=rf"labels: 20 values .* such as {value}"):
        found = require_integers(sitk.GetImageFromArray(array), "labels")
    assert found[1, 0, 0] == round(value)


@pytest.mark.parametrize("value", [2.5, 2.99, 100.2, 5000.3, np.nan, np.inf, 0.001])
def test_labels_that_are_not_whole_are_refused(value):
    array = np.zeros((3, 4, 5), np.float32)
    array[1] = value
    with pytest.raises(ValueError, match="labels must hold whole-number label ids"):
        require_integers(sitk.GetImageFromArray(array), "labels")


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
