"""Leases by their number and token, as a program beside this one names them, and their ends with more than outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from liteq.clock import Clock
from liteq.message import Batch, Lease, Message, Outcome
from liteq.storage.claiming import extend as _extend
from liteq.storage.claiming import leased as _leased
from liteq.storage.driver import Bell, Driver, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.groups import behind as _behind
from liteq.storage.groups import ended as _ended
from liteq.storage.groups import open_groups as _open_groups
from liteq.storage.groups.ended import Ended
from liteq.storage.settling import settle as _settle
from liteq.storage.settling.terms import Terms
from liteq.storage.statistics import event_log as _event_log

__all__ = ["Leases"]


class _Lost(Exception):
    """Raised to take back what was to be sent with leases of which one is over; it never leaves this module."""


class Leases(Facade):
    """`seq` is a message's row number, `token` its lease's fencing token. `events_of`: of messages that are sent."""

    def __init__(self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]]) -> None:
        super().__init__(driver, clock)
        self._events_of = events_of

    def find(self, seq: int, token: int) -> Lease | None:
        """The lease; None where it is over."""
        with self._driver.read(alone=True) as tx:
            return _leased.find(tx, seq, token)

    def holds(self, seq: int, token: int) -> bool:
        """Whether the lease is not over."""
        with self._driver.read(alone=True) as tx:
            return _leased.holds(tx, seq, token)

    def begin(self, leases: Sequence[Lease]) -> list[Lease]:
        """Note that these messages have begun and run at most once; those whose leases are not over, marked so.

        If its worker vanishes, or it is released as crashed, such a message has failed with WorkerLostError: its
        errbacks run, and what awaits it fails. One that goes back otherwise, or is retried, has not begun.
        """
        with self._driver.write(Promise.PROGRESS) as tx:
            return _extend.begin(tx, leases)

    def extend(self, seq: int, token: int, visibility_s: float) -> bool:
        """Let it end `visibility_s` seconds from now; False where it is over."""
        deadline_ms = self._clock.now_ms() + int(visibility_s * 1000)
        return self._driver.change(_extend.EXTEND, (deadline_ms, seq, token), Promise.PROGRESS) == 1

    def put_behind(self, lease: Lease, batch: Batch) -> Lease | None:
        """Send rows that come after the message of `lease`, under that; the lease that knows of them; None: it is over.

        What is in the file already, as from an earlier run of the message, stays as it is there.
        """
        events = self._events_of(batch.messages)
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            found = _behind.put_behind(tx, lease, batch, now_ms=now_ms)
            if found is not None and events:
                _event_log.write(tx, events, now_ms=now_ms)
        return found

    def settle(
        self, settled: Sequence[tuple[Lease, Outcome]], terms: Terms, also: Batch, ended: Sequence[Ended]
    ) -> list[Lease]:  # fmt: skip
        """As `Storage.settle`, whose words these are."""
        events = self._events_of(also.messages)
        try:
            done, woke = self._settle(_settle.settle, settled, terms, also, ended, events)
        except _settle.StaleBatch:
            try:
                done, woke = self._settle(_settle.settle_current, settled, terms, also, ended, events)
            except _Lost:
                also = Batch()  # it was not sent, and rang for nothing
                done, woke = self._settle(_settle.settle_current, settled, terms, also, (), ())
        self._driver.ring(Bell.DONE)
        has_rung = also.messages or also.closing
        self._ring(work=not has_rung and (done.woke or woke or bool(done.freed)))
        return done.lost

    def _settle(
        self, settle: _settle.Settle, settled: Sequence[tuple[Lease, Outcome]], terms: Terms, also: Batch,
        ended: Sequence[Ended], events: Sequence[bytes],
    ) -> tuple[_settle.Settled, bool]:  # fmt: skip
        """Settle, and where no lease was lost, send and end; whether the end of these woke something."""
        # A message is announced before the disk has it: the next link of a chain does not wait for the disk.
        sends = bool(also.messages or also.closing)
        promise, bell = (Promise.ACCEPTED, Bell.WORK) if sends else (Promise.PROGRESS, None)
        with self._driver.write(promise, bell) as tx:
            if sends:  # first: what is settled may await it from now on
                _open_groups.enter(tx, also, patience_ms=_open_groups.PATIENCE_MS, now_ms=terms.now_ms)
            done = settle(tx, settled, terms) if settled else _settle.NOTHING
            if done.lost and sends:
                raise _Lost
            if done.lost:
                return done, False
            woke = _ended.end(tx, ended, now_ms=terms.now_ms)
            if events:
                _event_log.write(tx, events, now_ms=terms.now_ms)
        return done, woke
