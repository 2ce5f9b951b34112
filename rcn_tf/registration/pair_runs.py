"""Runs a registration for each of many pairs: resumable, and one pair's fault is its own.

Each pair is made in a hidden folder and moved into its place when it is complete, with its record
(`pair_record`) last. A run that is killed therefore leaves complete results and none that is half
written; the next run goes on with what is missing or was made from other inputs or settings.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rcn_tf.errors import is_for_the_user, naming, one_line
from rcn_tf.files.json_files import read_json
from rcn_tf.files.working_folders import remove_leftovers, working_folder
from rcn_tf.registration.outputs import METRICS, OUTPUTS, RECORD, results_folder
from rcn_tf.registration.pair_record import Checksums, made_from, recorded_source, write_record
from rcn_tf.registration.pairs_file import Pair

REGISTERED, START, FAILED, WAITING = "registered", "start", "failed", "waiting"
"""What became of a pair: its registration is written; its start is, since the registration fitted
worse; it could not be registered; it is not done yet."""


@dataclasses.dataclass(frozen=True)
class PairOutcome:
    """What became of one pair.

    Args:
        pair: Pair.
        folder: of its result.
        status: REGISTERED, START, FAILED or WAITING.
        metrics: the content of its `metrics.json`; {} where there is none.
        error: one line, "" if it did not fail.
        skipped: whether an earlier run had made it.
        seconds: of this run.
    """

    pair: Pair
    folder: pathlib.Path
    status: str
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ""
    skipped: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the registration is there."""
        return self.status == REGISTERED


def check_places(pairs: Sequence[Pair], out: pathlib.Path) -> None:
    """Checks that results can be written below a folder, before any work.

    Raises: ValueError: a file is in the way, or an input would be replaced by a result.
    """
    for folder in (out, *out.parents):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"--out {folder} is a file; expected a folder")
    for pair in pairs:
        target = out / pair.name
        if target.exists() and not target.is_dir():
            raise ValueError(f"{pair.where}: {target} is a file; choose another name")
        written = {(target / name).resolve() for name in OUTPUTS}
        for path in pair.files().values():
            if path.resolve() in written:
                raise ValueError(
                    f"{pair.where}: {path} would be replaced by the result; choose another name"
                )


def run_pairs(
    pairs: Sequence[Pair],
    out: pathlib.Path,
    register: Callable[[Pair, pathlib.Path], object],
    settings: Mapping[str, Any],
    report: Callable[[pathlib.Path, Sequence[PairOutcome]], object],
    prepare: Callable[[], object] = lambda: None,
) -> Iterator[PairOutcome]:
    """Registers what is not there yet.

    Args:
        pairs: list of Pair. out: folder of the results' folders, made where it is missing.
        register: function of (pair, empty folder) that writes the pair's files into the folder,
            `metrics.json` among them.
        settings: what else the results depend on; a change of its text makes them anew.
        report: function of (out, outcomes so far, one per pair) that is called before the first
            pair and after each that was registered.
        prepare: called once, before the first pair that is registered; its errors end the run.
    Yields: PairOutcome of each pair, in their order.
    Raises: KeyboardInterrupt, and OSError where `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    checksums = Checksums()
    outcomes = [_earlier(pair, out / pair.name, settings, checksums) for pair in pairs]
    if any(outcome.status == WAITING for outcome in outcomes):
        prepare()
    report(out, outcomes)
    for k, pair in enumerate(pairs):
        if outcomes[k].status == WAITING:
            outcomes[k] = _made(pair, out / pair.name, register, settings, checksums)
            report(out, outcomes)
        yield outcomes[k]


def _earlier(pair, folder, settings, checksums):
    """The outcome of an earlier run if it is complete and up to date, else one that waits."""
    recorded = recorded_source(folder)  # reads no image where there is no result
    try:
        if recorded is None or recorded != made_from(pair.files(), settings, checksums):
            return PairOutcome(pair, folder, WAITING)
        return _finished(pair, folder, skipped=True)
    except (OSError, ValueError):
        return PairOutcome(pair, folder, WAITING)


def _made(pair, folder, register, settings, checksums):
    start = time.monotonic()
    try:
        source = made_from(pair.files(), settings, checksums)
        with working_folder(folder.parent) as working:
            new = working / "new"
            new.mkdir()
            with naming(folder, instead_of=new):
                register(pair, new)
            write_record(new, source)
            _put(new, folder)
        return _finished(pair, folder, seconds=time.monotonic() - start)
    except Exception as error:  # the other pairs go on
        if os.environ.get("RCN_DEBUG"):
            raise
        text = one_line(error)
        if not is_for_the_user(error):
            text = f"{type(error).__name__}: {text} (RCN_DEBUG=1 shows where)"
        seconds = time.monotonic() - start
        return PairOutcome(pair, folder, FAILED, error=text, seconds=seconds)


def _put(new, folder):
    """Moves a complete result into its place."""
    if not folder.exists():
        new.rename(folder)
        return
    (folder / RECORD).unlink(missing_ok=True)  # from here on it is not complete
    with results_folder(folder) as partial:  # whose last file is the record
        for path in new.iterdir():
            path.rename(partial / path.name)


def _finished(pair, folder, **more):
    metrics = read_json(folder / METRICS)
    return PairOutcome(
        pair, folder, START if metrics.get("failed") else REGISTERED, metrics, **more
    )
