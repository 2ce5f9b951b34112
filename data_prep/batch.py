"""Prepares many scans into one pack: in parallel, resumable, and whole or not at all.

Each scan is prepared by a recipe, a function `recipe(files, timer) -> PreparedScan` whose
parameters are the fields of a frozen dataclass, in a process of its own (one scan in memory
per worker), and kept as a part (`data_prep.finished_scans`) until all are done. An interrupted run
therefore continues where it stopped. A scan that fails is reported and left out, or ends the
run if `strict`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import multiprocessing
import os
import pathlib
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import SimpleITK as sitk

from data_prep.finished_scans import Parts, fingerprint, label_ids, recipe_hash
from data_prep.packs import PackWriter, check_new_id
from data_prep.scan_files import ScanFiles
from data_prep.scan_outcomes import Outcome, Summary
from data_prep.step_timer import StepTimer
from rcn_tf.errors import InputWarning, one_line, warn
from rcn_tf.files.natural_order import natural_order

_FAILURES = (ValueError, KeyError, OSError, RuntimeError, MemoryError, ArithmeticError)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def build_pack(
    scans: Sequence[ScanFiles],
    recipe: Any,
    out: str | pathlib.Path,
    *,
    workers: int = 1,
    strict: bool = False,
    required: Any = (),
    keep_others: bool = False,
    attributes: Mapping[str, Any] | None = None,
    progress: Callable[[Outcome], Any] | None = None,
) -> Summary:
    """Prepares scans and writes them to a pack.

    Args:
        scans: list of ScanFiles, different ids. recipe: see above.
        out: pack to write; an older one is replaced at the end.
        workers: processes; 1 works in this one.
        strict: the first failure ends the run. required: ids whose failure always does.
        keep_others: whether scans that only the older pack has stay in it; then a failure ends
            the run, and the older pack stays as it is.
        attributes: dict, of the pack. progress: called with each Outcome.
    Warns: InputWarning: what the library warns of in a scan's files, with the scan's id.
    Returns: Summary; in natural order of the ids where others were kept, else as `scans`.
    Raises:
        ValueError: a failure that ends the run, no scan that could be prepared, bad ids, an
            `out` that is something else, or others that are damaged or of another recipe.
        OSError: the disk is full, or another run writes the same pack. Finished scans are
            kept for the next run.
    """
    _check_ids(scans)
    required = {scan.id for scan in scans} if strict or keep_others else set(required)
    start = time.perf_counter()
    with Parts(pathlib.Path(out)) as parts:
        outcomes = {}
        others = parts.others({scan.id for scan in scans}, recipe) if keep_others else []
        with contextlib.closing(_outcomes(scans, recipe, parts, workers)) as coming:
            for outcome in coming:
                outcomes[outcome.scan_id] = outcome
                for text in outcome.warnings:
                    warn(f"{outcome.scan_id}: {text}")
                if progress:
                    progress(outcome)
                _stop_where_needed(outcome, required)
        ordered = [outcomes[scan.id] for scan in scans] + others
        if others:
            ordered.sort(key=lambda one: natural_order(one.scan_id))
        summary = Summary(tuple(ordered), time.perf_counter() - start)
        if not summary.prepared:
            first, error = next(iter(summary.failed.items()))
            which = "The only scan" if len(scans) == 1 else f"None of {len(scans)} scans"
            could = "could not" if len(scans) == 1 else "could"
            raise ValueError(f"{which} {could} be prepared; {first}: {error}")
        try:
            parts.merge(summary.prepared, attributes)
        except OSError as error:
            raise (_disk_full(out) if error.errno in _DISK_FULL else error) from error
    return summary


def _check_ids(scans):
    if not scans:
        raise ValueError("There is no scan to prepare.")
    seen = set()
    for scan in scans:
        check_new_id(scan.id)
        if scan.id in seen:
            raise ValueError(f"Scan id {scan.id!r} occurs twice.")
        seen.add(scan.id)


def _outcomes(scans, recipe, parts, workers):
    """Outcomes as they come in: first of what is finished already, then of the rest."""
    jobs = []
    for scan in scans:
        try:
            wanted = fingerprint(scan, recipe)
        except (OSError, ValueError) as error:
            yield Outcome(scan.id, one_line(error))
            continue
        finished = parts.finished(scan.id, wanted)
        if finished is None:
            jobs.append((scan, recipe, parts.path(scan.id), wanted))
        else:
            yield finished
    if workers == 1:
        yield from (_prepare(*job) for job in jobs)
    else:
        yield from _in_processes(jobs, workers)


def _in_processes(jobs, workers):
    """Outcomes from worker processes. A scan that kills its worker becomes a failure.

    When a worker dies, any of the scans in progress may be the cause. They are tried again one
    at a time, so that the scan whose worker dies then is the cause.
    """
    pending = {scan.id: (scan, *rest) for scan, *rest in jobs}
    alone = False
    while pending:
        try:
            for outcome in _in_pool(list(pending.values()), 1 if alone else workers):
                del pending[outcome.scan_id]
                yield outcome
        except concurrent.futures.process.BrokenProcessPool:
            if alone:  # scans are then worked on in order
                culprit = next(iter(pending))
                del pending[culprit]
                yield Outcome(culprit, "its worker process was killed (out of memory?)")
            alone = not alone


def _in_pool(jobs, workers):
    pool = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(jobs)),
        multiprocessing.get_context("spawn"),
        _set_up_worker,
        initargs=(os.getpid(),),
    )
    try:
        futures = [pool.submit(_prepare, *job) for job in jobs]
        in_order = workers == 1
        for future in futures if in_order else concurrent.futures.as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(scan, recipe, part, wanted):
    """Makes one scan's part; an error with the scan becomes an Outcome."""
    timer = StepTimer()
    try:
        with _input_warnings() as said:
            prepared = recipe(scan, timer)
        with timer.step("write"), PackWriter(part) as pack:
            pack.add(
                scan.id,
                prepared.volume,
                segmentation=prepared.segmentation,
                points=prepared.points,
                attributes={
                    **prepared.attributes,
                    **({"warnings": said} if said else {}),
                    "fingerprint": wanted,
                    "recipe": recipe_hash(recipe),
                },
            )
        labels = label_ids(prepared.segmentation)
    except _FAILURES as error:
        if os.environ.get("RCN_DEBUG"):
            raise
        full = isinstance(error, OSError) and error.errno in _DISK_FULL
        return Outcome(scan.id, _reason(error), full, seconds=timer.seconds)
    note = str(prepared.attributes.get("note", ""))
    return Outcome(scan.id, labels=labels, note=note, warnings=tuple(said), seconds=timer.seconds)


@contextlib.contextmanager
def _input_warnings():
    """Collects what the library says of a scan's files, once each; other warnings go on.

    Yields: list, filled at the end of the block.
    """
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        yield said
    for one in caught:
        if not issubclass(one.category, InputWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif one_line(one.message) not in said:
            said.append(one_line(one.message))


def _stop_where_needed(outcome, required):
    if outcome.disk_full:
        raise _disk_full(f"{outcome.scan_id}: {outcome.error}")
    if outcome.error is not None and outcome.scan_id in required:
        raise ValueError(f"{outcome.scan_id}: {outcome.error}")


class DiskFullError(OSError):
    """The disk is full; the message has no error number."""

    def __str__(self):
        return self.strerror


def _disk_full(what):
    message = f"the disk is full; finished scans are kept, run the same command again ({what})"
    return DiskFullError(errno.ENOSPC, message)


def _reason(error):
    """One line that says what went wrong, without the number of the system's error."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return "no space left on the disk"
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return f"its part of the pack cannot be written: {error.strerror}"
    return one_line(error)


def _set_up_worker(parent):
    """One thread per worker, silent about warnings; Ctrl-C and the end are the parent's."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    # Unlike SIG_IGN, a handler is not inherited by the tools that a recipe runs.
    signal.signal(signal.SIGINT, _ignore)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _ignore(_signal, _frame):
    pass


def _end_with(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)  # a running tool is ended on that
    time.sleep(2)
    os._exit(1)
