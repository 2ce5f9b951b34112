"""`rcn register` end to end with a small real network, and one line for every fault."""

import csv
import functools
import json
import pathlib

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import RecursiveCascade
from rcn_tf.commands.main import main
from rcn_tf.models.folder import DEFAULT_MODEL, save_model
from tests.registration.test_pair import blob, blob_labels, far, write_pair
from tests.scans_for_tests import textured, with_other_axes

FILES = {
    "affine.tfm",
    "transform.h5",
    "displacement.nii.gz",
    "inverse_displacement.nii.gz",
    "metrics.csv",
    "metrics.json",
    "overview.png",
    "report.html",
    "warped.nii.gz",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a fixed pair, a turned moving pair and a model that moves voxels."""
    folder = tmp_path_factory.mktemp("register")
    write_pair(folder)
    save_model(small_network(), folder / "model", preprocessing={"margin": 0.05})
    return folder


def small_network():
    return RecursiveCascade(
        n_cascades=1, volume_shape=(32, 32, 32), channels=2, affine_channels=2, init="original"
    )


def register(inputs, out, *more, fixed="fixed.nii.gz", moving="moving.nii.gz"):
    return main(
        [
            "register",
            "--fixed",
            str(inputs / fixed),
            "--moving",
            str(inputs / moving),
            "--model",
            str(inputs / "model"),
            "--out",
            str(out),
            *(() if "--refine" in more else ("--refine", "0")),
            *map(str, more),
        ]
    )


@pytest.mark.slow
def test_end_to_end(inputs, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    labels = [
        "--fixed-labels",
        inputs / "fixed_labels.nii.gz",
        "--moving-labels",
        inputs / "moving_labels.nii.gz",
    ]
    assert register(inputs, out, *labels) == 0
    assert {path.name for path in out.iterdir()} == FILES | {"warped_labels.nii.gz"}
    shown = capsys.readouterr()
    assert "by header  boxes aligned        written" in shown.out  # the boxes fit already
    assert "by header: the moving image where its file puts it" in shown.out
    assert "mean of 3 structures" in shown.out
    assert "Dice and Jaccard measure" in shown.out
    assert "3D Slicer" in shown.out
    assert all(name in shown.out for name in FILES)
    steps = [line for line in shown.err.splitlines() if line.startswith("rcn: ")]
    assert "rcn: writing displacement.nii.gz ..." in steps
    warned = shown.err.splitlines()[len(steps) :]
    assert all(line.startswith("rcn register: warning: ") for line in warned)
    assert "warning" not in shown.out

    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["settings"]["network_grid"] == "32 x 32 x 32"
    assert metrics["settings"]["fixed_image"] == "fixed.nii.gz"
    for name in ("metrics.json", "report.html", "metrics.csv"):  # of paths nothing is repeated
        assert str(inputs) not in (out / name).read_text(encoding="utf-8")
    assert {"read", "write"} < set(metrics["seconds"])
    assert metrics["warnings"] == [line.split(": ", 2)[2] for line in warned]
    assert metrics["peak_memory_mb"] > 50
    assert set(metrics["dice"]["structures"]) == {"2", "17", "300"}
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["after"]) == pytest.approx(metrics["correlation"]["after"])

    # What was written is what SimpleITK makes of the field, to 1e-4 of 130 grey levels.
    fixed, moving = (sitk.ReadImage(str(inputs / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    field = sitk.ReadImage(str(out / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    assert np.abs(sitk.GetArrayViewFromImage(field)).max() > 1
    transform = sitk.DisplacementFieldTransform(field)
    expected = sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 3.0)
    warped = sitk.ReadImage(str(out / "warped.nii.gz"))
    assert warped.GetDirection() == fixed.GetDirection()
    assert warped.GetOrigin() == fixed.GetOrigin()
    assert warped.GetSpacing() == fixed.GetSpacing()
    difference = np.abs(sitk.GetArrayFromImage(warped) - sitk.GetArrayFromImage(expected))
    assert difference.max() < 1e-4

    # A later run without labels leaves no labels of the earlier one.
    assert f"results in {out}:" in shown.out
    assert register(inputs, out, "--repeats", 2) == 0
    assert f"results in {out}, in place of an earlier result:" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.nightly
def test_fields_can_be_declined(inputs, tmp_path, capsys):
    assert register(inputs, tmp_path / "all") == 0
    assert register(inputs, tmp_path / "out", "--no-inverse") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == FILES - {"inverse_displacement.nii.gz"}
    assert "inverse_displacement" not in capsys.readouterr().out.split("results in")[-1]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert "inverse_error_mm" not in metrics
    assert "inverse" not in metrics["seconds"]
    with (tmp_path / "out/metrics.csv").open(newline="") as file:
        assert not [row for row in csv.DictReader(file) if "inverse" in row["metric"]]

    # Into the same folder: the fields of the run before do not stay beside the new transform.
    assert register(inputs, tmp_path / "out", "--fields", "none") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == FILES - {"inverse_displacement.nii.gz", "displacement.nii.gz"}
    expected, found = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "warped.nii.gz")))
        for name in ("all", "out")
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.nightly
def test_refined_and_diffeomorphic(inputs, tmp_path, capsys):
    assert register(inputs, tmp_path / "plain", "--force") == 0
    assert register(inputs, tmp_path / "out", "--refine", 20, "--diffeomorphic", "--force") == 0
    assert "in 20 steps" in capsys.readouterr().out
    plain, metrics = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("plain", "out")
    )
    gain = metrics["refinement"]
    assert gain["steps"] == 20
    assert gain["loss_after"] < gain["loss_before"]
    assert metrics["correlation"]["after"] > plain["correlation"]["after"]
    assert metrics["seconds"]["refine"] > 0
    assert metrics["settings"]["diffeomorphic"] == "True"
    assert register(inputs, tmp_path / "none", "--refine", -1) == 2
    assert "--refine must be at least 0" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.nightly
def test_a_result_worse_than_its_start_is_not_written_without_force(inputs, tmp_path, capsys):
    """The model has random weights: of two different scans it makes a worse pair."""
    scans = []
    for seed in (0, 1):
        scans.append(tmp_path / f"scan_{seed}.nii.gz")
        sitk.WriteImage(textured(seed), str(scans[-1]))
    run = functools.partial(register, inputs, fixed=scans[0], moving=scans[1])

    assert run(tmp_path / "kept") == 3
    shown = capsys.readouterr().err.splitlines()
    assert any("warning: the registration failed: the result fits worse" in line for line in shown)
    metrics = json.loads((tmp_path / "kept" / "metrics.json").read_text())
    assert (metrics["fallback"], metrics["failed"]) == (True, True)
    assert metrics["displacement_mm"]["max"] == 0
    starts = [metrics["agreement"][stage] for stage in ("before", "initial")]
    assert metrics["agreement"]["after"] == max(starts)

    assert run(tmp_path / "forced", "--force") == 0
    assert "as --force says" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "forced" / "metrics.json").read_text())
    assert (metrics["fallback"], metrics["failed"]) == (False, False)
    assert metrics["displacement_mm"]["mean"] > 0.1  # the network's own result, not the start


@pytest.mark.slow
def test_a_scan_to_itself_stays_where_it_is(inputs, tmp_path, capsys):
    assert register(inputs, tmp_path / "out", moving="fixed.nii.gz") == 0
    assert "warning: the images are aligned already" in capsys.readouterr().err
    field = sitk.ReadImage(str(tmp_path / "out" / "displacement.nii.gz"))
    assert np.abs(sitk.GetArrayViewFromImage(field)).max() < 1e-3


@pytest.mark.nightly
def test_where_to_start_can_be_said(inputs, tmp_path):
    for start in ("header", "boxes"):
        assert register(inputs, tmp_path / start, "--start", start, "--force") == 0
        metrics = json.loads((tmp_path / start / "metrics.json").read_text())
        assert metrics["start"] == start


@pytest.mark.slow
def test_a_wrong_orientation_is_named_with_the_way_out(inputs, tmp_path, capsys):
    image = textured()
    for name, scan in (("right", image), ("wrong", with_other_axes(image, (0, 1, 2), (1, -1, 1)))):
        sitk.WriteImage(scan, str(tmp_path / f"{name}.nii.gz"))
    pair = {"fixed": tmp_path / "right.nii.gz", "moving": tmp_path / "wrong.nii.gz"}
    assert register(inputs, tmp_path / "out", **pair) in (0, 3)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "orientation" in line)
    assert "by its header the moving image's axes point to LPS" in line
    assert "with its y axis reversed" in line
    assert "--moving-orientation LAS" in line
    assert "--fixed-orientation LAS" in line


@pytest.mark.slow
@pytest.mark.skipif(not DEFAULT_MODEL.is_dir(), reason="the default model is not built yet")
def test_default_model(inputs, tmp_path):
    arguments = ["--fixed", inputs / "fixed.nii.gz", "--moving", inputs / "moving.nii.gz"]
    arguments += ["--out", tmp_path / "out"]
    assert main(["register", *map(str, arguments)]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def spoilt(name, folder):
    """Arguments that replace good ones, and what the error must say."""
    image, path = blob(), folder / f"{name}.nrrd"
    if name == "missing":
        return {"fixed": path}, "missing.nrrd"
    if name == "unreadable":
        path.write_text("not an image")
        return {"moving": path}, "cannot read"
    made, argument, message = {
        "flat": (image[:, :, 3], "fixed", "is a single slice, but the model registers volumes"),
        "frames": (sitk.JoinSeries([image, image]), "moving", "4D"),
        "empty": (image * 0, "moving", "the moving image is empty"),
        "beside": (far(blob_labels()), "fixed-mask", "no voxel of the mask of the fixed image"),
        "nan": (image / 0, "fixed", "the fixed image is empty: no voxel is a finite"),
        "fractions": (image * 0.3, "moving-labels", "whole-number"),
        "nothing": (blob_labels() * 0, "fixed-mask", "mask of the fixed image is empty"),
        "alone": (blob_labels(), "fixed-labels", "needs --moving-labels"),
    }[name]
    sitk.WriteImage(made, str(path))
    return {argument: path}, message


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "unreadable",
        "flat",
        "frames",
        "empty",
        "nan",
        "beside",
        "fractions",
        "nothing",
        "alone",
    ],
)
def test_bad_images_give_one_line_and_no_output(name, inputs, tmp_path, capsys):
    changed, message = spoilt(name, tmp_path)
    arguments = {"fixed": inputs / "fixed.nii.gz", "moving": inputs / "fixed.nii.gz", **changed}
    arguments = {**arguments, "model": inputs / "model", "out": tmp_path / "out"}
    flat = [str(part) for name, value in arguments.items() for part in (f"--{name}", value)]
    assert_one_line(["register", *flat], message, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_background_and_what_was_assumed_of_it(inputs, tmp_path, capsys):
    image = blob()
    image[12, 10, 9] = float("nan")
    sitk.WriteImage(image, str(tmp_path / "hole.nrrd"))
    sitk.WriteImage(blob()[:, :, 9:], str(tmp_path / "cut.nrrd"))
    pair = {"fixed": tmp_path / "hole.nrrd", "moving": tmp_path / "cut.nrrd"}
    more = ("--background", "-50", "--force")
    assert register(inputs, tmp_path / "out", *more, **pair) == 0
    error = capsys.readouterr().err
    assert "warning: the fixed image: 1 NaN or infinite voxels inside the image count as" in error
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "warped.nii.gz")))
    assert np.isfinite(warped).all()
    assert warped.min() == -50
    with pytest.raises(SystemExit):
        register(inputs, tmp_path / "no", "--background", "nan")
    assert "--background: expected a finite number; got nan" in capsys.readouterr().err


def test_bad_folders_and_settings(inputs, tmp_path, capsys):
    good = ["--fixed", inputs / "fixed.nii.gz", "--moving", inputs / "moving.nii.gz"]
    file = tmp_path / "file"
    file.write_text("x")
    for more, message in [
        (["--out", file], "is a file; expected a folder"),
        (["--out", file / "below"], "file"),
        (["--out", tmp_path / "out", "--model", tmp_path / "absent"], "absent"),
        (["--out", tmp_path / "out", "--model", tmp_path], "config.json"),
        (["--out", tmp_path / "out", "--repeats", 0], "--repeats must be at least 1"),
    ]:
        assert_one_line(["register", *map(str, [*good, *more])], message, capsys)
    assert file.read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_that_cannot_be_written(inputs, tmp_path, capsys, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    arguments = ["--fixed", inputs / "fixed.nii.gz", "--moving", inputs / "moving.nii.gz"]
    arguments = ["register", *map(str, [*arguments, "--out", tmp_path / "out"])]
    assert_one_line(arguments, "Permission denied", capsys)


def test_failure_while_writing_keeps_the_earlier_results(inputs, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "warped.nii.gz").write_text("earlier")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("rcn_tf.registration.report.write_report", fail)
    assert register(inputs, out) == 2
    assert "disk full" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["warped.nii.gz"]
    assert (out / "warped.nii.gz").read_text() == "earlier"


def assert_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    # Steps are announced on standard error too, as "rcn: ... ...".
    errors = [line for line in shown.err.splitlines() if not line.startswith("rcn: ")]
    assert len(errors) == 1, shown.err
    assert errors[0].startswith("rcn register: error: ")
    assert message in errors[0]
    assert shown.out == ""


@pytest.mark.nightly
@pytest.mark.shared_data
@pytest.mark.skipif(not DEFAULT_MODEL.is_dir(), reason="the default model is not built yet")
@pytest.mark.parametrize(
    ("fixed", "moving"),
    [("mni152_t1", "colin27_t1_brain"), ("colin27_t1_brain", "subject_a_t1")],
)
def test_real_brains(shared_data, tmp_path, fixed, moving):
    paths = [shared_data / "brain" / f"{name}.nii.gz" for name in (fixed, moving)]
    arguments = ["--fixed", paths[0], "--moving", paths[1], "--out", tmp_path]
    assert main(["register", *map(str, arguments)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    similarity = metrics["correlation"]
    assert similarity["after"] > max(similarity["before"], similarity["initial"]) + 0.01
    assert metrics["folding_percent"] < 1

    field = sitk.ReadImage(str(tmp_path / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    expected = sitk.Resample(
        sitk.Cast(sitk.ReadImage(str(paths[1])), sitk.sitkFloat64),
        sitk.ReadImage(str(paths[0])),
        sitk.DisplacementFieldTransform(field),
        sitk.sitkLinear,
        0.0,
    )
    # Both scans are 8-bit: warped values are rounded, so at most half a grey level apart.
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "warped.nii.gz")))
    difference = np.abs(warped - sitk.GetArrayFromImage(expected))
    assert difference.max() < 0.5 + 1e-4
