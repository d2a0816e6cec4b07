"""A listener on macOS: kqueue on the bell's file."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.disk.files import identity
from liteq.storage.sqlite.disk.ownership import open_sidecar

__all__ = ["KqueueListener"]

NOWHERE = (0, 0)

if sys.platform == "darwin":

    class KqueueListener:
        """`driver.Listener`; after a fork, which closes a kqueue, the child makes its own."""

        def __init__(self, path: str) -> None:
            self._path = path
            self._start()

        def fileno(self) -> int:
            return self._queue.fileno()

        def clear(self) -> bool:
            if self._pid != os.getpid():
                os.close(self._bell)
                self._start()
                return True
            return self._take(0)

        def wait(self, timeout_s: float) -> bool:
            if self._pid != os.getpid():
                self.clear()
            return self._take(max(0.0, timeout_s))

        def close(self) -> None:
            if not self._queue.closed:
                self._queue.close()
                os.close(self._bell)

        def _take(self, timeout_s: float) -> bool:
            heard = bool(self._queue.control(None, 8, timeout_s))
            if self._watched == NOWHERE or (heard and identity(self._path) != self._watched):
                self._watch_again()
            return heard

        def _watch_again(self) -> None:
            """In the same queue, which somebody's selector knows; with the folder gone, tried again next time."""
            before, self._watched = self._bell, NOWHERE
            with suppress(OSError, StorageUnavailable):
                self._watch()
                os.close(before)

        def _start(self) -> None:
            self._pid = os.getpid()
            self._queue = select.kqueue()
            self._watch()

        def _watch(self) -> None:
            self._bell = open_sidecar(self._path)
            event = select.kevent(
                self._bell,
                select.KQ_FILTER_VNODE,
                select.KQ_EV_ADD | select.KQ_EV_CLEAR,
                select.KQ_NOTE_ATTRIB | select.KQ_NOTE_DELETE | select.KQ_NOTE_RENAME,
            )
            self._queue.control([event], 0)
            self._watched = identity(self._path)
