"""The same training on one device, on several devices, and in two worker processes."""

import contextlib
import json
import socket
import time

import numpy as np
import pytest

from rcn_tf.commands.main import main as rcn
from rcn_tf.models.folder import load_with_config
from rcn_tf.training.strategies import make_strategy
from tests.training.study import losses_of, run_training, start_training, write_study

BATCH = ("--set", "batch_size=4", "--set", "optimizer.clip_norm=0.05")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def single(study, tmp_path_factory):
    """Run folder of a training on one device, with the checkpoints of all steps."""
    out = tmp_path_factory.mktemp("runs") / "one"
    words = ["train", study / "train.json", "--out", out, *BATCH, "--strategy", "one"]
    assert rcn(list(map(str, words))) == 0
    return out


def weights_of(folder):
    return np.concatenate([w.ravel() for w in load_with_config(folder)[0].get_weights()])


def two_workers():
    """TF_CONFIG of two workers on this machine."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("localhost", 0))
        addresses = [f"localhost:{each.getsockname()[1]}" for each in (first, second)]
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": k}})
        for k in range(2)
    ]


@contextlib.contextmanager
def started(study, out, *arguments):
    """Two workers with a running training; both end with the block."""
    with contextlib.ExitStack() as stack:
        workers = []
        for config in two_workers():
            worker = start_training(study, out, *arguments, TF_CONFIG=config)
            workers.append(stack.enter_context(worker))
            stack.callback(worker.kill)
        yield workers


def wait_for_file(path, processes):
    for _ in range(600):
        if path.exists():
            return
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.nightly)])
def test_replicas_train_like_one_device(study, single, tmp_path, replicas):
    """Samples, augmentation, losses and updates are the same, except for the order of sums."""
    run_training(study, tmp_path / "run", *BATCH, "--strategy", "mirrored", devices=replicas)
    np.testing.assert_allclose(losses_of(tmp_path / "run"), losses_of(single), rtol=1e-5)
    np.testing.assert_allclose(weights_of(tmp_path / "run"), weights_of(single), atol=1e-5)
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (facts["strategy"], facts["replicas"]) == ("MirroredStrategy", replicas)


@pytest.mark.nightly
def test_a_run_is_resumed_under_another_strategy(study, single, tmp_path):
    """Three steps on two replicas with recomputed activations, then three on one device."""
    half = ("--set", "steps=3", "--set", "recompute=true", "--strategy", "mirrored")
    run_training(study, tmp_path / "run", *BATCH, *half, devices=2)
    run_training(study, tmp_path / "run", *BATCH, "--resume", "--strategy", "one")
    np.testing.assert_allclose(losses_of(tmp_path / "run"), losses_of(single), rtol=1e-5)
    np.testing.assert_allclose(weights_of(tmp_path / "run"), weights_of(single), atol=1e-5)


@pytest.mark.nightly
def test_two_workers_train_like_one_device(study, single, tmp_path):
    """Two processes share only the folder, and the second writes nothing into it."""
    with started(study, tmp_path / "run", *BATCH) as workers:
        outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    np.testing.assert_allclose(losses_of(tmp_path / "run"), losses_of(single), rtol=1e-5)
    np.testing.assert_allclose(weights_of(tmp_path / "run"), weights_of(single), atol=1e-5)
    assert "step 6/6" in outputs[0][1]
    assert "step 6/6" not in outputs[1][1]
    assert len(list((tmp_path / "run" / "logs").iterdir())) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_worker_ends_the_job_resumably(study, single, tmp_path, victim):
    """If either worker is killed, the other reports it; one device can finish the training."""
    endless = (*BATCH, "--set", "steps=100000", "--set", "checkpoint_every=1")
    with started(study, tmp_path / "run", *endless) as workers:
        wait_for_file(tmp_path / "run" / "checkpoints" / "checkpoint", workers)
        workers[victim].kill()
        _, error = workers[1 - victim].communicate(timeout=120)
    assert workers[1 - victim].returncode == 2, error
    assert "another worker was lost" in error.splitlines()[-1]
    assert "with --resume" in error.splitlines()[-1]
    done = len(losses_of(tmp_path / "run"))
    run_training(study, tmp_path / "run", *BATCH, "--resume", "--set", f"steps={done + 2}")
    losses = losses_of(tmp_path / "run")
    np.testing.assert_allclose(losses[:6], losses_of(single)[: len(losses)], rtol=1e-5)


@pytest.mark.nightly
def test_one_interrupted_worker_stops_all(study, tmp_path):
    """SIGTERM is sent to the second worker only, as when one machine is drained."""
    with started(study, tmp_path / "run", *BATCH, "--set", "steps=100000") as workers:
        wait_for_file(tmp_path / "run" / "checkpoints" / "checkpoint", workers)
        workers[1].terminate()
        outputs = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [130, 130], outputs
    assert "stopped and saved at step" in outputs[0]


def test_slurm_names_the_workers(monkeypatch):
    """srun's variables on a node with two tasks give their addresses and this task's number."""
    from rcn_tf.training import strategies

    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }.items():
        monkeypatch.setenv(name, value)
    resolver = strategies._resolver()
    assert resolver.cluster_spec().as_dict() == {"worker": ["n1:8888", "n1:8889", "n2:8888"]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    assert resolver.num_accelerators() == {"GPU": 0}
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(ValueError, match="SLURM environment is not complete"):
        strategies._resolver()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": 3}',
        '{"task": {}}',
        '{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 5}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_bad_tf_config_is_named(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must be JSON like"):
        make_strategy("multiworker")


def test_mistakes_are_named(monkeypatch, study, tmp_path, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    with pytest.raises(ValueError, match="must be one of"):
        make_strategy("all")
    arguments = ["train", str(study / "train.json"), "--out", str(tmp_path / "run")]
    assert rcn([*arguments, "--strategy", "multiworker"]) == 2
    assert "needs the workers' addresses: set TF_CONFIG" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
