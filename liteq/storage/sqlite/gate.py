"""The write gate: writers take turns in the order they came.

SQLite's own lock has no queue: with `busy_timeout` alone the lucky win and one of 64 producers waits for seconds. A
`flock` beside the file has a queue in the kernel, and is let go by the kernel when its holder is killed. The figures
are in docs/adr/0006-write-gate.md.
"""

from __future__ import annotations

import _thread
import os
import random
import sys
import time

from liteq.storage.sqlite.files import open_sidecar

if sys.platform != "win32":
    import fcntl

    EXCLUSIVE = fcntl.LOCK_EX
    AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
    UNLOCK = fcntl.LOCK_UN
    flock = fcntl.flock

__all__ = ["Gate", "NoGate", "close_strays", "open_gate", "pause_s"]

STRAYS: set[int] = set()  # descriptors that a helper thread still waits with, after its caller gave up


def pause_s() -> float:
    """How long to sleep before asking SQLite's own lock again, in seconds; random, so that two never march in step."""
    return random.uniform(0.0002, 0.0012)


class Gate:
    """One connection's place at the gate. Each has its own descriptor, so threads exclude each other too."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the turn, at most `timeout_s` seconds; whether it came."""
        if self._fd < 0:
            self._fd = open_sidecar(self._path)
        try:
            flock(self._fd, AT_ONCE)
        except BlockingIOError:
            return self._wait(timeout_s)
        return True

    def release(self) -> None:
        flock(self._fd, UNLOCK)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's descriptor. In a forked child that leaves the parent's lock alone, unlike a release."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _wait(self, timeout_s: float) -> bool:
        try:
            waiter = _Waiter(self._fd)
        except RuntimeError:  # no thread to be had: the interpreter is going down, or the system's limit is reached
            return self._poll(timeout_s)
        try:
            granted = waiter.join(timeout_s)
        except BaseException:  # a signal's handler raised, or Ctrl-C
            if not self._give_up(waiter):
                self.release()
            raise
        return granted or not self._give_up(waiter)

    def _give_up(self, waiter: _Waiter) -> bool:
        """Stop waiting; False when the turn has come at this very moment."""
        if not waiter.abandon():
            return False
        self._fd = -1  # the waiter's now
        return True

    def _poll(self, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            time.sleep(pause_s())
            try:
                flock(self._fd, AT_ONCE)
            except BlockingIOError:
                continue
            return True
        return False


class _Waiter:
    """A blocking flock that can be given up: it waits in a thread, which exists only while it waits.

    A blocking flock is what puts one into the kernel's queue, and it knows no timeout. Not a `threading.Thread`: its
    start costs as much again as the whole hand-over.
    """

    __slots__ = ("_abandoned", "_done", "_fd", "_granted", "_mutex")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mutex = _thread.allocate_lock()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._abandoned = self._granted = False
        _thread.start_new_thread(self._run, ())

    def join(self, timeout_s: float) -> bool:
        return self._done.acquire(timeout=timeout_s)

    def abandon(self) -> bool:
        """Leave the descriptor to the thread, which closes it; False when the lock has just come after all."""
        with self._mutex:
            if not self._granted:
                self._abandoned = True
                STRAYS.add(self._fd)
            return self._abandoned

    def _run(self) -> None:
        try:
            flock(self._fd, EXCLUSIVE)
        finally:  # also on an error (ENOLCK): the gate only orders writers, SQLite's own lock keeps them apart
            with self._mutex:
                self._granted = not self._abandoned
                if self._abandoned:
                    STRAYS.discard(self._fd)
                    os.close(self._fd)
            self._done.release()


class NoGate:
    """Where there is no flock: writers meet at SQLite's own lock only."""

    __slots__ = ()

    def acquire(self, timeout_s: float) -> bool:  # noqa: ARG002 - the shape of Gate.acquire
        return True

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_gate(path: str) -> Gate | NoGate:
    """A place at the gate of the database `path`; the file is made when it is first needed."""
    if sys.platform == "win32":
        return NoGate()
    return Gate(path + "-gate")


def close_strays() -> None:
    """In a forked child: close what the parent's waiting threads have open, or this process would share their lock."""
    while STRAYS:
        os.close(STRAYS.pop())
