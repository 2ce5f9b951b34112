"""One training at a time in a run's folder.

The training process holds `run.lock`, a file that names the process and its machine, and touches
it every few seconds. The kernel's lock on the file (`flock`) decides: it ends with its process,
however that dies, so leftovers of a killed process or a reboot block nobody. If the holder is on
another machine, or the file system has no such locks, the file's age decides: if nobody has touched
it for `SILENCE` seconds, the holder is gone. A process that was only suspended finds its lock taken
when it continues, and stops.

Reading a run's folder (evaluating, exporting, registering) needs no lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import platform
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator

logger = logging.getLogger(__name__)

NAME = "run.lock"
HEARTBEAT = 10.0  # seconds between two signs of life
SILENCE = 180.0  # seconds without one after which the process of another machine counts as gone

_BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class RunInUseError(ValueError):
    """Another process trains in the folder; the message names it."""


class LockLostError(OSError):
    """The lock that this process held was taken by another, or removed."""


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[RunLock]:
    """Locks a run's folder while the block runs; the folder is made if it is missing.

    A folder that is still empty afterwards is removed again if it was made here.

    Args: folder: of the run.
    Yields: RunLock.
    Raises: RunInUseError: somebody else holds it. OSError: the folder cannot be written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = RunLock(folder)
        try:
            yield lock
        finally:
            lock.release()
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it has content now
                path.rmdir()


class RunLock:
    """The lock of a run's folder, held from construction to `release`.

    Args: folder: of the run; it exists.
    Raises: RunInUseError: another process holds it. OSError: it cannot be written.
    """

    def __init__(self, folder: str | pathlib.Path):
        self._path = pathlib.Path(folder) / NAME
        self._file, kernel = _opened(self._path)
        try:
            self._refuse_living(kernel)
            self._sign()
        except BaseException:
            self._file.close()
            raise
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LockLostError if the lock is no longer this process'."""
        if not self._is_ours():
            raise LockLostError(
                f"{self._path} was taken by another process or removed while this one trained "
                "(was it suspended?): it stops here and writes nothing more."
            )

    def release(self) -> None:
        """Releases the folder. A lock that was lost stays with its new holder."""
        self._stop.set()
        self._thread.join()
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _refuse_living(self, kernel):
        """Raises RunInUseError unless the previous holder of the lock is gone."""
        before = _holder(self._path)
        if kernel is False or (before and _is_alive(before, self._path, kernel)):
            raise RunInUseError(_in_use(self._path, before))
        if before:
            logger.info("%s was left by process %s, which is gone", self._path, before.get("pid"))

    def _sign(self):
        """Writes into the file that this process holds the lock."""
        self._id = uuid.uuid4().hex
        entry = {
            "id": self._id,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "boot": _boot_id(),
            "birth": _birth(os.getpid()),
        }
        self._file.truncate()
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _is_ours(self):
        try:
            return json.loads(self._path.read_text(encoding="utf-8")).get("id") == self._id
        except (FileNotFoundError, ValueError, AttributeError):
            return False
        except OSError:  # the file server does not answer
            return True

    def _beat(self):
        while not self._stop.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # a server that does not answer may come back
                os.utime(self._file.fileno())


def _opened(path):
    """(The lock's open file, the result of `_flock`); the path still leads to this file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        file = os.fdopen(descriptor, "r+", encoding="utf-8")
        kernel = _flock(file)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return file, kernel
        file.close()  # its holder removed it meanwhile


def _flock(file):
    """True if the kernel gave the lock, False if another process has it, None without locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _holder(path):
    """Content of a lock's file; {} if there is none, or if it was cut off in writing."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _is_alive(holder, path, kernel):
    """Whether the process that a lock names may still run, apart from its kernel lock."""
    if _is_this_machine(holder):
        return False if kernel else _runs(holder)
    return _age(path) < SILENCE


def _is_this_machine(holder):
    """By the kernel's boot, which containers share, or by name: then it is from an older boot."""
    same_boot = _boot_id() is not None and holder.get("boot") == _boot_id()
    return same_boot or holder.get("host") == platform.node()


def _runs(holder):
    """Whether this very process still runs, not a later one with the same number."""
    pid = holder.get("pid")
    if holder.get("boot") != _boot_id() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return holder.get("birth") == _birth(pid)


def _birth(pid):
    """Start of a process in the kernel's ticks since the boot; None if that is not known."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot_id():
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None


def _age(path):
    """Seconds since the lock was touched, by the clock of the folder's file server."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as now:
            now.write(b".")
            now.flush()
            return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0


def _in_use(path, holder):
    """The line that refuses a second training."""
    if not holder:
        return f"{path.parent} is in use: another process is about to train there."
    who = f"process {holder.get('pid')} on {holder.get('host')}"
    line = f"{path.parent} is in use: {who} trains there since {holder.get('started')}"
    if _is_this_machine(holder):
        return f"{line}; wait for it, stop it, or choose another folder."
    return (
        f"{line}, last heard of {max(_age(path), 0):.0f} s ago; wait for it or choose another "
        f"folder (after {SILENCE:.0f} s of silence it counts as gone)."
    )
