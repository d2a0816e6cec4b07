"""Workers as rows: how a process comes among the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from liteq.message import WorkerIdentity
from liteq.storage.claiming import workers as _workers
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade

__all__ = ["Workers"]


class Workers(Facade):
    """The list of worker processes."""

    def enter(self, me: WorkerIdentity, info: bytes | None = None) -> int:
        """Enter a worker process; the number that its leases carry."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _workers.register(tx, me, info, now_ms=self._clock.now_ms())

    def enter_named(
        self, me: WorkerIdentity, rename: Callable[[WorkerIdentity, Sequence[WorkerRecord]], WorkerIdentity]
    ) -> tuple[int, WorkerIdentity]:
        """As `enter`, under the name that `rename` gives in sight of those that are there, in one transaction."""
        with self._driver.write(Promise.PROGRESS) as tx:
            tx.in_turn("liteq_workers")  # no row to lock says that a name is about to be taken
            named = rename(me, _workers.workers(tx))
            return _workers.register(tx, named, None, now_ms=self._clock.now_ms()), named

    def leave(self, worker: int) -> None:
        """Remove a worker that has given everything back."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _workers.unregister(tx, worker)
