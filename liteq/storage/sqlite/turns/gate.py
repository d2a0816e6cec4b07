"""The write gate: writers take turns in the order they came.

SQLite's own lock has no queue: with `busy_timeout` alone the lucky win and one of 64 producers waits for seconds. A
`flock` beside the file has a queue in the kernel, and is let go by the kernel when its holder is killed. The figures
are in docs/adr/0006-write-gate.md.

The gate only orders writers, SQLite's own lock keeps them apart. So nobody waits for it without end: the kernel gives
it to whoever is next, also to a process that is stopped.
"""

from __future__ import annotations

import _thread
import os
import random
import sys
import time
from collections import deque

from liteq.storage.sqlite.disk.ownership import open_sidecar
from liteq.storage.sqlite.turns.greenlets import allocate_lock, start_new_thread

if sys.platform != "win32":
    import fcntl

    EXCLUSIVE = fcntl.LOCK_EX
    AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
    UNLOCK = fcntl.LOCK_UN
    flock = fcntl.flock

__all__ = ["Gate", "NoGate", "after_fork", "before_fork", "open_gate", "pause_s", "waited"]

MOMENT_S = 100e-6  # in which several short transactions end; the queue costs a thread and two changes of process
PATIENCE_S = 1.0  # longer than 64 producers wait for each other, on a slow disk


def pause_s() -> float:
    """How long to sleep before asking SQLite's own lock again, in seconds; random, so that two never march in step."""
    return random.uniform(0.0002, 0.0012)


class Gate:
    """One connection's place at the gate. Each has its own descriptor, so threads exclude each other too."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the turn, at most `timeout_s` and PATIENCE_S seconds; whether it came.

        Where it did not, the caller goes on without: it has SQLite's own lock to wait for. While one of this process's
        waiters is still in the queue that it has left, nobody else of it waits there.
        """
        if self._fd < 0:
            self._fd = open_sidecar(self._path)
        try:
            flock(self._fd, AT_ONCE)
        except BlockingIOError:
            since = time.monotonic()
            came = self._ask_again(since + MOMENT_S) or self._wait(min(timeout_s, PATIENCE_S))
            _waits.append((self._path, time.monotonic() - since))
            return came
        return True

    def release(self) -> None:
        """Let the next one in; nothing where the turn had not come."""
        if self._fd >= 0:
            flock(self._fd, UNLOCK)

    def leave(self) -> None:
        """Let the next one in, and close the descriptor. Never raises."""
        if self._fd >= 0:
            # Not by the close alone: a copy of the descriptor, in a child that forks at this moment, would keep it shut
            try:
                flock(self._fd, UNLOCK)
            except OSError:
                pass
            self.close()

    def close(self) -> None:
        """Close this process's descriptor. In a forked child that leaves the parent's lock alone, unlike a release."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _ask_again(self, end: float) -> bool:
        """Ask again and again until the monotonic time `end`, without a rest; whether the turn came."""
        while time.monotonic() < end:
            try:
                flock(self._fd, AT_ONCE)
            except BlockingIOError:
                continue
            return True
        return False

    def _wait(self, timeout_s: float) -> bool:
        if self._path in _left.values():
            return False
        waiter = _Waiter()
        try:
            if not waiter.start(self._fd):
                return self._poll(timeout_s)
            if waiter.join(timeout_s):
                return True
        except BaseException:  # a signal's handler raised, or Ctrl-C
            self._give_up(waiter)
            raise
        self._give_up(waiter)
        return False

    def _give_up(self, waiter: _Waiter) -> None:
        """Leave the queue. With our own descriptor closed, the waiter's is the last: it lets go when its turn comes."""
        waiter.leave(self._path)
        self.close()

    def _poll(self, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            time.sleep(pause_s())
            if self._ask_again(time.monotonic() + MOMENT_S):
                return True
        return False


class _Waiter:
    """A blocking flock that can be given up: it waits in a thread, which exists only while it waits.

    A blocking flock is what puts one into the kernel's queue, and it knows no timeout. The thread has a descriptor of
    its own, of the same open file as the caller's: whichever of the two is closed last lets go of the lock. So neither
    needs to know whether the other still lives, and no number can be used anew under it. Not a `threading.Thread`: its
    start costs as much again as the whole hand-over.
    """

    __slots__ = ("_begun", "_done", "_fd")

    def __init__(self) -> None:
        # Under gevent its own kind of lock, which lets other greenlets run and may be released by a native thread.
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._begun = False
        self._fd = -1

    def start(self, fd: int) -> bool:
        """Wait with a copy of `fd`; False where there is no thread: the interpreter ends, or the limit is met."""
        self._fd = os.dup(fd)
        _waiting.add(self._fd)
        try:
            start_new_thread(self._run, ())
        except RuntimeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:  # a signal's handler's own
                raise
            self._close()
            return False
        return True

    def join(self, timeout_s: float) -> bool:
        """Wait for the turn; whether it came."""
        return self._done.acquire(timeout=timeout_s)

    def leave(self, path: str) -> None:
        """Have it known that the queue at `path` does not move, until the thread's turn comes."""
        if self._begun:
            _left[self] = path
            if self._done.acquire(blocking=False):  # it has come
                _left.pop(self, None)

    def _run(self) -> None:
        self._begun = True
        try:
            flock(self._fd, EXCLUSIVE)
        except OSError:  # ENOLCK: SQLite's own lock will do
            pass
        finally:
            self._close()
            self._done.release()
            _left.pop(self, None)

    def _close(self) -> None:
        with _closing:
            _waiting.discard(self._fd)
            os.close(self._fd)


_waiting: set[int] = set()  # descriptors of this process's waiters
_left: dict[_Waiter, str] = {}  # waiters whose callers have gone on without, each with the path of its gate
_closing = allocate_lock()
_waits: deque[tuple[str, float]] = deque(maxlen=1_000)  # that were no turn at once: the gate, and seconds


def waited(path: str) -> list[float]:
    """The waits at the gate `path` since the last call, in seconds, 1,000 at most."""
    found = []
    for _ in range(len(_waits)):
        one = _waits.popleft()
        if one[0] == path:
            found.append(one[1])
        else:
            _waits.append(one)
    return found


class NoGate:
    """Where there is no flock: writers meet at SQLite's own lock only."""

    __slots__ = ()

    def acquire(self, timeout_s: float) -> bool:  # noqa: ARG002 - the shape of Gate.acquire
        return True

    def release(self) -> None:
        pass

    def leave(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_gate(path: str) -> Gate | NoGate:
    """A place at the gate of the database `path`; the file is made when it is first needed."""
    if sys.platform == "win32":
        return NoGate()
    return Gate(path + "-gate")


def before_fork() -> None:
    """Have no waiter close its descriptor until `after_fork`."""
    _closing.acquire()


def after_fork(*, child: bool) -> None:
    """Go on; in a child, close what the parent's waiters have open, or this process would share their lock."""
    global _closing
    if not child:
        _closing.release()
        return
    _closing = allocate_lock()
    _left.clear()
    while _waiting:
        os.close(_waiting.pop())
