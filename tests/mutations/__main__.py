"""Puts faults into a copy of the sources, one at a time, and prints which the fast tests catch.

    python -m tests.mutations                 all faults
    python -m tests.mutations --only warp     faults whose name contains "warp"
    python -m tests.mutations --check         only check that the faults fit the sources

The exit code is 1 if a fault is missed, no longer fits, or its tests fail without it (BROKEN).
Tests run in a fork of a process that has imported TensorFlow but nothing of this project, so that
they use the copy.
"""

import argparse
import contextlib
import importlib
import io
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

from tests.mutations.faults import FAULTS

ROOT = pathlib.Path(__file__).parents[2]
COPIED = ("rcn_tf", "custom_ops", "data_prep", "eval", "tests", "docs", "configs", "examples")
FILES = ("pyproject.toml", "setup.py", "README.md", "CONTRIBUTING.md")
IMPORTED = ("tensorflow", "scipy.ndimage", "SimpleITK", "pandas", "h5py", "matplotlib")
CAUGHT, MISSED, BROKEN = "caught", "MISSED", "BROKEN"  # the tests fail also without the fault
_TESTS_PASSED, _TESTS_FAILED = 0, 1  # exit codes of pytest


def misfit(fault, root):
    """Why a fault cannot be inserted, or None."""
    path = root / fault.file
    if not path.is_file():
        return f"there is no {fault.file}"
    found = path.read_text(encoding="utf-8").count(fault.old)
    if found != 1:
        return f"its text occurs {found} times in {fault.file}"
    missing = [name for name in fault.tests if not (root / name.split("::")[0]).is_file()]
    return f"there is no {missing[0]}" if missing else None


def copy_sources(folder):
    """Copies the checkout's sources and tests."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)


def verdict(fault, folder, log):
    """Runs a fault's tests on the copy with the fault in it: CAUGHT, MISSED or BROKEN."""
    path = folder / fault.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(fault.old, fault.new), encoding="utf-8")
    try:
        code = run_tests(fault.tests, folder, log)
    finally:
        path.write_text(sound, encoding="utf-8")
    return {_TESTS_PASSED: MISSED, _TESTS_FAILED: CAUGHT}.get(code, BROKEN)


def first_failure(log):
    """The test that noticed a fault, as pytest's summary names it."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.MULTILINE)
    return found[1] if found else ""


def run_tests(tests, folder, log):
    """Exit code of pytest on a copy's fast tests, in a forked process; its output goes to `log`."""
    child = os.fork()
    if not child:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os._exit(_pytest(tests, folder))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _pytest(tests, folder):
    import pytest

    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    os.chdir(folder)
    sys.path[:] = [str(folder), *(p for p in sys.path if p not in ("", str(ROOT)))]
    os.environ["PYTHONPATH"] = str(folder)
    options = ["-x", "-q", "-m", "not slow and not nightly", "-p", "no:cacheprovider"]
    return int(pytest.main([*options, "-n", "0", *tests]))


def prepare():
    """Imports slow packages once for all forks, but no module of this project."""
    sys.dont_write_bytecode = True
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MPLBACKEND", "Agg")
    for name in (*IMPORTED, "tf_keras"):
        with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module(name)


def main(arguments=None):
    """Runs the faults; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="run the faults whose name holds this text")
    parser.add_argument("--check", action="store_true", help="only see whether the faults fit")
    options = parser.parse_args(arguments)
    chosen = [fault for fault in FAULTS if options.only in fault.name]
    unfit = {fault.name: reason for fault in chosen if (reason := misfit(fault, ROOT))}
    for name, reason in unfit.items():
        print(f"{name}: {reason}")
    if options.check:
        print(f"{len(chosen) - len(unfit)} of {len(chosen)} faults fit the sources")
        return int(bool(unfit))
    prepare()
    counts = dict.fromkeys((CAUGHT, MISSED, BROKEN), 0)
    sound = {}  # whether the tests pass without a fault
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        copy_sources(folder)
        log = folder / "log.txt"
        for fault in chosen:
            if fault.name in unfit:
                continue
            start = time.perf_counter()
            if fault.tests not in sound:
                sound[fault.tests] = run_tests(fault.tests, folder, log) == _TESTS_PASSED
            found = verdict(fault, folder, log) if sound[fault.tests] else BROKEN
            counts[found] += 1
            seconds = time.perf_counter() - start
            noticed = first_failure(log)
            print(f"{found:6} {seconds:4.0f} s  {fault.name} ({fault.file}) {noticed}", flush=True)
    print(", ".join(f"{number} {found}" for found, number in counts.items() if number))
    return int(counts[CAUGHT] != len(chosen))


if __name__ == "__main__":
    sys.exit(main())
