"""Plain calls: arguments alone, so that no `Message` has to be made of each; one transaction a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from liteq.clock import Clock
from liteq.storage.driver import Bell, Driver, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.interrupts import after, closes_itself
from liteq.storage.rows.payloads import INLINE_BYTES
from liteq.storage.sending import enqueue_calls as _calls
from liteq.storage.sent import note

__all__ = ["PlainCalls"]


class PlainCalls(Facade):
    """The shortest way in. `may`: whether it may be taken now, or something has to look at each message.

    Where a method returns False, nothing was written: `Storage.enqueue` is to be called.
    """

    def __init__(self, driver: Driver, clock: Clock, may: Callable[[], bool]) -> None:
        super().__init__(driver, clock)
        self._may = may

    @closes_itself
    def send(self, id_: str, kind: _calls.Kind, payload: bytes) -> bool:
        """Write one call. Not for large arguments, nor for an id that is in the file."""
        if len(payload) > INLINE_BYTES or not self._may():
            return False
        now_ms = self._clock.now_ms()
        try:
            written = _calls.enqueue_call(self._driver, id_, kind, payload, now_ms=now_ms)
        except BaseException as error:  # noqa: BLE001 - raised again by `after`
            return after(error, _calls.enqueue_call, self._driver, id_, kind, payload, now_ms=now_ms)
        if written:
            note(id_)
        return written

    def send_many(self, calls: Sequence[_calls.Calls]) -> bool:
        """Write any number of calls in their order, all or nothing. Not for large arguments."""
        if not self._may() or any(len(one) > INLINE_BYTES for _, _, payloads in calls for one in payloads):
            return False
        rows = _calls.rows_of(calls, now_ms=self._clock.now_ms(), apart=not self._driver.one_writer)
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            _calls.enqueue_calls(tx, rows)
        if calls and calls[-1][1]:
            note(calls[-1][1][-1])
        return True
