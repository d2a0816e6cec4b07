"""Dead letters: list, requeue, drop; one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.operating import audit as _audit
from liteq.storage.operating.audit import Actor
from liteq.storage.runs.again import requeue_all
from liteq.storage.settling import dead as _dead

__all__ = ["DeadLetters"]

CHUNK = 1_000  # rows of one snapshot


class DeadLetters(Facade):
    """Messages that have failed for good."""

    def matching(self, *, task: str | None = None, queue: str | None = None, limit: int = 1_000) -> list[str]:
        """The ids of dead letters of a task and a queue (None: of any), the oldest first.

        Looks at all that there are, a chunk in each snapshot, until there are `limit`.
        """
        from liteq.storage.reading import browse as _browse  # no worker asks

        found: list[str] = []
        after: _browse.Mark | None = None
        while len(found) < limit:
            with self._driver.read() as tx:
                lines = _browse.page(tx, "dead, oldest first", after=after, limit=CHUNK)
            fit = [one.id for one in lines if task in (None, one.task) and queue in (None, one.queue)]
            found += fit[: limit - len(found)]
            if len(lines) < CHUNK:
                break
            after = lines[-1].key
        return found

    def requeue(self, ids: Sequence[str], *, by: Actor | None = None) -> list[str]:
        """Put dead letters back in their queue, all or nothing; the ids that are back. `by`: for the audit.

        A run goes on at the step that failed; one that has undone its steps is left out.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            requeued = requeue_all(tx, ids, now_ms=now_ms)
            if by is not None:
                _audit.write_of(tx, by, "requeue", requeued, now_ms=now_ms)
        self._ring(work=bool(requeued))
        return requeued

    def drop(self, ids: Sequence[str], *, by: Actor | None = None) -> int:
        """Delete dead letters; how many there were. `by`: for the audit."""
        with self._driver.write(Promise.REMOVED) as tx:
            if by is None:
                return _dead.drop(tx, ids)
            now_ms, dropped = self._clock.now_ms(), 0
            for id_ in ids:
                queue = _dead.queue_of(tx, id_)
                if _dead.drop(tx, [id_]):
                    _audit.write(tx, by, "delete", id_, queue, 1, now_ms=now_ms)
                    dropped += 1
            return dropped
