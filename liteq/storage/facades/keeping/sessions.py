"""Conversations of agents, by the id of a session; one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.kept import sessions as _sessions

__all__ = ["Sessions"]

ALL = 2**31 - 1


class Sessions(Facade):
    """Items (JSON) of sessions. `step`: the step_key of the step that writes, which then writes once; None: of none."""

    def items(self, session: str, *, limit: int | None = None) -> list[bytes]:
        """The last `limit` items (None: all), the oldest first."""
        with self._driver.read() as tx:
            return _sessions.items(tx, session, limit=ALL if limit is None else limit)

    def add(self, session: str, items: Sequence[bytes], *, step: str | None = None) -> bool:
        """Add items, none of another writer's between them; False where `step` has done so before."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _sessions.add(tx, session, items, step=step)

    def replace(self, session: str, items: Sequence[bytes]) -> None:
        """Have a session hold these items alone."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _sessions.replace(tx, session, items)

    def take(self, session: str, *, step: str | None = None) -> bytes | None:
        """Take the last item back; None where there is none. Again for the same `step`: the same item."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _sessions.take(tx, session, step=step)

    def clear(self, session: str) -> int:
        """Forget a session; how many rows it had."""
        with self._driver.write(Promise.REMOVED) as tx:
            return _sessions.clear(tx, session)
