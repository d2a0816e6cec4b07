"""Which messages run together: a worker's batches as they begin, written once a second at most.

A worker that is killed loses those of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from liteq.message import Lease
from liteq.storage.statistics.batches import Began
from liteq.storage.storage import Storage
from liteq.worker.pool.gathering import Gathering

__all__ = ["Together"]

FLUSH_S = 1.0


class Together:
    """A chore of the worker's loop."""

    def __init__(self, storage: Storage, pool: Gathering) -> None:
        self._storage = storage
        self._monotonic = pool.monotonic
        self._begun: list[Began] = []
        self.due_at = inf
        pool.tell = self.begins

    def begins(self, members: Sequence[Lease]) -> None:
        """Note a batch that is handed to an executor."""
        ids, tokens = tuple(one.id for one in members), tuple(one.token for one in members)
        self._begun.append(Began(self._storage.clock.now_ms(), ids, tokens))
        if self.due_at == inf:
            self.due_at = self._monotonic() + FLUSH_S

    def turn(self) -> None:
        """Write what has begun since."""
        self.due_at = self._monotonic() + FLUSH_S  # where it is refused
        self._storage.batches.note(self._begun)
        self._begun, self.due_at = [], inf
