"""`rcn register` with its optimisation from coarse to fine: options, promises, faults."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

import rcn_tf
from rcn_tf.commands.main import main
from rcn_tf.registration.optimisation.effort import EFFORTS, Effort
from tests.registration.optimisation.scenes import grid_image, inner_points, pair, scan, turn
from tests.registration.optimisation.test_deformation import bulge

NO_MODEL = ("--model", "none")


@pytest.fixture(autouse=True)
def small_efforts(monkeypatch):
    monkeypatch.setitem(EFFORTS, "default", Effort(60_000, (60, 60)))


def register(folder, fixed, moving, *options, model=NO_MODEL):
    """Exit code and metrics of the command on two images."""
    for name, image in (("fixed", fixed), ("moving", moving)):
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    words = ["--fixed", folder / "fixed.nii.gz", "--moving", folder / "moving.nii.gz"]
    code = main(["register", *map(str, (*words, *model, "--out", folder / "out", *options))])
    path = folder / "out" / "metrics.json"
    return code, json.loads(path.read_text()) if path.exists() else None


def errors(folder, expected):
    """Distances in mm at points inside, by SimpleITK's reading of the written field."""
    field = sitk.ReadImage(str(folder / "out" / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    points = inner_points()
    moved = np.array([transform.TransformPoint(point.tolist()) for point in points])
    return np.linalg.norm(moved - expected(points), axis=1)


def test_without_a_model(tmp_path, capsys):
    code, metrics = register(tmp_path, *pair(bulge))
    assert code == 0
    assert "optimising from coarse to fine (default, local_ncc)" in capsys.readouterr().err
    assert errors(tmp_path, bulge).mean() < 1.0
    record = metrics["optimisation"]
    assert record["similarity"] == "local_ncc"
    assert [level["steps"] > 0 for level in record["levels"]] == [True, True]
    assert metrics["folding_percent"] == 0
    assert metrics["correlation"]["after"] > 0.99
    assert metrics["inverse_error_mm"]["mean"] < 0.1


@pytest.mark.slow
def test_a_scan_to_itself_stays(tmp_path):
    fixed, _ = pair(lambda points: points)
    code, metrics = register(tmp_path, fixed, fixed)
    assert code == 0
    assert errors(tmp_path, lambda points: points).mean() < 0.05


@pytest.mark.slow
def test_a_moved_copy_comes_back(tmp_path):
    """Five degrees and 5 mm, on another grid."""
    rotation, shift = turn(5, (1, -2, 1)), np.array([3.0, -4.0, 0.0])
    code, _ = register(tmp_path, *pair(lambda points: points @ rotation.T + shift))
    assert code == 0
    assert errors(tmp_path, lambda points: points @ rotation.T + shift).mean() < 0.45


@pytest.mark.nightly
def test_two_runs_are_equal_to_the_last_bit(tmp_path):
    fields = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        register(tmp_path / name, *pair(bulge))
        field = sitk.ReadImage(str(tmp_path / name / "out" / "displacement.nii.gz"))
        fields.append(sitk.GetArrayFromImage(field))
    np.testing.assert_array_equal(*fields)


def noise(image, seed=0):
    array = np.random.default_rng(seed).uniform(0, 100, image.GetSize()[::-1]).astype("float32")
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


@pytest.mark.parametrize(
    "kind", [pytest.param("unrelated", marks=pytest.mark.nightly), "flipped", "noise"]
)
@pytest.mark.slow
def test_the_result_is_never_worse_than_the_start(tmp_path, kind):
    image = grid_image((36, 34, 40), (2.6, 3.0, 2.8))
    fixed = scan(image)
    moving = {
        "unrelated": scan(image, seed=7),
        "flipped": scan(image, lambda points: points * [-1, 1, 1]),
        "noise": noise(image),
    }[kind]
    _, metrics = register(tmp_path, fixed, moving)
    agreement = metrics["agreement"]
    assert agreement["after"] >= max(agreement["before"], agreement["initial"]) - 1e-6
    refused = any("the images have different contrasts" in w for w in metrics["warnings"])
    assert refused == (kind == "noise")


@pytest.mark.slow
def test_a_momentum_gives_a_diffeomorphism(tmp_path, monkeypatch):
    monkeypatch.setitem(EFFORTS, "default", Effort(15_000, (20,)))
    code, metrics = register(tmp_path, *pair(bulge), "--transform", "momentum")
    assert code == 0
    record = metrics["optimisation"]
    assert (record["transform_type"], record["written"]) == ("momentum", "optimised")
    assert record["levels"][0]["after"] < record["levels"][0]["before"]
    assert metrics["folding_percent"] == 0
    assert metrics["agreement"]["after"] > metrics["agreement"]["before"]
    points = inner_points()
    before = np.linalg.norm(bulge(points) - points, axis=1).mean()
    assert errors(tmp_path, bulge).mean() < 0.7 * before


@pytest.mark.slow
def test_a_rigid_map_alone(tmp_path):
    rotation, shift = turn(9, (2, -1, 1)), np.array([4.0, -3.0, 2.0])
    images = pair(lambda points: points @ rotation.T + shift)
    code, metrics = register(tmp_path, *images, "--transform-type", "rigid")
    assert code == 0
    assert metrics["optimisation"]["levels"] == []
    affine = sitk.ReadTransform(str(tmp_path / "out" / "affine.tfm"))
    matrix = np.array(sitk.AffineTransform(affine).GetMatrix()).reshape(3, 3)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-4)
    assert errors(tmp_path, lambda points: points @ rotation.T + shift).mean() < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("inverted", [False, True])
def test_a_transform_to_start_from(tmp_path, inverted):
    """A turn that the search would not find, by half a circle."""
    rotation, shift = turn(150, (1, -2, 1)), np.array([5.0, 3.0, -4.0])
    known = sitk.AffineTransform(3)
    known.SetMatrix(rotation.ravel().tolist())
    known.SetTranslation((shift + [1.0, -1.0, 1.0]).tolist())
    path = tmp_path / "known.tfm"
    sitk.WriteTransform(known.GetInverse() if inverted else known, str(path))
    images = pair(lambda points: points @ rotation.T + shift)
    initial = f"[{path},1]" if inverted else str(path)
    code, metrics = register(tmp_path, *images, "--initial", initial)
    assert code == 0
    assert metrics["optimisation"]["start"] == "initial"
    assert errors(tmp_path, lambda points: points @ rotation.T + shift).mean() < 0.6


def test_an_initial_transform_that_is_none(tmp_path, capsys):
    code, _ = register(tmp_path, *pair(bulge), "--initial", str(tmp_path / "gone.tfm"))
    assert code == 2
    assert "gone.tfm" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_single_slices_need_no_model(tmp_path):
    image = grid_image((1, 60, 64), (1.5, 1.6, 5.0))
    wave = lambda points: points + 3 * np.sin(points[..., [1, 0, 2]] / 12) * [1, 1, 0]  # noqa: E731
    code, metrics = register(tmp_path, scan(image, wave), scan(image), model=())
    assert code == 0
    assert metrics["correlation"]["after"] > metrics["correlation"]["before"] + 0.02
    assert metrics["correlation"]["after"] > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--refine", "5", "--effort", "fast"), "--refine replaces the optimisation"),
        (("--refine", "5"), "--model none has none"),
        (("--repeats", "2"), "--repeats: no network runs here that could take options"),
        (("--option", "n_repeats=2"), "--option: no network runs here"),
        (("--diffeomorphic", "--transform-type", "affine"), "--diffeomorphic: no network runs"),
        (("--effort", "quick"), "invalid choice: 'quick'"),
        (("--similarity", "ncc"), "invalid choice: 'ncc'"),
    ],
)
def test_options_that_exclude_each_other(tmp_path, capsys, options, message):
    fixed, moving = pair(bulge)
    try:
        code, _ = register(tmp_path, fixed, moving, *options)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_call_does_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(EFFORTS, "default", Effort(15_000, (20,)))
    fixed, moving = pair(bulge)
    register(tmp_path, fixed, moving, "--effort", "default")
    images = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    result = rcn_tf.register_images(*images, "none")
    written = sitk.ReadImage(str(tmp_path / "out" / "displacement.nii.gz"))
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(result.displacement), sitk.GetArrayFromImage(written), atol=1e-6
    )


@pytest.mark.parametrize(
    "options", [{"refine_steps": 0}, {"refine_steps": 3, "initial": sitk.Transform()}]
)
def test_what_the_optimisation_is_needed_for(options):
    fixed, moving = pair(bulge)
    with pytest.raises(ValueError, match="needs the optimisation, which `refine_steps` replaces"):
        rcn_tf.register_images(fixed, moving, "none", **options)


@pytest.mark.slow
def test_the_start_that_is_asked_for(tmp_path):
    code, metrics = register(tmp_path, *pair(bulge), "--start", "boxes", "--effort", "fast")
    assert code == 0
    assert list(metrics["optimisation"]["candidates"]) == ["boxes", "affine"]
    assert metrics["optimisation"]["written"] == "optimised"


@pytest.mark.parametrize(
    "choice", [{"model": "none"}, {"transform_type": "rigid"}, {"initial": sitk.Transform()}]
)
def test_options_of_a_network_that_does_not_run(choice):
    fixed, moving = pair(bulge)
    with pytest.raises(ValueError, match="no network runs here that could take .* n_repeats"):
        rcn_tf.register_images(fixed, moving, **choice, n_repeats=2)


@pytest.mark.slow
def test_a_rigid_search_loads_no_model(tmp_path, capsys):
    code, metrics = register(
        tmp_path, *pair(lambda points: points + 2), "--transform-type", "rigid", model=()
    )
    assert code == 0
    assert "loading TensorFlow" in capsys.readouterr().err
    assert metrics["settings"]["model"] == "none"
