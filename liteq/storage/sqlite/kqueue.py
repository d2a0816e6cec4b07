"""A listener on macOS: kqueue on the bell's file."""

from __future__ import annotations

import os
import select
import sys

from liteq.storage.sqlite.files import identity, open_sidecar

__all__ = ["KqueueListener"]

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
            if heard and identity(self._path) != self._watched:
                os.close(self._bell)
                self._watch()  # in the same queue: somebody's selector knows it
            return heard

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
