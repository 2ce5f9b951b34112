"""data_prep.batch: order, failures, resuming, kills, a full disk."""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from data_prep import batch
from data_prep.finished_scans import Parts
from data_prep.packs import PackWriter
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from rcn_tf.data.packs import PackReader
from rcn_tf.errors import InputWarning, warn

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class TextRecipe:
    """Makes a volume filled with the number in the scan's file; some words have other effects."""

    factor: int = 1
    shape: tuple = (2, 3, 4)
    journal: str = ""

    def __call__(self, files, timer):
        with timer.step("read"):
            text = files.image.read_text()
        if self.journal:
            with pathlib.Path(self.journal).open("a") as journal:
                journal.write(f"{files.id}\n")
        if text == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if text == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if text.startswith("wait"):
            time.sleep(0.3)
            text = text[4:]
        if text.startswith("odd"):
            warn(f"{files.image} is odd, taken for even")
            warn(f"{files.image} is odd, taken for even")
            text = text[3:]
        value = int(text) * self.factor
        labels = np.zeros((2, 3, 4), int)
        labels[0, 0, 0] = value
        return PreparedScan(np.full((2, 3, 4), value, np.uint8), labels, [[1, 2, 3]], {"n": value})


def scans_of(folder, texts):
    """One file per text; ids scan/0, scan/1 ..."""
    scans = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.txt"
        if not path.exists() or path.read_text() != str(text):
            path.write_text(str(text))
        scans.append(ScanFiles(f"scan/{number}", path))
    return scans


def contents(pack):
    with PackReader(pack) as reader:
        assert all(reader.verify_checksum(scan) for scan in reader.ids())
        return {scan: int(reader.read(scan).volume[0, 0, 0]) for scan in reader.ids()}


@pytest.mark.parametrize("workers", [1, 2])
def test_all_scans_in_order(tmp_path, workers):
    scans = scans_of(tmp_path, [5, "x", 7, 3])
    seen = []
    summary = batch.build_pack(
        scans, TextRecipe(), tmp_path / "pack.h5", workers=workers, progress=seen.append
    )
    assert contents(tmp_path / "pack.h5") == {"scan/0": 5, "scan/2": 7, "scan/3": 3}
    assert summary.prepared == ["scan/0", "scan/2", "scan/3"]
    assert list(summary.failed) == ["scan/1"]
    assert "invalid literal" in summary.failed["scan/1"]
    assert summary.labels == [3, 5, 7]
    assert sorted(one.scan_id for one in seen) == [scan.id for scan in scans]
    assert set(summary.step_shares()) == {"read", "write"}
    assert sum(summary.step_shares().values()) == pytest.approx(1)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_warnings_of_a_scan_reach_the_user_with_its_id(tmp_path, workers):
    scans = scans_of(tmp_path, [5, "odd7", "odd3"])
    for fresh in (3, 0):  # warnings of a finished scan are repeated
        with pytest.warns(InputWarning) as caught:
            summary = batch.build_pack(scans, TextRecipe(), tmp_path / "pack.h5", workers=workers)
        assert summary.fresh == fresh
        assert sorted(str(one.message) for one in caught) == [
            f"scan/{k}: {tmp_path / f'{k}.txt'} is odd, taken for even" for k in (1, 2)
        ]
    assert contents(tmp_path / "pack.h5") == {"scan/0": 5, "scan/1": 7, "scan/2": 3}


def test_finished_scans_are_not_done_again(tmp_path):
    journal = tmp_path / "journal"
    recipe = TextRecipe(journal=str(journal))
    pack = tmp_path / "pack.h5"

    def run(texts, recipe=recipe):
        journal.write_text("")
        summary = batch.build_pack(scans_of(tmp_path, texts), recipe, pack)
        return journal.read_text().split(), summary

    assert run([5, 6])[0] == ["scan/0", "scan/1"]
    done, summary = run([5, 6, 7])
    assert done == ["scan/2"]
    assert (summary.fresh, summary.prepared) == (1, ["scan/0", "scan/1", "scan/2"])
    assert run([5, 8, 7])[0] == ["scan/1"]  # another file
    assert contents(pack) == {"scan/0": 5, "scan/1": 8, "scan/2": 7}
    assert len(run([5, 8, 7], dataclasses.replace(recipe, factor=2))[0]) == 3  # another recipe
    assert contents(pack) == {"scan/0": 10, "scan/1": 16, "scan/2": 14}
    with h5py.File(pack, "r+") as file:
        file["scan/1/volume"][0, 0, 0] = 1
    assert run([5, 8, 7], dataclasses.replace(recipe, factor=2))[0] == ["scan/1"]  # damaged
    with h5py.File(pack, "r+") as file:
        file["scan/2/segmentation"][1, 0, 0] = 1
    assert run([5, 8, 7], dataclasses.replace(recipe, factor=2))[0] == ["scan/2"]
    assert run([8])[1].prepared == ["scan/0"]  # scans that are no longer asked for are removed
    assert contents(pack) == {"scan/0": 8}


def test_strict_and_required(tmp_path):
    scans = scans_of(tmp_path, [5, "x", 7])
    for options in ({"strict": True}, {"required": ["scan/1"]}):
        with pytest.raises(ValueError, match="scan/1: invalid literal"):
            batch.build_pack(scans, TextRecipe(), tmp_path / "pack.h5", **options)
    assert not (tmp_path / "pack.h5").exists()
    summary = batch.build_pack(scans_of(tmp_path, [5, 6, 7]), TextRecipe(), tmp_path / "pack.h5")
    assert summary.fresh == 2  # the first was kept
    with pytest.raises(ValueError, match="The only scan could not be prepared; scan/0: invalid"):
        batch.build_pack(scans_of(tmp_path, ["x"]), TextRecipe(), tmp_path / "other.h5")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk_ends_the_run_and_keeps_what_is_done(tmp_path, workers):
    pack = tmp_path / "pack.h5"
    batch.build_pack(scans_of(tmp_path, [1]), TextRecipe(), pack)
    with pytest.raises(OSError, match="the disk is full; finished scans are kept") as caught:
        batch.build_pack(scans_of(tmp_path, [5, "full", 7]), TextRecipe(), pack, workers=workers)
    assert caught.value.errno == errno.ENOSPC
    assert contents(pack) == {"scan/0": 1}
    assert batch.build_pack(scans_of(tmp_path, [5, 6, 7]), TextRecipe(), pack).fresh < 3


def test_full_disk_while_merging(tmp_path, monkeypatch):
    def full(self, pack, scan_id):
        raise OSError(errno.ENOSPC, "No space left on device")

    pack = tmp_path / "pack.h5"
    batch.build_pack(scans_of(tmp_path, [1]), TextRecipe(), pack)
    with monkeypatch.context() as patch:
        patch.setattr(PackWriter, "copy", full)
        with pytest.raises(OSError, match=r"disk is full; finished scans are kept.*pack\.h5"):
            batch.build_pack(scans_of(tmp_path, [5, 6]), TextRecipe(), pack)
    assert contents(pack) == {"scan/0": 1}
    assert batch.build_pack(scans_of(tmp_path, [5, 6]), TextRecipe(), pack).fresh == 0
    assert contents(pack) == {"scan/0": 5, "scan/1": 6}


def test_other_scans_can_stay(tmp_path):
    pack = tmp_path / "pack.h5"
    batch.build_pack(scans_of(tmp_path, range(1, 13)), TextRecipe(), pack)
    changed = [scans_of(tmp_path, [1, 2, 30])[2]]
    summary = batch.build_pack(changed, TextRecipe(), pack, keep_others=True)
    assert summary.fresh == 1
    assert summary.prepared == [f"scan/{k}" for k in range(12)]
    assert contents(pack)["scan/2"] == 30
    assert summary.labels == [1, 2, *range(4, 13), 30]
    with h5py.File(pack, "r+") as file:
        file["scan/3/volume"][0, 0, 0] = 99
    before = pack.read_bytes()
    with pytest.raises(ValueError, match="Scan 'scan/3' in .* is damaged: prepare it as well"):
        batch.build_pack(changed, TextRecipe(), pack, keep_others=True)
    assert pack.read_bytes() == before
    broken = [scans_of(tmp_path, [1, 2, "x", 4])[2], scans_of(tmp_path, [1, 2, "x", 4])[3]]
    with pytest.raises(ValueError, match="scan/2: invalid literal"):
        batch.build_pack(broken, TextRecipe(), pack, keep_others=True)
    assert pack.read_bytes() == before


@pytest.mark.parametrize("kind", ["text", "original"])
def test_what_others_wrote_is_not_replaced(tmp_path, kind):
    pack = tmp_path / "pack.h5"
    if kind == "text":
        pack.write_text("old")
    else:
        with h5py.File(pack, "w") as file:
            file["1/volume"] = np.zeros((2, 3, 4), np.uint8)
    before = pack.read_bytes()
    with pytest.raises(ValueError, match=r"pack\.h5 is not a pack of this program"):
        batch.build_pack(scans_of(tmp_path, [1]), TextRecipe(), pack)
    assert pack.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("texts", [[5, "wait6", "kill", 7, "kill", 8], ["kill", 1], [1, "kill"]])
def test_scans_that_kill_their_worker(tmp_path, texts):
    summary = batch.build_pack(
        scans_of(tmp_path, texts), TextRecipe(), tmp_path / "pack.h5", workers=2
    )
    killers = [f"scan/{k}" for k, text in enumerate(texts) if text == "kill"]
    assert list(summary.failed) == killers
    assert set(summary.failed.values()) == {"its worker process was killed (out of memory?)"}
    assert len(contents(tmp_path / "pack.h5")) == len(texts) - len(killers)


def test_parts_of_another_recipe_are_not_taken(tmp_path):
    """A complete pack, an interrupted run with other options, then the first options again."""
    pack, scans = tmp_path / "pack.h5", scans_of(tmp_path, [1, 2, 3])
    batch.build_pack(scans, TextRecipe(), pack)
    with pytest.raises(KeyboardInterrupt):
        batch.build_pack(scans, TextRecipe(factor=10), pack, progress=_interrupt_at("scan/1"))
    summary = batch.build_pack(scans[:1], TextRecipe(), pack, keep_others=True)
    assert (summary.fresh, len(summary.prepared)) == (0, 3)
    assert contents(pack) == {"scan/0": 1, "scan/1": 2, "scan/2": 3}
    with pytest.raises(KeyboardInterrupt):
        batch.build_pack(scans, TextRecipe(factor=10), pack, progress=_interrupt_at("scan/1"))
    assert batch.build_pack(scans, TextRecipe(), pack).fresh == 0
    assert contents(pack) == {"scan/0": 1, "scan/1": 2, "scan/2": 3}


def _interrupt_at(scan_id):
    def interrupt(outcome):
        if outcome.scan_id == scan_id:
            raise KeyboardInterrupt

    return interrupt


def test_others_must_be_of_the_same_recipe(tmp_path):
    pack, scans = tmp_path / "pack.h5", scans_of(tmp_path, [1, 2])
    batch.build_pack(scans, TextRecipe(), pack)
    with pytest.raises(ValueError, match="prepared with other options, for example 'scan/1'"):
        batch.build_pack(scans[:1], TextRecipe(factor=2), pack, keep_others=True)
    assert contents(pack) == {"scan/0": 1, "scan/1": 2}
    with h5py.File(pack, "r+") as file:
        del file["scan/1"]
        file["scan/1/volume"] = 3  # not a volume
    with pytest.raises(ValueError, match="'scan/1' in .* is damaged"):
        batch.build_pack(scans[:1], TextRecipe(), pack, keep_others=True)


def test_only_one_run_at_a_time(tmp_path):
    scans = scans_of(tmp_path, [5])
    with (
        Parts(tmp_path / "pack.h5"),
        pytest.raises(OSError, match=r"Another run is writing .*pack\.h5"),
    ):
        batch.build_pack(scans, TextRecipe(), tmp_path / "pack.h5")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "a"], "'a' occurs twice"),
        (["../a"], "without '.' or '..'"),
        ([], "no scan to prepare"),
    ],
)
def test_bad_ids(tmp_path, ids, message):
    with pytest.raises(ValueError, match=message):
        batch.build_pack([ScanFiles(k) for k in ids], TextRecipe(), tmp_path / "pack.h5")


def test_missing_file_is_a_failed_scan(tmp_path):
    scans = [*scans_of(tmp_path, [4]), ScanFiles("gone", tmp_path / "gone.txt")]
    summary = batch.build_pack(scans, TextRecipe(), tmp_path / "pack.h5")
    assert "no such file" in summary.failed["gone"]


@pytest.mark.nightly
def test_kill_at_any_moment(tmp_path):
    """The run is killed repeatedly; the pack appears only complete, and each scan is done once."""
    scans_of(tmp_path, [f"wait{k}" for k in range(6)])
    journal = tmp_path / "journal"
    script = f"""
import json, pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.data_prep.test_batch import TextRecipe, scans_of
from data_prep import batch
if __name__ == "__main__":
    folder = pathlib.Path({str(tmp_path)!r})
    scans = scans_of(folder, [f"wait{{k}}" for k in range(6)])
    recipe = TextRecipe(journal={str(journal)!r})
    summary = batch.build_pack(scans, recipe, folder / "pack.h5", workers=2)
    print(json.dumps(summary.prepared))
"""
    (tmp_path / "run.py").write_text(script)
    command = [sys.executable, str(tmp_path / "run.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for parts_wanted in (0, 1, 3):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        while process.poll() is None:
            parts = list(tmp_path.glob(".pack.h5.parts/*.h5"))
            done = len([p for p in parts if not p.name.startswith(".")])
            if done >= parts_wanted > 0 or (parts_wanted == 0 and _children(process.pid) > 1):
                break
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "pack.h5").exists()
        _wait_for_the_end_of(process.pid)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [f"scan/{k}" for k in range(6)]
    assert contents(tmp_path / "pack.h5") == {f"scan/{k}": k for k in range(6)}
    begun = journal.read_text().split()
    assert len(begun) <= 6 + 2 * 3  # at most what each of two workers had in hand
    assert not list(tmp_path.glob(".*"))


def _children(pid):
    """Number of a process' children (the workers and the process that tracks their resources)."""
    try:
        return len(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return 0


def _wait_for_the_end_of(group, seconds=10):
    """Waits until the workers of the killed run notice it and end."""
    end = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.1)
        raise AssertionError("workers outlive the run they belong to")


def test_a_pack_that_is_up_to_date_keeps_its_date(tmp_path):
    """Files that are made from the pack then need not be made again."""
    scans = scans_of(tmp_path, [1, 2])
    pack = tmp_path / "pack.h5"
    batch.build_pack(scans, TextRecipe(), pack, attributes={"seed": 1})
    os.utime(pack, (1, 1))
    batch.build_pack(scans, TextRecipe(), pack, attributes={"seed": 1})
    assert pack.stat().st_mtime == 1
    assert not list(tmp_path.glob(".*"))
    batch.build_pack(scans, TextRecipe(), pack, attributes={"seed": 2})
    assert pack.stat().st_mtime > 1
    os.utime(pack, (1, 1))
    batch.build_pack(scans[:1], TextRecipe(), pack, attributes={"seed": 2})
    assert pack.stat().st_mtime > 1
