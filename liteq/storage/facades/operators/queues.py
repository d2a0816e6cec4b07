"""Queues as a whole: paused, and resumed. One transaction a method."""

from __future__ import annotations

from liteq.storage.claiming import pauses as _pauses
from liteq.storage.claiming.pauses import Pause, Pauses
from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.operating import audit as _audit
from liteq.storage.operating.audit import Actor
from liteq.utils.names import checked_name

__all__ = ["Queues"]


class Queues(Facade):
    """The queues from which nothing is claimed at the moment."""

    def pause(
        self, queue: str, until_s: float | None = None, *, actor: str = "", reason: str = "", source: str = "api"
    ) -> Pause:
        """Claim nothing more from `queue`, a name or a glob, in any worker, from now on; what runs goes on.

        `until_s`: when it goes on by itself, in seconds since the epoch; None: when it is resumed. One that is paused
        already is paused anew. `actor`, the person or program that does it, its `reason` and its `source` (page cli
        tui api mcp) are noted in the audit. Raises TypeError, ValueError for what cannot be a queue's name.
        """
        checked_name(queue, "a queue's name")
        now_ms, until_ms = self._clock.now_ms(), None if until_s is None else int(until_s * 1000)
        with self._driver.write(Promise.ACCEPTED) as tx:
            _pauses.pause(tx, queue, now_ms=now_ms, until_ms=until_ms, actor=actor, reason=reason)
            _audit.write(tx, Actor(actor, source, reason), "pause", queue, queue, 0, now_ms=now_ms)
        return Pause(queue, now_ms, until_ms, actor, reason)

    def resume(self, queue: str, *, actor: str = "", reason: str = "", source: str = "api") -> bool:
        """Let the messages of `queue` be claimed again; False where it was not paused. The rest as of `pause`.

        A glob ends the pauses of all names and globs that fit it; the name of a queue that alone.
        """
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            resumed = _pauses.resume(tx, queue, now_ms=now_ms)
            if resumed:
                _audit.write(tx, Actor(actor, source, reason), "resume", queue, queue, 0, now_ms=now_ms)
        return resumed

    def paused(self, *, since_ms: int | None = None) -> Pauses:
        """The queues and globs that are paused now, by name.

        With `since_ms`, in ms since the epoch, those too that were so then: a pause that ended by itself is
        remembered for a minute.
        """
        now_ms = self._clock.now_ms() if since_ms is None else since_ms
        with self._driver.read(alone=True) as tx:
            return Pauses({pause.queue: pause for pause in _pauses.paused(tx, now_ms=now_ms)})
