"""Runs one job at a time in a thread of its own, while a limited number of others wait.

Every job has a private folder, which is removed when the job leaves the line, however the job or
the request ended.
"""

import asyncio
import concurrent.futures
import shutil
import threading


class FullError(Exception):
    """No place in the line is left."""


class WaitingLine:
    """A worker thread with at most `waiting` places besides the one that is served.

    Args: waiting: number of places.
    """

    def __init__(self, waiting):
        self._places = waiting + 1
        self._inside = 0
        self._lock = threading.Lock()  # jobs end in the worker's thread
        self._worker = concurrent.futures.ThreadPoolExecutor(1)

    @property
    def inside(self):
        """Number of places taken."""
        return self._inside

    def check(self):
        """Raises: FullError: no place is left at the moment."""
        if self._inside == self._places:
            raise FullError

    def enter(self):
        """Takes a place, which `run` gives up. Raises: FullError: none is left."""
        with self._lock:
            self.check()
            self._inside += 1

    async def run(self, folder, job, seconds):
        """Waits for the job's turn and returns job(folder); then the place is given up.

        Raises: asyncio.TimeoutError: it took longer, waiting included. A job that has begun
            keeps its place until it ends; one that has not begun is dropped.
        """
        future = self._worker.submit(job, folder)
        future.add_done_callback(lambda _: self._leave(folder))
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)

    def close(self):
        """Waits for the running job; waiting jobs are dropped."""
        self._worker.shutdown(cancel_futures=True)

    def _leave(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._inside -= 1
