"""Builds the native ops into a cache, once for all processes of this machine.

    $RCN_CACHE, else $XDG_CACHE_HOME/rcn-tf, else ~/.cache/rcn-tf
        ops/<plan>/librcn_ops.so, build.json, checked

A build is made in a temporary folder and renamed into place when complete; a lock lets a second
process wait for the first one instead of compiling again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from custom_ops.toolchain import BuildError, Plan

LIBRARY = "librcn_ops.so"
_RECORD = "build.json"
_CHECKED = "checked"  # a file that says that the library passed its check on this machine

logger = logging.getLogger(__name__)


def build(plan: Plan, *, force: bool = False) -> pathlib.Path:
    """Path of the library for a plan; it is built unless the cache holds it intact.

    Args:
        plan: from `toolchain.plan`.
        force: build even if the cache holds it.

    Raises: BuildError: if the compiler fails or the cache cannot be written.
    """
    folder = cache_folder() / plan.name
    if is_intact(folder) and not force:
        return folder / LIBRARY
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.with_suffix(".lock")):
            if force or not is_intact(folder):  # else another process has just built it
                _build(plan, folder)
    except OSError as error:
        raise BuildError(f"the cache {folder.parent} cannot be written: {error}") from error
    return folder / LIBRARY


def cache_folder() -> pathlib.Path:
    """Folder of all builds.

    Raises: BuildError: if no variable names it and the user has no home folder.
    """
    named = os.environ.get("RCN_CACHE")
    if named:
        return pathlib.Path(named) / "ops"
    try:
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError as error:
        raise BuildError("there is no home folder for the cache; set RCN_CACHE") from error
    return pathlib.Path(home) / "rcn-tf" / "ops"


def is_intact(folder: pathlib.Path) -> bool:
    """Whether a build folder is complete and its library unchanged."""
    try:
        record = json.loads((folder / _RECORD).read_text())
        return record["sha256"] == _checksum(folder / LIBRARY)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_checked(library: pathlib.Path) -> bool:
    """Whether this build of a library has computed the right numbers before."""
    return (library.parent / _CHECKED).exists()


def note_check(library: pathlib.Path) -> None:
    """Notes that a library computes the right numbers, so that it is not checked at every start."""
    with contextlib.suppress(OSError):  # of a cache that others have made
        (library.parent / _CHECKED).touch()


def _build(plan, folder):
    where = f"TensorFlow {plan.tensorflow}, {'CPU and CUDA' if plan.nvcc else 'CPU'}"
    logger.warning("Building the native warp op for %s (once, under a minute) ...", where)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as work:
        work = pathlib.Path(work)
        result = work / "result"
        result.mkdir()
        commands, objects = plan.compile_commands(work)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(run, commands))
        run(plan.link_command(objects, result / LIBRARY))
        record = {"sha256": _checksum(result / LIBRARY), "plan": dataclasses.asdict(plan)}
        (result / _RECORD).write_text(json.dumps(record, indent=1))
        if folder.exists():
            shutil.rmtree(folder)
        result.rename(folder)


def run(command: Sequence[str]) -> None:
    """Runs a compiler. Raises: BuildError: naming the first error that it reports."""
    logger.info("%s", " ".join(command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from error
    output = done.stdout + done.stderr
    if output.strip():
        logger.info("%s", output.rstrip())
    if done.returncode != 0:
        lines = [line for line in output.splitlines() if "error" in line.lower()]
        reason = (lines or output.splitlines() or [f"exit code {done.returncode}"])[0]
        tool = pathlib.Path(command[0]).name
        raise BuildError(f"{tool} failed: {reason} (`rcn build-ops --verbose` shows all)")


@contextlib.contextmanager
def _lock(path):
    import fcntl  # not on Windows, where nothing is built

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
