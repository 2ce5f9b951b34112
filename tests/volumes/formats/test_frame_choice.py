"""One frame of a 4D file, in each format that has them."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.formats.frame_choice import check_frame
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.vector_images import read_displacement
from tests.volumes.nifti_files import SIZE, VOXELS, write_nifti

PLAIN = np.array([[2.0, 0, 0, -5], [0, 3, 0, -6], [0, 0, 4, 7]])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti(tmp_path, name):
    path = write_nifti(tmp_path / name, sform=PLAIN, frames=3)
    one = read_image(write_nifti(tmp_path / f"one_{name}", sform=PLAIN))
    for frame in range(3):
        image = read_image(path, frame=frame)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS + frame)
        assert image.GetOrigin() == one.GetOrigin() == (5, 6, 7)
        assert image.GetDirection() == one.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    message = "is 4D with 3 frames; expected 3D: of the fixed and the moving image"
    with pytest.raises(ValueError, match=message):
        read_image(path)
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"has frames 0 to 2; got frame {wrong}"):
            read_image(path, frame=wrong)
    with pytest.raises(ValueError, match=r"is 4D \(6 x 7 x 8 x 3\); expected one 3D displacement"):
        read_displacement(path)


def test_a_frame_of_a_repaired_geometry(tmp_path):
    """The rows of the sform deviate from a right angle by half a degree."""
    sform = PLAIN + [[0, 0.02, 0, 0], [0] * 4, [0] * 4]
    path = write_nifti(tmp_path / "a.nii", sform=sform, frames=2)
    image = read_image(path, frame=1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS + 1)
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_other_formats(tmp_path, suffix):
    frames = [sitk.GetImageFromArray(VOXELS + k) for k in range(2)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / f"a.{suffix}"))
    image = read_image(tmp_path / f"a.{suffix}", frame=1, orientation="RAS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS + 1)


def test_values_per_voxel(tmp_path):
    """3D Slicer writes a sequence as a list of values per voxel."""
    values = np.stack([VOXELS, VOXELS + 1], axis=-1)
    header = (
        "NRRD0004\ntype: short\ndimension: 4\nspace: right-anterior-superior\n"
        f"sizes: 2 {' '.join(map(str, SIZE))}\nkinds: list domain domain domain\n"
        "space directions: none (2,0,0) (0,3,0) (0,0,4)\nspace origin: (-5,-6,7)\n"
        "encoding: raw\nendian: little\n\n"
    )
    (tmp_path / "a.seq.nrrd").write_bytes(header.encode() + values.astype("<i2").tobytes())
    image = read_image(tmp_path / "a.seq.nrrd", frame=1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS + 1)
    assert image.GetOrigin() == (5, 6, 7)
    with pytest.raises(ValueError, match="has 2 values per voxel; .* --fixed-frame"):
        read_image(tmp_path / "a.seq.nrrd")


def test_a_single_frame(tmp_path):
    path = write_nifti(tmp_path / "a.nii", sform=PLAIN)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path, frame=0)), VOXELS)
    with pytest.raises(ValueError, match="has a single frame, 0; got frame 1"):
        read_image(path, frame=1)
    check_frame(None, 1, path)


def test_no_orientation_in_4d(tmp_path):
    path = write_nifti(tmp_path / "a.nii", frames=2)
    with pytest.warns(InputWarning, match="LAS"):
        assert read_image(path, frame=0).GetDirection() == (1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_memory_of_one_frame(tmp_path, monkeypatch):
    """ITK reads a single frame of a NIfTI file, but all frames of other formats."""
    monkeypatch.setattr(
        "rcn_tf.volumes.formats.checked_files.physical_memory", lambda: 2 * VOXELS.nbytes
    )
    path = write_nifti(tmp_path / "a.nii", sform=PLAIN, frames=3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path, frame=2)), VOXELS + 2)
    frames = [sitk.GetImageFromArray(VOXELS)] * 3
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "a.mha"))
    with pytest.raises(ValueError, match="GiB of memory by its header"):
        read_image(tmp_path / "a.mha", frame=2)
