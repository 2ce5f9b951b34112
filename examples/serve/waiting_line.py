"""One job at a time in a thread of its own, a bounded number of others waiting.

Every place in the line has a private folder, which is removed when the place is given up: after
the job, whatever became of it, and however the request ended.
"""

import asyncio
import concurrent.futures
import pathlib
import shutil
import tempfile
import threading


class LineIsFullError(Exception):
    """There is no place left."""


class WaitingLine:
    """A worker thread with at most `waiting` places besides the one that is served.

    Args: waiting: number of places; work: folder for the private folders.
    """

    def __init__(self, waiting, work):
        self._places = waiting + 1
        self._work = work
        self._inside = 0
        self._lock = threading.Lock()  # jobs end in the worker's thread
        self._worker = concurrent.futures.ThreadPoolExecutor(1)

    @property
    def inside(self):
        """Number of places taken."""
        return self._inside

    def enter(self):
        """Takes a place; its folder, which nobody else can read. Raises: LineIsFullError."""
        with self._lock:
            if self._inside == self._places:
                raise LineIsFullError
            self._inside += 1
        try:
            return pathlib.Path(tempfile.mkdtemp(dir=self._work))  # mode 0700
        except OSError:
            self._give_up()
            raise

    def leave(self, folder):
        """Gives a place up that no job was started for."""
        shutil.rmtree(folder, ignore_errors=True)
        self._give_up()

    async def run(self, folder, job, seconds):
        """What job(folder) returns, in its turn; then the place is given up.

        Raises: asyncio.TimeoutError: it took longer, waiting included. A job that has begun
            keeps its place until it ends, one that has not is left out.
        """
        future = self._worker.submit(job, folder)
        future.add_done_callback(lambda _: self.leave(folder))
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)

    def close(self):
        """Waits for the job that runs; those that wait are left out."""
        self._worker.shutdown(cancel_futures=True)

    def _give_up(self):
        with self._lock:
            self._inside -= 1
