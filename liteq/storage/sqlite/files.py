"""The file and its folder: the conditions under which SQLite may open it. Every refusal says what to do."""

from __future__ import annotations

import os
import stat
import sys

from liteq.exceptions import StorageCorrupt, StorageUnavailable

__all__ = ["check", "create", "file_system", "identity", "open_sidecar", "resolve"]

MODE = 0o600  # SQLite gives -wal and -shm the mode of the database
# WAL needs memory that all its users share, and POSIX locks that hold: neither is to be had over a network.
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre",
    "ncpfs", "nfs", "nfs4", "smb2", "smb3", "smbfs",
}  # fmt: skip


def resolve(path: str) -> str:
    """`path` without symbolic links: SQLite puts its -wal beside the real file, so the gate must be there as well."""
    return os.path.realpath(path)


def create(path: str) -> None:
    """Make the file, empty, readable by its owner alone; nothing when it is there. Raises StorageUnavailable."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StorageUnavailable(f"the folder {folder} does not exist: create it, or name another in the broker URL")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), MODE))
    except FileExistsError:
        return
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be created ({error.strerror}): make the folder writable, or name another"
        ) from error


def check(given: str, path: str, allow_network: bool) -> None:
    """Refuse a place where SQLite could not, or should not, keep a queue. Raises StorageUnavailable.

    `given` is the path as the URL has it, `path` the same without links.
    """
    if os.path.islink(given):
        _refuse_planted(given, os.lstat(given))
    try:
        status = os.stat(path)
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be opened ({error.strerror}): start a worker or run `liteq migrate` to create it"
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise StorageUnavailable(f"{path} is a folder: name a file inside it in the broker URL")
    if not stat.S_ISREG(status.st_mode):
        raise StorageUnavailable(f"{path} is not a regular file: name another in the broker URL")
    _refuse_planted(path, status)
    _refuse_read_only(path)
    _refuse_lost_log(path)
    kind = file_system(path)
    if kind in NETWORK and not allow_network:
        raise StorageUnavailable(
            f"{path} lies on a network file system ({kind}), where SQLite's write-ahead log gets corrupted: move it to "
            "a local disk, or set `allow_network_filesystem` if one machine alone uses it"
        )


def identity(path: str) -> tuple[int, int]:
    """Device and inode of `path`; (0, 0) when there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def file_system(path: str) -> str:
    """The type of the file system that `path` is on, as the kernel calls it; "" where it cannot be told."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            found = [(_unescape(fields[1]), fields[2]) for fields in map(str.split, mounts) if len(fields) > 2]
    except OSError:
        return ""
    best = ("", "")
    for point, kind in found:
        inside = point in ("/", path) or path.startswith(point + "/")
        if inside and len(point) >= len(best[0]):  # a later mount at one point hides the earlier
            best = (point, kind)
    return best[1]


if sys.platform == "darwin":  # its fsync leaves data in the drive's cache
    import fcntl

    def _flush(fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:
    _flush = getattr(os, "fdatasync", os.fsync)


def sync(path: str) -> None:
    """Have the disk write the file's content. Raises OSError. Not for the database itself: see its locks."""
    fd = os.open(path, os.O_RDWR)
    try:
        _flush(fd)
    finally:
        os.close(fd)


def open_sidecar(path: str) -> int:
    """Open, creating it if need be, a file of liteq's own beside the database; the descriptor, closed on exec."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), MODE)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            _give_to_owner(fd, path)
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be opened ({error.strerror}): it must belong to the user that runs liteq"
        ) from error
    return fd


def _give_to_owner(fd: int, path: str) -> None:
    """Root works for the owner of the database, as SQLite does with -wal and -shm; else the owner is locked out."""
    database = path.rpartition("-")[0]
    status, own = os.stat(database), os.fstat(fd)
    if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(fd, status.st_uid, status.st_gid)


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


def _refuse_lost_log(path: str) -> None:
    """SQLite makes the log before its index and removes it after it: with the index alone, somebody deleted the log.

    Without its log the file is in an older state, or has no tables yet: going on would look like an empty queue.
    """
    if os.path.exists(f"{path}-shm") and not os.path.exists(f"{path}-wal"):
        raise StorageCorrupt(
            f"{path}-wal was deleted, and the last commits with it: restore a backup; or delete {path}-shm to "
            "go on with the rest"
        )


def _unescape(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field
