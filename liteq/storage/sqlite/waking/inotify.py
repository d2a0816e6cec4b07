"""A listener on Linux: inotify on the bell's file."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from contextlib import suppress

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.disk.files import identity
from liteq.storage.sqlite.disk.ownership import open_sidecar

__all__ = ["InotifyListener"]

# <sys/inotify.h>
IN_ATTRIB = 0x004
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_IGNORED = 0x8000
GONE = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name: 0 where a file is watched, not a folder
MOST = 256 * EVENT.size  # bytes of one read; fewer: no event is left
NOWHERE = (0, 0)
FLAGS = os.O_NONBLOCK | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


class InotifyListener:
    """`driver.Listener`; after a fork the child makes a watch of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._start()

    def fileno(self) -> int:
        return self._fd

    def clear(self) -> bool:
        if self._pid != os.getpid():
            self.close()  # a shared queue of events: each would be heard by one of the two
            self._start()
            return True
        seen = 0
        size = MOST
        while size == MOST:
            try:
                data = os.read(self._fd, MOST)
            except BlockingIOError:
                break
            size = len(data)
            for _watch, mask, _cookie, _length in EVENT.iter_unpack(data):
                seen |= mask
        # Deleting a bell rings it. A file that somebody holds open is not gone, though its name is another's by now:
        # that is looked at when there is time, since a lone task that waits for this ring pays 8 us for a look.
        if seen & GONE:
            self._watch_again()
        elif seen:
            self._unsure = True
        elif self._unsure:
            self._make_sure()
        return bool(seen)

    def wait(self, timeout_s: float) -> bool:
        if self._pid != os.getpid():
            self.clear()
        if self._watched == NOWHERE:
            self._watch_again()
        elif self._unsure:
            self._make_sure()
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000)) and self.clear()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._unsure = False
        self._fd = _check(_libc.inotify_init1(FLAGS))
        try:
            self._watch()
        except (OSError, StorageUnavailable):
            self.close()
            raise

    def _make_sure(self) -> None:
        # The name alone does not tell: the new file may have the old one's inode number.
        self._unsure = False
        if identity(self._path) != self._watched:
            self._watch_again()

    def _watch_again(self) -> None:
        """Watch what is under that name now, by the same descriptor: somebody's selector knows it.

        With the database gone, or its folder, there is nothing to watch: tried again with the next `wait`.
        """
        self._watched = NOWHERE
        with suppress(OSError, StorageUnavailable):
            self._watch()

    def _watch(self) -> None:
        os.close(open_sidecar(self._path))
        mask = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
        _check(_libc.inotify_add_watch(self._fd, os.fsencode(self._path), mask))
        self._watched = identity(self._path)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
