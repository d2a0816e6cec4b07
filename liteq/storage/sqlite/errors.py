"""SQLite's result codes as liteq's exceptions: one table for both libraries."""

from __future__ import annotations

from liteq.exceptions import (
    ReadTimeout,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from liteq.storage.sqlite.disk import limits
from liteq.storage.sqlite.turns.holder import writer

__all__ = ["BUSY", "translate"]

# Result codes: https://www.sqlite.org/rescode.html
PERM, BUSY, LOCKED, READONLY, INTERRUPT, IOERR = 3, 5, 6, 8, 9, 10
CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB = 11, 13, 14, 15, 26


def translate(code: int, message: str, path: str, waited_s: float) -> StorageError:
    """The exception for result code `code` (primary or extended) on the file `path`, after waiting `waited_s`."""
    match code & 0xFF:
        case c if c in (BUSY, LOCKED, PROTOCOL):
            return StorageBusy(waited_s, writer(path))
        case c if c == INTERRUPT:
            return ReadTimeout(f"{path}: the read took longer than it may, and was stopped: ask for less")
        case c if c == FULL:
            return StorageFull(f"{path}: the disk is full ({message}): free some space; nothing accepted is lost")
        case c if c == NOTADB:
            return StorageCorrupt(f"{path} is not a SQLite database: name another file in the broker URL")
        case c if c == CORRUPT:
            return StorageCorrupt(f"{path} is damaged ({message}): stop the workers and restore a backup")
        case c if c in (READONLY, PERM):
            return StorageUnavailable(f"{path} cannot be written ({message}): check its owner, mode and file system")
        case c if c == CANTOPEN:
            return StorageUnavailable(f"{path} cannot be opened ({message}): check that it exists, and its folder")
        case c if c == IOERR:
            if limit := limits.largest_file(path, code):
                return StorageError(
                    f"{path}: this process may write no file larger than {limit:,} bytes, and one beside the queue has "
                    "that size: raise its limit (`ulimit -f`, LimitFSIZE= of systemd); nothing accepted is lost"
                )
            return StorageError(
                f"{path}: the disk failed (code {code}, {message}): check the disk and the kernel's log"
            )
    if "no such table" in message:
        return StorageError(f"{path}: {message}: run `liteq migrate`")
    return StorageError(f"{path}: {message}")
