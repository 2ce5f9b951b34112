"""`rcn register` with DICOM input and output, and its one-line errors."""

import contextlib
import io
import json
import zipfile

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf import RecursiveCascade
from rcn_tf.commands.main import main
from rcn_tf.models.folder import DEFAULT_MODEL, save_model
from rcn_tf.volumes.formats.images import read_image
from tests.commands.test_register import assert_one_line
from tests.dicom_files import CT, IDENTITY, NUMBER, write_series
from tests.dicom_multiframe import multiframe, write
from tests.registration.test_pair import blob
from tests.volumes.test_warping import turned_copy

SERIES = "warped_dicom"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two series, each also as a ZIP archive, and a model that moves voxels."""
    folder = tmp_path_factory.mktemp("dicom")
    fixed = sitk.Cast(blob(), sitk.sitkInt16)
    moving = turned_copy(sitk.DICOMOrient(fixed + 3, "LIA"))[0]
    other = {**CT, "PatientID": "PAT-4712"}
    write_series(folder / "fixed", fixed, changes=CT, uid="1.2.826.1")
    write_series(folder / "moving", moving, changes=CT, uid="1.2.826.2")
    write_series(folder / "stranger", fixed, changes=other)
    sitk.WriteImage(fixed, str(folder / "fixed.nii.gz"))
    with zipfile.ZipFile(folder / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("fixed", "moving"):
            for file in (folder / name).iterdir():
                archive.write(file, f"DICOM/{name}/{file.name}")
    network = RecursiveCascade(
        n_cascades=1, volume_shape=(32, 32, 32), channels=2, affine_channels=2, init="original"
    )
    save_model(network, folder / "model", preprocessing={"margin": 0.05})
    return folder


def arguments(inputs, out, *more, fixed="fixed", moving="moving", model="model"):
    paths = {"fixed": inputs / fixed, "moving": inputs / moving, "out": out}
    if model:
        paths["model"] = inputs / model
    flat = [part for name, path in paths.items() for part in (f"--{name}", path)]
    return ["register", *map(str, [*flat, *more])]


@pytest.fixture(scope="module")
def registered(inputs, tmp_path_factory):
    """(result folder of the two series, with a DICOM series; what was printed)."""
    out, printed = tmp_path_factory.mktemp("registered") / "out", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(arguments(inputs, out, "--dicom")) == 0
    return out, printed.getvalue()


@pytest.mark.slow
def test_series_in_series_out(inputs, registered):
    out, printed = registered
    assert "the same as a DICOM series" in printed
    warped = sitk.ReadImage(str(out / "warped.nii.gz"))
    back = read_image(out / SERIES)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(warped))
    fixed = read_image(inputs / "fixed")
    assert back.GetSize() == fixed.GetSize()
    np.testing.assert_allclose(back.GetOrigin(), fixed.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(back.GetSpacing(), fixed.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(back.GetDirection(), fixed.GetDirection(), atol=1e-6)
    first = pydicom.dcmread(next((out / SERIES).iterdir()))
    assert first.PatientIdentityRemoved == "YES"
    assert IDENTITY["PatientID"] not in str(first)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["dicom_rounding"] == 0


@pytest.mark.nightly
def test_a_later_run(inputs, tmp_path):
    """A later run replaces the series; a run without --dicom removes the earlier one."""
    out = tmp_path / "out"
    assert main(arguments(inputs, out, "--dicom")) == 0
    first = pydicom.dcmread(next((out / SERIES).iterdir()))
    assert main(arguments(inputs, out, "--dicom", "--no-anonymize")) == 0
    kept = pydicom.dcmread(next((out / SERIES).iterdir()))
    assert kept.PatientID == IDENTITY["PatientID"]
    assert kept.FrameOfReferenceUID == IDENTITY["FrameOfReferenceUID"]
    assert kept.SeriesInstanceUID != first.SeriesInstanceUID
    assert main(arguments(inputs, out)) == 0
    assert not (out / SERIES).exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.nightly
def test_both_from_one_archive(inputs, tmp_path):
    """A pair from one archive gives the same result as two separate series."""
    choice = ["--fixed-series", "1.2.826.1", "--moving-series", "1.2.826.2", "--dicom"]
    study = {"fixed": "study.zip", "moving": "study.zip"}
    assert main(arguments(inputs, tmp_path / "zip", *choice, **study)) == 0
    assert main(arguments(inputs, tmp_path / "folders")) == 0
    for place in (tmp_path / "zip" / SERIES, tmp_path / "zip" / "warped.nii.gz"):
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(read_image(place)),
            sitk.GetArrayFromImage(read_image(tmp_path / "folders" / "warped.nii.gz")),
        )


@pytest.mark.slow
def test_multiframe_files(inputs, registered, tmp_path, capsys):
    """Two files, one alone in a folder, give the same result as series of single slices."""
    moving = read_image(inputs / "moving")
    down = range(moving.GetSize()[2] - 1, -1, -1)
    file = write(tmp_path / "moving.dcm", multiframe(moving, down, dtype=np.int16))
    write(tmp_path / "fixed" / "scan", multiframe(read_image(inputs / "fixed"), dtype=np.int16))
    images = {"fixed": tmp_path / "fixed", "moving": file}
    assert main(arguments(inputs, tmp_path / "files", "--dicom", **images)) == 0
    expected = sitk.GetArrayFromImage(read_image(registered[0] / "warped.nii.gz"))
    for place in (tmp_path / "files" / SERIES, tmp_path / "files" / "warped.nii.gz"):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(place)), expected)
    first = pydicom.dcmread(next((tmp_path / "files" / SERIES).iterdir()))
    assert (first.SOPClassUID, first.Modality) == (pydicom.uid.SecondaryCaptureImageStorage, "CT")
    assert NUMBER not in str(first)
    capsys.readouterr()
    write(file, multiframe(moving, [0, 1, 2, 4, 5, 6], dtype=np.int16))
    images = {"moving": file, "model": None}
    assert_one_line(arguments(inputs, tmp_path / "gap", **images), "slices are missing", capsys)
    assert not (tmp_path / "gap").exists()


@pytest.mark.slow
def test_fixed_image_of_another_format(inputs, tmp_path):
    options = ["--dicom", "--no-anonymize"]
    assert main(arguments(inputs, tmp_path, *options, fixed="fixed.nii.gz")) == 0
    (first, *_) = sorted((tmp_path / SERIES).iterdir())
    assert pydicom.dcmread(first).StudyInstanceUID == IDENTITY["StudyInstanceUID"]


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        (
            ["--dicom"],
            {"moving": "fixed.nii.gz"},
            "--dicom needs --moving to be a DICOM file, folder or ZIP archive; got",
        ),
        (["--no-anonymize"], {}, "--no-anonymize only changes what --dicom writes; give both"),
        (
            ["--fixed-series", "1"],
            {"fixed": "fixed.nii.gz"},
            "--fixed-series needs a DICOM file, folder or ZIP archive; got",
        ),
        (["--moving-series", "7"], {}, "moving has no single series '7'; choose one by number"),
        ([], {"moving": "study.zip"}, "study.zip has 2 series; choose one by number or UID: 1: CT"),
        (
            ["--dicom", "--no-anonymize"],
            {"fixed": "stranger"},
            "--dicom is not possible: the fixed and the moving series are of different patients",
        ),
        (["--dicom"], {"moving": "gone.zip"}, "no such file"),
    ],
)
def test_faults_are_found_first(inputs, tmp_path, capsys, monkeypatch, options, images, message):
    monkeypatch.setattr("rcn_tf.registration.pair.register_pair", pytest.fail)
    assert_one_line(arguments(inputs, tmp_path / "out", *options, **images), message, capsys)
    assert not (tmp_path / "out").exists()


def test_without_pydicom(inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    message = "needs pydicom: pip install pydicom"
    assert_one_line(arguments(inputs, tmp_path / "out", "--dicom"), message, capsys)
    assert not (tmp_path / "out").exists()


def test_foreign_files_in_the_place_of_the_series(inputs, tmp_path, capsys):
    (tmp_path / SERIES).mkdir()
    (tmp_path / SERIES / "notes.txt").write_text("mine")
    for options in (["--dicom"], []):
        message = "holds notes.txt, which no earlier run wrote"
        assert_one_line(arguments(inputs, tmp_path, *options), message, capsys)
    assert [path.name for path in tmp_path.rglob("*")] == [SERIES, "notes.txt"]


@pytest.mark.slow
def test_failure_keeps_the_earlier_series(inputs, tmp_path, monkeypatch):
    assert main(arguments(inputs, tmp_path, "--dicom")) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("rcn_tf.registration.report.write_report", fail)
    assert main(arguments(inputs, tmp_path, "--dicom")) == 2
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.skipif(not DEFAULT_MODEL.is_dir(), reason="the default model is not built yet")
@pytest.mark.slow
def test_default_model(inputs, tmp_path):
    assert main(arguments(inputs, tmp_path, "--dicom", model=None)) == 0
    assert read_image(tmp_path / SERIES).GetSize() == read_image(inputs / "fixed").GetSize()
