"""benchmarks/register.py measures pairs of files."""

import pytest
import SimpleITK as sitk

from tests.examples.test_examples import run
from tests.registration.optimisation.scenes import pair
from tests.registration.optimisation.test_deformation import bulge


@pytest.mark.slow
def test_a_pair_is_measured(tmp_path):
    for name, image in zip(("fixed", "moving"), pair(bulge)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
        labels = sitk.Cast(image / 40, sitk.sitkUInt8)
        sitk.WriteImage(labels, str(tmp_path / f"{name}_labels.nii.gz"))
    rows = ["fixed,moving,fixed_labels,moving_labels,name"]
    rows += ["fixed.nii.gz,moving.nii.gz,fixed_labels.nii.gz,moving_labels.nii.gz,scene"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    printed = run("benchmarks/register.py", tmp_path / "pairs.csv", "--methods", "fast")
    cells = [cell.strip() for cell in printed.splitlines()[-1].strip("|").split("|")]
    assert cells[:2] == ["scene", "fast"]
    assert cells.pop(3) == ""  # the correlation, where there are labels
    dice, folding, seconds, memory = map(float, cells[2:])
    assert 0.75 < dice < 1 and folding == 0
    assert 1 < seconds < 200 and 200 < memory < 8000
