"""Aligned packs: images, labels and landmarks move alike, and the way back is stored."""

import json

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from eval import prealign
from eval.data_folder import DataFolder
from rcn_tf import metrics
from rcn_tf.data.packs import Scan
from tests.eval import study


def transform():
    """x of the moving scan = M x of the reference + t, in ITK's order (x, y, z)."""
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([1.1, 0.1, 0, 0, 0.9, 0, 0.05, 0, 1])
    affine.SetTranslation((1.0, 2.0, -1.0))
    return affine


def test_linear_part_is_in_array_order():
    linear = prealign.linear_part(transform())
    np.testing.assert_allclose(linear @ [1, 0, 0], [1, 0, 0], atol=1e-12)  # z stays
    np.testing.assert_allclose(linear @ [0, 0, 1], [0.05, 0, 1.1], atol=1e-12)  # x


def test_everything_goes_the_same_way():
    volume, labels, points = study.scan((0, 0, 0))
    scan = Scan("a", volume, labels, points, {"spacing": [1, 2, 3], "checksum": "x"})
    aligned = prealign._aligned(scan, transform())
    assert aligned.volume.dtype == np.uint8
    assert "checksum" not in aligned.attributes
    assert (aligned.points[2] == -1).all()
    for before, after in zip(points[:2], aligned.points):
        there = transform().TransformPoint([float(x) for x in after[::-1]])[::-1]
        np.testing.assert_allclose(there, before, atol=1e-4)
    centre = np.argwhere(aligned.segmentation == 1).mean(axis=0)
    there = transform().TransformPoint([float(x) for x in centre[::-1]])[::-1]
    np.testing.assert_allclose(there, np.argwhere(labels == 1).mean(axis=0), atol=0.3)


@pytest.mark.slow
def test_a_pack_is_aligned(tmp_path):
    pytest.importorskip("ants")
    data = study.write_data(tmp_path, studies=("brain",))
    prealign.align(data / "brain.json", "scans/S01", data / "brain_aligned.json")
    assert json.loads((data / "brain_aligned.json").read_text())["atlas"] == "scans/S01"
    task = study.TASK.aligned()
    with DataFolder(data) as folder:
        fixed, moving = folder.scans(task, ("scans/S01", "scans/S02"))
    # ANTs samples its metric at random, and its threads change the result from run to run.
    assert np.mean(metrics.dice(fixed.segmentation, moving.segmentation)) > 0.75
    assert np.nanmax(metrics.landmark_distance(None, fixed.points, moving.points)) < 1
    np.testing.assert_allclose(moving.attributes["alignment"], np.eye(3), atol=0.1)
    with h5py.File(data / "brain_aligned_scans.h5") as file:
        assert sorted(file) == list(study.SHIFTS)


@pytest.mark.parametrize(
    ("config", "reference", "message"),
    [
        ("nowhere.json", "scans/S01", "nowhere.json does not exist"),
        ("brain.json", "x/S01", "x/S01"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, config, reference, message):
    study.write_data(tmp_path)
    arguments = [
        str(tmp_path / config),
        "--reference",
        reference,
        "--out",
        str(tmp_path / "o.json"),
    ]
    assert prealign.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
