"""Prepares many scans into one pack: in parallel, resumable, and whole or not at all.

Each scan is prepared by a recipe, a function `recipe(files, timer) -> PreparedScan` whose
parameters are the fields of a frozen dataclass, in a process of its own (one scan in memory
per worker), and kept as a pack of one scan in a hidden folder beside the output. When all are
done the parts are copied into the output, which appears under its name in one step.

An interrupted run therefore continues where it stopped: a finished scan, in a part or in an
older output, is used again if its fingerprint (files and recipe) and its checksums are right.
A scan that fails is reported and left out, or ends the run if `strict`.
"""

import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import threading
import time
from typing import Optional

import numpy as np
import SimpleITK as sitk

from data_prep.packs import PackWriter
from data_prep.prepared import StepTimer
from rcn_tf import __version__
from rcn_tf.data.packs import PackReader, check_scan_id

_FAILURES = (ValueError, KeyError, OSError, RuntimeError, MemoryError, ArithmeticError)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one scan went: `error` (one line) or the label ids found; seconds by step."""

    scan_id: str
    error: Optional[str] = None
    disk_full: bool = False
    labels: tuple = ()
    seconds: dict = dataclasses.field(default_factory=dict)
    reused: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of a run: all outcomes in the scans' order, and its wall time in seconds."""

    outcomes: tuple
    seconds: float

    @property
    def prepared(self):
        """Ids of the scans that are in the pack."""
        return [one.scan_id for one in self.outcomes if one.error is None]

    @property
    def failed(self):
        """{scan id: error} of those that are not."""
        return {one.scan_id: one.error for one in self.outcomes if one.error is not None}

    @property
    def fresh(self):
        """Number of scans prepared in this run, rather than found finished."""
        return sum(one.error is None and not one.reused for one in self.outcomes)

    @property
    def labels(self):
        """All label ids but 0, sorted."""
        return sorted({label for one in self.outcomes for label in one.labels} - {0})

    def step_shares(self):
        """{step: share of the workers' time}, largest first."""
        total = {}
        for one in self.outcomes:
            for step, seconds in one.seconds.items():
                total[step] = total.get(step, 0.0) + seconds
        whole = sum(total.values()) or 1.0
        return {step: total[step] / whole for step in sorted(total, key=total.get, reverse=True)}


def build_pack(
    scans,
    recipe,
    out,
    *,
    workers=1,
    strict=False,
    required=(),
    attributes=None,
    progress=None,
):
    """Prepares scans and writes them to a pack.

    Args:
        scans: list of ScanFiles, different ids. recipe: see above.
        out: pack to write; an older one is replaced at the end.
        workers: processes; 1 works in this one.
        strict: the first failure ends the run. required: ids whose failure always does.
        attributes: dict, of the pack. progress: called with each Outcome.
    Returns: Summary.
    Raises:
        ValueError: a failure that ends the run, no scan that could be prepared, or bad ids.
        OSError: the disk is full, a worker was killed, or another run writes the same pack.
            Finished scans are kept for the next run.
    """
    out = pathlib.Path(out)
    _check_ids(scans)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"Folder {out.parent} does not exist.")
    required = {scan.id for scan in scans} if strict else set(required)
    start = time.perf_counter()
    parts = out.with_name(f".{out.name}.parts")
    with _locked(parts, out):
        outcomes, sources = _finished(scans, recipe, parts, out)
        for outcome in outcomes.values():
            _report(outcome, required, progress)
        todo = [scan for scan in scans if scan.id not in outcomes]
        with contextlib.closing(_prepare_all(todo, recipe, parts, workers)) as coming:
            for outcome in coming:
                outcomes[outcome.scan_id] = outcome
                sources[outcome.scan_id] = _part(parts, outcome.scan_id)
                _report(outcome, required, progress)
        summary = Summary(tuple(outcomes[scan.id] for scan in scans), time.perf_counter() - start)
        if not summary.prepared:
            first, error = next(iter(summary.failed.items()))
            raise ValueError(f"None of {len(scans)} scans could be prepared; {first}: {error}")
        merged = parts / "merged.h5"
        with PackWriter(merged, attributes) as pack:
            for scan_id in summary.prepared:
                pack.copy(sources[scan_id], scan_id)
        merged.replace(out)
        shutil.rmtree(parts)
    return summary


def _check_ids(scans):
    if not scans:
        raise ValueError("There is no scan to prepare.")
    seen = set()
    for scan in scans:
        check_scan_id(scan.id)
        if scan.id in seen:
            raise ValueError(f"Scan id {scan.id!r} occurs twice.")
        seen.add(scan.id)


@contextlib.contextmanager
def _locked(parts, out):
    """Keeps a second run away from the parts; the system drops the lock of a killed one."""
    parts.mkdir(exist_ok=True)
    with (parts / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OSError(f"Another run is writing {out}.") from error
        try:
            yield
        finally:
            if parts.is_dir() and not any(file.suffix == ".h5" for file in parts.iterdir()):
                shutil.rmtree(parts)  # nothing to continue with


def _finished(scans, recipe, parts, out):
    """Outcomes and packs of the scans that need not be done again; of missing files too."""
    outcomes, sources = {}, {}
    with contextlib.ExitStack() as stack:
        older = None
        with contextlib.suppress(OSError, ValueError):
            older = stack.enter_context(PackReader(out))
        for scan in scans:
            try:
                wanted = _fingerprint(scan, recipe)
            except OSError as error:
                outcomes[scan.id] = Outcome(scan.id, str(error))
                continue
            for path, reader in ((_part(parts, scan.id), None), (out, older)):
                labels = _verified_labels(path, reader, scan.id, wanted)
                if labels is not None:
                    outcomes[scan.id] = Outcome(scan.id, labels=labels, reused=True)
                    sources[scan.id] = path
                    break
    return outcomes, sources


def _verified_labels(path, reader, scan_id, fingerprint):
    """Label ids of a finished scan; None if it is not there, stale or damaged."""
    if reader is None and not path.is_file():
        return None
    try:
        with contextlib.ExitStack() as stack:
            reader = reader or stack.enter_context(PackReader(path))
            scan = reader.read(scan_id)
            if scan.attributes.get("fingerprint") != fingerprint:
                return None
            return _labels(scan.segmentation) if reader.verify_checksum(scan_id) else None
    except (OSError, KeyError, ValueError, RuntimeError):
        return None


def _prepare_all(scans, recipe, parts, workers):
    """Outcomes, as they come in."""
    jobs = [(scan, recipe, _part(parts, scan.id)) for scan in scans]
    if workers == 1 or len(jobs) < 2:
        yield from (_prepare(*job) for job in jobs)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(jobs)), multiprocessing.get_context("spawn"), _set_up_worker
    )
    try:
        futures = [pool.submit(_prepare, *job) for job in jobs]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise OSError(
            "A worker process was killed (out of memory?). Finished scans are kept: run the "
            "same command again, with fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(scan, recipe, part):
    """Makes one scan's part; what can go wrong with a scan becomes an Outcome."""
    timer = StepTimer()
    try:
        prepared = recipe(scan, timer)
        attributes = {**prepared.attributes, "fingerprint": _fingerprint(scan, recipe)}
        with timer.step("write"), PackWriter(part) as pack:
            pack.add(
                scan.id,
                prepared.volume,
                segmentation=prepared.segmentation,
                points=prepared.points,
                attributes=attributes,
            )
        labels = _labels(prepared.segmentation)
    except _FAILURES as error:
        if os.environ.get("RCN_DEBUG"):
            raise
        full = isinstance(error, OSError) and error.errno in _DISK_FULL
        return Outcome(scan.id, _one_line(error), full, seconds=timer.seconds)
    return Outcome(scan.id, labels=labels, seconds=timer.seconds)


def _report(outcome, required, progress):
    if progress:
        progress(outcome)
    if outcome.disk_full:
        raise OSError(
            errno.ENOSPC,
            f"the disk is full; finished scans are kept, run the same command again "
            f"({outcome.scan_id}: {outcome.error})",
        )
    if outcome.error is not None and outcome.scan_id in required:
        raise ValueError(f"{outcome.scan_id}: {outcome.error}")


def _part(parts, scan_id):
    """Path of a scan's part: a hash, for ids may hold what a file name must not."""
    return parts / f"{hashlib.sha256(scan_id.encode()).hexdigest()[:24]}.h5"


def _fingerprint(scan, recipe):
    how = f"{__version__} {type(recipe).__qualname__} {dataclasses.asdict(recipe)}"
    text = f"{scan.id} {scan.fingerprint()} {how}"
    return hashlib.sha256(text.encode()).hexdigest()


def _labels(segmentation):
    return () if segmentation is None else tuple(np.unique(segmentation).tolist())


def _one_line(error):
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__


def _set_up_worker():
    """One thread per worker, silent about warnings; Ctrl-C and the end are the parent's."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
