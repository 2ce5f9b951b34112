"""Files of the version before models had names give the same flows, losses and transforms."""

import gzip
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

import rcn_tf
from rcn_tf.commands.main import main as rcn
from rcn_tf.models.folder import load_with_config
from tests.fixtures.before_the_contract import make
from tests.training.study import losses_of

FOLDER = make.__file__.rpartition("/")[0]
SAME_VERSION = tf.__version__.startswith("2.15")


@pytest.fixture
def files(tmp_path):
    """A copy of the files, which tests may change."""
    return shutil.copytree(FOLDER, tmp_path / "files")


def test_a_folder_without_a_model_is_a_cascade_and_gives_the_same_flow(files):
    model, config = load_with_config(files / "model")
    assert "model" not in config
    assert isinstance(model, rcn_tf.RecursiveCascade)
    out = model(*make.pair(), n_repeats=2)
    expected = np.load(files / "expected.npz")
    atol = 1e-6 if SAME_VERSION else 1e-4
    np.testing.assert_allclose(out.flow[0, ::4, ::4, ::4], expected["flow"], atol=atol)
    np.testing.assert_allclose(out.stages[0].matrix[0], expected["matrix"], atol=atol)
    np.testing.assert_allclose(out.affine[1][0], expected["offset"], atol=atol)


@pytest.mark.slow
def test_a_run_goes_on_with_the_losses_of_an_undisturbed_one(files):
    run = files / "study" / "run"
    words = ["--resume", "--out", run, "--data", files / "study" / "data.json"]
    assert rcn(["train", *map(str, words), "--set", "steps=6"]) == 0
    expected = json.loads((files / "losses.json").read_text())
    rtol = 1e-6 if SAME_VERSION else 1e-4
    np.testing.assert_allclose(losses_of(run), list(expected.values()), rtol=rtol)


def test_the_transform_of_a_result_is_the_field_that_was_written(files):
    """Points moved by the folder's transform, compared with SimpleITK's reading of the field."""
    found = rcn_tf.load_result(files / "result").transform_points
    field = sitk.ReadImage(str(files / "result" / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    reference = sitk.DisplacementFieldTransform(field)
    points = points_of_the_scan()
    expected = [reference.TransformPoint(point) for point in points]
    np.testing.assert_allclose(found(np.array(points)), expected, atol=1e-3)
    affine = sitk.ReadTransform(str(files / "result" / "affine.tfm"))
    moved = np.array([affine.TransformPoint(point) for point in points])
    assert 0.05 < np.linalg.norm(moved - points, axis=1).max() < 30


def test_a_composite_transform_is_read_as_simpleitk_reads_it(files):
    """A result folder of `--fields none` has `transform.h5` alone."""
    path = files / "packed" / "transform.h5"
    path.write_bytes(gzip.decompress(path.with_name("transform.h5.gz").read_bytes()))
    reference = sitk.ReadTransform(str(path))
    points = points_of_the_scan()
    expected = np.array([reference.TransformPoint(point) for point in points])
    assert (np.abs(expected - points).mean(axis=0) > 0.4).all()
    found = rcn_tf.load_result(path.parent).transform_points(np.array(points))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def points_of_the_scan():
    """Points in the fixed scan's inside, LPS, mm."""
    indices = np.random.default_rng(0).uniform(4, 20, size=(20, 3))
    scan = make.scan(20)
    return [scan.TransformContinuousIndexToPhysicalPoint(list(map(float, i))) for i in indices]
