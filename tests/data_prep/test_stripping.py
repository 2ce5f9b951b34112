"""data_prep.stripping with fake tools on the PATH."""

import os
import pathlib
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep import stripping
from data_prep.image_files import ImageRecipe
from data_prep.scan_files import ScanFiles
from data_prep.step_timer import StepTimer
from rcn_tf.commands.main import main
from rcn_tf.data.packs import PackReader

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Makes a program of that name the only one on the PATH besides the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def install(name, body):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    return install


@pytest.fixture
def head(tmp_path):
    """A head whose skull is brighter than the brain; the mask a tool would find."""
    grid = np.indices((20, 22, 24))
    radius = np.sqrt(sum((g - 10) ** 2.0 for g in grid))
    array = np.select([radius < 6, radius < 9], [100, 250], 0).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.0))
    path = tmp_path / "head.nii.gz"
    sitk.WriteImage(image, str(path))
    mask = sitk.GetImageFromArray((radius < 6).astype(np.uint8))
    mask.CopyInformation(image)
    sitk.WriteImage(mask, str(tmp_path / "found.nii.gz"))
    return path


@pytest.mark.parametrize(
    ("name", "program", "target"),
    [
        ("synthstrip", "mri_synthstrip", '"$4"'),
        ("hd-bet", "hd-bet", '"${4%.nii.gz}_mask.nii.gz"'),
        ("watershed", "mri_watershed", '"$2"'),
    ],
)
def test_each_tool(tools, head, tmp_path, name, program, target):
    tools(program, f'cp "{tmp_path}/found.nii.gz" {target}')
    assert stripping.find_tool() == name
    recipe = ImageRecipe((12, 14, 16), apply_mask=True, strip=name)
    scan = recipe(ScanFiles("a", head), StepTimer())
    assert scan.attributes["note"] == f"stripped by {name}"
    plain = ImageRecipe((12, 14, 16))(ScanFiles("a", head), StepTimer())
    assert "note" not in plain.attributes
    extent = [np.ptp(one.attributes["crop_box"], axis=1) for one in (scan, plain)]
    assert (extent[0] < extent[1]).all()


def test_a_given_mask_goes_first(tools, head, tmp_path):
    tools("mri_synthstrip", "exit 1")
    recipe = ImageRecipe((12, 14, 16), apply_mask=True, strip="synthstrip")
    files = ScanFiles("a", head, mask=tmp_path / "found.nii.gz")
    assert "note" not in recipe(files, StepTimer()).attributes


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('echo "out of memory" >&2; exit 3', "mri_synthstrip failed on .*: out of memory"),
        ("exit 0", "mri_synthstrip failed on .*: no message"),
        ('echo nonsense > "$4"', "cannot read"),
    ],
)
def test_tools_that_fail(tools, head, body, message):
    tools("mri_synthstrip", body)
    with pytest.raises(ValueError, match=message):
        stripping.brain_mask(head, sitk.ReadImage(str(head)), "synthstrip")


def test_a_tool_that_hangs(tools, head, monkeypatch):
    tools("mri_synthstrip", "exec sleep 30")
    monkeypatch.setattr(stripping, "TIMEOUT", 0.2)
    with pytest.raises(ValueError, match="no result after 0.2 s"):
        stripping.brain_mask(head, sitk.ReadImage(str(head)), "synthstrip")


def test_the_tool_ends_with_its_run(tools, head, tmp_path):
    """After SIGTERM neither the tool's process nor the unstripped head in its folder remains."""
    tools("mri_synthstrip", f'echo $$ > "{tmp_path}/pid"; exec sleep 60')
    (tmp_path / "tmp").mkdir()
    code = (
        "import SimpleITK as sitk; from data_prep import stripping; "
        f"stripping.brain_mask({str(head)!r}, sitk.ReadImage({str(head)!r}), 'synthstrip')"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=20) == 143
    assert not list((tmp_path / "tmp").iterdir())
    tool = pathlib.Path("/proc", (tmp_path / "pid").read_text().strip())
    assert not tool.exists()


def test_command_never_strips_silently(tools, head, tmp_path, capsys):
    folder = tmp_path / "Caltech" / "0051456" / "session_1" / "anat_1"
    folder.mkdir(parents=True)
    head.rename(folder / "mprage.nii.gz")
    words = ["prepare", "abide", "--data", str(tmp_path), "--out", str(tmp_path)]
    words += ["--shape", "12", "14", "16", "--workers", "1"]
    assert main([*words, "--strip", "auto"]) == 2
    assert "no skull-stripping tool found on the PATH (looked for" in capsys.readouterr().err
    assert main([*words, "--strip", "brainchop"]) == 2
    assert "unknown stripping tool 'brainchop'" in capsys.readouterr().err
    tools("mri_synthstrip", f'cp "{tmp_path}/found.nii.gz" "$4"')
    assert main(words) == 0
    assert "stripped" not in capsys.readouterr().out
    assert main([*words, "--strip", "auto"]) == 0
    assert "scans without a mask are stripped by synthstrip" in capsys.readouterr().out
    with PackReader(tmp_path / "abide.h5") as reader:
        assert reader.read("Caltech-51456").attributes["note"] == "stripped by synthstrip"
