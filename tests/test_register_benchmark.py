"""benchmarks/register.py measures pairs of files, and consistency.py what one call undoes."""

import importlib

import pytest
import SimpleITK as sitk

from rcn_tf.registration.optimisation import starts
from tests.examples.test_examples import ROOT, run
from tests.registration.optimisation.scenes import pair
from tests.registration.optimisation.test_deformation import bulge


@pytest.mark.nightly
def test_a_pair_is_measured(tmp_path):
    for name, image in zip(("fixed", "moving"), pair(bulge)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
        labels = sitk.Cast(image / 40, sitk.sitkUInt8)
        sitk.WriteImage(labels, str(tmp_path / f"{name}_labels.nii.gz"))
    rows = ["fixed,moving,fixed_labels,moving_labels,name"]
    rows += ["fixed.nii.gz,moving.nii.gz,fixed_labels.nii.gz,moving_labels.nii.gz,scene"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    plot = tmp_path / "plot.png"
    options = ("--methods", "fast", "demons", "--plot", plot)
    printed = run("benchmarks/register.py", tmp_path / "pairs.csv", *options)
    for line, method in zip(printed.splitlines()[-2:], ("fast", "demons")):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == ["scene", method]
        assert cells.pop(3) == ""  # the correlation, where there are labels
        dice, folding, seconds, memory = map(float, cells[2:])
        assert 0.75 < dice < 1 and folding == 0
        assert 1 < seconds < 200 and 100 < memory < 8000
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.nightly
def test_itself_a_moved_copy_and_the_way_back_are_measured(tmp_path):
    for name, image in zip(("fixed", "moving"), pair(bulge)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    (tmp_path / "pairs.csv").write_text("fixed,moving,name\nfixed.nii.gz,moving.nii.gz,scene\n")
    printed = run("benchmarks/consistency.py", tmp_path / "pairs.csv", "--effort", "fast")
    name, *cells = [cell.strip() for cell in printed.splitlines()[-1].strip("|").split("|")]
    means, most, largest = zip(*(map(float, cell.split(", ")) for cell in cells))
    assert name == "scene" and means[0] < 0.05
    assert 0 < means[1] < 2 and 0 < means[2] < 4
    assert all(a <= b <= c for a, b, c in zip(means, most, largest))


def test_large_motion_is_measured_without_the_search_too(monkeypatch):
    """The search is left out by a bound that no agreement is below, for that call alone."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    large_motion = importlib.import_module("large_motion")
    bound = starts.GOOD
    monkeypatch.setattr(large_motion, "default", lambda *_: starts.GOOD)
    assert large_motion.without(None, None) <= -1 < bound == starts.GOOD
