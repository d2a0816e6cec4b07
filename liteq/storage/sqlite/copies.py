"""Databases without a log beside them: a backup, a replica that a follower writes, a queue that nobody has open.

SQLite makes a log and its index beside a database in WAL mode, also for a reader, and they would hide from that reader
what a follower writes later. So they are opened as `immutable`: SQLite then makes no file, and takes no lock. The lock
is taken here, for the time of each transaction: SQLite's own lock of readers, for which Litestream waits before it
writes pages. A page that a connection has read before may be another one now: with another `stamp` it opens anew.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import time
from contextlib import suppress
from typing import Final

from liteq.clock import SystemClock
from liteq.exceptions import StorageBusy, StorageUnavailable
from liteq.storage.sqlite.disk.files import size
from liteq.storage.sqlite.turns import fork

__all__ = ["HELD", "Hold", "Stamp", "age_s", "is_copy", "is_followed", "stamp", "stands_alone"]

Stamp = tuple[int, ...]

POSITION: Final = "-txid"  # Litestream's, beside the replica that `litestream restore -f` writes
TXID: Final = re.compile(rb"[0-9a-f]{16}\s*")
# The bytes of a database that SQLite locks, and Litestream likewise (sqlite3's os.h).
PENDING, SHARED, SHARED_BYTES = 0x40000000, 0x40000002, 510
WRITE_VERSION, IN_WAL = 18, b"\x02"  # the byte of the file's header (https://www.sqlite.org/fileformat.html)
LOOK_S = 0.002  # between two looks at a lock that is not free
COARSE_NS = 50_000_000  # a kernel's clock may stand still so long: two writes may then have one time


def is_followed(path: str) -> bool:
    """Whether a follower of Litestream writes `path`: its position stands beside it."""
    try:
        fd = os.open(path + POSITION, os.O_RDONLY)
    except OSError:
        return False
    try:
        return TXID.fullmatch(os.read(fd, 32)) is not None
    finally:
        os.close(fd)


def is_copy(path: str) -> bool:
    """Whether `path` is a copy or a replica. A queue that rests has no log either, but the gate of those that wrote."""
    return stands_alone(path) and (size(f"{path}-gate") < 0 or is_followed(path))


def stands_alone(path: str) -> bool:
    """Whether all that `path` holds is in it: no log and no journal stands beside it.

    An empty log beside a replica is what another program has left there that looked at it.
    """
    log = size(f"{path}-wal")
    return (log < 0 or (log == 0 and is_followed(path))) and size(f"{path}-journal") < 0


def stamp(path: str) -> Stamp:
    """The marks of the content of `path`: with others, it may be another one."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    now_ns = time.time_ns()
    fresh = (now_ns,) if abs(now_ns - status.st_mtime_ns) < COARSE_NS else ()
    return (status.st_ino, status.st_mtime_ns, status.st_size, *fresh)


def age_s(path: str) -> float | None:
    """How many seconds ago `path` was written last; None where it is not there."""
    try:
        written_ms = os.stat(path).st_mtime_ns // 1_000_000
    except OSError:
        return None
    return max(0.0, (SystemClock().now_ms() - written_ms) / 1000)


class Hold:
    """SQLite's lock of readers on one file, for one connection that takes none itself.

    The lock is the descriptor's (Linux); elsewhere there is none, and a write meanwhile shows as damage until the next
    look. Closing any descriptor of a database drops the locks of this process's connections to it, so one stays open
    where a driver of this process may write to that file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def take(self, timeout_s: float, *, nested: bool = False) -> None:
        """Wait until nobody writes. Raises StorageBusy after `timeout_s`, StorageUnavailable where it is gone.

        `nested`: this thread reads already, and a writer that waits for that must not be waited for.
        """
        if self._fd < 0:
            while LEFT:
                with suppress(IndexError):  # another thread has taken it
                    _shut(*LEFT.pop())
            try:
                self._fd = os.open(self._path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            except OSError as error:
                raise StorageUnavailable(f"{self._path} cannot be opened ({error.strerror})") from error
            HELD.add(self._fd)
        end = time.monotonic() + timeout_s
        # In SQLite's order: a writer that waits for readers has the first byte, and lets no more of them in.
        while not ((nested or _lock(self._fd, PENDING, 1)) and _lock(self._fd, SHARED, SHARED_BYTES)):
            if time.monotonic() >= end:
                raise StorageBusy(timeout_s, f"the process that writes the copy {self._path}")
            time.sleep(LOOK_S)
        _unlock(self._fd, PENDING, 1)

    def is_in_wal(self) -> bool:
        """Whether the file itself says that it is in WAL mode; SQLite does not say so of one that is immutable."""
        return self._fd >= 0 and os.pread(self._fd, 1, WRITE_VERSION) == IN_WAL

    def leave(self) -> None:
        """Let a writer go on."""
        if self._fd >= 0:
            _unlock(self._fd, PENDING, 1)
            _unlock(self._fd, SHARED, SHARED_BYTES)

    def close(self) -> None:
        """As `leave`, for good."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _shut(self._path, fd)

    def __del__(self) -> None:
        # Where a driver was not closed. The collector runs anywhere, also where a lock is held that `_shut` takes.
        if self._fd >= 0:
            self.leave()
            LEFT.append((self._path, self._fd))


def _shut(path: str, fd: int) -> None:
    """Close a descriptor of `path`, unless that would drop locks of this process."""
    if _is_written_here(path):
        _unlock(fd, PENDING, 1)
        _unlock(fd, SHARED, SHARED_BYTES)
    else:
        HELD.discard(fd)
        os.close(fd)


LEFT: list[tuple[str, int]] = []  # descriptors to be closed by the next connection to a copy
HELD: set[int] = set()  # all descriptors of holds; of those that must not be closed before this process ends, too


def _is_written_here(path: str) -> bool:
    return any(not getattr(one, "read_only", False) for one in fork.registered_at(path))


if sys.platform == "linux":
    import fcntl

    def _lock(fd: int, start: int, length: int) -> bool:
        """Lock bytes for reading, without waiting; whether they are locked."""
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, length, 0))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: nobody can hold one there
            return True
        return True

    def _unlock(fd: int, start: int, length: int) -> None:
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, start, length, 0))

else:

    def _lock(fd: int, start: int, length: int) -> bool:  # noqa: ARG001 - see Hold
        return True

    def _unlock(fd: int, start: int, length: int) -> None:
        """Nothing: nothing is locked."""
