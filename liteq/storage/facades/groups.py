"""Groups: more members for one that has not finished, and those that callers have saved; one transaction a method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from liteq.clock import Clock
from liteq.message import Batch, Message
from liteq.storage import append_members as _append
from liteq.storage import event_log as _event_log
from liteq.storage import saved_groups as _saved_groups
from liteq.storage.driver import Driver, Promise
from liteq.storage.facades.base import Facade

__all__ = ["Groups", "SavedGroups"]


class Groups(Facade):
    """Groups that take members while they run. `events_of`: the events of messages about to be sent."""

    def __init__(self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]]) -> None:
        super().__init__(driver, clock)
        self._events_of = events_of

    def append(self, group_id: str, batch: Batch) -> list[str]:
        """Send `batch` as one more member of a group; [], and nothing is sent, when the group is done.

        Else the ids that stand for its messages, then for its groups. One that is a member already is not added again.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            appended = _append.append(tx, group_id, batch, now_ms=self._clock.now_ms())
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
