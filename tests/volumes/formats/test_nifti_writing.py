"""`.nii.gz` of several threads: the bytes that SimpleITK would write, for every kind of image."""

import gzip
import subprocess

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.formats import nifti_writing
from rcn_tf.volumes.formats.image_writing import write_image

RNG = np.random.default_rng(5)
OBLIQUE = sitk.Euler3DTransform()
OBLIQUE.SetRotation(0.2, -0.3, 0.4)


def scan(shape, dtype, components=0):
    array = RNG.normal(0, 40, (*shape, components) if components else shape)
    if np.issubdtype(dtype, np.unsignedinteger):
        array = np.abs(array)
    image = sitk.GetImageFromArray(array.astype(dtype), isVector=bool(components))
    image.SetSpacing((0.7, 1.5, 2.25))
    image.SetOrigin((3.25, -7.125, 11.0))
    image.SetDirection(OBLIQUE.GetMatrix())
    return image


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(
    "image",
    [
        scan((5, 6, 7), np.uint8),
        scan((5, 6, 7), np.int16),
        scan((1, 6, 7), np.uint16),
        scan((5, 1, 7), np.int32),
        scan((5, 6, 1), np.float32),
        scan((4, 5, 6), np.float64),
        scan((3, 4, 5), np.int64),
        scan((5, 6, 7), np.float32, 3),
        scan((1, 6, 7), np.float64, 2),
    ],
    ids=lambda image: f"{image.GetPixelIDTypeAsString()}, {image.GetSize()}",
)
def test_the_bytes_are_simpleitks(tmp_path, image, small):
    image.SetMetaData("descrip", "a scan")
    assert nifti_writing.takes(image, tmp_path / "scan.nii.gz")
    write_image(image, tmp_path / "scan.nii.gz", small=small)
    sitk.WriteImage(image, str(tmp_path / "theirs.nii"))
    found = gzip.decompress((tmp_path / "scan.nii.gz").read_bytes())
    assert found == (tmp_path / "theirs.nii").read_bytes()


@pytest.fixture
def many_blocks(monkeypatch):
    """A field whose components take several blocks each."""
    monkeypatch.setattr(nifti_writing, "BLOCK_BYTES", 2000)
    return scan((20, 16, 24), np.float32, 3)


def test_every_reader_opens_it(tmp_path, many_blocks):
    path = tmp_path / "field.nii.gz"
    write_image(many_blocks, path)
    array = sitk.GetArrayFromImage(many_blocks)
    read = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), array)
    np.testing.assert_allclose(read.GetDirection(), many_blocks.GetDirection(), atol=1e-6)
    voxels = np.asarray(nibabel.load(path).dataobj)  # [x, y, z, 1, 3]
    np.testing.assert_array_equal(voxels[:, :, :, 0], array.transpose(2, 1, 0, 3))
    subprocess.run(["gzip", "-t", str(path)], check=True)


def test_the_number_of_threads_changes_nothing(tmp_path, many_blocks, monkeypatch):
    from rcn_tf.files import threaded_gzip

    for threads in (1, 3):
        monkeypatch.setattr(threaded_gzip, "cores", lambda threads=threads: threads)
        write_image(many_blocks, tmp_path / f"{threads}.nii.gz")
    assert (tmp_path / "1.nii.gz").read_bytes() == (tmp_path / "3.nii.gz").read_bytes()


def test_small_files_are_smaller(tmp_path):
    image = sitk.Image(64, 48, 40, sitk.sitkInt16) + sitk.GridSource(
        sitk.sitkInt16, (64, 48, 40), gridSpacing=(9.0, 7.0, 5.0)
    )
    sizes = []
    for small in (False, True):
        path = tmp_path / f"{small}.nii.gz"
        write_image(image, path, small=small)
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.9 * sizes[0]


def test_what_the_header_cannot_hold_goes_another_way(tmp_path):
    plane = sitk.Image(nifti_writing.LARGEST + 1, 1, 1, sitk.sitkUInt8)
    assert not nifti_writing.takes(plane, tmp_path / "scan.nii.gz")
    frames = sitk.Image([4, 5, 6, 2], sitk.sitkUInt8)
    assert not nifti_writing.takes(frames, tmp_path / "scan.nii.gz")
    assert not nifti_writing.takes(scan((3, 4, 5), np.uint8), tmp_path / "scan.nii")
    write_image(frames, tmp_path / "frames.nii.gz")
    assert sitk.ReadImage(str(tmp_path / "frames.nii.gz")).GetSize() == (4, 5, 6, 2)
