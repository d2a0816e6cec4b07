"""Groups: more members for one that has not finished, and those that callers have saved; one transaction a method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from liteq.clock import Clock
from liteq.message import Batch, Message, new_id
from liteq.storage.driver import Bell, Driver, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.groups import append_members as _append
from liteq.storage.groups import saved_groups as _saved_groups
from liteq.storage.statistics import event_log as _event_log

if TYPE_CHECKING:
    from liteq.storage.groups.open_groups import Seat

__all__ = ["Groups", "SavedGroups"]

PATIENCE_S = 3_600.0  # between two members of an open group; then its sender is taken for dead


class Groups(Facade):
    """Groups that take members while they run. `events_of`: the events of messages about to be sent."""

    def __init__(self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]]) -> None:
        super().__init__(driver, clock)
        self._events_of = events_of

    def append(self, group_id: str, batch: Batch) -> list[str]:
        """Send `batch` as one more member of a group; [], and nothing is sent, when the group is done.

        Else the ids that stand for its messages, then for its groups. One that is a member already is not added again.
        """
        events = self._events_of(batch.messages)
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            appended = _append.append(tx, group_id, batch, now_ms=now_ms)
            if appended and events:
                _event_log.write(tx, events, now_ms=now_ms)
        self._ring(work=bool(appended))
        return appended

    def extend(
        self, group_id: str, placeholder: str, batch: Batch, members: int, *, patience_s: float, last: bool = False,
        again: Collection[str] = (),
    ) -> bool:  # fmt: skip
        """Send the next part of a group, with `members` more; False, and nothing is sent, when `placeholder` has run.

        `placeholder`: the message that keeps the group open, for `patience_s` seconds more; with the `last` part it
        leaves. `again`: ids under which a finished message runs anew.
        """
        events = self._events_of(batch.messages)
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            due_ms = now_ms + int(patience_s * 1000)
            extended = _append.extend(
                tx, group_id, placeholder, batch, members, due_ms=due_ms, now_ms=now_ms, again=again
            )
            if extended and last:
                _append.complete(tx, group_id, placeholder, now_ms=now_ms)
            if extended and events:
                _event_log.write(tx, events, now_ms=now_ms)
        self._ring(done=last, work=extended)
        return extended

    # -- groups whose members come one by one; loaded at their first use: most programs have none --------------------

    def open(
        self, batch: Batch, places: Mapping[str, Seat] | None = None, *, queue: str, patience_s: float = PATIENCE_S,
        again: Collection[str] = (),
    ) -> bool:  # fmt: skip
        """Write the groups of `batch`, without members, and the rows that await them.

        They are open until a batch that is sent is `closing` them. False, and nothing is sent, where they are there
        already; those of `again` that have finished make room.
        `places`: of the members, by the ids that they will have; None: what a member says of itself counts (of a
        generator). Where no member comes for `patience_s`, the groups are given up, by a message in `queue`.
        """
        from liteq.storage.groups import open_groups as _open_groups

        events = self._events_of(batch.messages)
        now_ms, patience_ms = self._clock.now_ms(), int(patience_s * 1000)
        held = [_append.placeholder(new_id(), g, queue, patience_ms=patience_ms, now_ms=now_ms) for g in batch.groups]
        with self._driver.write(Promise.ACCEPTED) as tx:
            opened = _open_groups.open_group(tx, batch, held, places or {}, now_ms=now_ms, again=again)
            if opened and events:
                _event_log.write(tx, events, now_ms=now_ms)
        return opened

    def expect(self, group_id: str, members: Sequence[str]) -> bool:
        """Keep places for more members, behind all others; False where the group has finished or is not known."""
        from liteq.storage.groups import open_groups as _open_groups

        with self._driver.write(Promise.ACCEPTED) as tx:
            return _open_groups.expect(tx, group_id, members, now_ms=self._clock.now_ms())

    def enter(self, batch: Batch, *, patience_s: float = PATIENCE_S, again: Collection[str] = ()) -> list[str]:
        """Send `batch`, as `Storage.enqueue`; a message with a place in an opened group becomes its member.

        So does one that names an open group without places. Any other `group_id` is of a group that has finished, or
        is none: the message is sent without. The groups of `batch.closing` close with it: those, and the ones inside
        them, are whole then, and wait for the members that have not come yet.
        """
        from liteq.storage.groups import open_groups as _open_groups

        events = self._events_of(batch.messages)
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            now_ms = self._clock.now_ms()
            ids = _open_groups.enter(tx, batch, patience_ms=int(patience_s * 1000), now_ms=now_ms, again=again)
            if events:
                _event_log.write(tx, events, now_ms=now_ms)
        self._ring(done=bool(batch.closing))
        return ids


class SavedGroups(Facade):
    """Groups that callers put together."""

    def save(self, group_id: str, members: bytes) -> None:
        """Keep `members` (JSON) under `group_id`."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _saved_groups.save(tx, group_id, members, now_ms=self._clock.now_ms())

    def load(self, group_id: str) -> bytes | None:
        """The members saved under `group_id`; None when nothing was."""
        with self._driver.read() as tx:
            return _saved_groups.load(tx, group_id)

    def delete(self, group_id: str) -> bool:
        """Forget the members saved under `group_id`; whether there were any."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _saved_groups.delete(tx, group_id)
