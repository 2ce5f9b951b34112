"""`rcn apply` on the results of `rcn register`, against them and against SimpleITK and ANTs."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import RecursiveCascade
from rcn_tf.commands.main import main
from rcn_tf.models.folder import save_model
from rcn_tf.volumes import Grid
from tests.registration.test_pair import blob, write_pair


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with images, labels and a result of `rcn register`."""
    folder = tmp_path_factory.mktemp("apply")
    write_pair(folder)
    network = RecursiveCascade("tests.known_networks:gentle_waves", 1, (32, 32, 32))
    save_model(network, folder / "model")
    command = ["register", "--model", folder / "model", "--out", folder / "result"]
    for role in ("fixed", "moving"):
        command += [f"--{role}", folder / f"{role}.nii.gz"]
        command += [f"--{role}-labels", folder / f"{role}_labels.nii.gz"]
    assert main([str(part) for part in command]) == 0
    return folder


def apply(study, *arguments, transform="result"):
    arguments = [str(argument) for argument in arguments]
    return main(["apply", "--transform", str(study / transform), *arguments])


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["result", "result/displacement.nii.gz"])
def test_image_and_labels_as_register_wrote_them(study, tmp_path, transform):
    for option, name in (("--image", "moving"), ("--labels", "moving_labels")):
        out = tmp_path / f"{name}.nii.gz"
        assert (
            apply(study, option, study / f"{name}.nii.gz", "--out", out, transform=transform) == 0
        )
        written = "warped.nii.gz" if name == "moving" else "warped_labels.nii.gz"
        np.testing.assert_array_equal(array(out), array(study / "result" / written))
        expected, found = (sitk.ReadImage(str(p)) for p in (study / "result" / written, out))
        assert found.GetOrigin() == expected.GetOrigin()
        assert found.GetDirection() == expected.GetDirection()


@pytest.mark.parametrize(
    ("ids", "written", "kept"),
    [([0, 2, 9], "uint8", "float64"), ([0, 2.9999998, 500.00003], "uint16", "float64")],
)
def test_labels_have_the_smallest_type_or_that_of_the_input(study, tmp_path, ids, written, kept):
    labels = sitk.ReadImage(str(study / "moving_labels.nii.gz"))
    values = np.resize(np.array(ids, kept), sitk.GetArrayViewFromImage(labels).shape)
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(labels)
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    options = ["--labels", tmp_path / "labels.nrrd", "--out", tmp_path / "out.nrrd"]
    for dtype, more in ((written, []), (kept, ["--keep-label-type"])):
        assert apply(study, *options, *more) == 0
        assert array(tmp_path / "out.nrrd").dtype == dtype
        assert set(np.unique(array(tmp_path / "out.nrrd"))) == set(np.round(ids))


def test_reference_gives_the_grid(study, tmp_path):
    """A coarser grid, by SimpleITK from the same field."""
    fixed = sitk.ReadImage(str(study / "fixed.nii.gz"))
    coarse = fixed[::2, ::2, ::2]
    sitk.WriteImage(coarse, str(tmp_path / "coarse.nii.gz"))
    out = tmp_path / "out.nii.gz"
    options = ["--reference", tmp_path / "coarse.nii.gz", "--out", out]
    assert apply(study, "--image", study / "moving.nii.gz", *options) == 0
    moving = sitk.ReadImage(str(study / "moving.nii.gz"), sitk.sitkFloat32)
    expected = sitk.Resample(moving, coarse, itk_field(study), sitk.sitkLinear, 3.0)
    difference = np.abs(array(out) - sitk.GetArrayFromImage(expected))
    assert difference.mean() < 0.01
    assert np.quantile(difference, 0.999) < 0.6  # rounding; ITK's border cuts differ in few


def itk_field(study):
    path = study / "result" / "displacement.nii.gz"
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def points_in(study, number=40):
    """Points of the fixed image's foreground."""
    fixed = sitk.ReadImage(str(study / "fixed.nii.gz"))
    index = np.argwhere(sitk.GetArrayFromImage(fixed) > 20)
    rng = np.random.default_rng(5)
    chosen = index[rng.integers(len(index), size=number)] + rng.uniform(-0.4, 0.4, (number, 3))
    return Grid.from_image(fixed).index_to_point(chosen)


def write_csv(path, points):
    rows = [f"p{k},{x:.6f},{y:.6f},{z:.6f}\n" for k, (x, y, z) in enumerate(points)]
    path.write_text("name,x,y,z\n" + "".join(rows))
    return path


def read_csv(path):
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return np.array([row[1:4] for row in rows], float), [row[4] for row in rows]


@pytest.mark.parametrize("by", ["field", "composite"])
def test_points_move_as_in_simpleitk(study, tmp_path, by):
    points = points_in(study)
    command = ["--points", write_csv(tmp_path / "p.csv", points), "--out", tmp_path / "q.csv"]
    assert apply(study, *command) == 0
    moved, status = read_csv(tmp_path / "q.csv")
    assert set(status) == {"ok"}
    if by == "field":
        itk, tolerance = itk_field(study), 1e-3
    else:  # on the network's grid, where displacement.nii.gz is on the image's
        itk, tolerance = sitk.ReadTransform(str(study / "result" / "transform.h5")), 0.2
    expected = np.array([itk.TransformPoint(point) for point in points.round(6).tolist()])
    np.testing.assert_allclose(moved, expected, atol=tolerance)


def test_points_move_as_in_ants(study, tmp_path):
    ants = pytest.importorskip("ants")
    pandas = pytest.importorskip("pandas")
    points = points_in(study)
    command = ["--points", write_csv(tmp_path / "p.csv", points), "--out", tmp_path / "q.csv"]
    assert apply(study, *command) == 0
    field = str(study / "result" / "displacement.nii.gz")
    table = pandas.DataFrame(points.round(6), columns=["x", "y", "z"])
    expected = ants.apply_transforms_to_points(3, table, [field])[["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(read_csv(tmp_path / "q.csv")[0], expected, atol=1e-3)


def test_points_there_and_back(study, tmp_path, capsys):
    points = points_in(study)
    command = ["--points", write_csv(tmp_path / "p.csv", points), "--out", tmp_path / "q.csv"]
    assert apply(study, *command) == 0
    assert "from the fixed to the moving image" in capsys.readouterr().out
    back = ["--points", tmp_path / "q.csv", "--out", tmp_path / "r.csv", "--inverse"]
    assert apply(study, *back) == 0
    assert "round trip" in capsys.readouterr().out
    np.testing.assert_allclose(read_csv(tmp_path / "r.csv")[0], points, atol=1e-3)


def test_slicer_points_in_ras(study, tmp_path):
    points = points_in(study, 3)
    entries = [{"position": (p * (-1, -1, 1)).tolist(), "label": "F"} for p in points]
    one = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": entries}
    (tmp_path / "p.mrk.json").write_text(json.dumps({"markups": [one]}))
    command = ["--points", tmp_path / "p.mrk.json", "--out", tmp_path / "q.mrk.json"]
    assert apply(study, *command) == 0
    content = json.loads((tmp_path / "q.mrk.json").read_text())
    moved = [entry["position"] for entry in content["markups"][0]["controlPoints"]]
    expected = [itk_field(study).TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(np.array(moved) * (-1, -1, 1), expected, atol=1e-3)


def slicer_csv(path, points, axes):
    """As 3D Slicer exports a point list."""
    rows = [f"F-{k},{x:.6f},{y:.6f},{z:.6f},1,1,1,0,\n" for k, (x, y, z) in enumerate(points)]
    path.write_text(f"label,{axes},defined,selected,visible,locked,description\n" + "".join(rows))
    return path


@pytest.mark.parametrize(("axes", "signs"), [("l,p,s", (1, 1, 1)), ("r,a,s", (-1, -1, 1))])
def test_slicer_csv_says_its_system(study, tmp_path, capsys, axes, signs):
    points = points_in(study, 5)
    path = slicer_csv(tmp_path / "p.csv", points * signs, axes)
    assert apply(study, "--points", path, "--out", tmp_path / "q.csv") == 0
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[0] == path.read_text().splitlines()[0] + ",rcn_status"
    moved = np.array([line.split(",")[1:4] for line in lines[1:]], float) * signs
    expected = [itk_field(study).TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(moved, expected, atol=1e-3)
    other = "RAS" if axes == "l,p,s" else "LPS"
    command = ["--points", path, "--out", tmp_path / "r.csv", "--system", other]
    assert apply(study, *command) == 2
    error = capsys.readouterr().err
    assert "disagree about the system" in error and len(error.splitlines()) == 1


def test_fcsv_against_the_option(study, tmp_path, capsys):
    (tmp_path / "p.fcsv").write_text("# CoordinateSystem = LPS\n1,3,-8,4,0,0,0,1,1,1,0,F,,\n")
    command = ["--points", tmp_path / "p.fcsv", "--out", tmp_path / "q.fcsv"]
    assert apply(study, *command, "--system", "RAS") == 2
    assert "p.fcsv is in LPS; leave out --system RAS" in capsys.readouterr().err
    assert apply(study, *command, "--system", "LPS") == 0


def test_an_earlier_output_is_replaced(study, tmp_path):
    """Also one that lies beside the transform, which is not read."""
    for name in ("displacement.nii.gz", "moving.nii.gz"):
        shutil.copy(study / ("result" if "dis" in name else "") / name, tmp_path / name)
    command = [
        "apply",
        "--transform",
        tmp_path / "displacement.nii.gz",
        "--out",
        tmp_path / "o.mha",
    ]
    for _ in range(2):
        command += [] if len(command) > 5 else ["--image", tmp_path / "moving.nii.gz"]
        assert main([str(part) for part in command]) == 0


def test_a_result_without_fields(study, tmp_path):
    """transform.h5 stands in for displacement.nii.gz, on the grid of warped.nii.gz."""
    folder = tmp_path / "result"
    folder.mkdir()
    for name in ("transform.h5", "warped.nii.gz"):
        shutil.copy(study / "result" / name, folder / name)
    image = ["apply", "--image", study / "moving.nii.gz", "--out", tmp_path / "out.nii.gz"]
    assert main([str(part) for part in [*image, "--transform", folder]]) == 0
    expected = sitk.ReadImage(str(study / "result" / "warped.nii.gz"))
    assert sitk.ReadImage(str(tmp_path / "out.nii.gz")).GetOrigin() == expected.GetOrigin()
    difference = np.abs(array(tmp_path / "out.nii.gz") - sitk.GetArrayFromImage(expected))
    assert difference.mean() < 0.5  # between the network's voxels the two differ a little
    points = points_in(study)
    path = write_csv(tmp_path / "p.csv", points)
    command = ["apply", "--points", path, "--out", tmp_path / "q.csv", "--transform", folder]
    assert main([str(part) for part in command]) == 0
    itk = sitk.ReadTransform(str(folder / "transform.h5"))
    expected = [itk.TransformPoint(point) for point in points.round(6).tolist()]
    np.testing.assert_allclose(read_csv(tmp_path / "q.csv")[0], expected, atol=1e-4)


def test_points_outside_are_named(study, tmp_path, capsys):
    points = np.concatenate([points_in(study, 2), [[900.0, 0, 0]]])
    command = ["--points", write_csv(tmp_path / "p.csv", points), "--out", tmp_path / "q.csv"]
    assert apply(study, *command) == 0
    assert read_csv(tmp_path / "q.csv")[1] == ["ok", "ok", "outside"]
    assert "1 point lies beyond the field; moved as its border: number 3" in capsys.readouterr().err


def test_inverse_image_field_and_status(study, tmp_path, capsys):
    """The fixed image on the moving grid and back is the fixed image, where it is sound."""
    out, field, status = (tmp_path / f"{name}.nii.gz" for name in ("out", "field", "status"))
    command = ["--image", study / "fixed.nii.gz", "--out", out, "--inverse"]
    assert apply(study, *command, "--field", field, "--status", status) == 0
    shown = capsys.readouterr().out
    assert "round trip" in shown and "not unique" in shown
    moving = sitk.ReadImage(str(study / "moving.nii.gz"))
    for path in (out, field, status):
        assert sitk.ReadImage(str(path)).GetSize() == moving.GetSize()
    # SimpleITK with the written inverse gives the same image.
    itk = sitk.DisplacementFieldTransform(sitk.ReadImage(str(field), sitk.sitkVectorFloat64))
    fixed = sitk.ReadImage(str(study / "fixed.nii.gz"), sitk.sitkFloat32)
    expected = sitk.GetArrayFromImage(sitk.Resample(fixed, moving, itk, sitk.sitkLinear, 0.0))
    assert np.quantile(np.abs(array(out) - expected), 0.999) < 0.6
    assert set(np.unique(array(status))) <= {0, 1, 2}
    assert (array(status) == 0).any()


def test_inverse_of_a_single_field_needs_a_grid(study, tmp_path, capsys):
    name = "result/displacement.nii.gz"
    command = ["--inverse", "--field", tmp_path / "field.nii.gz"]
    assert apply(study, *command, transform=name) == 2
    assert "needs --reference" in capsys.readouterr().err
    assert apply(study, *command, "--reference", study / "moving.nii.gz", transform=name) == 0
    # Both are inverses of one transform; register's was found on the network's grid.
    expected = array(study / "result" / "inverse_displacement.nii.gz")
    inner = (slice(8, -8),) * 3
    difference = np.abs(array(tmp_path / "field.nii.gz") - expected)[inner]
    assert np.median(difference) < 0.05


def test_background_fills_the_outside(study, tmp_path):
    moved = sitk.ReadImage(str(study / "moving.nii.gz"))[
        8:, :, :
    ]  # cut off, so that some is missing
    sitk.WriteImage(moved, str(tmp_path / "part.nii.gz"))
    images = []
    for value in (-77, 99.5):
        out = tmp_path / f"out{value}.nii.gz"
        assert (
            apply(study, "--image", tmp_path / "part.nii.gz", "--out", out, "--background", value)
            == 0
        )
        images.append(array(out))
    filled = images[0] == -77
    assert filled.any()
    np.testing.assert_array_equal(images[1] == 99.5, filled)
    np.testing.assert_array_equal(images[1][~filled], images[0][~filled])


FAULTS = [
    (["--labels", "{moving}", "--out", "{tmp}/x.nii.gz", "--background", "3"], "--background goes"),
    (["--image", "{bytes}", "--out", "{tmp}/x.nii.gz", "--background", "-3"], "from 0 to 255"),
    ([], "nothing to do"),
    (["--image", "{moving}"], "--out goes with"),
    (["--out", "{tmp}/x.nii.gz"], "nothing to do"),
    (["--image", "{moving}", "--out", "{moving}"], "read or written already"),
    (["--image", "{moving}", "--out", "{field}"], "read or written already"),
    (["--image", "{moving}", "--out", "{tmp}/a.nii.gz", "--field", "{tmp}/a.nii.gz"], "already"),
    (
        ["--image", "{moving}", "--out", "{tmp}/a.nii.gz", "--reference", "{tmp}/a.nii.gz"],
        "already",
    ),
    (["--image", "{moving}", "--out", "{tmp}/a.nii.gz", "--field", "{tmp}/b.img"], "cannot write"),
    (["--image", "{moving}", "--out", "{tmp}/x.mhd"], "expected .nii.gz, .nii, .mha, .nrrd"),
    (["--image", "{moving}", "--out", "{tmp}/no/x.nii.gz"], "no such folder"),
    (["--image", "{moving}", "--out", "{tmp}"], "is a folder"),
    (["--image", "{moving}", "--out", "{tmp}/x.docx"], "cannot write"),
    (["--image", "{tmp}/none.nii.gz", "--out", "{tmp}/x.nii.gz"], "no such file"),
    (["--image", "{field}", "--out", "{tmp}/x.nii.gz"], "3 values per voxel"),
    (["--labels", "{tmp}/float.nii.gz", "--out", "{tmp}/x.nii.gz"], "whole-number label ids"),
    (["--points", "{moving}", "--out", "{tmp}/x.csv"], "not a file of points"),
    (["--image", "{moving}", "--out", "{tmp}/x.nii.gz", "--status", "{tmp}/s.nii.gz"], "--inverse"),
    (
        ["--points", "{tmp}/p.csv", "--out", "{tmp}/x.csv", "--field", "{tmp}/f.nii.gz"],
        "for images",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), FAULTS)
def test_faults_are_one_line_and_leave_nothing(study, tmp_path, capsys, arguments, message):
    sitk.WriteImage(sitk.Image([8, 8], sitk.sitkFloat32), str(tmp_path / "flat.nii.gz"))
    sitk.WriteImage(blob() * 0.37, str(tmp_path / "float.nii.gz"))
    sitk.WriteImage(sitk.Cast(blob(), sitk.sitkUInt8), str(tmp_path / "bytes.nii.gz"))
    write_csv(tmp_path / "p.csv", [[0, 0, 0]])
    before = sorted(tmp_path.iterdir())
    names = {
        "moving": study / "moving.nii.gz",
        "field": study / "result" / "displacement.nii.gz",
        "bytes": tmp_path / "bytes.nii.gz",
        "tmp": tmp_path,
    }
    assert apply(study, *[argument.format(**names) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_all_outputs_or_none(study, tmp_path, monkeypatch):
    """The second of two files cannot be written: the first does not appear either."""
    usage = shutil.disk_usage(tmp_path)
    left = iter([usage.free, 1000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(left)))
    command = ["--image", study / "moving.nii.gz", "--out", tmp_path / "a.nii.gz"]
    assert apply(study, *command, "--field", tmp_path / "b.nii.gz") == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "transform",
    [
        "none",
        "model",
        "moving.nii.gz",
        "cut.nii.gz",
        "nan.mha",
        "nan.nii.gz",
        "nan64.nii.gz",
        "result/transform.h5",
    ],
)
def test_transforms_that_are_none(study, tmp_path, capsys, transform):
    whole = (study / "result" / "displacement.nii.gz").read_bytes()
    (study / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    holes = np.zeros((8, 8, 8, 3), np.float32)
    holes[5, 3, 2, 1] = np.nan
    for suffix in ("mha", "nii.gz"):
        image = sitk.GetImageFromArray(holes, isVector=True)
        sitk.WriteImage(image, str(study / f"nan.{suffix}"))
    image = sitk.Cast(image, sitk.sitkVectorFloat64)
    sitk.WriteImage(image, str(study / "nan64.nii.gz"))
    command = ["--image", study / "moving.nii.gz", "--out", tmp_path / "x.nii.gz"]
    assert apply(study, *command, transform=transform) == 2
    expected = {
        "none": "no such file",
        "model": "has no displacement.nii.gz",
        "moving.nii.gz": "expected one 3D displacement field",
        "cut.nii.gz": "cut off or damaged",
        "nan.mha": "NaN or infinite displacements",
        "nan.nii.gz": "NaN or infinite displacements",
        "nan64.nii.gz": "NaN or infinite displacements",
        "result/transform.h5": "needs --reference",
    }
    assert expected[transform] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_files_of_another_kind_or_scan_are_warned_of(study, tmp_path, capsys):
    out = ("--out", tmp_path / "a.nii.gz")
    assert apply(study, "--image", study / "moving_labels.nii.gz", *out) == 0
    assert "moving_labels.nii.gz looks like a label map" in capsys.readouterr().err
    image = sitk.ReadImage(str(study / "moving.nii.gz"))
    image.SetOrigin((900.0, 0.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / "far.nii.gz"))
    assert apply(study, "--image", tmp_path / "far.nii.gz", *out) == 0
    assert "nothing of" in capsys.readouterr().err
