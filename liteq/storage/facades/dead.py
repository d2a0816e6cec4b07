"""Dead letters: list, requeue, drop; one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage import dead as _dead
from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.runs.again import requeue_all

__all__ = ["DeadLetters"]


class DeadLetters(Facade):
    """Messages that have failed for good."""

    def matching(self, *, task: str | None = None, queue: str | None = None, limit: int = 1_000) -> list[str]:
        """The ids of dead letters of a task and a queue (None: of any), the oldest first."""
        with self._driver.read() as tx:
            return _dead.matching(tx, task=task, queue=queue, limit=limit)

    def requeue(self, ids: Sequence[str]) -> list[str]:
        """Put dead letters back in their queue, all or nothing; the ids that are back.

        A run goes on at the step that failed; one that has undone its steps is left out.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            requeued = requeue_all(tx, ids, now_ms=self._clock.now_ms())
        self._ring(work=bool(requeued))
        return requeued

    def drop(self, ids: Sequence[str]) -> int:
        """Delete dead letters; how many there were."""
        with self._driver.write(Promise.REMOVED) as tx:
            return _dead.drop(tx, ids)
