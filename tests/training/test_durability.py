"""Kills and full disks: a run continues from its newest checkpoint with the same numbers."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.models.folder import load_with_config
from rcn_tf.training.checkpoints import Checkpoints
from rcn_tf.training.config import load_training_config
from rcn_tf.training.loop import train
from tests.training.study import losses_of, write_study

STEPS = {2: 40, 20: 300}  # {kills: steps}, more than the killed processes can do


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


def train_and_kill(study, out, kills, seed):
    """Forks one training process after the other, from a process without TensorFlow's threads.

    Three of four are killed some time after their first step, one of four during its start.
    Prints the number of processes before the last, undisturbed one.
    """
    settings = [f"steps={STEPS[kills]}", "checkpoint_every=1", "log_every=1", "deterministic=true"]
    config = load_training_config(study / "train.json", settings)
    rng = random.Random(seed)
    for life in range(kills + 1):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            live(config, out, writer)
        os.close(writer)
        if life < kills:
            if life % 4:
                os.read(reader, 1)
                time.sleep(rng.uniform(0, 0.6))
            else:
                time.sleep(rng.uniform(0, 4))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reader)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed == (life < kills), f"life {life} ended with {status}"
        check_newest(out)
    print(f"{kills} kills, {len(losses_of(out))} steps")


def live(config, out, pipe):
    """A forked process: starts or resumes, and reports through the pipe when a step is done."""
    resume = (out / "checkpoints" / "checkpoint").exists()
    train(config, out, resume=resume, on_step=lambda *_: os.write(pipe, b"."))
    os._exit(0)


def check_newest(out):
    """Checks in a separate process that the newest checkpoint and the model can be read."""
    child = os.fork()
    if not child:
        latest = tf.train.latest_checkpoint(str(out / "checkpoints"))
        if latest:
            reader = tf.train.load_checkpoint(latest)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        if (out / "weights.h5").exists():
            load_with_config(out)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "a checkpoint or model is damaged"


@pytest.mark.nightly
@pytest.mark.parametrize("kills", [2, 20])
def test_kills_change_nothing(study, tmp_path, kills):
    """A run that was killed often has the same losses and weights, bit for bit."""
    steps = STEPS[kills]
    code = (
        "import pathlib, sys; from tests.training.test_durability import train_and_kill; "
        f"train_and_kill(*map(pathlib.Path, sys.argv[1:3]), kills={kills}, seed=1)"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, str(study), str(tmp_path / "killed")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert f"{kills} kills, {steps} steps" in done.stdout, done.stderr
    code = (
        "import pathlib, sys; from rcn_tf.training.loop import train; "
        "from rcn_tf.training.config import load_training_config; "
        f"train(load_training_config(sys.argv[1], ['steps={steps}', 'deterministic=true']), "
        "pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(study / "train.json"), str(tmp_path / "whole")]
    subprocess.run(command, env=environment, check=True, timeout=1800)
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")
    for a, b in zip(
        *(load_with_config(tmp_path / name)[0].get_weights() for name in ("killed", "whole"))
    ):
        np.testing.assert_array_equal(a, b)
    kept = sorted(p.name for p in (tmp_path / "killed" / "checkpoints").glob("ckpt-*.index"))
    assert kept == [f"ckpt-{steps - k}.index" for k in (2, 1, 0)]
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 7  # no fragments


@pytest.fixture
def small_disk():
    """Limits the size of files, which simulates a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.slow
def test_full_disk_keeps_the_previous_checkpoint(study, tmp_path, small_disk):
    config = load_training_config(study / "train.json", ["network.channels=200"])
    out = tmp_path / "run"

    def fill_at_three(step, _):
        if step == 3:
            small_disk(100_000)

    with pytest.raises(OSError, match="cannot write a checkpoint to .*run/checkpoints"):
        train(config, out, on_step=fill_at_three)
    small_disk(resource.RLIM_INFINITY)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "checkpoint",
        "ckpt-2.data-00000-of-00001",
        "ckpt-2.index",
    ]
    assert load_with_config(out)[1]["training"]["steps"] == 2
    assert train(config, out, resume=True) == 6
    train(config, tmp_path / "whole")
    np.testing.assert_allclose(losses_of(out), losses_of(tmp_path / "whole"), rtol=1e-5)


@pytest.mark.slow
def test_fragments_are_removed_and_checkpoints_are_not(tmp_path):
    variable = tf.Variable([1.0])
    checkpoints = Checkpoints(tmp_path, tf.train.Checkpoint(v=variable), tf.train.Checkpoint())
    for _ in range(4):
        checkpoints.advance()
        checkpoints.save()
    whole = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in whole if name.endswith(".index")] == [
        f"ckpt-{k}.index" for k in (2, 3, 4)
    ]
    (tmp_path / "ckpt-5_temp").mkdir()
    (tmp_path / "ckpt-5_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"x")
    (tmp_path / "ckpt-5.data-00000-of-00001").write_bytes(b"x")
    checkpoints.remove_fragments()
    assert sorted(path.name for path in tmp_path.iterdir()) == whole


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(study, tmp_path, caplog):
    config = load_training_config(study / "train.json")
    train(config.with_settings("steps=4"), tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "ckpt-4.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:100])
    assert train(config, tmp_path / "run", resume=True) == 6
    assert "ckpt-4 cannot be restored" in caplog.text
    assert "resuming from step 2" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "index"])
def test_a_damaged_checkpoint_is_named(study, tmp_path, damage):
    config = load_training_config(study / "train.json", ["steps=1"])
    train(config, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    path = folder / ("ckpt-1.index" if damage == "index" else "ckpt-1.data-00000-of-00001")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="ckpt-1 cannot be restored"):
        train(config.with_settings("steps=2"), tmp_path / "run", resume=True)
