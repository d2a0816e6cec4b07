"""Schedules as rows: the entries of beat, one transaction a method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liteq.message import Batch
from liteq.storage.driver import Bell, Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.operating import audit as _audit
from liteq.storage.operating.audit import Actor
from liteq.storage.sending import periodic as _periodic
from liteq.storage.sending.periodic import Entry, RunRecord, ScheduleRecord

__all__ = ["Schedules"]


class Schedules(Facade):
    """The entries of beat, shared by any number of beats.

    `by`, of an act: for the audit, with the `queue` that the entry sends to; None: it is not noted.
    """

    def all(self) -> list[ScheduleRecord]:
        """Every entry, by name."""
        with self._driver.read() as tx:
            return _periodic.schedules(tx)

    def find(self, name: str) -> ScheduleRecord | None:
        """The entry called `name`; None when there is none."""
        with self._driver.read() as tx:
            return next(iter(_periodic.schedules(tx, name)), None)

    def runs(self, ids: Sequence[str]) -> dict[str, RunRecord]:
        """Those of these runs, 64 at most, whose messages are still there, by id."""
        with self._driver.read() as tx:
            return _periodic.runs(tx, ids)

    def due(self, limit: int = 100, *, skip: int = 0) -> tuple[list[ScheduleRecord], int | None]:
        """Up to `limit` entries that are due, the oldest first, behind the first `skip` of them.

        Also when the next one will be that is not due yet (ms).
        """
        with self._driver.read() as tx:
            next_ms = _periodic.next_wake_ms(tx)
            now_ms = self._clock.now_ms()
            if next_ms is None or next_ms > now_ms:
                return [], next_ms
            return _periodic.due(tx, now_ms=now_ms, limit=limit, skip=skip), _periodic.next_wake_ms(tx, after_ms=now_ms)

    def synchronise(self, owner: str, entries: Sequence[Entry]) -> list[str]:
        """Make the entries of `owner` those of its configuration; the names of those that are gone."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _periodic.synchronise(tx, owner, entries, now_ms=self._clock.now_ms())

    def put(self, entries: Iterable[Entry], owner: str = "") -> int:
        """Write entries that no configuration holds; how many were new or have changed."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _periodic.put(tx, owner, list(entries), now_ms=self._clock.now_ms())

    def delete(self, name: str) -> bool:
        """Delete an entry; whether there was one."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _periodic.delete(tx, name)

    def enable(
        self, name: str, *, enabled: bool, next_due_ms: int | None, by: Actor | None = None, queue: str | None = None
    ) -> bool:
        """Pause an entry, or let it go on at `next_due_ms`; whether there is one."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            found = _periodic.enable(tx, name, enabled=enabled, next_due_ms=next_due_ms)
            if found:
                self._note(tx, by, "resume" if enabled else "pause", name, queue)
        return found

    def fire(
        self, record: ScheduleRecord, batch: Batch, *, n: int, last_id: str, next_due_ms: int | None,
        replaces: str | None = None,
    ) -> bool:  # fmt: skip
        """Send `batch`, `n` runs of an entry that is due, and move it on; False when another beat was first.

        `replaces`: the id of its last run, which is cancelled in the same transaction.
        """
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.ACCEPTED if replaces is None else Promise.REMOVED) as tx:
            fired = _periodic.take(tx, record, n=n, last_id=last_id, next_due_ms=next_due_ms, now_ms=now_ms)
            if fired and replaces is not None:  # before the sending, so that its unique key is free
                from liteq.storage.operating import acting as _acting  # here: a plain program has no use for it

                reason = f"the next run of the schedule {record.name} took its place"
                _acting.end_for_another(tx, replaces, reason=reason, now_ms=now_ms)
            if fired:
                _periodic.send(tx, record.name, batch, last_id=last_id, now_ms=now_ms)
        if fired:
            self._driver.ring(Bell.WORK)
            if replaces is not None:
                self._driver.ring(Bell.DONE)
        return fired

    def put_off(self, record: ScheduleRecord, *, next_due_ms: int | None) -> bool:
        """Move an entry on without a run; False when another beat was first."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _periodic.put_off(tx, record, next_due_ms=next_due_ms)

    def run_now(
        self, name: str, batch: Batch, *, last_id: str, by: Actor | None = None, queue: str | None = None
    ) -> bool:
        """Send a run of an entry out of turn; False when there is no such entry."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            ran = _periodic.ran_now(tx, name, batch, last_id=last_id, now_ms=self._clock.now_ms())
            if ran:
                self._note(tx, by, "run", name, queue)
        if ran:
            self._driver.ring(Bell.WORK)
        return ran

    def _note(self, tx: Transaction, by: Actor | None, action: str, name: str, queue: str | None) -> None:
        if by is not None:
            _audit.write(tx, by, f"schedule {action}", name, queue, 1, now_ms=self._clock.now_ms())
