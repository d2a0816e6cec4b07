"""Very many calls, part by part: one transaction a part. That of a named sending also says how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from liteq.clock import Clock
from liteq.message import Batch, Message
from liteq.storage.driver import Bell, Driver, Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.rows.payloads import INLINE_BYTES
from liteq.storage.sending import enqueue as _enqueue
from liteq.storage.sending import enqueue_calls as _calls
from liteq.storage.sending import sends as _sends
from liteq.storage.sent import note
from liteq.storage.statistics import event_log as _event_log
from liteq.utils.records import NamedTuple

__all__ = ["Part", "Sends"]


class Part(NamedTuple):
    """The elements from `begin` to before `end` of the sending `name`, counted from 0."""

    name: str
    begin: int
    end: int


class Sends(Facade):
    """Each method that writes a `part` raises `Moved`, and has written nothing, where another process went on there."""

    def __init__(self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]]) -> None:
        super().__init__(driver, clock)
        self._events_of = events_of

    def place(self, name: str) -> int:
        """How many elements of the sending `name` are sent."""
        with self._driver.read(alone=True) as tx:
            return _sends.place(tx, name)

    def calls(self, calls: _calls.Calls, part: Part | None = None) -> bool:
        """Write plain calls of one task. False, and nothing is written, where `batch` is to be called instead.

        That is for large arguments, and for ids of which one is in the file.
        """
        if any(len(payload) > INLINE_BYTES for payload in calls[2]):
            return False
        now_ms = self._clock.now_ms()
        rows = _calls.rows_of([calls], now_ms=now_ms, apart=not self._driver.one_writer)
        try:
            with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
                self._advance(tx, part, now_ms)
                if _calls.enqueue_calls(tx, rows) != len(calls[1]):
                    raise _enqueue.Collided
        except _enqueue.Collided:
            return False
        if calls[1]:
            note(calls[1][-1])
        return True

    def batch(self, batch: Batch, part: Part | None = None) -> int:
        """Write messages that await nothing; how many: not those that are there, or that others stand for."""
        return len(batch.messages) - len(self.placed(batch, part).standing)

    def placed(self, batch: Batch, part: Part | None = None) -> _enqueue.Placed:
        """Write messages, or a canvas, all or nothing; which of them were there, or have others that stand for them."""
        now_ms = self._clock.now_ms()
        events = self._events_of(batch.messages)
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            self._advance(tx, part, now_ms)
            placed = _enqueue.place(tx, batch, now_ms=now_ms)
            if events:
                _event_log.write(tx, events, now_ms=now_ms)
        if batch.messages:
            last = batch.messages[-1].id
            note(placed.stands.get(last, last))
        return placed

    def _advance(self, tx: Transaction, part: Part | None, now_ms: int) -> None:
        if part is not None:
            _sends.advance(tx, part.name, begin=part.begin, end=part.end, now_ms=now_ms)
