"""The sleep of a consumer, and that of a caller who waits for a result: until a bell of the queue rings."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from typing import Any

from liteq.result.messages import StatesTold
from liteq.storage.driver import Bell, Listener
from liteq.storage.storage import Storage
from liteq.utils.records import NamedTuple

__all__ = ["Ear", "rings", "states_told"]

NET_S = 1.0  # a ring may be lost
STALE_S = 5.0  # until a consumer looks again, whatever it has heard: the end of a pause is not written to the file
SHORTEST_S = 0.01  # between two calls of `on_interval`


class Ear:
    """Wakes when something may be claimable, or when its process calls `wake`, by a pipe. One per connection.

    `wake` may be called from any thread.
    """

    def __init__(self, storage: Storage) -> None:
        self.pid = os.getpid()
        self._storage = storage
        self._listener: Listener = storage.listen(Bell.WORK)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._fds = [fd for fd in (self._listener.fileno(), self._reader) if fd >= 0]
        self._closed = False
        self._version = -1  # of the file, at the last check
        self.checked_at = self._cleared_at = -inf  # by time.monotonic()
        self._rung = False  # since the last claim
        self._was_for_us = False  # the ring before: its claim found something

    @property
    def has_bell(self) -> bool:
        """Whether a ring wakes it: the platform has a bell that can be waited for beside other descriptors."""
        return len(self._fds) > 1

    def filenos(self) -> list[int]:
        """The descriptors that are readable once it is woken; without the bell's where the platform has none."""
        return self._fds

    def wake(self) -> None:
        """Have it look again."""
        if not self._closed:
            with suppress(OSError):  # full: it is awake
                os.write(self._writer, b"\0")

    def check(self) -> None:
        """Wake it where the file has changed since the last check, as a ring may have been lost, or after STALE_S."""
        version, self._version = self._version, self._storage.driver.version()
        self.checked_at = time.monotonic()
        if version != self._version or self.checked_at >= self._cleared_at + STALE_S:
            self.wake()

    def clear(self) -> bool:
        """Forget what was heard so far, as the caller looks for messages next. Returns whether the bell has rung."""
        self._cleared_at = time.monotonic()
        with suppress(OSError):
            while os.read(self._reader, 4096):
                pass
        rung = self._listener.clear()
        self._rung |= rung
        return rung

    @property
    def expectant(self) -> bool:
        """Whether a claim is likely to find something: the bell has rung, and the ring before was for this consumer.

        Such a claim takes the write lock at once. Any other looks first, as one of several idle consumers that came too
        late would hold up the others for nothing.
        """
        return self._rung and self._was_for_us

    def claimed(self, n: int) -> None:
        """Note that a claim has found `n` messages."""
        if self._rung:
            self._rung, self._was_for_us = False, n > 0

    def wait(self, seconds: float) -> None:
        """Sleep until it is woken, or for so long; forget what was heard."""
        # Not select.select: that takes no descriptor above 1,023. Nor select.poll: eventlet takes it away.
        with suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for fd in self._fds:
                ready.register(fd, selectors.EVENT_READ)
            ready.select(max(seconds, 0.0))
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


def rings(
    storage: Storage, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None
) -> Iterator[None]:
    """A look now, and one after each ring of what has ended, until `timeout` seconds are over.

    `on_interval` is called each `interval` seconds, and not at each ring: Celery's own reads all parents, which for a
    chord of n would be n rows at each of n rings.
    """
    now, interval = time.monotonic(), max(interval, SHORTEST_S)
    until = inf if timeout is None else now + timeout
    calls_at = inf if on_interval is None else now + interval
    with storage.hearing() as listener:
        while True:
            yield None
            now = time.monotonic()
            if now >= until:
                return
            if on_interval is not None and now >= calls_at:
                on_interval()
                calls_at = time.monotonic() + interval
            listener.wait(min(until - now, calls_at - now, NET_S))


class Waited(NamedTuple):
    """A task whose states are told to a caller of Celery's who waits for it."""

    backend: Any
    id: str

    def _find(self) -> Any:
        return self.backend.storage.reader.find(self.id)

    def _get_task_meta(self) -> dict[str, Any]:
        return dict(self.backend.get_task_meta(self.id))


def states_told(backend: Any, id_: str, on_message: Callable[[dict[str, Any]], object]) -> StatesTold:
    """Calls `on_message` with Celery's document of the task `id_`, at each look that finds another state."""
    return StatesTold(Waited(backend, id_), on_message)
