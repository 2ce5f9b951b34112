"""`rcn register` killed at random moments: what is left is whole, and the next run cleans up."""

import gzip
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import RecursiveCascade
from rcn_tf.models.folder import save_model
from rcn_tf.registration.outputs import OUTPUTS
from tests.registration.test_pair import write_pair

KILLS = 20
LATEST = 0.4  # seconds after a line of the command at which it is killed


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Words of the command, without --out."""
    folder = tmp_path_factory.mktemp("pair")
    write_pair(folder)
    network = RecursiveCascade("tests.known_networks:gentle_waves", 1, (32, 32, 32))
    save_model(network, folder / "model")
    words = [sys.executable, "-m", "rcn_tf", "register", "--refine", "0", "--force"]
    for name in ("fixed", "moving", "fixed-labels", "moving-labels"):
        words += [f"--{name}", str(folder / f"{name.replace('-', '_')}.nii.gz")]
    return [*words, "--model", str(folder / "model")]


def run_and_kill(words, line, delay):
    """Kills the command some time after a line of its progress; True if it had not ended."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(line):
        process.stderr.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    process.stderr.close()
    assert code in (0, -signal.SIGKILL)
    return code != 0


def check_whole(path):
    """Reads a result to its end."""
    if path.name.endswith(".nii.gz"):
        gzip.decompress(path.read_bytes())
        assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).all()
    elif path.suffix == ".json":
        assert json.loads(path.read_text())["seconds"]
    elif path.suffix in (".tfm", ".h5"):
        sitk.ReadTransform(str(path))
    elif path.suffix == ".html":
        assert path.read_text().endswith("</html>\n")
    elif path.suffix == ".png":
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    else:
        assert path.read_text().startswith("metric,")


@pytest.mark.nightly
def test_nothing_half_written_is_left(command, tmp_path):
    rng, out = random.Random(1), tmp_path / "out"
    words = [*command, "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = done.stderr.count("\n")
    names = {path.name for path in out.iterdir()}
    assert {"warped.nii.gz", "displacement.nii.gz", "transform.h5", "report.html"} <= names
    killed = 0
    for number in range(KILLS):
        if number == KILLS // 2:  # from here on there is no earlier result
            for path in out.iterdir():
                if path.is_file():
                    path.unlink()
        killed += run_and_kill(words, rng.randint(0, lines), rng.uniform(0, LATEST))
        shown = [path for path in out.iterdir() if path.name in OUTPUTS]
        for path in shown:
            check_whole(path)
        assert {path.name for path in shown} == names or (number >= KILLS // 2 and not shown)
        hidden = {path.name for path in out.iterdir()} - names
        assert all(name.startswith(".partial-") for name in hidden)
        assert len(hidden) <= 1  # each run removes what the one before left
    assert killed > KILLS // 2
    subprocess.run(words, capture_output=True, check=True)
    assert {path.name for path in out.iterdir()} == names
