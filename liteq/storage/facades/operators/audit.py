"""Acts and moments: the audit and the marks, one transaction a method."""

from __future__ import annotations

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.operating import audit as _audit
from liteq.storage.operating import marks as _marks
from liteq.storage.operating import operations as _operations
from liteq.storage.operating.audit import Actor, Audited
from liteq.storage.operating.marks import Mark

__all__ = ["Audit"]


class Audit(Facade):
    """The actions of people and programs, and moments with a name."""

    def note(self, by: Actor, action: str, target: str, *, queue: str | None = None, n: int = 1) -> None:
        """Note an act that changes no row of the file, or was refused."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _audit.write(tx, by, action, target, queue, n, now_ms=self._clock.now_ms())

    def page(self, *, after: int | None = None, limit: int = 100) -> list[Audited]:
        """Up to `limit` acts, the newest first: those behind the one of number `after` (None: the newest)."""
        with self._driver.read() as tx:
            return _audit.page(tx, after=after, limit=limit)

    def of_target(self, target: str, *, limit: int = 100) -> list[Audited]:
        """Up to `limit` acts on one message, operation, queue or schedule, the newest first."""
        with self._driver.read() as tx:
            return _audit.of_target(tx, target, limit=limit)

    def expire(self, before_ms: int, limit: int = 1_000) -> int:
        """Delete up to `limit` of each: acts, marks and operations that are done from before `before_ms`; how many."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return (
                _audit.expire(tx, before_ms, limit=limit)
                + _marks.expire(tx, before_ms, limit=limit)
                + _operations.expire(tx, before_ms, limit=limit)
            )

    # -- marks -------------------------------------------------------------------------------------------------------

    def mark(self, label: str) -> None:
        """Mark this moment as `label`: a line in the charts."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _marks.add(tx, label, now_ms=self._clock.now_ms())

    def mark_release(self, release: str) -> bool:
        """Mark this moment, at which a worker of `release` starts; False where another of the same did last."""
        with self._driver.read() as tx:
            if _marks.release(tx) == release:
                return False
        with self._driver.write(Promise.PROGRESS) as tx:
            return _marks.add_release(tx, release, now_ms=self._clock.now_ms())

    def marks(self, from_ms: int, until_ms: int, *, limit: int = 100) -> list[Mark]:
        """The newest `limit` marks from `from_ms` up to `until_ms` (ms since the epoch), the oldest first."""
        with self._driver.read() as tx:
            return _marks.between(tx, from_ms, until_ms, limit=limit)
