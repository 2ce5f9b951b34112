"""`rcn apply` on several files at once, through lists of transforms, against SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from tests.commands.test_apply_chain import image_of

SIZE = (22, 26, 18)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A field, an affine transform, a rigid one, two images, two label maps, points."""
    folder = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(3)
    field = image_of(rng.normal(0, 25, (*SIZE[::-1], 3)), vectors=True)
    field = sitk.SmoothingRecursiveGaussian(field, 5.0)
    sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), str(folder / "warp.nii.gz"))
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([1.1, 0.2, 0, -0.2, 0.9, 0.1, 0, 0, 1.05])
    affine.SetTranslation((2, -1, 1.5))
    sitk.WriteTransform(affine, str(folder / "affine.mat"))
    rigid = sitk.Euler3DTransform((1, 2, 3), 0.1, -0.2, 0.15, (1, -2, 0.5))
    sitk.WriteTransform(rigid, str(folder / "rigid.tfm"))
    sitk.WriteTransform(sitk.CompositeTransform([affine, rigid]), str(folder / "both.h5"))
    for name in ("one", "two"):
        voxels = sitk.SmoothingRecursiveGaussian(image_of(rng.normal(0, 900, SIZE[::-1])), 3.0)
        sitk.WriteImage(sitk.Cast(voxels, sitk.sitkFloat32), str(folder / f"{name}.nii.gz"))
        labels = sitk.Cast(voxels > 0, sitk.sitkUInt8) * 7
        sitk.WriteImage(labels, str(folder / f"{name}_seg.nrrd"))
    (folder / "p.csv").write_text("x,y,z\n3,-8,4\n-6.5,10.25,-3\n")
    return folder


def apply(*arguments):
    return main(["apply", *map(str, arguments)])


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def composite(study):
    """ITK applies the transform that was added last first: the warp, the affine, the rigid^-1."""
    field = sitk.ReadImage(str(study / "warp.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.CompositeTransform(3)
    transform.AddTransform(sitk.ReadTransform(str(study / "rigid.tfm")).GetInverse())
    transform.AddTransform(sitk.ReadTransform(str(study / "affine.mat")))
    transform.AddTransform(sitk.DisplacementFieldTransform(field))
    return transform


def test_points_go_through_the_list_as_itks_composite_from_its_end(study, tmp_path):
    transforms = [study / "warp.nii.gz", study / "affine.mat", f"[{study / 'rigid.tfm'}, 1]"]
    out = ["--points", study / "p.csv", "--out", tmp_path / "q.csv"]
    assert apply("--transform", *transforms, *out) == 0
    found = np.loadtxt(tmp_path / "q.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    points = [(3.0, -8.0, 4.0), (-6.5, 10.25, -3.0)]
    expected = [composite(study).TransformPoint(point) for point in points]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    one_by_one = [part for path in transforms for part in ("--transform", path)]
    assert apply(*one_by_one, "--points", study / "p.csv", "--out", tmp_path / "r.csv") == 0
    assert (tmp_path / "r.csv").read_text() == (tmp_path / "q.csv").read_text()


def test_a_composite_file_is_the_list_of_its_parts_from_the_end(study, tmp_path):
    points = ["--points", study / "p.csv", "--out"]
    assert apply("--transform", study / "both.h5", *points, tmp_path / "a.csv") == 0
    parts = [study / "rigid.tfm", study / "affine.mat"]
    assert apply("--transform", *parts, *points, tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_images_and_labels_in_one_call(study, tmp_path, capsys):
    """As SimpleITK resamples each once by the composite; and as one call for each."""
    transforms = [study / "warp.nii.gz", study / "affine.mat", f"[{study / 'rigid.tfm'},1]"]
    images = ["--image", study / "one.nii.gz", study / "two.nii.gz"]
    labels = ["--labels", study / "one_seg.nrrd", study / "two_seg.nrrd"]
    reference = ["--reference", study / "one.nii.gz"]
    out = tmp_path / "out"
    assert apply("--transform", *transforms, *images, *labels, *reference, "--out", out) == 0
    names = ["one.nii.gz", "two.nii.gz", "one_seg.nrrd", "two_seg.nrrd"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    shown = capsys.readouterr().out
    assert all(f"written: {out / name}" in shown for name in names)
    fixed = sitk.ReadImage(str(study / "one.nii.gz"))
    for name in names:
        moving = sitk.ReadImage(str(study / name))
        linear = sitk.sitkLinear if name.endswith("gz") else sitk.sitkLabelGaussian
        expected = sitk.Resample(moving, fixed, composite(study), linear, -9e9)
        expected = sitk.GetArrayFromImage(expected)
        found = array(out / name)
        inside = expected > (-8e8 if name.endswith("gz") else -1)
        assert inside.mean() > 0.4
        if name.endswith("gz"):
            np.testing.assert_allclose(
                found[inside], expected[inside], atol=2e-3 * np.ptp(expected[inside])
            )
        else:
            assert set(np.unique(found)) <= {0, 7}
        kind = "--image" if name.endswith("gz") else "--labels"
        alone = tmp_path / f"alone_{name}"
        assert (
            apply("--transform", *transforms, kind, study / name, *reference, "--out", alone) == 0
        )
        np.testing.assert_array_equal(found, array(alone))


def test_a_file_for_each(study, tmp_path):
    transform = ["--transform", study / "warp.nii.gz", "--labels", study / "one_seg.nrrd"]
    outs = [tmp_path / "a.nii.gz", tmp_path / "b.mha"]
    assert apply(*transform, "--image", study / "one.nii.gz", "--out", *outs) == 0
    assert array(outs[0]).dtype == np.float32
    assert set(np.unique(array(outs[1]))) == {0, 7}


def test_into_a_folder_that_exists(study, tmp_path):
    (tmp_path / "mine.txt").write_text("stays")
    images = ["--image", study / "one.nii.gz", study / "two.nii.gz", "--out", tmp_path]
    assert apply("--transform", study / "warp.nii.gz", *images) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.txt", "one.nii.gz", "two.nii.gz"}


FAULTS = [
    (["{s}/one.nii.gz", "{s}/two.nii.gz"], ["{t}/x.nii.gz"], "is one file for 2 results"),
    (["{s}/one.nii.gz", "{s}/two.nii.gz"], ["{t}/x", "{t}/y", "{t}/z"], "3 files for 2 files"),
    (["{s}/one.nii.gz", "{t}/one.nii.gz"], ["{t}/x"], "two results would be called"),
    (["{s}/one.nii.gz", "{s}/two.nii.gz"], ["{s}"], "read or written already"),
    (["{s}/one.nii.gz", "{s}/two.nii.gz"], ["{t}/no/x"], "no such folder"),
    (["{s}/one.nii.gz", "{s}/none.nii.gz"], ["{t}/x"], "no such file"),
    (["{s}/one.nii.gz", "{s}/warp.nii.gz"], ["{t}/x"], "3 values per voxel"),
]


@pytest.mark.parametrize(("images", "out", "message"), FAULTS)
def test_faults_are_one_line_and_leave_nothing(study, tmp_path, capsys, images, out, message):
    (tmp_path / "one.nii.gz").write_bytes((study / "one.nii.gz").read_bytes())
    before = sorted(tmp_path.iterdir())
    files = [part.format(s=study, t=tmp_path) for part in [*images, "--out", *out]]
    assert apply("--transform", study / "warp.nii.gz", "--image", *files) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_points_go_alone(study, tmp_path, capsys):
    files = ["--points", study / "p.csv", "--image", study / "one.nii.gz"]
    assert apply("--transform", study / "affine.mat", *files, "--out", tmp_path / "x") == 2
    assert "--points go the other way" in capsys.readouterr().err


def shifted(path, by):
    image = sitk.ReadImage(str(path))
    image.SetOrigin([origin + by for origin in image.GetOrigin()])
    return image


def test_a_field_that_misses_the_grid(study, tmp_path, capsys):
    """Nowhere on it: refused. Partly: said."""
    command = ["--transform", study / "warp.nii.gz", "--image", study / "one.nii.gz"]
    command += ["--out", tmp_path / "out.nii.gz", "--reference", tmp_path / "there.nii.gz"]
    sitk.WriteImage(shifted(study / "one.nii.gz", 500.0), str(tmp_path / "there.nii.gz"))
    assert apply(*command) == 2
    error = capsys.readouterr().err
    assert "does not cover the result's grid" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out.nii.gz").exists()
    sitk.WriteImage(shifted(study / "one.nii.gz", 12.0), str(tmp_path / "there.nii.gz"))
    assert apply(*command) == 0
    assert "% of the result's grid lies outside the field" in capsys.readouterr().err
    sitk.WriteImage(shifted(study / "one.nii.gz", 0.5), str(tmp_path / "there.nii.gz"))
    assert apply(*command) == 0
    assert "outside the field" not in capsys.readouterr().err


TRANSFORMS = [
    ("2d.tfm", sitk.Euler2DTransform(), "transform of 2x2 dimensions; expected 3x3"),
    ("flat.tfm", sitk.ScaleTransform(3, (1, 1, 0)), "flattens the volume"),
]


@pytest.mark.parametrize(("name", "transform", "message"), TRANSFORMS)
def test_transforms_that_do_not_fit(study, tmp_path, capsys, name, transform, message):
    sitk.WriteTransform(transform, str(tmp_path / name))
    image = ["--image", study / "one.nii.gz", "--reference", study / "one.nii.gz"]
    transforms = [study / "warp.nii.gz", tmp_path / name]
    assert apply("--transform", *transforms, *image, "--out", tmp_path / "o.nii.gz") == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
