"""Copies that are not finished: `NAME.partPID`, beside the file whose place or name they are to take.

And folders into which another program fetches one: `NAME.fetchPID`. A process that is killed leaves its copy there, as
large as the queue. On Linux the process that writes one holds a lock on it, which ends with the process: its number
alone does not say who writes, as containers that share a folder number their processes each by themselves. Elsewhere
the number decides.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.disk.ownership import MODE

__all__ = ["clear", "clear_beside", "fetching", "left", "writing"]

BESIDE = ("-wal", "-shm", "-journal")


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """An empty file beside `target`, to be written and then to take its name; gone after the block under its own.

    Clears those that processes have left which were killed. Raises StorageUnavailable.
    """
    clear(target)
    part = target.with_name(f"{target.name}.part{os.getpid()}")
    try:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE)
    except OSError as error:
        raise StorageUnavailable(f"{part} cannot be written ({error.strerror})") from error
    try:
        if not _lock(fd) or not _is(fd, part):
            raise StorageUnavailable(f"{part} is cleared away by another process at this moment: try again")
        yield part
    finally:
        _unlink(part)
        os.close(fd)  # the last: closing a file drops the locks of this process on it, and nobody has it open now


@contextmanager
def fetching(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, gone after the block. Clears as `writing`; raises StorageUnavailable."""
    clear(target)
    made, fd = target.with_name(f"{target.name}.fetch{os.getpid()}"), -1
    try:
        made.mkdir(0o700)
        if sys.platform == "linux":
            fd = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
            _lock(fd)
    except OSError as error:
        raise StorageUnavailable(f"{target.parent} cannot be written to ({error.strerror})") from error
    try:
        yield made
    finally:
        _unlink(made)
        if fd >= 0:
            os.close(fd)


def left(target: Path) -> list[Path]:
    """The copies for `target` whose processes have ended for certain."""
    return [path for path in _all(target) if _is_left(path)]


def clear(target: Path) -> list[Path]:
    """Delete those; what was deleted. One that cannot be deleted stays."""
    found = left(target)
    for path in found:
        with suppress(OSError):
            _unlink(path)
    return found


def _all(target: Path) -> list[Path]:
    ours = re.compile(rf"{re.escape(target.name)}\.(part|fetch)\d+")
    try:
        found = [(one, match[1]) for one in os.scandir(target.parent) if (match := ours.fullmatch(one.name))]
    except OSError:
        return []
    kept = [
        one.name
        for one, kind in found
        if (one.is_file(follow_symlinks=False) if kind == "part" else one.is_dir(follow_symlinks=False))
    ]
    return [target.with_name(name) for name in sorted(kept)]


def _is_left(path: Path) -> bool:
    pid = int(re.findall(r"\d+", path.name)[-1])
    if pid != os.getpid() and _lives(pid):
        return False
    if sys.platform != "linux":
        return pid != os.getpid()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _lock(fd)
    finally:
        os.close(fd)


def _lives(pid: int) -> bool:
    if sys.platform == "win32":  # there the look would be a signal
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process has a number that the kernel cannot hold
        return False
    except OSError:  # another user's
        return True
    return True


def clear_beside(part: Path) -> None:
    """Delete the files that SQLite made for `part`, which has all that it needs."""
    for suffix in BESIDE:
        Path(f"{part}{suffix}").unlink(missing_ok=True)


def _unlink(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
        return
    part.unlink(missing_ok=True)
    clear_beside(part)


if sys.platform == "linux":
    import fcntl

    def _lock(fd: int) -> bool:
        """Take the lock on a part, which is none of SQLite's; whether nobody else has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: the number of the process decides
            return True
        return True

    def _is(fd: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(path))
        except OSError:
            return False

else:  # there it would keep SQLite itself out

    def _lock(fd: int) -> bool:  # noqa: ARG001
        return True

    def _is(fd: int, path: Path) -> bool:  # noqa: ARG001
        return True
