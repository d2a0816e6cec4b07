"""Which process holds a lock: read from the kernel's list, without opening the file.

Opening and closing a database or its `-shm` file with Python's own I/O would drop every POSIX lock that this process
holds on it; `os.stat` is safe.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

from liteq.utils.records import NamedTuple

__all__ = ["kept_by", "readers", "users", "writer"]

WAL_WRITE_LOCK = 120  # the byte of the -shm file that a WAL writer locks (https://www.sqlite.org/walformat.html)
READ_MARKS = (123, 127)  # the bytes of which a reader locks one while its snapshot lasts
OPEN_MARK = 128  # the byte that each connection locks, shared, for as long as it is open
KERNEL_LIST = "/proc/locks"
FIELDS = 8
UNKNOWN = "unknown"
LOOKS = 25


class _Lock(NamedTuple):
    kind: str
    pid: int
    device: tuple[int, int]
    inode: int
    first: int
    last: float


def writer(path: str) -> str:
    """The process that may write to the database `path` now: "PID 123 (name)", or "unknown" if the system hides it."""
    try:
        locks = list(_locks())
    except OSError:
        return UNKNOWN
    # The database's own lock first: a process with the gate alone waits for it like all others.
    for suffix, kind, byte in (("-shm", "POSIX", WAL_WRITE_LOCK), ("-gate", "FLOCK", 0)):
        pid = _owner(locks, path + suffix, kind, byte)
        if pid is not None:
            return f"PID {pid} ({_name(pid)})" if pid > 0 else "a process of another PID namespace"
    return UNKNOWN


def kept_by(path: str, seconds: float) -> str:
    """The process that has the write lock at each of many looks within `seconds`, while nothing is written; else "".

    One that writes without a rest, in short transactions, may be met at each look, but its log grows.
    """
    first, written, end = writer(path), _written(path), time.monotonic() + seconds
    while first != UNKNOWN:
        time.sleep(random.uniform(0.5, 1.5) * seconds / LOOKS)
        if writer(path) != first or _written(path) != written:
            return ""
        if time.monotonic() >= end:
            return first
    return ""


def _written(path: str) -> tuple[int, int]:
    """The state of the log of `path`, which is another one behind each commit."""
    try:
        status = os.stat(path + "-wal")
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def readers(path: str) -> list[str]:
    """The processes with a snapshot of the database `path`, as "PID 123 (name)"; [] where the system hides them."""
    try:
        status = os.stat(path + "-shm")
        locks = list(_locks("READ"))
    except OSError:
        return []
    first, last = READ_MARKS
    pids = {k.pid for k in locks if k.kind == "POSIX" and k.inode == status.st_ino and k.first <= last <= k.last}
    pids |= {k.pid for k in locks if k.kind == "POSIX" and k.inode == status.st_ino and first <= k.first <= last}
    return [f"PID {pid} ({_name(pid)})" for pid in sorted(pids) if pid > 0]


def users(path: str) -> list[str]:
    """The processes that have `path` open in WAL mode, as "PID 123 (name)"; [] where the system hides them."""
    try:
        inode = os.stat(path + "-shm").st_ino
        locks = [lock for mode in ("READ", "WRITE") for lock in _locks(mode)]
    except OSError:
        return []
    pids = {k.pid for k in locks if k.kind == "POSIX" and k.inode == inode and k.first <= OPEN_MARK <= k.last}
    return [f"PID {pid} ({_name(pid)})" for pid in sorted(pids) if pid > 0]


def _owner(locks: list[_Lock], path: str, kind: str, byte: int) -> int | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    device = (os.major(status.st_dev), os.minor(status.st_dev))
    found = [k for k in locks if k.kind == kind and k.inode == status.st_ino and k.first <= byte <= k.last]
    # Some file systems (overlay, btrfs) show another device number here than stat does: then the inode must do.
    found.sort(key=lambda lock: lock.device != device)
    return found[0].pid if found else None


def _locks(mode: str = "WRITE") -> Iterator[_Lock]:
    """Held locks, exclusive ("WRITE") or shared ("READ").

    A line: `1: POSIX ADVISORY WRITE 123 fe:00:4567 120 120`; a waiter's has `->` after `1:`.
    """
    with open(KERNEL_LIST, encoding="ascii", errors="replace") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) != FIELDS or fields[3] != mode:
                continue
            major, minor, inode = fields[5].split(":")
            last = float("inf") if fields[7] == "EOF" else int(fields[7])
            yield _Lock(fields[1], int(fields[4]), (int(major, 16), int(minor, 16)), int(inode), int(fields[6]), last)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        return "gone"
