"""The lock of a run's folder: one training at a time, and locks of dead processes are ignored."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rcn_tf.training import run_lock
from rcn_tf.training.run_lock import LockLostError, RunInUseError, locked

HOLD = (
    "import pathlib, sys, time; from rcn_tf.training.run_lock import locked\n"
    "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write_lock(folder, age=0.0, **changes):
    """Writes a lock as another process would have written it some seconds ago."""
    folder.mkdir()
    entry = {
        "id": "another",
        "pid": os.getpid(),
        "host": "elsewhere",
        "started": "2024-01-01 10:00:00 +0000",
        "boot": "another boot",
        "birth": 1,
    }
    path = folder / run_lock.NAME
    path.write_text(json.dumps({**entry, **changes}))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_second_process_is_refused_by_name(holder, tmp_path):
    said = json.loads((tmp_path / "run" / run_lock.NAME).read_text())
    assert said["pid"] == holder.pid
    message = f"in use: process {holder.pid} on .* trains there since {said['started'][:16]}"
    with pytest.raises(RunInUseError, match=message), locked(tmp_path / "run"):
        pass
    assert holder.poll() is None
    assert json.loads((tmp_path / "run" / run_lock.NAME).read_text()) == said


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_process_holds_nobody_up(holder, tmp_path, name):
    holder.send_signal(getattr(signal, name))
    holder.wait(10)
    assert (tmp_path / "run" / run_lock.NAME).exists()
    with locked(tmp_path / "run"):
        said = json.loads((tmp_path / "run" / run_lock.NAME).read_text())
        assert said["pid"] == os.getpid()
    assert not (tmp_path / "run").joinpath(run_lock.NAME).exists()


def test_the_folder_is_made_and_an_empty_one_removed(tmp_path):
    with pytest.raises(KeyError, match="wrong"), locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / run_lock.NAME).exists()
        raise KeyError("wrong")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "model").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["model"]


@pytest.mark.parametrize("age", [5, 100])
def test_another_machine_that_was_just_heard_of_is_alive(tmp_path, age):
    path = write_lock(tmp_path / "run", age=age)
    message = f"on elsewhere trains .* last heard of ({age}|{age + 1}) s ago"
    with pytest.raises(RunInUseError, match=message), locked(tmp_path / "run"):
        pass
    assert json.loads(path.read_text())["id"] == "another"


def test_another_machine_that_fell_silent_is_gone(tmp_path):
    write_lock(tmp_path / "run", age=run_lock.SILENCE + 5)
    with locked(tmp_path / "run") as lock:
        lock.check()


@pytest.mark.parametrize(
    "holder_of",
    [
        lambda: {"host": run_lock.platform.node()},  # written before a reboot
        lambda: {"boot": run_lock._boot_id()},  # written in a container of this machine
        lambda: {"boot": run_lock._boot_id(), "pid": 2**22 + 1},
    ],
)
@pytest.mark.parametrize("kernel", [True, False])
def test_a_process_of_this_machine_is_known_to_be_gone(tmp_path, monkeypatch, holder_of, kernel):
    """Tests with the kernel's locks and on a file system without them."""
    if not kernel:
        monkeypatch.setattr(run_lock, "_flock", lambda file: None)
    write_lock(tmp_path / "run", **holder_of())
    with locked(tmp_path / "run") as lock:
        lock.check()


def test_without_the_kernels_locks_a_living_process_is_known_by_its_birth(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "_flock", lambda file: None)
    here = {"boot": run_lock._boot_id(), "birth": run_lock._birth(os.getpid())}
    write_lock(tmp_path / "run", **here)
    with pytest.raises(RunInUseError, match=f"process {os.getpid()} on"), locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize("content", [b"", b'{"id": "x', b"[1]", b"\xff\xfe"])
def test_a_lock_that_was_cut_off_is_taken_over(tmp_path, content):
    (tmp_path / run_lock.NAME).write_bytes(content)
    with locked(tmp_path) as lock:
        lock.check()
    assert not (tmp_path / run_lock.NAME).exists()


def test_the_holder_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "HEARTBEAT", 0.02)
    with locked(tmp_path):
        os.utime(tmp_path / run_lock.NAME, (0, 0))
        time.sleep(0.5)
        assert time.time() - (tmp_path / run_lock.NAME).stat().st_mtime < 5


@pytest.mark.parametrize("removed", [True, False])
def test_who_wakes_up_without_the_lock_stops_and_leaves_the_other_alone(tmp_path, removed):
    path = tmp_path / run_lock.NAME
    with locked(tmp_path) as lock:
        path.unlink()
        if not removed:
            path.write_text(json.dumps({"id": "another"}))
        with pytest.raises(LockLostError, match="taken by another process or removed"):
            lock.check()
    assert path.exists() != removed


def test_a_folder_that_cannot_be_written_is_an_error_of_its_own(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / "run"):
        pass
