"""The sleep of a consumer: until the queue's bell rings, or its own process wakes it by a pipe."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from liteq.storage.driver import Bell, Listener
from liteq.storage.storage import Storage

__all__ = ["Ear"]


class Ear:
    """Hears that something may be claimable. One per connection; `wake` is called from any thread."""

    def __init__(self, storage: Storage) -> None:
        self.pid = os.getpid()
        self._listener: Listener = storage.listen(Bell.WORK)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._fds = [fd for fd in (self._listener.fileno(), self._reader) if fd >= 0]
        self._closed = False

    def filenos(self) -> list[int]:
        """The descriptors that are readable once it is woken; without the bell's where the platform has none."""
        return self._fds

    def wake(self) -> None:
        """Have it look again."""
        if not self._closed:
            with suppress(OSError):  # full: it is awake
                os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget what was heard so far."""
        with suppress(OSError):
            while os.read(self._reader, 4096):
                pass
        self._listener.clear()

    def wait(self, seconds: float) -> None:
        """Sleep until it is woken, or for so long; forget what was heard."""
        with suppress(OSError, ValueError):
            select.select(self._fds, [], [], max(seconds, 0.0))
        self.clear()

    def close(self) -> None:
        """Close its descriptors; in a forked child those are copies of its parent's."""
        if self._closed:
            return
        self._closed = True
        for fd in (self._reader, self._writer):
            with suppress(OSError):
                os.close(fd)
        if self.pid == os.getpid():
            self._listener.close()
