"""Geometry of each kind of NIfTI and Analyze header; nibabel or the bytes are the oracle."""

import gzip
import itertools
import re

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.vector_images import read_displacement
from tests.volumes.nifti_files import SIZE, VOXELS, write_nifti, write_pair

nibabel = pytest.importorskip("nibabel")

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
CORNERS = list(itertools.product(*((0, n - 1) for n in SIZE)))
PLAIN = np.array([[2.0, 0, 0, -5], [0, 3, 0, -6], [0, 0, 4, 7]])
HALF_TURN = (0, 0, 1, 0, 0, 0)  # b, c, d: x and y the other way


def corners(image):
    return np.array([image.TransformIndexToPhysicalPoint(corner) for corner in CORNERS])


def by_affine(affine):
    return (np.array(CORNERS) @ affine[:3, :3].T + affine[:3, 3]) @ RAS_TO_LPS


def turned(degrees, axes=(0, 1)):
    matrix, angle = np.eye(3), np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    matrix[np.ix_(axes, axes)] = [[c, -s], [s, c]]
    return matrix


def oblique(flip=1.0):
    matrix = turned(20) @ turned(-35, (1, 2)) @ turned(50, (0, 2)) @ np.diag([2, flip * 3, 4])
    return np.concatenate([matrix, [[-5], [6], [7]]], axis=1)


def quaternion_of(affine):
    header = nibabel.Nifti1Header()
    header.set_qform(np.concatenate([affine, [[0, 0, 0, 1]]]), 1)
    numbers = [float(header[f"quatern_{k}"]) for k in "bcd"]
    return (*numbers, *affine[:3, 3]), (float(header["pixdim"][0]), 2.0, 3.0, 4.0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (2, 1), (0, 2), (4, 0), (4, 4)])
def test_sound_headers_stay_as_itk_reads_them(tmp_path, order, flip, codes):
    affine = oblique(flip)
    qform, pixdim = quaternion_of(affine)
    sform_code, qform_code = codes
    path = write_nifti(
        tmp_path / "a.nii.gz",
        sform=affine if sform_code else None,
        sform_code=sform_code,
        qform=qform if qform_code else None,
        qform_code=qform_code,
        pixdim=pixdim,
        order=order,
    )
    image, by_itk = read_image(path), sitk.ReadImage(str(path))
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, name)() == getattr(by_itk, name)()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)
    expected = nibabel.load(path).affine
    np.testing.assert_allclose(corners(image), by_affine(expected), atol=1e-3)


def test_half_turns_are_no_contradiction(tmp_path):
    """The quaternion of an LPS image is known only to the root of single precision."""
    affine = np.concatenate([turned(180 - 0.02, (0, 1)) @ np.diag([2, 3, 4]), PLAIN[:, 3:]], 1)
    qform, pixdim = quaternion_of(affine)
    path = write_nifti(tmp_path / "a.nii", sform=affine, qform=qform, pixdim=pixdim)
    np.testing.assert_allclose(corners(read_image(path)), by_affine(affine), atol=1e-3)


def sheared_matrix(degrees):
    shear = np.eye(3)
    shear[1, 2] = np.tan(np.deg2rad(degrees))
    return np.concatenate([shear @ PLAIN[:, :3], PLAIN[:, 3:]], axis=1)


PLAIN_QFORM = (0, 0, 0, -5, -6, 7)


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 2), (1, 0)])
@pytest.mark.parametrize("permissive", [None, "YES"])
def test_a_tilted_gantry_is_refused(tmp_path, codes, permissive, monkeypatch):
    if permissive:
        monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", permissive)
    sform_code, qform_code = codes
    path = write_nifti(
        tmp_path / "tilted.nii",
        sform=sheared_matrix(15),
        sform_code=sform_code,
        qform=PLAIN_QFORM if qform_code else None,
        qform_code=qform_code,
    )
    message = r"sheared: .* sform are up to 15\.0 degrees.* --moving-orientation CODE"
    with pytest.raises(ValueError, match=message):
        read_image(path)
    image = read_image(path, orientation="RAS")
    assert image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)
    if qform_code:
        np.testing.assert_allclose(corners(image), by_affine(PLAIN), atol=1e-5)


@pytest.mark.parametrize("permissive", [None, "YES"])
def test_an_affine_to_another_space_beside_the_scanners(tmp_path, permissive, monkeypatch):
    """With an sform of code 4 (MNI) the qform is the scanner's geometry, and ITK's choice."""
    if permissive:
        monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", permissive)
    path = write_nifti(
        tmp_path / "a.nii", sform=sheared_matrix(15), sform_code=4, qform=PLAIN_QFORM
    )
    with pytest.warns(InputWarning, match=r"sform \(code 4, .* qform \(code 1, .* qform is taken"):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), by_affine(PLAIN), atol=1e-5)


@pytest.mark.parametrize(
    ("sform", "axes", "millimetres"),
    [
        (np.array([[2.0, 0, 0, -5], [0, 3, 0, -6], [0, 0, 4, 17]]), "RAS", 10.0),
        (np.array([[-2.0, 0, 0, 5], [0, 3, 0, -6], [0, 0, 4, 7]]), "LAS", 10.0),
        (np.concatenate([turned(10) @ PLAIN[:, :3], PLAIN[:, 3:]], 1), "RAS", None),
        (PLAIN * [1.1, 1, 1, 1], "RAS", 1.0),
    ],
    ids=["moved", "mirrored", "turned", "scaled"],
)
@pytest.mark.parametrize("code", [1, 2])
def test_contradictions_are_named_with_the_largest_shift(tmp_path, sform, axes, millimetres, code):
    path = write_nifti(tmp_path / "a.nii", sform=sform, sform_code=code, qform=PLAIN_QFORM)
    with pytest.warns(InputWarning) as caught:
        image = read_image(path)
    (text,) = (str(one.message) for one in caught)
    taken, affine = ("sform", sform) if code == 1 else ("qform", PLAIN)
    assert f"the sform (code {code}, axes {axes}) and the qform (code 1, axes RAS)" in text
    assert f"the {taken} is taken" in text
    expected = np.linalg.norm(by_affine(sform) - by_affine(PLAIN), axis=1).max()
    assert float(re.search(r"up to (\S+) mm", text)[1]) == pytest.approx(expected, rel=0.01)
    if millimetres:
        assert expected == pytest.approx(millimetres)
    np.testing.assert_allclose(corners(image), by_affine(affine), atol=1e-4)


def test_a_small_disagreement_is_silent(tmp_path):
    moved = PLAIN + [[0, 0, 0, 0.1], [0] * 4, [0] * 4]  # a twentieth of a voxel
    path = write_nifti(tmp_path / "a.nii", sform=moved, qform=PLAIN_QFORM)
    np.testing.assert_allclose(corners(read_image(path)), by_affine(moved), atol=1e-5)


@pytest.mark.parametrize("decimals", [1, 2, 3])
@pytest.mark.parametrize("flip", [1, -1])
def test_rounded_matrices_become_the_nearest_rotation(tmp_path, decimals, flip):
    exact = oblique(flip)
    rounded = np.round(exact, decimals)
    sizes = np.linalg.norm(rounded[:, :3], axis=0)
    path = write_nifti(tmp_path / "a.nii", sform=rounded, pixdim=(1, *sizes))
    image = read_image(path)  # on so few voxels no shift gives a warning
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-6)
    assert np.sign(np.linalg.det(direction)) == flip
    half = 10.0**-decimals / 2
    assert np.abs(corners(image) - by_affine(exact)).max() <= half * (sum(SIZE) - 2)
    assert np.abs(corners(image) - by_affine(rounded)).max() <= 0.1 * sizes.min()


def test_a_repair_that_moves_voxels_is_named(tmp_path):
    path = write_nifti(tmp_path / "a.nii", sform=sheared_matrix(0.9), sform_code=1)
    text = r"sform of .*a\.nii is not quite orthonormal; .* up to 0\.\d+ mm.*--fixed-orientation"
    wide = tmp_path / "wide.nii"
    nibabel.Nifti1Image(np.zeros((60, 50, 40), np.int16), None).to_filename(wide)
    image = nibabel.load(wide)
    image.set_sform(np.concatenate([sheared_matrix(0.9), [[0, 0, 0, 1]]]), 1)
    image.header["pixdim"][1:4] = 2, 3, 4
    image.to_filename(tmp_path / "b.nii")
    read_image(path)
    with pytest.warns(InputWarning, match=text.replace("a\\.nii", "b\\.nii")):
        repaired = read_image(tmp_path / "b.nii")
    # About the centre, so that the shift of the corners is as small as can be.
    centre = [29.5, 24.5, 19.5]
    np.testing.assert_allclose(
        repaired.TransformContinuousIndexToPhysicalPoint(centre),
        RAS_TO_LPS @ (sheared_matrix(0.9) @ [*centre, 1]),
        atol=1e-4,
    )


def test_the_environment_is_left_as_it_was(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "a.nii", sform=np.round(oblique(), 2), pixdim=(1, 2, 3, 4))
    for value in (None, "NO"):
        if value:
            monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", value)
        read_image(path)
        with pytest.raises(RuntimeError, match="orthonormal"):
            sitk.ReadImage(str(path))


@pytest.mark.parametrize("where", [".nii", ".nii.gz", ".hdr", ".img"])
def test_no_orientation(tmp_path, where):
    write = write_pair if where in (".hdr", ".img") else write_nifti
    magic = b"ni1\0" if write is write_pair else b"n+1\0"
    path = write(tmp_path / f"a{where}", magic=magic)
    with pytest.warns(InputWarning, match=r"does not say its orientation \(both codes .*; LAS"):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), by_affine(nibabel.load(path).affine), atol=1e-5)


@pytest.mark.parametrize("where", [".hdr", ".img"])
@pytest.mark.parametrize("originator", [(0, 0, 0), (2, 5, 3), (2000, 1, 1)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_analyze_as_spm_has_it(tmp_path, where, originator, order):
    path = write_pair(tmp_path / f"a{where}", magic=bytes(4), originator=originator, order=order)
    with pytest.warns(InputWarning, match="is an Analyze file, .*; LAS .*--moving-orientation"):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), by_affine(nibabel.load(path).affine), atol=1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)


def test_compressed_analyze(tmp_path):
    write_pair(tmp_path / "a.img", magic=bytes(4), originator=(2, 5, 3))
    for name in ("a.img", "a.hdr"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        (tmp_path / name).unlink()
    (tmp_path / "a.mat").write_bytes(b"of SPM")
    for name in ("a.img.gz", "a.hdr.gz"):
        with pytest.warns(InputWarning, match=r"is an Analyze file, .* \(the \.mat .*; LAS"):
            image = read_image(tmp_path / name)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((1, 4, 2)), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("orient", "code"), [(1, "LSA"), (2, "ASL"), (3, "LPS"), (4, "LIA"), (5, "ASR"), (48, "LAS")]
)
def test_analyze_that_says_its_slices(tmp_path, orient, code):
    path = write_pair(tmp_path / "a.img", magic=bytes(4), orient=orient)
    with pytest.warns(InputWarning, match=f"; {code} "):
        image = read_image(path)
    found = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    assert found == code


def test_an_orientation_that_is_given(tmp_path):
    path = write_pair(tmp_path / "a.img", magic=bytes(4), orient=3)
    image = read_image(path, orientation="RAS")
    centred = np.concatenate([PLAIN[:, :3], [[-5], [-9], [-14]]], axis=1)
    np.testing.assert_allclose(corners(image), by_affine(centred), atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_voxel_sizes_that_the_sform_contradicts(tmp_path, sign):
    path = write_nifti(tmp_path / "a.nii", sform=PLAIN, pixdim=(1, sign * 2, 3, 5))
    text = r"voxel sizes \(pixdim\) 2 x 3 x 5 mm, its sform 2 x 3 x 4 mm, .* up to 7 mm"
    with pytest.warns(InputWarning, match=text):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), by_affine(PLAIN), atol=1e-5)


def test_negative_voxel_sizes(tmp_path):
    """ITK mirrors such an axis even if there is a sform, which alone should decide."""
    path = write_nifti(tmp_path / "s.nii", sform=PLAIN, pixdim=(1, -2, 3, 4))
    np.testing.assert_allclose(corners(read_image(path)), by_affine(PLAIN), atol=1e-5)
    for fields in ({"qform": PLAIN_QFORM}, {}):
        path = write_nifti(tmp_path / "q.nii", pixdim=(1, -2, 3, 4), **fields)
        with pytest.warns(InputWarning) as caught:
            image = read_image(path)
        assert any(
            "has the voxel sizes -2 x 3 x 4; their signs are" in str(w.message) for w in caught
        )
        assert image.GetSpacing() == (2, 3, 4)
        assert image.GetDirection()[0] == (-1 if fields else 1)


@pytest.mark.parametrize("size", [0.0, float("nan"), float("inf")])
def test_voxel_sizes_that_are_none(tmp_path, size):
    for k, fields in enumerate(({}, {"qform": PLAIN_QFORM}, {"magic": bytes(4)})):
        write = write_pair if "magic" in fields else write_nifti
        path = write(
            tmp_path / f"{k}.{'img' if 'magic' in fields else 'nii'}",
            pixdim=(1, size, 3, 4),
            **fields,
        )
        with pytest.raises(ValueError, match=r"voxel sizes .* x 3 x 4; write the true ones"):
            read_image(path)
    path = write_nifti(tmp_path / "s.nii", sform=PLAIN, pixdim=(1, size, 3, 4))
    with pytest.warns(InputWarning, match="those of its sform are taken"):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), by_affine(PLAIN), atol=1e-5)


@pytest.mark.parametrize("qfac", [0.0, 17.0, float("nan"), 1.0, -1.0])
def test_qfac(tmp_path, qfac):
    path = write_nifti(tmp_path / "a.nii", qform=PLAIN_QFORM, pixdim=(qfac, 2, 3, 4))
    expected = PLAIN * [1, 1, -1 if qfac == -1 else 1, 1]
    np.testing.assert_allclose(corners(read_image(path)), by_affine(expected), atol=1e-5)


def test_quaternions(tmp_path):
    path = write_nifti(tmp_path / "a.nii", qform=(0, 0, 1.0005, 0, 0, 0))
    turn = np.array([[-2.0, 0, 0, 0], [0, -3, 0, 0], [0, 0, 4, 0]])
    np.testing.assert_allclose(corners(read_image(path)), by_affine(turn), atol=1e-5)
    path = write_nifti(tmp_path / "b.nii", qform=(0, 0, 3.0, 0, 0, 0))
    with pytest.warns(InputWarning, match="longer than 1"):
        np.testing.assert_allclose(corners(read_image(path)), by_affine(turn), atol=1e-5)
    path = write_nifti(tmp_path / "c.nii", qform=(float("nan"), 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="no finite origin and direction in its qform"):
        read_image(path)
    path = write_nifti(tmp_path / "d.nii", qform=(float("nan"), 0, 0, 0, 0, 0), sform=PLAIN)
    with pytest.warns(InputWarning, match="damaged qform .* its sform is taken"):
        np.testing.assert_allclose(corners(read_image(path)), by_affine(PLAIN), atol=1e-5)


@pytest.mark.parametrize("row", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("qform", [None, PLAIN_QFORM])
def test_a_damaged_sform(tmp_path, row, qform):
    sform = PLAIN.copy()
    sform[1] = row
    path = write_nifti(tmp_path / "a.nii", sform=sform, qform=qform)
    with pytest.raises(
        ValueError, match=r"no finite origin and direction in its sform.* code to 0"
    ):
        read_image(path)


@pytest.mark.parametrize(("units", "factor"), [(1, 1000), (3, 0.001)])
def test_units(tmp_path, units, factor):
    affine = PLAIN / factor
    path = write_nifti(
        tmp_path / "a.nii", sform=affine, pixdim=(1, *(np.array([2, 3, 4]) / factor)), units=units
    )
    np.testing.assert_allclose(corners(read_image(path)), by_affine(PLAIN), rtol=1e-5)
    path = write_nifti(tmp_path / "b.nii", sform=PLAIN, units=units)
    if units == 1:
        with pytest.warns(InputWarning, match="voxels of 2000 x 3000 x 4000 mm by its header"):
            read_image(path)
    else:
        assert read_image(path).GetSpacing() == pytest.approx((0.002, 0.003, 0.004))


def test_a_field_has_the_same_care(tmp_path):
    vectors = np.zeros((*SIZE, 1, 3), np.float32)
    for name, sform, codes in (
        ("sound", PLAIN, (1, 1)),
        ("sheared", sheared_matrix(15), (1, 0)),
        ("none", PLAIN, (0, 0)),
    ):
        image = nibabel.Nifti1Image(vectors, np.concatenate([PLAIN, [[0, 0, 0, 1]]]))
        image.set_qform(image.affine, codes[1])
        image.set_sform(np.concatenate([sform, [[0, 0, 0, 1]]]), codes[0])
        image.header.set_intent("vector")
        image.to_filename(tmp_path / f"{name}.nii.gz")
    np.testing.assert_allclose(
        corners(read_displacement(tmp_path / "sound.nii.gz")), by_affine(PLAIN), atol=1e-5
    )
    with pytest.raises(ValueError, match=r"sheared.* or write its header anew"):
        read_displacement(tmp_path / "sheared.nii.gz")
    with pytest.warns(InputWarning, match="LAS .* where that is wrong, write its header anew"):
        read_displacement(tmp_path / "none.nii.gz")


def test_vectors_of_a_field(tmp_path):
    """NIfTI's displacement vectors are RAS by the standard, plain vectors whatever was written."""
    vectors = np.broadcast_to(np.float32([1, 2, 3]), (*SIZE, 1, 3)).copy()
    for intent, expected in (("vector", (1, 2, 3)), ("displacement vector", (-1, -2, 3))):
        image = nibabel.Nifti1Image(vectors, np.concatenate([PLAIN, [[0, 0, 0, 1]]]))
        image.header.set_intent(intent)
        image.to_filename(tmp_path / "field.nii.gz")
        field = sitk.GetArrayFromImage(read_displacement(tmp_path / "field.nii.gz"))
        np.testing.assert_array_equal(field.reshape(-1, 3)[5], expected)
