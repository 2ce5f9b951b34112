"""MINC in every order, direction and sign: each voxel is at nibabel's place."""

import itertools
import sys

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.formats import minc
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.vector_images import read_displacement
from rcn_tf.volumes.geometry import Geometry
from tests.volumes.minc_files import ORDER, START, STEP, write_minc1, write_minc2

nibabel = pytest.importorskip("nibabel")

C, S = np.cos(0.3), np.sin(0.3)
OBLIQUE = {"xspace": [C, S, 0], "yspace": [-S, C, 0], "zspace": [0, 0, 1]}


def places(array, points):
    """{voxel value: point}; all values differ."""
    return dict(zip(array.ravel().tolist(), points.reshape(-1, 3).round(4).tolist()))


def by_nibabel(path):
    image = nibabel.load(path)
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    points = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    return places(image.get_fdata(), points * [-1, -1, 1])


def by_us(path):
    image = read_image(path)
    array = sitk.GetArrayFromImage(image)
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1)
    points = [image.TransformIndexToPhysicalPoint(k[::-1]) for k in index.reshape(-1, 3).tolist()]
    return places(array.astype(float), np.array(points))


@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("cosines", [None, OBLIQUE])
@pytest.mark.parametrize("order", [ORDER, ORDER[::-1], ("yspace", "zspace", "xspace")])
def test_minc2(tmp_path, order, cosines, signs):
    step = {name: sign * STEP[name] for name, sign in zip(STEP, signs)}
    path = write_minc2(tmp_path / "a.mnc", order=order, cosines=cosines, step=step)
    expected, found = by_nibabel(path), by_us(path)
    assert expected.keys() == found.keys()
    for value, point in expected.items():
        np.testing.assert_allclose(found[value], point, atol=2e-4)


@pytest.mark.parametrize("order", [ORDER, ("xspace", "zspace", "yspace")])
def test_minc1(tmp_path, order):
    step = {**STEP, "xspace": -1.0}
    path = write_minc1(tmp_path / "a.mnc", order=order, step=step)
    assert by_us(path) == by_nibabel(path)
    assert minc.version(path) == 1


def test_as_itk_writes_it(tmp_path):
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetOrigin((4, -5, 6))
    sitk.WriteImage(image, str(tmp_path / "a.mnc"))
    assert by_us(tmp_path / "a.mnc") == by_nibabel(tmp_path / "a.mnc")


def test_a_reader_that_has_it_right_is_not_corrected(tmp_path):
    path = write_minc2(tmp_path / "a.mnc", cosines=OBLIQUE)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    wrong = Geometry.of(reader)
    right = minc.minc_geometry(path, wrong)
    assert right is not wrong
    assert minc.minc_geometry(path, right) is right
    elsewhere = Geometry(wrong.size, wrong.spacing, wrong.origin + 1, wrong.direction)
    with pytest.raises(ValueError, match="do not agree on where the voxels lie; convert it"):
        minc.minc_geometry(path, elsewhere)


def test_damaged_and_sheared(tmp_path):
    cosines = {**OBLIQUE, "zspace": [0, np.sin(0.2), np.cos(0.2)]}
    with pytest.raises(ValueError, match="sheared"):
        read_image(write_minc2(tmp_path / "sheared.mnc", cosines=cosines))
    path = write_minc2(tmp_path / "length.mnc")
    size = (6, 5, 4)
    read = Geometry(size, np.array([1.0, 2, 3]), np.array([10.0, -20, 30]), np.eye(3))
    with h5py.File(path, "a") as file:
        file["minc-2.0/dimensions/xspace"].attrs["length"] = 7
    with pytest.raises(ValueError, match="states no regular xspace of 6 voxels"):
        minc.minc_geometry(path, read)
    path = write_minc2(tmp_path / "irregular.mnc", spacing=b"irregular")
    with pytest.raises(ValueError, match="states no regular xspace"):
        minc.minc_geometry(path, read)


def test_version(tmp_path):
    (tmp_path / "text.mnc").write_text("no MINC")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = 1
    (tmp_path / "cut.h5").write_bytes((tmp_path / "other.h5").read_bytes()[:100])
    assert [minc.version(tmp_path / n) for n in ("text.mnc", "other.h5", "cut.h5")] == [None] * 3
    assert minc.version(write_minc2(tmp_path / "named_otherwise.h5", start=START)) == 2


def test_without_nibabel(tmp_path, monkeypatch):
    path = write_minc1(tmp_path / "a.mnc")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"a\.mnc needs nibabel: .*; mincconvert -2"):
        read_image(path)


def test_units(tmp_path):
    path = write_minc2(tmp_path / "a.mnc", units=b"m")
    with pytest.warns(InputWarning, match="in 'm'"):
        read_image(path)


def test_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is a MINC file, .* convert it"):
        read_displacement(write_minc2(tmp_path / "a.mnc"))
