"""The file and its folder: the conditions under which SQLite may open it. Every refusal says what to do."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Container

from liteq.exceptions import StorageCorrupt, StorageUnavailable
from liteq.storage.sqlite.disk import mounts, ownership
from liteq.storage.sqlite.disk.ownership import MODE

__all__ = [
    "check",
    "create",
    "identity",
    "is_open_here",
    "lost_database",
    "reach",
    "resolve",
    "size",
    "sync",
    "unreachable",
]


def resolve(path: str) -> str:
    """`path` without symbolic links: SQLite puts its -wal beside the real file, so the gate must be there as well."""
    return os.path.realpath(path)


def create(path: str, mode: int = MODE) -> None:
    """Make the file, empty, with the permissions `mode`, whatever the umask; nothing when it is there.

    The files beside it follow it. Raises StorageUnavailable.
    """
    reach(path)
    _refuse_lost_database(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StorageUnavailable(f"the folder {folder} does not exist: create it, or name another in the broker URL")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(fd, mode)  # the umask has perhaps taken bits
        finally:
            os.close(fd)
    except FileExistsError:
        return
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be created ({error.strerror}): make the folder writable, or name another"
        ) from error


def check(given: str, path: str, allow_network: bool, *, writable: bool = True) -> None:
    """Refuse a place where SQLite could not, or should not, keep a queue. Raises StorageUnavailable.

    `given` is the path as the URL has it, `path` the same without links; `writable`: whether it is to be one.
    """
    if os.path.islink(given):
        _refuse_planted(given, os.lstat(given))
    reach(path)
    try:
        status = os.stat(path)
    except OSError as error:
        new = f"{path} cannot be opened ({error.strerror}): start a worker or run `liteq migrate` to create it"
        raise StorageUnavailable(lost_database(path) or new) from error  # no damage: somebody may put it back
    if stat.S_ISDIR(status.st_mode):
        raise StorageUnavailable(f"{path} is a folder: name a file inside it in the broker URL")
    if not stat.S_ISREG(status.st_mode):
        raise StorageUnavailable(f"{path} is not a regular file: name another in the broker URL")
    _refuse_planted(path, status)
    if writable:
        _refuse_read_only(path)
        _refuse_followed(path)
    ownership.check(path, ownership.SIDE_FILES)
    _refuse_lost_log(path)
    _refuse_lost_database(path)
    mounts.check(path, allow_network)


def reach(path: str) -> None:
    """Raises StorageUnavailable where this user may not look at `path`: whether it is there is not known then."""
    if closed := unreachable(path):
        raise StorageUnavailable(closed)


def unreachable(path: str) -> str:
    """A sentence for where this user may not enter a folder on the way to `path`; "" where `path` can be looked at."""
    try:
        os.stat(path)
    except PermissionError as error:
        return (
            f"{path} cannot be reached ({error.strerror}): this user may not enter its folder, or one above it; change "
            "their owner or mode, or name another in the broker URL"
        )
    except OSError:
        pass
    return ""


def is_open_here(path: str, but: Container[int]) -> bool:
    """Whether this process has the file `path` open by a descriptor that is not among `but`, where the system tells.

    By the file's number, as its locks are: a look at the path of each descriptor takes four times as long.
    """
    try:
        here = os.stat(path)
        open_now = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return False
    return any(fd not in but and _is_on(fd, here) for fd in open_now)


def _is_on(fd: int, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), file)
    except OSError:  # another thread has closed it since
        return False


def identity(path: str) -> tuple[int, int]:
    """Device and inode of `path`; (0, 0) when there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


if sys.platform == "darwin":  # its fsync leaves data in the drive's cache
    import fcntl

    def _flush(fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:
    _flush = getattr(os, "fdatasync", os.fsync)


def sync(path: str) -> None:
    """Have the disk write the file's content. Raises OSError. Not for the database itself: see its locks."""
    # Linux asks for no right to write: a file that became read-only while it is open is written to all the same.
    fd = os.open(path, os.O_RDONLY if sys.platform == "linux" else os.O_RDWR)
    try:
        _flush(fd)
    finally:
        os.close(fd)


def _refuse_planted(path: str, status: os.stat_result) -> None:
    """In a folder where anybody may write (/tmp), another user could lay out a file or a link for us to write to."""
    if not hasattr(os, "geteuid") or status.st_uid == os.geteuid():
        return
    folder = os.stat(os.path.dirname(path) or ".")
    if folder.st_mode & stat.S_IWOTH and status.st_uid != folder.st_uid:
        raise StorageUnavailable(
            f"{path} belongs to another user (uid {status.st_uid}) in a folder where everybody may write: "
            "use a folder of your own"
        )


def _refuse_read_only(path: str) -> None:
    for place, what in ((path, "file"), (os.path.dirname(path), "folder")):
        if not os.access(place, os.W_OK):
            raise StorageUnavailable(
                f"the {what} {place} is read-only for this user: the queue must be able to write there; "
                "change its owner or mode, or name another in the broker URL"
            )


def _refuse_followed(path: str) -> None:
    """A follower writes pages past SQLite: with a writer beside it, the file is damaged."""
    if os.path.exists(f"{path}-txid"):
        raise StorageUnavailable(
            f"{path} is a replica that Litestream writes ({path}-txid): read it with ?mode=ro in the broker URL. "
            "To go on with it as a queue, end `litestream restore -f`, and put it into place with `liteq restore`"
        )


def _refuse_lost_log(path: str) -> None:
    """SQLite makes the log before its index and removes it after it: with the index alone, somebody deleted the log.

    Without its log the file is in an older state, or has no tables yet: going on would look like an empty queue. The
    index is looked at once more: the last user of all may be taking both along in this moment.
    """
    index, log = f"{path}-shm", f"{path}-wal"
    if os.path.exists(index) and not os.path.exists(log) and os.path.exists(index):
        raise StorageCorrupt(
            f"{path}-wal was deleted, and the last commits with it: restore a backup; or delete {path}-shm to "
            "go on with the rest"
        )


def _refuse_lost_database(path: str) -> None:
    """Refuse to make it anew: it would be opened with the log of the old one, which SQLite then deletes."""
    if lost := lost_database(path):
        raise StorageCorrupt(lost)


def lost_database(path: str) -> str:
    """A sentence for where somebody has moved or deleted the database, and left its log; "" where that is not so.

    SQLite makes a log beside a database that is not empty. The log is looked at first: in between, another process may
    be making both.
    """
    if size(f"{path}-wal") <= 0 or size(path) > 0:
        return ""
    return (
        f"{path} was moved or deleted without its log {path}-wal, which holds what was committed last: put the "
        f"database back beside it; or delete {path}-wal and {path}-shm to begin a new queue without that"
    )


def size(path: str) -> int:
    """In bytes; -1 where there is no such file."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
