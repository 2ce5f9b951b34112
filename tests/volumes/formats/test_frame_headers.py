"""Sizes and times of NIfTI files, against nibabel."""

import gzip

import nibabel
import numpy as np
import pytest

from rcn_tf.volumes.formats.frame_headers import read_frame_header


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_as_nibabel_writes_it(tmp_path, version, endian, packed):
    kind = (nibabel.Nifti1Image, nibabel.Nifti1Header), (nibabel.Nifti2Image, nibabel.Nifti2Header)
    image, header = kind[version - 1]
    made = image(np.zeros((3, 4, 5, 6), np.int16), np.eye(4), header(endianness=endian))
    made.set_data_dtype(np.int16)
    made.header.set_xyzt_units("mm", "msec")
    made.header["pixdim"][4], made.header["toffset"] = 720, 40
    nibabel.save(made, tmp_path / "x.nii")
    path = tmp_path / "x.nii"
    size = path.stat().st_size
    if packed:
        path = tmp_path / "packed.img"  # the name does not matter
        path.write_bytes(gzip.compress((tmp_path / "x.nii").read_bytes()))
    found = read_frame_header(path)
    assert (found.version, found.shape, found.bits) == (version, (3, 4, 5, 6), 16)
    assert (found.step, found.start, found.time_unit, found.compressed) == (720, 40, 16, packed)
    assert found.file_bytes() == size


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 7, 1), (3, 4, 5, 1, 7)])
def test_axes_of_one_at_the_end_do_not_count(tmp_path, shape):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "x.nii")
    counted = {(3, 4, 5, 1): (3, 4, 5), (3, 4, 5, 7, 1): (3, 4, 5, 7)}.get(shape, shape)
    assert read_frame_header(tmp_path / "x.nii").shape == counted


def test_numbers_that_are_none(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5, 6), np.uint8), np.eye(4))
    image.header["pixdim"][4] = np.nan
    nibabel.save(image, tmp_path / "x.nii")
    assert read_frame_header(tmp_path / "x.nii").step == 0


@pytest.mark.parametrize("data", [b"", b"\x1f\x8bjunk", bytes(600), b"NRRD0004\n" * 100])
def test_other_files(tmp_path, data):
    (tmp_path / "x.nii.gz").write_bytes(data)
    assert read_frame_header(tmp_path / "x.nii.gz") is None
