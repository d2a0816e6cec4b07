"""The files beside the database: whose they may be. Every refusal says what to do.

What another user has laid out in a folder where many may write would be used as our own: he would read and write the
messages in a log of his, stop all writers at a gate of his, and say "disk full" by a ballast of his.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from liteq.exceptions import StorageUnavailable

__all__ = ["LOG_FILES", "MODE", "SIDE_FILES", "check", "give_to_owner", "is_trusted", "open_sidecar"]

MODE = 0o600  # SQLite gives -wal and -shm the mode of the database
LOG_FILES = ("-wal", "-shm")
SIDE_FILES = (*LOG_FILES, "-gate", "-work", "-done", "-ballast")
FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
GROUP = stat.S_IRGRP | stat.S_IWGRP


def is_trusted(status: os.stat_result, database: os.stat_result) -> bool:
    """Whether a side file with `status` is ours, root's, the database's owner's, or of the group that shares the queue.

    A group shares it where the database's own mode lets it write. Then the side file must have that group, and no bit
    more than the database. A link never is.
    """
    if not stat.S_ISREG(status.st_mode):
        return False
    if not hasattr(os, "geteuid") or status.st_uid in (os.geteuid(), 0, database.st_uid):
        return True
    more = stat.S_IMODE(status.st_mode) & ~stat.S_IMODE(database.st_mode)
    return bool(database.st_mode & stat.S_IWGRP) and status.st_gid == database.st_gid and not more


def check(database: str, suffixes: Iterable[str]) -> None:
    """Refuse side files that are not to be trusted. Raises StorageUnavailable. Costs a `stat` each."""
    status = os.stat(database)
    for suffix in suffixes:
        try:
            found = os.lstat(database + suffix)
        except OSError:
            continue
        if not is_trusted(found, status):
            raise _foreign(database + suffix, found)


def open_sidecar(path: str) -> int:
    """Open, creating it if need be, a file of liteq's own beside the database; the descriptor, closed on exec.

    Raises StorageUnavailable, also where the file is not to be trusted.
    """
    database = _status(path.rpartition("-")[0])
    try:
        fd = _open(path)
        try:
            found = os.fstat(fd)
            if database is not None and not is_trusted(found, database):
                raise _foreign(path, found)
            if database is not None:
                _share(fd, found, database)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be opened ({error.strerror}): it must belong to the user that runs liteq, or have the "
            "group and the mode of the database where a group shares it"
        ) from error
    return fd


def give_to_owner(path: str, like: os.stat_result) -> None:
    """As root: make `path` belong to the owner of what has the status `like`. Raises OSError."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)


def _open(path: str) -> int:
    while True:
        try:
            return os.open(path, FLAGS)
        except FileNotFoundError:
            pass
        try:
            return os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, MODE)
        except FileExistsError:  # another process was faster
            if os.path.islink(path):
                raise


def _share(fd: int, own: os.stat_result, database: os.stat_result) -> None:
    """Let the same people use the file as the database.

    Root works for whoever owns the database, as SQLite does with -wal and -shm; else the owner is locked out. A group
    that may write the database may write what is beside it.
    """
    if not hasattr(os, "geteuid"):
        return
    if os.geteuid() == 0 and (database.st_uid, database.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(fd, database.st_uid, database.st_gid)
    wanted = MODE | (database.st_mode & GROUP if database.st_mode & stat.S_IWGRP else 0)
    if own.st_uid == os.geteuid() and stat.S_IMODE(own.st_mode) | wanted != stat.S_IMODE(own.st_mode):
        if own.st_gid != database.st_gid:
            try:
                os.fchown(fd, -1, database.st_gid)
            except OSError:  # we are not in that group, so we share nothing with it
                return
        os.fchmod(fd, wanted)


def _foreign(path: str, found: os.stat_result) -> StorageUnavailable:
    if stat.S_ISREG(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
        return StorageUnavailable(
            f"{path} is not used: have it removed, or move the queue to a folder of its own. It must belong to this "
            "user, to root, to the owner of the database, or to the group that shares the database and with no bit "
            f"more than that has; it belongs to another user (uid {found.st_uid})"
        )
    return StorageUnavailable(f"{path} is no regular file: remove it, liteq makes a new one")


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
