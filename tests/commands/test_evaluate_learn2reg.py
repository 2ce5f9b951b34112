"""`rcn evaluate` on a dataset of Learn2Reg, against the displacement that `rcn register` writes."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from rcn_tf import RecursiveCascade
from rcn_tf.commands.evaluate_learn2reg import _points
from rcn_tf.commands.main import main
from rcn_tf.errors import InputWarning
from rcn_tf.models.folder import save_model
from tests.registration.test_pair import blob, blob_labels


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A dataset of one pair on one grid, with labels and keypoints, and a model."""
    folder = tmp_path_factory.mktemp("learn2reg")
    for name in ("imagesTr", "labelsTr", "keypointsTr"):
        (folder / name).mkdir()
    shift = sitk.TranslationTransform(3, (3.0, -2.0, 2.0))
    pair = []
    for number in (1, 2):
        name = f"T_{number:04d}_0000"
        image, labels = blob(), blob_labels()
        if number == 2:
            image = sitk.Resample(image, image, shift, sitk.sitkLinear)
            labels = sitk.Resample(labels, labels, shift, sitk.sitkNearestNeighbor)
        sitk.WriteImage(image, str(folder / "imagesTr" / f"{name}.nii.gz"))
        sitk.WriteImage(labels, str(folder / "labelsTr" / f"{name}.nii.gz"))
        points = np.random.default_rng(1).uniform(6, 12, (9, 3)) - (number - 1)
        np.savetxt(folder / "keypointsTr" / f"{name}.csv", points, delimiter=",")
        pair.append(f"./imagesTr/{name}.nii.gz")
    content = {
        "name": "T",
        "labels": {"0": "background", "2": "front", "17": "middle", "5": "nowhere"},
        "training": [{"image": pair[0]}],
        "registration_val": [{"fixed": pair[0], "moving": pair[1]}],
    }
    (folder / "T_dataset.json").write_text(json.dumps(content))
    network = RecursiveCascade("tests.known_networks:gentle_waves", 1, (32, 32, 32))
    save_model(network, folder / "model")
    return folder


def evaluate(study, out, *more):
    words = [study / "model", "--data", study / "T_dataset.json", "--out", out, *more]
    return main(["evaluate", *map(str, words)])


@pytest.mark.slow
def test_scores_are_those_of_the_challenge(study, tmp_path, capsys):
    assert evaluate(study, tmp_path, "--subset", "registration_val", "--hd95") == 0
    shown = capsys.readouterr().out
    assert "registration_val: mean (std) across 1 pair" in shown
    assert "SDlogJ" in shown and "Dice" in shown
    folder = tmp_path / "registration_val"
    rows = pd.read_csv(folder / "pairs.csv").set_index("stage")
    assert list(rows.index) == ["before", "registered"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["pairs"] == 1 and summary["stages"][1]["stage"] == "registered"

    # The same from the files: the displacement of `rcn register` and nibabel's arrays.
    files = [study / "imagesTr" / f"T_000{k}_0000.nii.gz" for k in (1, 2)]
    command = ["register", "--fixed", files[0], "--moving", files[1], "--model", study / "model"]
    command += ["--refine", "0", "--no-inverse", "--learn2reg", "--out", tmp_path / "result"]
    assert main([str(part) for part in command]) in (0, 3)
    disp = nibabel.load(tmp_path / "result" / "learn2reg.nii.gz").get_fdata()
    fixed, moving = (
        nibabel.load(str(path).replace("images", "labels")).get_fdata() for path in files
    )
    points = [
        np.loadtxt(study / "keypointsTr" / f"{p.name[:-7]}.csv", delimiter=",") for p in files
    ]
    for stage, d in (("before", 0 * disp), ("registered", disp)):
        identity = np.indices(fixed.shape)
        warped = map_coordinates(moving, identity + d.transpose(3, 0, 1, 2), order=0)
        dice = [
            2 * ((fixed == k) & (warped == k)).sum() / ((fixed == k).sum() + (warped == k).sum())
            for k in (2, 17)
        ]
        assert rows.loc[stage, "dice"] == pytest.approx(np.mean(dice), abs=1e-6)
        assert rows.loc[stage, "dice:front"] == pytest.approx(dice[0], abs=1e-6)
        moved = points[0] + np.array([map_coordinates(d[..., c], points[0].T) for c in range(3)]).T
        error = (moved - points[1]) * nibabel.load(files[1]).header.get_zooms()
        expected = np.linalg.norm(error, axis=1).mean()
        assert rows.loc[stage, "landmark_mm"] == pytest.approx(expected, abs=1e-4)
    assert rows.loc["before", "dice"] < 1
    assert rows.loc["before", "hd95_mm"] > 0


FAULTS = [
    (["--scheme", "1"], "has no schemes"),
    (["--subset", "registration_test"], "lists no pairs under 'registration_test'"),
    (["--subset", "registration_val", "--paired"], "--paired is for dataset configs"),
    (["--subset", "registration_val", "--overlap", "original"], "leave out --overlap"),
    (["--subset", "registration_val", "--limit", "0"], "--limit must be at least 1"),
]


@pytest.mark.parametrize(("more", "message"), FAULTS)
def test_faults_are_one_line(study, tmp_path, capsys, more, message):
    assert evaluate(study, tmp_path, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def tables(folder, *contents):
    """Files with these lines, of points in the fixed and the moving image."""
    files = [folder / f"{name}.csv" for name in ("fixed", "moving")]
    for file, content in zip(files, contents):
        file.write_text(content)
    return files


def test_different_numbers_of_points_are_left_out_with_a_warning(tmp_path):
    files = tables(tmp_path, "1,2,3\n4,5,6\n", "1,2,3\n")
    with pytest.warns(InputWarning, match="have 2 and 1 points: they are left out"):
        assert _points(files, (8, 8, 8)) is None


def test_points_outside_the_fixed_image_are_warned_of(tmp_path):
    files = tables(tmp_path, "1,2,3\n4,7.5,6\n0,7,0\n", "1,2,3\n4,5,6\n-9,0,0\n")
    with pytest.warns(InputWarning, match=r"fixed.csv has 1 point outside the fixed image"):
        fixed, moving = _points(files, (8, 8, 8))
    assert fixed.shape == moving.shape == (3, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n", "has 2 numbers a line; expected x, y, z"),
        ("x,y,z\n", "is no table of three numbers a line"),
        ("1,nan,2\n", "has numbers that are not finite"),
    ],
)
def test_tables_that_are_no_points(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        _points(tables(tmp_path, "1,2,3\n", content), (8, 8, 8))
