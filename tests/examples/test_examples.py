"""The examples run, and the default model performs as the README says."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import shift

import custom_ops
from rcn_tf.metrics import correlation, folding_fraction
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config
from rcn_tf.volumes import prepare_volume
from rcn_tf.volumes.formats.images import read_image
from tests.data_prep.phantoms import small_abdomen

ROOT = Path(__file__).parents[2]


def run(*arguments):
    result = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.nightly
def test_demo_recovers_a_known_deformation(tmp_path):
    """Registers MNI152 to a deformed copy of itself; needs only packages from pip."""
    pytest.importorskip("nilearn")
    text = run("examples/demo.py", "--out", tmp_path, "--synthetic")
    before, after = map(float, re.search(r"([\d.]+) mm before, ([\d.]+) mm after", text).groups())
    assert after < 0.4 * before
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["correlation"]["after"] > metrics["correlation"]["initial"]
    assert (tmp_path / "report.html").stat().st_size > 100_000
    moving = tmp_path / "inputs" / "mni152_deformed.nii.gz"
    text = run("examples/apply_with_simpleitk.py", "--moving", moving, "--result", tmp_path)
    assert float(re.search(r"largest difference ([\d.]+)", text)[1]) <= 0.501


def test_default_model_is_small_and_says_how_it_was_trained():
    size = sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir())
    assert size <= 10e6
    _, config = load_with_config(DEFAULT_MODEL)
    assert config["training"]["config"]["data"]["config"] == "brain_study.json"
    assert config["training"]["steps"] == config["training"]["config"]["steps"]


def test_default_model_aligns_and_does_no_harm_to_equal_images():
    """MNI152 stays unchanged if registered to itself; registered to a moved copy, it is aligned."""
    nilearn = pytest.importorskip("nilearn")
    template = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    model, _ = load_with_config(DEFAULT_MODEL)
    volume = prepare_volume(
        read_image(Path(nilearn.__file__).parent / template), model.volume_shape
    )
    image = volume.array[None, ..., None]
    assert correlation(image, model(image, image).warped) > 0.99
    moved = shift(image, (0, 3.0, -2.0, 1.0, 0), order=1, mode="nearest")
    out = model(image, moved)
    missed = 1 - correlation(image, moved)
    assert 1 - correlation(image, out.warped) < 0.3 * missed
    inside = image[0, ..., 0] > 0.3
    found = out.flow.numpy()[0][inside].mean(axis=0)
    np.testing.assert_allclose(found, (3.0, -2.0, 1.0), atol=0.7)
    assert folding_fraction(out.flow)[0] < 0.001


@pytest.mark.slow
def test_vr_net_learns_the_motion_of_synthetic_hearts(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vr_net_2d.py", "--steps", "30"])
    runpy.run_path(str(ROOT / "examples" / "vr_net_2d.py"), run_name="__main__")
    text = capsys.readouterr().out
    before, after = map(float, re.search(r"Dice before ([\d.]+), after ([\d.]+)", text).groups())
    assert after > before + 0.1
    assert float(re.search(r"folded ([\d.]+) %", text)[1]) < 5
    assert "'warp_2/iteration_1': 0.0" in text


@pytest.mark.nightly
def test_pipeline_benchmark_runs(tmp_path):
    _, labels = small_abdomen()
    sitk.WriteImage(labels, str(tmp_path / "map.nii.gz"))
    study = ("--out", tmp_path / "s.h5", "--config", tmp_path / "s.json")
    words = ("--labels", tmp_path / "map.nii.gz", "--structures", "all", "--number", 3, *study)
    run("-m", "rcn_tf.commands.main", "prepare", "synth", "--shape", 32, 32, 32, *words)
    options = ("--passes", 1, "--pairs", 4, "--cascades", 1, "--steps", 2)
    text = run("benchmarks/pipeline.py", "--config", tmp_path / "s.json", *options)
    assert re.search(r"\| one chunk, gzip 2 \(ours\) \| [\d.]+ \| [\d.]+ \|", text)
    assert re.search(r"\| pipeline, augmented \| [\d.]+ \| [\d.]+ \|", text)
    assert re.search(r"waiting for data: [\d.]+% of the training time", text)


@pytest.mark.nightly
@pytest.mark.shared_data
def test_preparation_benchmark_runs(shared_data):
    options = ("--data", shared_data, "--copies", 2, "--workers", 2)
    text = run("benchmarks/preparation.py", *options)
    for kind in ("CT, 3 mm", "CT, 0.72 mm", "brain, 1 mm"):
        assert re.search(rf"\| {kind} \| 2 \| \d+ \| [\d.]+ \| .*resample", text)


@pytest.mark.slow
def test_warp_benchmark_runs():
    if "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be had")
    text = run("benchmarks/warp.py", "--shapes", "16,18,20", "--channels", 1, "--repeats", 1)
    for contestant in ("copy", "python", "SciPy", "SimpleITK"):
        assert re.search(rf"\| 1 \| forward \| {contestant} \| [\d.]+ \|", text)


@pytest.mark.nightly
def test_reference_flows_of_demons_reduce_the_difference(tmp_path):
    """Every pair has a flow in voxels and axis order ij, and warping by it aligns the scans."""
    import h5py

    from tests.training.study import write_study

    write_study(tmp_path)
    with h5py.File(tmp_path / "scans.h5", "r+") as pack:  # one scan, moved along two axes
        first = pack["s0/volume"][...]
        for k in range(1, 4):
            pack[f"s{k}/volume"][...] = np.roll(first, (2 * k, -k), axis=(0, 2))
    out = tmp_path / "flows.h5"
    arguments = ("--data", tmp_path / "data.json", "--subset", "train", "--out", out)
    text = run("examples/make_reference_flows.py", *arguments)
    assert text.count("voxels") == 12
    assert run("examples/make_reference_flows.py", *arguments) == ""
    with h5py.File(tmp_path / "scans.h5") as pack, h5py.File(out) as file:
        fixed, moving = (pack[f"{name}/volume"][...].astype("float32") for name in ("s0", "s1"))
        flow = file["s0 <- s1"][...]
    warped = custom_ops.warp(moving[None, ..., None], flow[None]).numpy()[0, ..., 0]
    assert correlation(fixed, warped) > correlation(fixed, moving) + 0.2
    swapped = custom_ops.warp(moving[None, ..., None], flow[None, ..., ::-1]).numpy()[0, ..., 0]
    assert correlation(fixed, warped) > correlation(fixed, swapped) + 0.1
    assert np.isfinite(flow).all()
