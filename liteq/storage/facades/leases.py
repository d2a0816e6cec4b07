"""Leases by their number and token, as a program beside this one names them."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Lease
from liteq.storage import extend as _extend
from liteq.storage import leased as _leased
from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade

__all__ = ["Leases"]


class Leases(Facade):
    """One lease at a time: `seq` is the message's row number, `token` the lease's fencing token."""

    def find(self, seq: int, token: int) -> Lease | None:
        """The lease; None where it is over."""
        with self._driver.read(alone=True) as tx:
            return _leased.find(tx, seq, token)

    def begin(self, leases: Sequence[Lease]) -> list[Lease]:
        """Note that these messages have begun and run at most once; those whose leases are not over, marked so.

        If its worker vanishes, or it is released as crashed, such a message has failed with WorkerLostError: its
        errbacks run, and what awaits it fails. One that goes back otherwise, or is retried, has not begun.
        """
        with self._driver.write(Promise.PROGRESS) as tx:
            return _extend.begin_all(tx, leases)

    def extend(self, seq: int, token: int, visibility_s: float) -> bool:
        """Let it end `visibility_s` seconds from now; False where it is over."""
        deadline_ms = self._clock.now_ms() + int(visibility_s * 1000)
        return self._driver.change(_extend.EXTEND, (deadline_ms, seq, token), Promise.PROGRESS) == 1
