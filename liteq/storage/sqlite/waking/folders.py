"""The bells of many files, heard by one watch over their folders: no listener and no descriptor for each file.

The kernel names what was touched in a folder. So a ring of `tenants/a.db` comes as the name `a.db-work`, and a file
that is new, or gone, as its own.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from liteq.storage.driver import Bell
from liteq.storage.sqlite.disk.ownership import SIDE_FILES

__all__ = ["Folders", "PolledFolders", "is_beside", "watch_folders"]

WORK = f"-{Bell.WORK.value}"
BESIDE = (*SIDE_FILES, "-journal")

IN_ATTRIB = 0x004  # <sys/inotify.h>
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x040, 0x080, 0x100, 0x200
IN_MOVE_SELF, IN_Q_OVERFLOW, IN_IGNORED = 0x800, 0x4000, 0x8000
CHANGES = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
MOST = 1 << 16  # bytes of one read


def is_beside(name: str) -> bool:
    """Whether a file of this name stands beside a queue: its log, a bell, and the like."""
    return name.endswith(BESIDE)


class Folders:
    """A watch by inotify. `read` tells what has happened since the last call."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes = ctypes
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folders: dict[int, str] = {}  # by watch
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def _checked(self, result: int) -> int:
        if result < 0:
            code = self._ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def fileno(self) -> int:
        """A descriptor that is readable when `read` has something to tell; -1: ask it again and again."""
        return self._fd

    def watch(self, folders: Iterable[str], paths: Iterable[str]) -> None:  # noqa: ARG002 - the other watch's
        """Watch these folders from now on, in place of those of before. `paths`: the files in them."""
        known, wanted = {folder: watch for watch, folder in self._folders.items()}, set(folders)
        for folder in wanted - known.keys():
            with suppress(OSError):  # gone again
                mask = IN_ATTRIB | IN_MOVE_SELF | CHANGES
                found = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), mask)
                self._folders[self._checked(found)] = folder
        for folder in known.keys() - wanted:
            self._libc.inotify_rm_watch(self._fd, known[folder])
            self._folders.pop(known[folder], None)

    def read(self) -> tuple[set[str] | None, bool]:
        """The files whose bell of work has rung, None: any may have; and whether a file has come or gone."""
        rung: set[str] | None = set()
        changed = False
        while True:
            try:
                data = os.read(self._fd, MOST)
            except BlockingIOError:
                return rung, changed
            at = 0
            while at < len(data):
                watch, mask, _, length = HEAD.unpack_from(data, at)
                at += HEAD.size + length
                if mask & IN_Q_OVERFLOW:
                    rung, changed = None, True
                    continue
                if mask & IN_MOVE_SELF:  # renamed: its rings would pass for those of a folder that gets its name
                    self._libc.inotify_rm_watch(self._fd, watch)
                if mask & (IN_IGNORED | IN_MOVE_SELF):
                    self._folders.pop(watch, None)
                    changed = True
                    continue
                name = os.fsdecode(data[at - length : at].rstrip(b"\0"))
                if name.endswith(WORK):
                    if rung is not None and (folder := self._folders.get(watch)) is not None:
                        rung.add(os.path.join(folder, name.removesuffix(WORK)))
                elif mask & CHANGES and not is_beside(name):
                    changed = True

    def close(self) -> None:
        """Close the watch."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class PolledFolders:
    """A watch where the system has no inotify: the time stamps of the bells, at each `read`."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def fileno(self) -> int:
        return -1

    def watch(self, _folders: Iterable[str], paths: Iterable[str]) -> None:
        self._seen = {path: self._seen.get(path, 0) for path in paths}

    def read(self) -> tuple[set[str] | None, bool]:
        rung: set[str] | None = set()
        for path, before in self._seen.items():
            with suppress(OSError):
                found = os.stat(path + WORK).st_mtime_ns
                if found != before:
                    self._seen[path] = found
                    rung.add(path)  # type: ignore[union-attr]
        return rung, False

    def close(self) -> None: ...


def watch_folders() -> Folders | PolledFolders:
    """A watch by the best means of this system."""
    if sys.platform == "linux":
        with suppress(OSError):  # no inotify instance is left
            return Folders()
    return PolledFolders()
