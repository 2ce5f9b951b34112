"""benchmarks/training.py runs, and its tables have the expected rows."""

import importlib
import re
import sys

import pytest

from tests.examples.test_examples import ROOT, run

NUMBER = r"[\d.]+"
ROWS = {  # table: its rows' first cells, and patterns of the others
    "steps": [
        ("1 | float32 | off", (NUMBER, "", NUMBER, NUMBER)),
        ("1 | float32 | on", (NUMBER, NUMBER, NUMBER, NUMBER)),
        ("1 | bfloat16 | off", (NUMBER, "", NUMBER, NUMBER)),
        ("1 | bfloat16 | on", (NUMBER, NUMBER, NUMBER, NUMBER)),
    ],
    "baseline": [
        ("1 | float32, Python warp", (NUMBER, "1.00", NUMBER, NUMBER)),
        ("1 | float32, native warp", (NUMBER, NUMBER, NUMBER, NUMBER)),
        ("1 | bfloat16, native warp", (NUMBER, NUMBER, NUMBER, NUMBER)),
    ],
    "replicas": [
        ("1 | 1", (NUMBER, "1.00")),
        ("1 | 2", (NUMBER, NUMBER)),
        ("1 | 4", (NUMBER, NUMBER)),
    ],
    "profile": [
        ("1 | convolution", (NUMBER, NUMBER + "%") * 2),
        ("1 | rest", (NUMBER, NUMBER + "%") * 2),
        ("1 | all ops", (NUMBER, r"100\.0%") * 2),
        ("1 | the step, untraced", (NUMBER, "") * 2),
    ],
}
ROWS["inference"] = ROWS["baseline"]
QUICK = ("--size", 32, "--cascades", 1, "--repeats", 1, "--turns", 1)


@pytest.fixture
def benchmark(monkeypatch):
    """benchmarks/training.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("training")
    for name in ("training", "profile_step"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("table", ROWS)
def test_training_benchmark_prints_its_table(table, benchmark, monkeypatch, capsys):
    """Prints given measurements."""
    measured = {"samples": [2.0], "seconds": 2.0, "peak": 3 << 30, "state": 1 << 30}
    kinds = {"convolution": 1.5, "rest": 0.5}
    monkeypatch.setattr(benchmark, "run", lambda _cell: {**measured, "kinds": kinds})
    monkeypatch.setattr(sys, "argv", ["training.py", "--only", table, *map(str, QUICK)])
    benchmark.main()
    printed = capsys.readouterr().out
    check_rows(table, printed)
    assert ("75.0%" if table == "profile" else "2.000") in printed
    if table not in ("profile", "replicas"):
        assert "| 3.00 | 2.00 |" in printed


@pytest.mark.nightly
@pytest.mark.parametrize("table", ROWS)
def test_training_benchmark_measures_its_table(table):
    check_rows(table, run("benchmarks/training.py", "--only", table, *QUICK))


def check_rows(table, text):
    lines = text.splitlines()
    for label, values in ROWS[table]:
        pattern = rf"\| {re.escape(label)} \| {' [|] '.join(values)} \|"
        assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1, (label, lines)


@pytest.mark.nightly
def test_vr_net_benchmark_measures_its_rows():
    sizes = ("--plane", 32, 32, "--volume", 32, 32, 32, "--channels", 1, "--repeats", 1)
    text = run("benchmarks/vr_net.py", "--only", "forward", *sizes)
    for shape, warps in (("32x32", 1), ("32x32", 2), ("32x32", 6), ("32x32x32", 2)):
        for name in ("U-Nets", "RC-Net", "VR-Net"):
            row = rf"\| {shape} \| {warps}x1 \| {warps + 1} \| {name} \| forward \|"
            assert re.search(rf"{row} {NUMBER} \| {NUMBER} \| {NUMBER} \| {NUMBER} \|", text)


@pytest.mark.nightly
def test_training_benchmark_says_what_died():
    """If a precision cannot be measured, the rows of the others are unchanged."""
    options = ("--only", "inference", "--precisions", "float12", "float32", *QUICK)
    text = run("benchmarks/training.py", *options)
    assert "| 1 | float12, native warp | died |" in text
    assert re.search(rf"\| 1 \| float32, native warp \| {NUMBER} \| {NUMBER} \|", text)


@pytest.mark.nightly
def test_training_benchmark_measures_another_checkout(tmp_path):
    """The other checkout's package cannot be imported, which proves that it is the one measured."""
    package = tmp_path / "rcn_tf"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('another checkout')")
    options = ("--only", "inference", "--precisions", "float32", "--baseline-tree", tmp_path)
    text = run("benchmarks/training.py", *options, *QUICK)
    assert "| 1 | baseline tree | died |" in text
    assert re.search(rf"\| 1 \| float32, Python warp \| {NUMBER} \|", text)
