"""The small models from files to files; NumPy computes the values, SimpleITK reads them back."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import rcn_tf
from custom_ops import compose
from rcn_tf.commands.main import main as rcn
from rcn_tf.data.packs import Scan
from rcn_tf.evaluation import evaluate
from rcn_tf.models.folder import count_parameters, save_model, stored_parameters
from tests.contract.small_models import PlanarShift, ThreeAffineSteps

SHAPE = (16, 20, 18)
STEPS = (  # A and b of each step, voxels from the centre
    ([[0.04, 0.02, 0.0], [-0.03, 0.0, 0.05], [0.0, 0.01, -0.02]], [0.5, -0.25, 0.3]),
    ([[0.0, -0.05, 0.02], [0.03, 0.02, 0.0], [0.01, 0.0, 0.03]], [-0.4, 0.6, 0.1]),
    ([[-0.02, 0.0, 0.03], [0.0, 0.04, -0.01], [0.02, 0.03, 0.0]], [0.2, 0.1, -0.7]),
)
UPDATE = np.array([0.6, -0.8, 0.35])


@pytest.fixture(scope="module")
def affine_model():
    """Three known affine steps and a constant additive update."""
    model = ThreeAffineSteps(SHAPE)
    model.matrices.assign(np.array([matrix for matrix, _ in STEPS], "float32"))
    model.offsets.assign(np.array([offset for _, offset in STEPS], "float32"))
    model.look.kernel.assign(tf.zeros_like(model.look.kernel))
    model.look.bias.assign(UPDATE.astype("float32"))
    return model


def mapped(points, number):
    """Positions of voxels after the first `number` affine steps; the last step is applied first."""
    centre = (np.array(SHAPE) - 1) / 2
    for matrix, offset in reversed(STEPS[:number]):
        points = points + (points - centre) @ np.array(matrix).T + offset
    return points


def scan(seed, shape, spacing):
    """A textured ball in a volume, or in a volume of one plane."""
    offsets = [(i - (n - 1) / 2) / n for i, n in zip(np.indices(shape), shape) if n > 1]
    inside = sum(o**2 for o in offsets) < 0.35**2
    texture = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    image = sitk.GetImageFromArray((inside * (150 + 600 * texture)).astype("float32"))
    image.SetSpacing(spacing)
    image.SetOrigin((12.0, -7.0, 30.0))
    return image


def register(folder, model, fixed, moving):
    """Runs `rcn register` with start "header" and without refinement; returns the metrics."""
    save_model(model, folder / "model", preprocessing={})
    for name, image in (("fixed", fixed), ("moving", moving)):
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    words = ["--fixed", folder / "fixed.nii.gz", "--moving", folder / "moving.nii.gz"]
    words += ["--model", folder / "model", "--out", folder / "out"]
    words += ["--refine", 0, "--start", "header", "--force"]
    assert rcn(["register", *map(str, words)]) == 0
    return json.loads((folder / "out" / "metrics.json").read_text())


def network_grid(model, fixed, moving):
    """The grid on which the command runs the network, from the public call's result."""
    result = rcn_tf.register_images(
        fixed, moving, model, refine_steps=0, start="header", force=True
    )
    return result.fixed.grid


def test_three_affine_steps_and_an_update_in_physical_space(affine_model, tmp_path):
    fixed, moving = (scan(seed, (30, 34, 28), (1.5, 1.0, 2.0)) for seed in (1, 2))
    register(tmp_path, affine_model, fixed, moving)
    grid = network_grid(affine_model, fixed, moving)
    voxels = np.random.default_rng(0).uniform(4, 11, size=(20, 3))
    points = grid.index_to_point(voxels)
    affine = sitk.ReadTransform(str(tmp_path / "out" / "affine.tfm"))
    expected = grid.index_to_point(mapped(voxels, 3))
    found = [affine.TransformPoint(tuple(point)) for point in points]
    np.testing.assert_allclose(found, expected, atol=1e-4)

    whole = sitk.ReadTransform(str(tmp_path / "out" / "transform.h5"))
    expected = grid.index_to_point(mapped(voxels, 3) + UPDATE)
    found = [whole.TransformPoint(tuple(point)) for point in points]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    stored = rcn_tf.load_result(tmp_path / "out").transform_points(points)
    np.testing.assert_allclose(stored, expected, atol=2e-3)


def test_every_affine_step_is_a_row_of_an_evaluation(affine_model):
    rng = np.random.default_rng(3)
    volume = rng.integers(0, 255, SHAPE).astype("uint8")
    fixed = np.array([[7.0, 9, 8], [5, 12, 10], [9, 7, 11]], np.float32)
    truth = mapped(fixed, 3) + UPDATE  # landmarks under the whole registration
    scans = (
        Scan("a", volume, None, fixed, {"spacing": np.array([2.0, 1.0, 3.0])}),
        Scan("b", volume, None, truth.astype("float32"), {"spacing": np.array([2.0, 1.0, 3.0])}),
    )
    (rows,) = evaluate(affine_model, [scans])
    assert [row["stage"] for row in rows] == ["before", "affine", "affine_2", "affine_3", "update"]
    after = [fixed, *(mapped(fixed, number) for number in (1, 2, 3)), truth]
    for row, moved in zip(rows, after):
        expected = np.linalg.norm(moved - truth, axis=1).mean()
        assert row["landmark_voxels"] == pytest.approx(expected, abs=1e-3)
        in_mm = np.linalg.norm((moved - truth) * [3.0, 1.0, 2.0], axis=1).mean()
        assert row["landmark_mm"] == pytest.approx(in_mm, abs=3e-3)


@pytest.mark.parametrize("kind", ["affine", "planar"])
def test_refinement_goes_on_from_the_whole_output(affine_model, kind):
    model = affine_model if kind == "affine" else PlanarShift((16, 20))
    rng = np.random.default_rng(4)
    volumes = [gaussian_filter(rng.uniform(size=model.volume_shape), 1.5) for _ in range(2)]
    fixed, moving = (tf.constant(v[None, ..., None] / v.max(), tf.float32) for v in volumes)
    out = model(fixed, moving)
    refined, gain = rcn_tf.refine(out, fixed, moving, 15)
    assert [stage.name for stage in refined.stages[:-1]] == [stage.name for stage in out.stages]
    last = refined.stages[-1]
    assert last.name == "refined"
    np.testing.assert_allclose(refined.flow, compose(out.flow, last.flow), atol=1e-5)
    assert gain.loss_after < gain.loss_before
    assert np.abs(last.flow).max() > 0.05
    if kind == "affine":  # the affine part does not change
        np.testing.assert_array_equal(refined.affine[0], out.affine[0])


def test_a_planar_model_moves_slices_in_their_plane(tmp_path):
    model = PlanarShift((16, 20))
    for layer in (model.look, model.flow):
        for variable in layer.trainable_variables:
            variable.assign(tf.zeros_like(variable))
    fixed, moving = (scan(seed, (1, 34, 40), (1.5, 2.0, 5.0)) for seed in (1, 2))
    metrics = register(tmp_path, model, fixed, moving)
    assert metrics["folding_percent"] == 0
    grid = network_grid(model, fixed, moving)
    assert grid.shape == (1, 16, 20)
    shift = np.array([0.0, 0.5 + 0.25, -1.0 + 2.0])  # both stages, voxels of the grid
    vector = grid.index_to_point(shift) - grid.index_to_point(np.zeros(3))
    field = sitk.ReadImage(str(tmp_path / "out" / "displacement.nii.gz"))
    vectors = sitk.GetArrayFromImage(field)
    np.testing.assert_allclose(vectors, np.broadcast_to(vector, vectors.shape), atol=1e-4)
    point = fixed.TransformIndexToPhysicalPoint((20, 17, 0))
    whole = sitk.ReadTransform(str(tmp_path / "out" / "transform.h5"))
    np.testing.assert_allclose(whole.TransformPoint(point), point + vector, atol=1e-4)
    # Without an affine stage the affine part is the identity.
    affine = sitk.ReadTransform(str(tmp_path / "out" / "affine.tfm"))
    np.testing.assert_allclose(affine.TransformPoint(point), point, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "model", "message"),
    [
        ((20, 34, 40), PlanarShift, "is a volume, but the model registers single slices of 16 x"),
        ((1, 34, 40), ThreeAffineSteps, "is a single slice, but the model registers volumes of 16"),
    ],
)
def test_images_of_another_rank_are_one_line(shape, model, message, tmp_path, capsys):
    save_model(model(), tmp_path / "model")
    image = tmp_path / "image.nii.gz"
    sitk.WriteImage(scan(1, shape, (1.0, 1.0, 1.0)), str(image))
    words = ["--fixed", image, "--moving", image, "--model", tmp_path / "model"]
    assert rcn(["register", *map(str, words), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_weights_are_counted_for_any_model(tmp_path):
    """Counted by hand: kernels and biases of the layers, and the model's own variables."""
    save_model(PlanarShift((16, 20), channels=3), tmp_path / "planar")
    planar = (9 * 2 * 3 + 3) + (9 * 3 * 2 + 2) + 2 + 2
    assert count_parameters(tmp_path / "planar") == (planar, planar)

    save_model(ThreeAffineSteps(SHAPE), tmp_path / "affine")
    steps = (27 * 2 * 3 + 3) + 3 * 9 + 3 * 3
    assert count_parameters(tmp_path / "affine") == (steps, steps)
    assert stored_parameters(tmp_path / "affine") == steps


@pytest.mark.parametrize("affine", [True, False])
def test_weights_of_a_cascade_are_counted_with_and_without_its_affine_stage(affine, tmp_path):
    cascade = rcn_tf.RecursiveCascade(
        "voxelmorph", 2, (32, 32, 32), channels=2, affine=affine, affine_channels=1
    )
    save_model(cascade, tmp_path)
    dense = sum(np.size(weight) for network in cascade.dense for weight in network.get_weights())
    stage = sum(map(np.size, cascade.affine.get_weights())) if affine else 0
    assert count_parameters(tmp_path) == (dense + stage, dense)
    assert stored_parameters(tmp_path) == dense + stage
