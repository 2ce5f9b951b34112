"""Runs of many pairs, resumed, changed, failed and killed, with a registration that is fast."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from rcn_tf.registration.pair_index import write_overview
from rcn_tf.registration.pair_record import recorded_source
from rcn_tf.registration.pair_runs import FAILED, REGISTERED, START, check_places, run_pairs
from rcn_tf.registration.pairs_file import as_pairs

SAME = dict.fromkeys(("before", "initial", "after"), 0.5)
METRICS = {
    "correlation": {"before": 0.25, "initial": 0.5, "after": None},
    "agreement": SAME,
    "agreement_inside": SAME,
    "dice": {"mean": {"before": 0.1, "initial": 0.2, "after": 0.75}, "structures": {"1": SAME}},
    "folding_percent": 0.125,
    "jacobian_std": 0.2,
    "warnings": ["look at it"],
    "seconds": {"read": 1.5, "write": 2.0},
    "failed": False,
}


class Registration:
    """Writes two files and notes whom it was called for."""

    def __init__(self):
        self.done = []

    def __call__(self, pair, folder):
        if b"broken" in pair.moving.read_bytes():
            raise ValueError(f"{folder / 'x'} is broken\nindeed")
        self.done.append(pair.name)
        (folder / "warped.nii.gz").write_bytes(pair.moving.read_bytes())
        failed = b"worse" in pair.moving.read_bytes()
        (folder / "metrics.json").write_text(json.dumps({**METRICS, "failed": failed}))


@pytest.fixture
def pairs(tmp_path):
    for name in "abcd":
        (tmp_path / name).write_text(name)
    return as_pairs(
        {"fixed": tmp_path / "a", "moving": tmp_path / name, "name": f"p {name}"} for name in "bcd"
    )


def run(pairs, out, settings=None, **more):
    registration = Registration()
    runs = run_pairs(pairs, out, registration, settings or {"refine": 50}, write_overview, **more)
    return list(runs), registration.done


def test_finished_pairs_are_skipped_unless_something_changed(pairs, tmp_path):
    out = tmp_path / "out"
    outcomes, done = run(pairs, out)
    assert done == ["p b", "p c", "p d"]
    assert [o.status for o in outcomes] == [REGISTERED] * 3
    outcomes, done = run(pairs, out)
    assert done == [] and all(o.skipped and o.ok for o in outcomes)
    assert outcomes[0].metrics == METRICS

    (tmp_path / "c").write_text("changed")  # an input
    assert run(pairs, out)[1] == ["p c"]
    assert (out / "p c" / "warped.nii.gz").read_text() == "changed"
    os.utime(tmp_path / "c")  # the same content
    assert run(pairs, out)[1] == []
    (out / "p b" / "warped.nii.gz").unlink()  # a result
    assert run(pairs, out)[1] == ["p b"]
    (out / "p d" / "pair.json").write_text("{")
    assert run(pairs, out)[1] == ["p d"]
    assert run(pairs, out, {"refine": 51})[1] == ["p b", "p c", "p d"]  # a setting


def test_what_a_user_put_beside_stays(pairs, tmp_path):
    out = tmp_path / "out"
    run(pairs, out)
    (out / "p b" / "notes.txt").write_text("mine")
    assert run(pairs, out, {"refine": 7})[1] == ["p b", "p c", "p d"]
    assert (out / "p b" / "notes.txt").read_text() == "mine"
    assert run(pairs, out, {"refine": 7})[1] == []


def test_a_failed_pair_is_its_own(pairs, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "c").write_text("broken")
    (tmp_path / "d").write_text("worse")
    outcomes, done = run(pairs, out)
    assert [o.status for o in outcomes] == [REGISTERED, FAILED, START]
    assert outcomes[1].error == f"{out / 'p c' / 'x'} is broken indeed"
    assert {p.name for p in out.iterdir()} == {"p b", "p d", "summary.csv", "index.html"}
    assert run(pairs, out)[1] == []  # tried again, in vain
    (tmp_path / "c").write_text("mended")
    assert run(pairs, out)[1] == ["p c"]


def test_faults_of_the_program_are_told_apart(pairs, tmp_path, monkeypatch):
    def register(pair, folder):
        raise TypeError("no")

    arguments = (pairs, tmp_path / "out", register, {}, write_overview)
    errors = [o.error for o in run_pairs(*arguments)]
    assert errors == ["TypeError: no (RCN_DEBUG=1 shows where)"] * 3
    monkeypatch.setenv("RCN_DEBUG", "1")
    with pytest.raises(TypeError):
        list(run_pairs(*arguments))


def test_preparing_is_for_pairs_that_are_to_be_done(pairs, tmp_path):
    def prepare():
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        run(pairs, tmp_path / "out", prepare=prepare)
    run(pairs, tmp_path / "out")
    assert run(pairs, tmp_path / "out", prepare=prepare)[1] == []


def test_summary_and_index(pairs, tmp_path):
    (tmp_path / "c").write_text("broken")
    out = tmp_path / "out"
    runs = run_pairs(pairs, out, Registration(), {}, write_overview)
    next(runs)
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["registered", "waiting", "waiting"]
    list(runs)
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["name"] == "p b" and rows[0]["moving"] == "b"
    assert (rows[0]["correlation_before"], rows[0]["correlation_after"]) == ("0.25", "")
    assert (rows[0]["dice_after"], rows[0]["folding_percent"]) == ("0.75", "0.125")
    assert (rows[0]["seconds"], rows[0]["warnings"], rows[0]["error"]) == ("3.5", "1", "")
    assert rows[1]["status"] == "failed" and "is broken indeed" in rows[1]["error"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'href="(.*?)"', page) == 2 * ["p%20b/report.html"] + 2 * [
        "p%20d/report.html"
    ]
    assert 'src="p%20b/overview.png"' in page
    assert "0.100 &rarr; 0.750" in page
    assert "is broken indeed" in page


def test_names_cannot_break_the_page(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    pairs = as_pairs([{"fixed": tmp_path / "a", "moving": tmp_path / "b", "name": '<b>"&'}])
    run(pairs, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "%3Cb%3E%22%26/report.html" in page


def test_places_are_checked_before_any_work(pairs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p c").write_text("a file")
    with pytest.raises(ValueError, match="pair 2: .* is a file; choose another name"):
        check_places(pairs, tmp_path / "out")
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        check_places(pairs, tmp_path / "a")
    inside = tmp_path / "other" / "x" / "warped.nii.gz"
    inside.parent.mkdir(parents=True)
    inside.write_text("an image")
    own = as_pairs([{"fixed": inside, "moving": inside, "name": "x"}])
    with pytest.raises(ValueError, match="would be replaced by the result"):
        check_places(own, tmp_path / "other")


SLOW = """
import pathlib, sys, time
from rcn_tf.registration.pair_runs import run_pairs
from rcn_tf.registration.pairs_file import as_pairs
out = pathlib.Path(sys.argv[1])
def register(pair, folder):
    for k in range(20):
        (folder / f"{k}").write_text(k * "x")
        print(k, flush=True)
    (folder / "metrics.json").write_text('{"failed": false}')
pairs = as_pairs({"fixed": __file__, "moving": __file__, "name": f"p{k}"} for k in range(1000))
for outcome in run_pairs(pairs, out, register, {"run": sys.argv[2]}, lambda *_: None):
    pass
"""


def test_killed_runs_leave_whole_results(tmp_path):
    """Killed at five moments, in new folders and in those of an earlier run."""
    script, out = tmp_path / "slow.py", tmp_path / "out"
    script.write_text(SLOW)
    for k, lines in enumerate((27, 60, 103, 41, 79)):
        command = [sys.executable, script, out, str(k // 3)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        for _ in range(lines):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        folders = [path for path in out.iterdir() if not path.name.startswith(".")]
        whole = [path for path in folders if recorded_source(path) is not None]
        assert len(folders) - len(whole) <= (1 if k >= 3 else 0)  # one may be about to change
        assert all(len(list(path.iterdir())) == 22 for path in whole)
        assert len(whole) >= (lines // 20 - 1 if k < 3 else 1)
    hidden = [path for path in out.iterdir() if path.name.startswith(".partial-")]
    assert len(hidden) <= 1  # of the last run; each removes what the one before left
