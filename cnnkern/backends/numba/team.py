"""Threads that help a caller with its units.

Numba's own thread pools end a process that forked after their first use, or let one caller in at a time, and wait for
members that the system has not woken yet. Here the caller begins at once, helpers claim units beside it as they wake,
and who wakes too late finds nothing to do: no one waits for a thread that has not begun. Kernels hold no GIL.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

_posted: queue.SimpleQueue = queue.SimpleQueue()
_helpers = 0
_lock = threading.Lock()


class _Job:
    """One call, open to helpers until its caller has found no more units."""

    def __init__(self, function: Callable, arguments: tuple):
        self._function, self._arguments = function, arguments
        self._lock = threading.Lock()
        self._closed, self._helping = False, 0
        self._done = threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None

    def help(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._helping += 1
        try:
            self._function(*self._arguments)
        except BaseException as error:  # out of memory, say: the caller's to raise
            self._error = error
        with self._lock:
            self._helping -= 1
            if self._closed and not self._helping:
                self._done.release()

    def run(self) -> None:
        try:
            self._function(*self._arguments)
        finally:
            with self._lock:
                self._closed = True
                wait = self._helping > 0
            if wait:
                self._done.acquire()
        if self._error is not None:
            raise self._error


def run_on_team(function: Callable, arguments: tuple, threads: int) -> None:
    """function(*arguments) here and on up to threads - 1 helpers at once; it claims its units as it goes."""
    if threads < 2:
        function(*arguments)
        return
    _hire(threads - 1)
    job = _Job(function, arguments)
    for _ in range(threads - 1):
        _posted.put(job)
    job.run()


def _hire(wanted: int) -> None:
    global _helpers
    if _helpers >= wanted:
        return
    with _lock:
        while _helpers < wanted:
            _helpers += 1
            threading.Thread(target=_work, args=(_posted,), name=f"cnnkern-numba-{_helpers}", daemon=True).start()


def _work(posted: queue.SimpleQueue) -> None:
    while True:
        posted.get().help()


def _after_fork() -> None:
    """A child has none of its parent's threads."""
    global _posted, _helpers, _lock
    _posted, _helpers, _lock = queue.SimpleQueue(), 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
