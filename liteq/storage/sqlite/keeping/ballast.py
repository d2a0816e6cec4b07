"""The ballast: space beside the database that is given back when the disk is full.

On a full disk neither UPDATE nor DELETE can commit, since both append to the log: running tasks could not be
acknowledged and would run again. So a worker keeps a file of some MiB, empties it when SQLite reports a full disk, and
makes it anew when there is space again. Until then nothing new is accepted or claimed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.disk import ownership

__all__ = ["BALLAST", "Ballast"]

BALLAST: Final = 8 * 1024 * 1024  # bytes: tens of thousands of acknowledgements
CHUNK: Final = 1024 * 1024


class Ballast:
    """The file `path`: absent (never made), full (in reserve), or empty (in use, since the disk is full)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._database = path.rpartition("-")[0]

    def in_use(self) -> bool:
        """Whether it was dropped and not yet made anew, by whichever process; one `stat`."""
        try:
            status = os.lstat(self.path)
            # One that another user has laid out says nothing.
            return status.st_size == 0 and ownership.is_trusted(status, os.stat(self._database))
        except OSError:
            return False

    def drop(self) -> bool:
        """Give the space back; False when there was none to give."""
        try:
            if os.lstat(self.path).st_size == 0:
                return False
            fd = ownership.open_sidecar(self.path)  # not by its name: it may be a link to another file
            try:
                os.truncate(fd, 0)
            finally:
                os.close(fd)
        except (OSError, StorageUnavailable):
            return False
        return True

    def make(self) -> bool:
        """Have the space in reserve (again); False while the disk has less than twice as much to spare."""
        if self._is_full():
            return True
        if _free(os.path.dirname(self.path)) < 2 * BALLAST:
            return False
        # Filled under another name: an empty file at `path` would tell everybody that the disk is full. It is the same
        # for all: what a killed process has left goes with the next one. Of two at once, one finds it renamed already.
        new = f"{self.path}.new"
        try:
            _fill(new)
            os.replace(new, self.path)
        except (OSError, StorageUnavailable):
            with suppress(OSError):
                os.unlink(new)
            return self._is_full()
        return True

    def _is_full(self) -> bool:
        try:
            return os.lstat(self.path).st_size >= BALLAST
        except OSError:
            return False


def _free(folder: str) -> int:
    """The bytes that an ordinary user may still write to the file system of `folder`."""
    try:
        status = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows has no statvfs: there the attempt must tell
        return 2 * BALLAST
    return status.f_bavail * status.f_frsize


def _fill(path: str) -> None:
    fd = ownership.open_sidecar(path)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, BALLAST)
        else:
            for offset in range(0, BALLAST, CHUNK):
                os.pwrite(fd, b"\xff" * CHUNK, offset)  # not zeros: some file systems store those as nothing
    finally:
        os.close(fd)
