"""The statistics of the tasks that a process of Celery's has settled: liteq's charts and metrics show them as its own.

Summed in memory, and written about a second after the first that is not written, by a thread that exists meanwhile, or
as the process ends.
"""

from __future__ import annotations

import logging
import os
import threading

from liteq.exceptions import StorageError
from liteq.message import Lease, Outcome, Ran
from liteq.storage.statistics.ended_as import ended_as
from liteq.storage.statistics.stats import Key, Tally
from liteq.storage.storage import Storage

__all__ = ["Counter"]

logger = logging.getLogger("liteq.kombu")

FLUSH_S = 1.0


class Counter:
    """The sums of one process for one file; a forked child begins its own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._sums: dict[Key, Tally] = {}

    def settled(self, lease: Lease, outcome: Outcome, ran: Ran | None = None) -> None:
        """Count one outcome; `ran`: when its execution began, and for how many seconds it ran."""
        told = ended_as(lease, outcome, self._storage.max_crashes)
        if told is None:
            return
        if self._pid != os.getpid():  # its lock may have been held by a thread that is not here
            self._pid, self._lock, self._sums = os.getpid(), threading.Lock(), {}
        with self._lock:
            first = not self._sums
            tally = self._sums.setdefault((lease.task, lease.queue, *told), Tally())
            if ran is None:
                tally.n += 1
            else:
                tally.ran(ran[1], (ran[0] - lease.due_ms) / 1000)
        if first:
            timer = threading.Timer(FLUSH_S, self.flush)
            timer.daemon = True
            timer.start()

    def flush(self) -> None:
        """Write the sums. Where the file refuses them they are lost: they are no reason to hold anything up."""
        if self._pid != os.getpid():  # they are the parent's
            return
        with self._lock:
            sums, self._sums = self._sums, {}
        if sums:
            try:
                self._storage.stats.add(sums)
            except StorageError as exc:
                logger.info("the sums of %d outcomes are lost: %s", sum(tally.n for tally in sums.values()), exc)
