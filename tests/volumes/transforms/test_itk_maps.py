"""ITK's transform files as maps, against SimpleITK on the same points."""

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.transforms.chain import Chain, Link
from rcn_tf.volumes.transforms.inversion import Status
from rcn_tf.volumes.transforms.itk_maps import read_itk_maps

CENTRE = (5.0, -12.0, 40.0)


def points(number=200, reach=60.0):
    return np.random.default_rng(1).uniform(-reach, reach, (number, 3))


def affine():
    made = sitk.AffineTransform(3)
    made.SetCenter(CENTRE)
    made.SetMatrix([1.1, 0.1, 0, -0.05, 0.9, 0.2, 0.03, 0, 1.2])
    made.SetTranslation((3, -7, 11))
    return made


def euler():
    made = sitk.Euler3DTransform(CENTRE, 0.1, -0.2, 0.3, (4, 5, 6))
    made.SetComputeZYX(True)  # a fourth fixed parameter
    return made


def spline(order):
    made = sitk.BSplineTransform(3, order)
    made.SetTransformDomainMeshSize([4, 5, 6])
    made.SetTransformDomainOrigin([50, -50, -40])
    made.SetTransformDomainPhysicalDimensions([100, 100, 90])
    made.SetTransformDomainDirection([0, -1, 0, 1, 0, 0, 0, 0, 1])
    rng = np.random.default_rng(order)
    made.SetParameters(rng.normal(0, 1.5, len(made.GetParameters())).tolist())
    return made


def field(size=(20, 24, 22)):
    rng = np.random.default_rng(3)
    image = sitk.GetImageFromArray(rng.normal(0, 15, (*size[::-1], 3)), isVector=True)
    image = sitk.SmoothingRecursiveGaussian(image, 2.0)
    image.SetSpacing((6, 5, 5.5))
    image.SetOrigin((-60, 60, -58))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    return sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))


LINEAR = {
    "affine": affine(),
    "euler": euler(),
    "versor": sitk.VersorRigid3DTransform((0, 0, 1), 0.4, (1, 2, 3), CENTRE),
    "turn": sitk.VersorTransform((1, 0, 0), 0.4, CENTRE),
    "similarity": sitk.Similarity3DTransform(1.3, (0, 1, 0), 0.2, (1, 2, 3), CENTRE),
    "translation": sitk.TranslationTransform(3, (1, -2, 3)),
    "scale": sitk.ScaleTransform(3, (1.2, 0.8, 1.0)),
    "skew": sitk.ScaleSkewVersor3DTransform(
        (1.1, 0.9, 1), (0.1, 0, 0, 0, 0.05, 0), (0, 0, 1), 0.3, (4, 5, 6), CENTRE
    ),
    "identity": sitk.Transform(3, sitk.sitkIdentity),
}
OTHERS = {
    **{f"spline_{order}": spline(order) for order in (1, 2, 3)},
    "composite": sitk.CompositeTransform([affine(), euler(), spline(3)]),
    "with_field": sitk.CompositeTransform([affine(), field()]),
    "field": field(),
}


def chain(path):
    return Chain([Link(one) for one in read_itk_maps(path)])


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5", ".mat"])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_transforms_and_their_inverses(tmp_path, name, suffix):
    path = tmp_path / f"t{suffix}"
    sitk.WriteTransform(LINEAR[name], str(path))
    made, expected = chain(path), LINEAR[name]
    there = np.array([expected.TransformPoint(p) for p in points().tolist()])
    np.testing.assert_allclose(made.transform_points(points()), there, atol=1e-9)
    back, error, status = made.inverse().move_points(there)
    np.testing.assert_allclose(back, points(), atol=1e-9)
    assert not error.any() and not status.any()


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_transforms(tmp_path, name, suffix):
    path = tmp_path / f"t{suffix}"
    sitk.WriteTransform(OTHERS[name], str(path))
    where = points(reach=50.0)
    there = np.array([OTHERS[name].TransformPoint(p) for p in where.tolist()])
    made = chain(path)
    np.testing.assert_allclose(made.transform_points(where), there, atol=1e-4)
    assert np.abs(there - where).max() > 1
    back, error, status = made.inverse().move_points(there)
    sound = (status == Status.OK) & (made.move_points(back)[2] == Status.OK)
    assert sound.mean() > 0.3
    np.testing.assert_allclose(back[sound], where[sound], atol=0.05)
    assert error[sound].max() < 1e-3


@pytest.mark.parametrize("order", [1, 2, 3])
def test_beyond_a_spline_nothing_moves(tmp_path, order):
    sitk.WriteTransform(spline(order), str(tmp_path / "t.tfm"))
    where = points(2000, 90.0)
    there = np.array([spline(order).TransformPoint(p) for p in where.tolist()])
    moved, _, status = chain(tmp_path / "t.tfm").move_points(where)
    np.testing.assert_allclose(moved, there, atol=1e-9)
    outside = status == Status.OUTSIDE
    assert 0.3 < outside.mean() < 0.95
    np.testing.assert_array_equal(moved[outside], where[outside])
    assert (np.abs(moved - where)[~outside].max(axis=-1) > 0).all()


def test_beyond_a_field_its_border_goes_on(tmp_path):
    """ITK leaves such points where they are; displacement.nii.gz and transform.h5 must agree."""
    sitk.WriteTransform(field(), str(tmp_path / "t.h5"))
    far = np.array([[500.0, 0, 0]])
    moved, _, status = chain(tmp_path / "t.h5").move_points(far)
    assert status.tolist() == [Status.OUTSIDE]
    image = field().GetDisplacementField()
    border = image.TransformPhysicalPointToContinuousIndex((500.0, 0, 0))
    border = image.TransformContinuousIndexToPhysicalPoint((19, *border[1:]))
    expected = np.subtract(field().TransformPoint(border), border)
    np.testing.assert_allclose((moved - far)[0], expected, atol=1e-5)


def test_ants_matrices(tmp_path):
    """As antsRegistration writes and antsApplyTransforms reads matrices, in both precisions."""
    ants = pytest.importorskip("ants")
    matrix = np.random.default_rng(0).normal(0, 0.1, (3, 3)) + np.eye(3)
    for k, precision in enumerate(("float", "double")):
        made = ants.create_ants_transform(
            "AffineTransform", precision, 3, matrix, (1, 2, 3), center=CENTRE
        )
        path = tmp_path / f"{k}GenericAffine.mat"
        ants.write_transform(made, str(path))
        expected = [made.apply_to_point(p) for p in points(20).tolist()]
        np.testing.assert_allclose(chain(path).transform_points(points(20)), expected, atol=1e-4)


def test_the_base_class_that_ants_names(tmp_path):
    text = "#Insight Transform File V1.0\n#Transform 0\nTransform: {}\nParameters: "
    text += "2 0 0 0 1 0 0 0 1 5 6 7\nFixedParameters: 1 1 1\n"
    (tmp_path / "t.txt").write_text(text.format("MatrixOffsetTransformBase_double_3_3"))
    moved = chain(tmp_path / "t.txt").transform_points([[1.0, 2, 3]])
    np.testing.assert_allclose(moved, [[6, 8, 10]])  # centre (1, 1, 1) stays before the shift


def test_minc_is_ras(tmp_path):
    """x and y change sign on input and output, so a rotation about z is kept, shifts are not."""
    text = "MNI Transform File\n% a comment; = here\n\nTransform_Type = Linear;\n"
    text += "Linear_Transform =\n 0 -1 0.5 10\n 1 0 0 20\n 0 0 2 30;\n"
    (tmp_path / "t.xfm").write_text(text)
    ras = np.array([1.0, 2, 3])
    moved = np.array([[0, -1, 0.5], [1, 0, 0], [0, 0, 2]]) @ ras + (10, 20, 30)
    flip = (-1, -1, 1)
    found = chain(tmp_path / "t.xfm").transform_points(ras * flip)
    np.testing.assert_allclose(found, moved * flip)


HEAD = "#Insight Transform File V1.0\n"
ONE = "Transform: AffineTransform_double_3_3\nParameters: {}\nFixedParameters: 0 0 0\n"
UNIT = "1 0 0 0 1 0 0 0 1 0 0 0"
SPLINE = "Transform: BSplineTransform_double_3_3\nParameters: 1 2 3\nFixedParameters: {}\n"
GRID = " 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1"
FAULTS = [
    ("t.tfm", "", "is not an ITK transform"),
    ("t.tfm", '(Transform "EulerTransform")\n', "begins as elastix's parameters"),
    ("t.tfm", HEAD, "holds no transform"),
    ("t.tfm", HEAD + 2 * ONE.format(UNIT), "holds 2 transforms outside a composite"),
    ("t.tfm", HEAD + ONE.format("1 2 x"), "its Parameters are not all numbers"),
    ("t.tfm", HEAD + ONE.format(UNIT[:-1] + "nan"), "NaN or infinite parameters"),
    ("t.tfm", HEAD + ONE.format("1 2 3"), "its numbers are damaged"),
    ("t.tfm", HEAD + ONE.format("0 " * 12), "flattens the volume"),
    ("t.tfm", HEAD + ONE.format(UNIT).replace("Affine", "Strange"), "unknown to this version"),
    ("t.tfm", HEAD + "Transform: CompositeTransform_double_3_3\n", "without parts"),
    ("t.tfm", HEAD + "Transform: Euler2DTransform_double_2_2\n", "transform of 2x2 dimensions"),
    ("t.tfm", HEAD + "Transform: Euler3DTransform\n", "transform of unknown dimensions"),
    ("t.tfm", HEAD + SPLINE.format("1 1 1"), "3 numbers for its grid"),
    ("t.tfm", HEAD + SPLINE.format("100000 100000 100000" + GRID), "is damaged: 3 numbers"),
    ("t.mat", "1 0 0 5\n0 1 0 6\n0 0 1 7\n0 0 0 1\n", "as of FSL"),
    ("t.mat", "\0junk", "is not an ITK transform"),
    ("t.h5", "junk", "not such an HDF5 file, or damaged"),
    ("t.xfm", "junk", "is not a transform of MINC"),
    ("t.xfm", "MNI Transform File\nTransform_Type = Grid_Transform;", "is not one linear"),
    ("t.xfm", "MNI Transform File\nTransform_Type = Linear;\nLinear_Transform = 1 2;", "twelve"),
]


@pytest.mark.parametrize(("name", "text", "message"), FAULTS)
def test_bad_files_are_one_line(tmp_path, capfd, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_itk_maps(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # no messages of ITK or HDF5


def test_a_file_that_is_cut_off(tmp_path, capfd):
    for suffix in (".h5", ".mat", ".tfm"):
        whole = tmp_path / f"whole{suffix}"
        sitk.WriteTransform(field() if suffix == ".h5" else affine(), str(whole))
        content = whole.read_bytes()
        for share in (0.1, 0.5, 0.9):
            path = tmp_path / f"cut{suffix}"
            path.write_bytes(content[: int(share * len(content))])
            with pytest.raises(ValueError, match=f"cut{suffix}"):
                read_itk_maps(path)
    assert capfd.readouterr().err == ""


def test_numbers_of_another_file_are_refused(tmp_path):
    sitk.WriteTransform(affine(), str(tmp_path / "a.h5"))
    sitk.WriteTransform(euler(), str(tmp_path / "b.h5"))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["TransformGroup/0/TransformParameters"]
        link = h5py.ExternalLink("b.h5", "TransformGroup/0/TransformParameters")
        file["TransformGroup/0/TransformParameters"] = link
    with pytest.raises(ValueError, match="TransformParameters that has its values in another file"):
        read_itk_maps(tmp_path / "a.h5")
