"""The wheel builds, is complete, and works outside the checkout, also without a compiler."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
import SimpleITK as sitk

from tests.registration.test_pair import blob

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("rcn_tf", "custom_ops", "data_prep")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the unpacked wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", folder, sources], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("rcn_tf-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def rcn(site, folder, *arguments, path=None):
    """Runs the wheel's `rcn` in a separate folder; returns its standard output and error."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "RCN_CACHE": str(folder / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    environment.pop("RCN_OPS", None)
    environment.pop("CXX", None)
    if path is not None:
        environment["PATH"] = str(path)
    command = [sys.executable, "-m", "rcn_tf.commands.main", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def register(site, folder, path=None):
    for name in ("fixed", "moving"):
        sitk.WriteImage(blob(), str(folder / f"{name}.nii.gz"))
    images = ["--fixed", folder / "fixed.nii.gz", "--moving", folder / "moving.nii.gz"]
    shown = rcn(site, folder, "register", *images, "--out", folder / "out", path=path)
    assert (folder / "out" / "warped.nii.gz").exists()
    return shown


def test_it_holds_what_the_checkout_has(site):
    def files(root):
        found = (p.relative_to(root) for name in PACKAGES for p in (root / name).rglob("*"))
        return {str(p) for p in found if p.suffix not in ("", ".pyc", ".so")}

    assert files(site) == files(ROOT)
    assert not (site / "tests").exists()


@pytest.mark.nightly
@pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler here"
)
def test_with_a_compiler(site, tmp_path):
    shown = rcn(site, tmp_path, "info")
    assert str(site) in rcn_file(site, tmp_path)
    assert "native" in shown
    register(site, tmp_path)
    assert list((tmp_path / "cache").rglob("*.so"))


@pytest.mark.nightly
def test_without_a_compiler(site, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    shown = register(site, tmp_path, path=empty)
    assert "The native warp op is not used" in shown
    assert not list(tmp_path.rglob("*.so"))


def rcn_file(site, folder):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", "import rcn_tf; print(rcn_tf.__file__)"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout
