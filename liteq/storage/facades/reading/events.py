"""The log of events, one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.statistics import event_log as _event_log

__all__ = ["Events"]


class Events(Facade):
    """The log of events, as JSON documents."""

    KEPT = 100_000  # the newest; older ones go whatever their age

    def put(self, events: Sequence[bytes]) -> None:
        """Add events."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _event_log.write(tx, events, now_ms=self._clock.now_ms())
        self._driver.ring(Bell.DONE)

    def last(self) -> int:
        """The number of the newest event."""
        with self._driver.read() as tx:
            return _event_log.last(tx)

    def after(self, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` events that came after the one of this number, with theirs."""
        with self._driver.read() as tx:
            return _event_log.after(tx, number, limit=limit)

    def trim(self, expires_s: float, limit: int = 1_000) -> int:
        """Delete up to `limit` of those that are older than `expires_s` seconds, or not among the newest; how many."""
        with self._driver.write(Promise.PROGRESS) as tx:
            before_ms = self._clock.now_ms() - int(expires_s * 1000)
            return _event_log.trim(tx, before_ms=before_ms, keep=self.KEPT, limit=limit)
