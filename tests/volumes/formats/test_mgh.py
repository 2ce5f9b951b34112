"""FreeSurfer's .mgz: the same place in space as the NIfTI file, and one-line errors."""

import gzip
import struct
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.formats.images import read_image

nibabel = pytest.importorskip("nibabel")


@pytest.fixture
def pair(tmp_path):
    """The same oblique volume as .nii.gz and .mgz."""
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1.0, 1.5, 2.5])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn[:, [0, 2, 1]], (5, -7, 11)
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    nibabel.Nifti1Image(array, affine).to_filename(tmp_path / "a.nii.gz")
    nibabel.MGHImage(array, affine).to_filename(tmp_path / "a.mgz")
    return tmp_path / "a.nii.gz", tmp_path / "a.mgz"


def test_same_as_nifti(pair):
    nifti, mgh = map(read_image, pair)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mgh), sitk.GetArrayFromImage(nifti))
    assert mgh.GetPixelID() == sitk.sitkInt16
    for index in ((0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5)):
        np.testing.assert_allclose(
            mgh.TransformIndexToPhysicalPoint(index),
            nifti.TransformIndexToPhysicalPoint(index),
            atol=1e-4,
        )


def test_bad_files(pair, tmp_path):
    content = gzip.decompress(pair[1].read_bytes())
    (tmp_path / "cut.mgh").write_bytes(content[:-300])
    (tmp_path / "cut.mgz").write_bytes(pair[1].read_bytes()[:-60])
    (tmp_path / "text.mgz").write_text("no image")
    huge = bytearray(content)
    struct.pack_into(">3i", huge, 4, 50000, 50000, 50000)
    (tmp_path / "huge.mgh").write_bytes(huge)
    frames = bytearray(content)
    struct.pack_into(">i", frames, 16, 2)
    (tmp_path / "frames.mgh").write_bytes(frames)
    flat = bytearray(content)
    struct.pack_into(">6f", flat, 42, 1, 0, 0, 1, 0, 0)  # two axes point the same way
    (tmp_path / "flat.mgh").write_bytes(flat)
    for name, message in (
        ("flat.mgh", "no finite geometry"),
        ("cut.mgh", "cannot read"),
        ("cut.mgz", "cannot read"),
        ("text.mgz", "cannot read"),
        ("huge.mgh", "GiB of memory by its header"),
        ("frames.mgh", "is 4D with 2 frames; expected 3D: of the fixed and the moving image"),
    ):
        with pytest.raises(ValueError, match=message):
            read_image(tmp_path / name)


def test_frames(tmp_path):
    array = np.arange(240, dtype=np.int16).reshape(4, 5, 6, 2)
    nibabel.MGHImage(array, np.diag([1.0, 2, 3, 1])).to_filename(tmp_path / "two.mgz")
    second = read_image(tmp_path / "two.mgz", frame=1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(second), array[..., 1].T)
    with pytest.raises(ValueError, match="has frames 0 to 1; got frame 2"):
        read_image(tmp_path / "two.mgz", frame=2)


def test_no_geometry(pair, tmp_path):
    """FreeSurfer's default is coronal, and the header's numbers are ignored."""
    content = bytearray(gzip.decompress(pair[1].read_bytes()))
    struct.pack_into(">h", content, 28, 0)
    (tmp_path / "none.mgh").write_bytes(content)
    with pytest.warns(InputWarning, match=r"none\.mgh does not state its geometry; LIA"):
        image = read_image(tmp_path / "none.mgh")
    assert image.GetSpacing() == (1, 1, 1)
    np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint((2, 2.5, 3)), 0)
    # x to the left, y to the feet, z to the front, in columns of LPS
    np.testing.assert_array_equal(image.GetDirection(), [1, 0, 0, 0, 0, -1, 0, -1, 0])


def test_sheared(pair, tmp_path):
    content = bytearray(gzip.decompress(pair[1].read_bytes()))
    struct.pack_into(">9f", content, 42, -1, 0, 0, 0, 1, 0, 0, 0.3, 1)
    (tmp_path / "sheared.mgh").write_bytes(content)
    with pytest.raises(ValueError, match="sheared: the axes of its direction are up to"):
        read_image(tmp_path / "sheared.mgh")


def test_without_nibabel(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"a\.mgz needs nibabel: pip install nibabel"):
        read_image(pair[1])
