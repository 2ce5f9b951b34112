"""Headers of both versions and byte orders, compared with nibabel's reading of the same bytes."""

import gzip

import numpy as np
import pytest

from rcn_tf.volumes.formats.nifti_header import read_header
from tests.volumes.nifti_files import SIZE, nifti_bytes, write_nifti, write_pair

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[0, -2.5, 0.1, 5], [1.5, 0, 0.2, -6], [0, 0.3, -4, 7.25], [0, 0, 0, 1]])
RIGID = np.array([[0, -2.5, 0, 5], [1.5, 0, 0, -6], [0, 0, -4, 7.25], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_same_as_nibabel(tmp_path, order, version, suffix):
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(np.zeros((4, 5, 6), np.int16), np.eye(4))
    image.set_sform(AFFINE, 2)
    image.set_qform(RIGID, 3)
    image.header.set_xyzt_units("mm")
    header = image.header.as_byteswapped(order)
    content = header.binaryblock + bytes(352 + 240)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    found = read_header(path)
    assert found.size == (4, 5, 6)
    assert (found.sform_code, found.qform_code, found.unit) == (2, 3, 1)
    assert not found.is_analyze
    np.testing.assert_allclose(found.sform_affine(), header.get_sform(), rtol=1e-12)
    np.testing.assert_allclose(found.qform_affine(), header.get_qform(), atol=1e-12)
    assert np.linalg.det(found.qform_affine()[:3, :3]) == pytest.approx(-15)


def test_pair_and_analyze(tmp_path):
    pair = write_pair(tmp_path / "pair.img", sform=AFFINE[:3], magic=b"ni1\0", order=">")
    np.testing.assert_allclose(read_header(pair).sform[:, 3], [5, -6, 7.25])
    fields = {"magic": bytes(4), "orient": 3, "originator": (4, 5, 6), "order": ">"}
    header = read_header(write_pair(tmp_path / "old.img", **fields))
    assert header.is_analyze
    assert (header.orient, header.originator, header.size) == (3, (4, 5, 6), SIZE)
    assert (header.sform_code, header.qform_code) == (0, 0)


@pytest.mark.parametrize("code", [(1, 1000), (2, 1), (3, 0.001), (0, None), (2 + 8, 1)])
def test_units(tmp_path, code):
    header = read_header(write_nifti(tmp_path / "a.nii", sform=AFFINE[:3], units=code[0]))
    assert header.unit == code[1]
    np.testing.assert_allclose(header.sform_affine()[:3], AFFINE[:3] * (code[1] or 1), rtol=1e-6)


def test_quaternions_that_rounding_made_too_long(tmp_path):
    header = read_header(write_nifti(tmp_path / "a.nii", qform=(0, 0, 1.00001, 0, 0, 0)))
    np.testing.assert_allclose(header.qform_affine(), np.diag([-2.0, -3, 4, 1]), atol=1e-12)
    # A half turn is known only to the square root of single precision, a quarter turn better.
    assert header.qform_error() == pytest.approx(2 * np.sqrt(1.2e-7))
    quarter = read_header(write_nifti(tmp_path / "b.nii", qform=(0, 0, np.sqrt(0.5), 0, 0, 0)))
    assert quarter.qform_error() < 1e-6


@pytest.mark.parametrize(
    "content", [b"", b"text", bytes(600), b"\x1f\x8bno gzip", b"\x5c\x01\0\0short"]
)
def test_other_files(tmp_path, content):
    (tmp_path / "a.nii").write_bytes(content)
    assert read_header(tmp_path / "a.nii") is None


def test_under_another_name(tmp_path):
    (tmp_path / "a.nii").write_bytes(gzip.compress(nifti_bytes(sform=AFFINE[:3])))
    assert read_header(tmp_path / "a.nii").sform_code == 1
