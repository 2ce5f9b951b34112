"""The next run removes folders of killed runs, but never those of running processes."""

import os
import signal
import subprocess
import sys

import pytest

from rcn_tf.errors import one_line
from rcn_tf.files.whole_files import replacing, replacing_folder
from rcn_tf.files.working_folders import EARLIER, remove_leftovers, temporary_folder, working_folder

HOLD = """
import sys
import time
from rcn_tf.files.working_folders import working_folder
with working_folder(sys.argv[1]) as folder:
    (folder / "half.nii").write_text("half")
    print(folder.name, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that holds a working folder below tmp_path; and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    yield process, tmp_path / process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_goes_with_its_block(tmp_path):
    with working_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(f".partial-{os.getpid()}-")
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt), working_folder(tmp_path):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path, other_process):
    process, left = other_process
    with replacing(tmp_path / "a.txt") as file:
        file.write_text("whole")
    assert (left / "half.nii").exists()  # its process is alive
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with replacing(tmp_path / "a.txt") as file:
        assert not left.exists()
        file.write_text("whole again")
    assert names(tmp_path) == ["a.txt"]


def test_a_living_process_in_other_namespaces_keeps_its_folder(tmp_path, other_process):
    """The process number is from another container and meaningless, so the lock decides."""
    _, held = other_process
    renamed = held.rename(tmp_path / ".partial-999999999-abc")
    remove_leftovers(tmp_path)
    assert (renamed / "half.nii").exists()


def test_folders_without_a_lock_go_by_their_process(tmp_path):
    for number in (999999999, os.getpid()):
        (tmp_path / f".partial-{number}").mkdir()
    (tmp_path / ".partial-notes").mkdir()
    (tmp_path / ".partial-999999998").write_text("a file")
    remove_leftovers(tmp_path)
    kept = [".partial-999999998", f".partial-{os.getpid()}", ".partial-notes"]
    assert names(tmp_path) == sorted(kept)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / ".partial-999999999").symlink_to(tmp_path / "precious")
    remove_leftovers(tmp_path)
    assert (tmp_path / "precious").is_dir()


def test_what_was_replaced_is_not_lost_with_a_killed_process(tmp_path):
    left = tmp_path / ".partial-999999999-abc"
    (left / EARLIER).mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert (left / EARLIER).is_dir()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", "a temporary name")

    with pytest.raises(FileNotFoundError) as caught, working_folder(tmp_path / "absent"):
        pass
    assert caught.value.filename == str(tmp_path / "absent")
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(PermissionError) as caught, working_folder(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path)


def test_temporary_folders_are_private_and_plain(tmp_path, monkeypatch):
    odd = tmp_path / os.fsdecode(b"t\xfcmp")
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    with temporary_folder() as folder:
        assert str(folder).isascii()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_errors_name_the_file_that_was_wanted(tmp_path):
    with pytest.raises(OSError, match="disk") as caught, replacing(tmp_path / "a.nii.gz") as file:
        raise OSError(28, "no space left on the disk", str(file))
    assert caught.value.filename == str(tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=f"^cannot write {tmp_path / 'out'}/part$"):
        fail_in(tmp_path / "out")
    assert names(tmp_path) == []


def test_a_failed_write_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "points.csv"):
        raise OSError(28, "No space left on device")
    assert one_line(caught.value) == f"{tmp_path / 'points.csv'}: No space left on device"


def fail_in(path):
    with replacing_folder(path) as folder:
        raise ValueError(f"cannot write {folder}/part")


def test_names_of_255_bytes(tmp_path):
    path = tmp_path / ("x" * 248 + ".nii.gz")
    with replacing(path) as file:
        assert file.name == "new.nii.gz"
        file.write_text("x")
    assert names(tmp_path) == [path.name]


def test_many_processes_side_by_side(tmp_path):
    """No process mistakes another's folder for a leftover, however they interleave."""
    code = (
        "import sys\nfrom rcn_tf.files.whole_files import replacing\n"
        "for k in range(100):\n"
        "    with replacing(sys.argv[1]) as file:\n"
        "        file.write_text('x')\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / f"{n}.txt")]) for n in range(4)
    ]
    assert [run.wait() for run in runs] == [0] * 4
    assert names(tmp_path) == [f"{n}.txt" for n in range(4)]
