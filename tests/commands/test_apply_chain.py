"""`rcn apply` with several transforms, ITK's and inverted ones, against ANTs and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main

SIZE = (24, 28, 20)
POINTS = np.array([[3.0, -8.0, 4.0], [-6.5, 10.25, -3.0], [8.0, 2.0, 6.0]])


def image_of(array, spacing=(2.0, 1.5, 2.5), vectors=False):
    image = sitk.GetImageFromArray(array, isVector=vectors)
    image.SetSpacing(spacing)
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(image.GetSize(), spacing)])
    return image


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two fields and two affine transforms that do not commute, an image, points."""
    folder = tmp_path_factory.mktemp("chain")
    rng = np.random.default_rng(2)
    for name in ("a", "b"):
        vectors = image_of(rng.normal(0, 25, (*SIZE[::-1], 3)), vectors=True)
        vectors = sitk.SmoothingRecursiveGaussian(vectors, 5.0)
        sitk.WriteImage(sitk.Cast(vectors, sitk.sitkVectorFloat32), str(folder / f"{name}.nii.gz"))
    turn = sitk.AffineTransform(3)
    turn.SetMatrix([1.1, 0.2, 0, -0.2, 0.9, 0.1, 0, 0, 1.05])
    turn.SetTranslation((2, -1, 1.5))
    sitk.WriteTransform(turn, str(folder / "0GenericAffine.mat"))
    sitk.WriteTransform(sitk.ScaleTransform(3, (0.8, 1.0, 1.2)), str(folder / "scale.tfm"))
    voxels = sitk.SmoothingRecursiveGaussian(image_of(rng.normal(0, 900, SIZE[::-1])), 3.0)
    sitk.WriteImage(sitk.Cast(voxels, sitk.sitkFloat32), str(folder / "image.nii.gz"))
    rows = "".join(f"{x},{y},{z}\n" for x, y, z in POINTS)
    (folder / "p.csv").write_text("x,y,z\n" + rows)
    return folder


def apply(study, transforms, *arguments):
    command = ["apply"]
    for transform in transforms:
        inverted = transform.startswith("[")
        path = study / transform.strip("[]").split(",")[0]
        command += ["--transform", f"[{path},1]" if inverted else str(path)]
    return main([*command, *map(str, arguments)])


def moved(study, tmp_path, transforms, *arguments):
    points = ["--points", study / "p.csv", "--out", tmp_path / "q.csv"]
    assert apply(study, transforms, *points, *arguments) == 0
    return np.loadtxt(tmp_path / "q.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))


CHAINS = [
    ["a.nii.gz", "0GenericAffine.mat"],
    ["0GenericAffine.mat", "a.nii.gz"],
    ["a.nii.gz", "b.nii.gz"],
    ["[0GenericAffine.mat,1]", "a.nii.gz"],
    ["a.nii.gz", "[0GenericAffine.mat,1]", "scale.tfm", "b.nii.gz"],
]


@pytest.mark.parametrize("transforms", CHAINS, ids=" ".join)
def test_the_order_is_that_of_ants(study, tmp_path, transforms):
    """For points and for images: both programs are given the same list."""
    ants = pytest.importorskip("ants")
    pandas = pytest.importorskip("pandas")
    paths = [str(study / one.strip("[]").split(",")[0]) for one in transforms]
    inverted = [one.startswith("[") for one in transforms]
    table = pandas.DataFrame(POINTS, columns=["x", "y", "z"])
    expected = ants.apply_transforms_to_points(3, table, paths, whichtoinvert=inverted)
    found = moved(study, tmp_path, transforms)
    np.testing.assert_allclose(found, expected[["x", "y", "z"]].to_numpy(), atol=2e-3)

    image, out = study / "image.nii.gz", tmp_path / "out.nii.gz"
    command = ["--image", image, "--reference", image, "--out", out]
    assert apply(study, transforms, *command) == 0
    read = ants.image_read(str(image))
    warped = ants.apply_transforms(read, read, paths, whichtoinvert=inverted, defaultvalue=-9)
    warped = warped.numpy().transpose(2, 1, 0)
    inside = warped != -9
    assert inside.mean() > 0.3
    difference = np.abs(sitk.GetArrayFromImage(sitk.ReadImage(str(out))) - warped)[inside]
    assert np.quantile(difference, 0.99) < 1e-2 * np.ptp(warped[inside])


def test_the_last_alone_is_something_else(study, tmp_path):
    both = moved(study, tmp_path, ["a.nii.gz", "0GenericAffine.mat"])
    assert np.abs(both - moved(study, tmp_path, ["0GenericAffine.mat"])).max() > 0.5
    assert np.abs(both - moved(study, tmp_path, ["0GenericAffine.mat", "a.nii.gz"])).max() > 0.1


def test_inverse_turns_the_whole(study, tmp_path, capsys):
    """--inverse of A then B is B backwards, then A backwards; together they do nothing."""
    chain = ["a.nii.gz", "0GenericAffine.mat"]
    turned = moved(study, tmp_path, chain, "--inverse")
    shown = capsys.readouterr().out
    assert f"the inverse of {study / '0GenericAffine.mat'}, then the inverse of" in shown
    assert "round trip" in shown
    by_hand = moved(study, tmp_path, ["[0GenericAffine.mat,1]", "[a.nii.gz,1]"])
    np.testing.assert_allclose(turned, by_hand, atol=1e-6)
    nothing = [*chain, "[0GenericAffine.mat,1]", "[a.nii.gz,1]"]
    np.testing.assert_allclose(moved(study, tmp_path, nothing), POINTS, atol=1e-3)
    twice = moved(study, tmp_path, ["[a.nii.gz,1]"], "--inverse")
    np.testing.assert_allclose(twice, moved(study, tmp_path, ["a.nii.gz"]), atol=1e-6)


def test_inverse_between_two_transforms_is_not_clear(study, tmp_path, capsys):
    a, b = ["--transform", str(study / "a.nii.gz")], ["--transform", str(study / "b.nii.gz")]
    points = ["--points", str(study / "p.csv"), "--out", str(tmp_path / "q.csv")]
    assert main(["apply", *a, "--inverse", *b, *points]) == 2
    assert "--inverse turns all transforms around" in capsys.readouterr().err
    assert main(["apply", "--inverse", *a, *b, *points]) == 0
    before = (tmp_path / "q.csv").read_text()
    assert main(["apply", *a, *b, *points, "--inverse"]) == 0
    assert (tmp_path / "q.csv").read_text() == before


def test_the_inverse_on_a_grid(study, tmp_path):
    """SimpleITK brings the points of the written inverse back to where they came from."""
    field, status = tmp_path / "field.nii.gz", tmp_path / "status.nii.gz"
    image = study / "image.nii.gz"
    command = ["--inverse", "--reference", image, "--field", field, "--status", status]
    assert apply(study, ["a.nii.gz", "0GenericAffine.mat"], *command) == 0
    forward = sitk.CompositeTransform(3)
    forward.AddTransform(sitk.ReadTransform(str(study / "0GenericAffine.mat")))
    vectors = sitk.ReadImage(str(study / "a.nii.gz"), sitk.sitkVectorFloat64)
    forward.AddTransform(sitk.DisplacementFieldTransform(vectors))
    inverse = sitk.ReadImage(str(field), sitk.sitkVectorFloat64)
    flags = sitk.GetArrayFromImage(sitk.ReadImage(str(status)))
    assert (flags == 0).mean() > 0.5
    assert set(np.unique(flags)) <= {0, 1, 2}
    errors = []
    for index in np.argwhere(flags == 0)[::20, ::-1].tolist():
        point = np.array(inverse.TransformIndexToPhysicalPoint(index))
        origin = point + inverse.GetPixel(index)
        errors.append(np.linalg.norm(forward.TransformPoint(origin.tolist()) - point))
    assert np.median(errors) < 1e-3
    assert max(errors) < 0.2  # a tenth of a voxel beside folds


def spline():
    made = sitk.BSplineTransform(3, 3)
    made.SetTransformDomainMeshSize([4, 4, 4])
    made.SetTransformDomainOrigin([-40, -40, -40])
    made.SetTransformDomainPhysicalDimensions([80, 80, 80])
    rng = np.random.default_rng(8)
    made.SetParameters(rng.normal(0, 2, len(made.GetParameters())).tolist())
    return made


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_images_by_itks_transforms(study, tmp_path, suffix):
    """As SimpleITK resamples with the same file."""
    turn = sitk.ReadTransform(str(study / "0GenericAffine.mat"))
    sitk.WriteTransform(sitk.CompositeTransform([turn, spline()]), str(tmp_path / f"t{suffix}"))
    image, out = study / "image.nii.gz", tmp_path / "out.nii.gz"
    command = ["--image", image, "--reference", image, "--out", out]
    assert apply(study, [str(tmp_path / f"t{suffix}")], *command) == 0
    read = sitk.ReadImage(str(image))
    transform = sitk.ReadTransform(str(tmp_path / f"t{suffix}"))
    expected = sitk.GetArrayFromImage(sitk.Resample(read, read, transform, sitk.sitkLinear, -9e9))
    inside = expected > -9e8
    assert inside.mean() > 0.5
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3 * np.ptp(found))


def test_whose_grid_it_is(study, tmp_path, capsys):
    """The result lies where the points start: on the first transform's grid, or on none known."""
    command = ["--image", study / "image.nii.gz", "--out", tmp_path / "out.nii.gz"]
    assert apply(study, ["a.nii.gz", "scale.tfm"], *command) == 0
    assert sitk.ReadImage(str(tmp_path / "out.nii.gz")).GetSize() == SIZE
    for transforms, scan in (
        (["scale.tfm", "a.nii.gz"], "fixed"),
        (["[a.nii.gz,1]", "b.nii.gz"], "moving"),
    ):
        assert apply(study, transforms, *command) == 2
        error = capsys.readouterr().err
        assert "needs --reference" in error and f"does not state the {scan} image's" in error


FAULTS = [
    (["a.nii.gz", "none.nii.gz"], [], "no such file"),
    (["none", "a.nii.gz"], [], "no such file"),
    (["a.nii.gz", "image.nii.gz"], [], "expected one 3D displacement field"),
    (["2d.tfm"], [], "transform of 2x2 dimensions; expected 3x3"),
    (["a.nii.gz", "[empty.h5,1]"], [], "not such an HDF5 file"),
    (["[flat.nii.gz,1]"], [], "flattens the volume"),
    (["a.nii.gz"], ["--system", "RAS", "--system", "LPS"], None),
]


@pytest.mark.parametrize(("transforms", "options", "message"), FAULTS)
def test_faults_are_one_line(study, tmp_path, capfd, transforms, options, message):
    sitk.WriteTransform(sitk.Euler2DTransform(), str(study / "2d.tfm"))
    (study / "empty.h5").write_bytes(b"")
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (6, 5, 4)], indexing="ij"), -1)
    flat = sitk.GetImageFromArray(-grid[..., ::-1].astype(np.float32), isVector=True)
    sitk.WriteImage(flat, str(study / "flat.nii.gz"))
    command = ["--points", study / "p.csv", "--out", tmp_path / "q.csv", *options]
    if message is None:
        with pytest.raises(SystemExit, match="2"):
            apply(study, transforms, *command)
        message = "--system is given twice"
    else:
        assert apply(study, transforms, *command) == 2
    error = capfd.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_with_brackets_in_its_name(study, tmp_path):
    """A path that exists is taken as it is."""
    odd = tmp_path / "[x,1]"
    odd.mkdir()
    (odd / "displacement.nii.gz").write_bytes((study / "a.nii.gz").read_bytes())
    command = ["apply", "--transform", str(odd), "--points", str(study / "p.csv")]
    assert main([*command, "--out", str(tmp_path / "q.csv")]) == 0
    found = np.loadtxt(tmp_path / "q.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    np.testing.assert_array_equal(found, moved(study, tmp_path, ["a.nii.gz"]))
