"""What a queue has beside its messages: the schedules of beat, the commands of remote control, saved groups.

One transaction for each method, as in `Storage`, of which these are parts: `storage.schedules`, `storage.commands`,
`storage.events`, `storage.rates`, `storage.saved_groups`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from liteq.clock import Clock
from liteq.message import Batch
from liteq.storage import cancel as _control
from liteq.storage import commands as _commands
from liteq.storage import event_log as _events
from liteq.storage import periodic as _periodic
from liteq.storage import rates as _rates
from liteq.storage import saved_groups as _saved_groups
from liteq.storage.cancel import Revoked
from liteq.storage.commands import Command, Reply
from liteq.storage.driver import Bell, Driver, Promise
from liteq.storage.interrupts import leaves_nothing_open
from liteq.storage.periodic import Entry, ScheduleRecord
from liteq.storage.rates import Rate

__all__ = ["Commands", "Events", "Rates", "SavedGroups", "Schedules"]


@leaves_nothing_open
class Schedules:
    """The entries of beat, shared by any number of beats."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def all(self) -> list[ScheduleRecord]:
        """Every entry, by name."""
        with self._driver.read() as tx:
            return _periodic.schedules(tx)

    def find(self, name: str) -> ScheduleRecord | None:
        """The entry called `name`; None when there is none."""
        with self._driver.read() as tx:
            return next(iter(_periodic.schedules(tx, name)), None)

    def due(self, limit: int = 100) -> tuple[list[ScheduleRecord], int | None]:
        """Up to `limit` entries that are due, the oldest first; when there is none, also when the next will be (ms)."""
        with self._driver.read() as tx:
            next_ms = _periodic.next_wake_ms(tx)
            now_ms = self._clock.now_ms()
            if next_ms is None or next_ms > now_ms:
                return [], next_ms
            return _periodic.due(tx, now_ms=now_ms, limit=limit), next_ms

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

    def enable(self, name: str, *, enabled: bool, next_due_ms: int | None) -> bool:
        """Pause an entry, or let it go on at `next_due_ms`; whether there is one."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _periodic.enable(tx, name, enabled=enabled, next_due_ms=next_due_ms)

    def fire(self, record: ScheduleRecord, batch: Batch, *, n: int, last_id: str, next_due_ms: int | None) -> bool:
        """Send `batch`, `n` runs of an entry that is due, and move it on; False when another beat was first."""
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.ACCEPTED) as tx:
            fired = _periodic.fire(tx, record, batch, n=n, last_id=last_id, next_due_ms=next_due_ms, now_ms=now_ms)
        if fired:
            self._driver.ring(Bell.WORK)
        return fired

    def put_off(self, record: ScheduleRecord, *, next_due_ms: int | None) -> bool:
        """Move an entry on without a run; False when another beat was first."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _periodic.put_off(tx, record, next_due_ms=next_due_ms)

    def run_now(self, name: str, batch: Batch, *, last_id: str) -> bool:
        """Send a run of an entry out of turn; False when there is no such entry."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            ran = _periodic.ran_now(tx, name, batch, last_id=last_id, now_ms=self._clock.now_ms())
        if ran:
            self._driver.ring(Bell.WORK)
        return ran


@leaves_nothing_open
class Commands:
    """What workers are asked for, and what they answer. Arguments and answers are JSON."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def send(
        self, name: str, arguments: bytes, destination: bytes | None = None, *, wants_reply: bool, expires_s: float
    ) -> int:
        """Ask the workers named in `destination` (None: all) for something; the command's number."""
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + int(expires_s * 1000)
        with self._driver.write(Promise.PROGRESS) as tx:
            number = _commands.send(
                tx, name, arguments, destination, wants_reply=wants_reply, expires_ms=expires_ms, now_ms=now_ms
            )
        self._driver.ring(Bell.WORK)
        return number

    def last_seen(self) -> int:
        """The number of the newest command."""
        with self._driver.read() as tx:
            return _commands.last_seen(tx)

    def after(self, number: int) -> list[Command]:
        """The commands that came after the one of this number."""
        with self._driver.read() as tx:
            return _commands.new_commands(tx, number)

    def reply(self, command: int, worker: int, name: str, data: bytes) -> None:
        """Answer a command."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _commands.reply(tx, command, worker, name, data)
        self._driver.ring(Bell.DONE)

    def replies(self, command: int) -> list[Reply]:
        """The answers that are there."""
        with self._driver.read() as tx:
            return _commands.replies(tx, command)

    def revoke(self, ids: Sequence[str], *, keep_s: float) -> Revoked:
        """Cancel what waits; what runs or is not known is kept as revoked for `keep_s` seconds."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            revoked = _control.revoke(tx, ids, now_ms=self._clock.now_ms(), keep_ms=int(keep_s * 1000))
        self._driver.ring(Bell.DONE)
        self._driver.ring(Bell.WORK)
        return revoked

    def revoked_ids(self) -> list[str]:
        """The ids that are kept as revoked."""
        with self._driver.read() as tx:
            return _control.revoked_ids(tx, now_ms=self._clock.now_ms())

    def revoke_stamps(self, stamps: Iterable[tuple[str, str]], *, keep_s: float) -> None:
        """Keep stamps (header, JSON) as revoked for `keep_s` seconds."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _control.revoke_stamps(tx, stamps, now_ms=self._clock.now_ms(), keep_ms=int(keep_s * 1000))

    def revoked_stamps(self) -> list[tuple[str, str]]:
        """The stamps (header, JSON) that are kept as revoked."""
        with self._driver.read() as tx:
            return _control.revoked_stamps(tx, now_ms=self._clock.now_ms())


@leaves_nothing_open
class Events:
    """What became of tasks. An event is JSON."""

    KEPT = 100_000  # the newest; older ones go whatever their age

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def put(self, events: Sequence[bytes]) -> None:
        """Add events."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _events.write(tx, events, now_ms=self._clock.now_ms())
        self._driver.ring(Bell.DONE)

    def last(self) -> int:
        """The number of the newest event."""
        with self._driver.read() as tx:
            return _events.last(tx)

    def after(self, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` events that came after the one of this number, with theirs."""
        with self._driver.read() as tx:
            return _events.after(tx, number, limit=limit)

    def trim(self, expires_s: float, limit: int = 1_000) -> int:
        """Delete up to `limit` of those that are older than `expires_s` seconds, or not among the newest; how many."""
        with self._driver.write(Promise.PROGRESS) as tx:
            before_ms = self._clock.now_ms() - int(expires_s * 1000)
            return _events.trim(tx, before_ms=before_ms, keep=self.KEPT, limit=limit)


@leaves_nothing_open
class Rates:
    """What all workers together may start of a task."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def all(self) -> dict[str, Rate]:
        """The limits, by task."""
        with self._driver.read() as tx:
            return _rates.rates(tx)

    def matter(self) -> bool:
        """Whether there is such a limit, or a message that any limit holds back; a read."""
        with self._driver.read() as tx:
            return bool(_rates.rates(tx) or _rates.held_pairs(tx))

    def set(self, task: str, rate: str) -> None:
        """Limit `task` to `rate` ("100/m"; "": no limit) from now on, over restarts. Raises ValueError."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _rates.set_rate(tx, task, rate)
        self._driver.ring(Bell.WORK)

    def declare(self, declared: Mapping[str, str | None]) -> None:
        """What the code says of each of its tasks; None: it says nothing. Only a read when all of that is known."""
        with self._driver.read() as tx:
            known = {task: rate.declared for task, rate in _rates.rates(tx).items()}
        if any(rate != known.get(task) for task, rate in declared.items()):
            with self._driver.write(Promise.ACCEPTED) as tx:
                _rates.declare(tx, declared)


@leaves_nothing_open
class SavedGroups:
    """Groups that callers put together."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def save(self, group_id: str, members: bytes) -> None:
        """Keep `members` (JSON) under `group_id`."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _saved_groups.save(tx, group_id, members, now_ms=self._clock.now_ms())

    def load(self, group_id: str) -> bytes | None:
        """What was saved under `group_id`; None when nothing was."""
        with self._driver.read() as tx:
            return _saved_groups.load(tx, group_id)

    def delete(self, group_id: str) -> bool:
        """Forget what was saved under `group_id`; whether there was anything."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _saved_groups.delete(tx, group_id)
