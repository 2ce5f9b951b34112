"""One moving scan in every kind of file: the same result, a warning, or an error, never silence."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import RecursiveCascade
from rcn_tf.commands.main import main
from rcn_tf.models.folder import save_model
from tests.registration.test_pair import blob, blob_labels

nibabel = pytest.importorskip("nibabel")

SPACING = (1.5, 2.0, 2.5)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(autouse=True, scope="module")
def no_pictures():
    """Pictures take most of the time, and show nothing that is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rcn_tf.registration.report.write_report", lambda *_: None)
        patch.setattr("rcn_tf.registration.report.figures.make_views", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a fixed scan, a moving one in LAS axes, and the plain result."""
    folder = tmp_path_factory.mktemp("orientation")
    network = RecursiveCascade("tests.known_networks:gentle_waves", 1, (32, 32, 32))
    save_model(network, folder / "model")
    sitk.WriteImage(blob(), str(folder / "fixed.nii.gz"))
    for name, image in moving().items():
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    assert register(folder, "moving.nii.gz", "moving_labels.nii.gz", folder / "plain") == 0
    return folder


def moving():
    images = {"moving": sitk.Cast(blob() + 3, sitk.sitkInt16), "moving_labels": blob_labels()}
    images = {name: sitk.DICOMOrient(image, "LAS") for name, image in images.items()}
    for image in images.values():
        image.SetSpacing(SPACING)
        image.SetOrigin((-20, 25, -30))
        image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    return images


def register(folder, image, labels, out, *more):
    words = ["register", "--model", folder / "model", "--fixed", folder / "fixed.nii.gz"]
    words += ["--moving", folder / image, "--out", out, *more]
    words += ["--start", "boxes", "--refine", 0, "--force"]  # the waves improve nothing
    words += ["--moving-labels", folder / labels] if labels else []
    return main([str(word) for word in words])


def assert_as_plain(study, out):
    for name, off in (("warped_labels", 0), ("warped", 0.01)):
        expected, found = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}.nii.gz")))
            for folder in (study / "plain", out)
        )
        assert np.mean(np.abs(found - expected) > off) < 1e-3


def warnings_of(capsys):
    """Those about files, which name their paths."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("rcn register: warning: /")]


def save_analyze(folder):
    for name, image in moving().items():
        array = sitk.GetArrayFromImage(image).T
        nibabel.AnalyzeImage(array, np.diag([*SPACING, 1])).to_filename(folder / f"{name}.img")


@pytest.mark.slow
def test_analyze(study, tmp_path, capsys):
    save_analyze(study)
    assert register(study, "moving.img", "moving_labels.img", tmp_path / "assumed") == 0
    texts = warnings_of(capsys)
    assert len(texts) == 2
    for text, name in zip(texts, ("moving.img", "moving_labels.img")):
        assert f"{name} is an Analyze file" in text
        assert "LAS (x grows to the left, y to the front" in text
        assert "--moving-orientation" in text
    assert_as_plain(study, tmp_path / "assumed")

    told = ("--moving-orientation", "las")
    assert register(study, "moving.img", "moving_labels.img", tmp_path / "told", *told) == 0
    assert not warnings_of(capsys)
    assert_as_plain(study, tmp_path / "told")
    settings = json.loads((tmp_path / "told" / "metrics.json").read_text())["settings"]
    assert settings["moving_orientation"] == "las"

    # Another one is believed as well: the body is then upside down and back to front.
    other = ("--moving-orientation", "LPI")
    assert register(study, "moving.img", "moving_labels.img", tmp_path / "other", *other) == 0
    found, expected = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "warped.nii.gz")))
        for folder in (tmp_path / "other", study / "plain")
    )
    assert np.mean(np.abs(found - expected) > 5) > 0.1


def test_minc(study, tmp_path, capsys):
    """The file's own numbers are RAS, as MINC's are; ITK writes its own as they stand."""
    for name, image in moving().items():
        image = sitk.DICOMOrient(image, "RAS")
        direction = LPS[:3, :3] @ np.reshape(image.GetDirection(), (3, 3))
        image.SetOrigin((LPS[:3, :3] @ image.GetOrigin()).tolist())
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(study / f"{name}.mnc"))
    assert register(study, "moving.mnc", "moving_labels.mnc", tmp_path / "out") == 0
    assert not warnings_of(capsys)
    assert_as_plain(study, tmp_path / "out")


def save_nifti(folder, name, change, qform=False):
    """Copies of the moving scan and labels with a sform that was changed, affine to affine."""
    for kind in ("moving", "moving_labels"):
        image = nibabel.load(folder / f"{kind}.nii.gz")
        array, affine = np.asanyarray(image.dataobj), image.affine
        copy = nibabel.Nifti1Image(array, affine)
        copy.set_sform(change(affine), 1)
        copy.set_qform(affine, int(qform))
        copy.to_filename(folder / f"{name}_{kind}.nii.gz")


def turned(affine):
    a, b = 0.2, -0.1
    turn = np.eye(4)
    turn[:3, :3] = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn[1:3, 1:3] = turn[1:3, 1:3] @ [[np.cos(b), -np.sin(b)], [np.sin(b), np.cos(b)]]
    turn[:3, :3] = np.linalg.qr(turn[:3, :3])[0]
    return turn @ affine


def test_a_rounded_matrix(study, tmp_path):
    save_nifti(study, "exact", turned)
    save_nifti(study, "rounded", lambda affine: np.round(turned(affine), 2))
    for name in ("exact", "rounded"):
        files = f"{name}_moving.nii.gz", f"{name}_moving_labels.nii.gz"
        assert register(study, *files, tmp_path / name) == 0
    exact, rounded = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "warped_labels.nii.gz")))
        for name in ("exact", "rounded")
    )
    assert np.mean(exact != rounded) < 5e-3


def test_a_tilted_gantry(study, tmp_path, capsys):
    def tilt(affine):
        shear = np.eye(4)
        shear[1, 2] = np.tan(np.deg2rad(15))
        return shear @ affine

    save_nifti(study, "tilted", tilt, qform=True)
    assert register(study, "tilted_moving.nii.gz", None, tmp_path / "out") == 2
    errors = [k for k in capsys.readouterr().err.splitlines() if "error" in k]
    assert len(errors) == 1
    assert "tilted_moving.nii.gz is sheared: the axes of its sform are up to 15.0" in errors[0]
    assert "--moving-orientation CODE" in errors[0]
    assert not (tmp_path / "out").exists()
    files = "tilted_moving.nii.gz", "tilted_moving_labels.nii.gz"
    assert register(study, *files, tmp_path / "out", "--moving-orientation", "LAS") == 0
    assert_as_plain(study, tmp_path / "out")


def test_a_contradiction(study, tmp_path, capsys):
    save_nifti(study, "mirrored", lambda affine: np.diag([-1, 1, 1, 1]) @ affine, qform=True)
    files = "mirrored_moving.nii.gz", "mirrored_moving_labels.nii.gz"
    assert register(study, *files, tmp_path / "out") == 0
    texts = warnings_of(capsys)
    assert len(texts) == 2
    assert "contradicts itself: the sform (code 1, axes RAS) and the qform (code 1" in texts[0]


def test_frames(study, tmp_path, capsys):
    image = nibabel.load(study / "moving.nii.gz")
    array = np.asanyarray(image.dataobj)
    frames = np.stack([array // 4, array, array // 2], axis=-1)
    nibabel.Nifti1Image(frames, image.affine).to_filename(study / "frames.nii.gz")
    labels = "moving_labels.nii.gz"
    assert register(study, "frames.nii.gz", labels, tmp_path / "out") == 2
    message = "is 4D with 3 frames; expected 3D: of the fixed and the moving image"
    assert message in capsys.readouterr().err
    assert register(study, "frames.nii.gz", labels, tmp_path / "out", "--moving-frame", "1") == 0
    assert "reading fixed.nii.gz and frame 1 of frames.nii.gz" in capsys.readouterr().err
    assert_as_plain(study, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "metrics.json").read_text())["settings"]
    assert settings["moving_frame"] == "1"
    assert register(study, "frames.nii.gz", labels, tmp_path / "o", "--moving-frame", "3") == 2
    assert "has frames 0 to 2; got frame 3" in capsys.readouterr().err


def test_a_code_that_is_none(study, tmp_path, capsys):
    wrong = ("--fixed-orientation", "XYZ")
    assert register(study, "moving.nii.gz", None, tmp_path / "out", *wrong) == 2
    assert (
        "an orientation is three letters such as LPS or RAS; got 'XYZ'" in capsys.readouterr().err
    )


def test_apply(study, tmp_path, capsys):
    """A transform that was found with an orientation given needs it again."""
    save_analyze(study)
    words = ["apply", "--transform", study / "plain", "--labels", study / "moving_labels.img"]
    # The place in space counts here, so the header's must be the moving scan's.
    words = [str(word) for word in [*words, "--out", tmp_path / "a.nii.gz", "--orientation", "LAS"]]
    assert main(words) == 0
    assert "warning" not in capsys.readouterr().err
    words[-1] = "LAX"
    assert main(words) == 2
    assert "an orientation is three letters" in capsys.readouterr().err
