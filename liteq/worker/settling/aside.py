"""Acknowledgements that are stored while the loop goes on, where the storage lets several write at once.

A turn with a server is a wait: while the server stores what has ended, it can give out what comes next as well. So
plain acknowledgements go to a thread, which has a connection of its own. Nothing comes after them: no message awaits
one of theirs, no place becomes free. What else has ended stays with the loop, and so does what ends while a batch is on
its way.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import SimpleQueue

from liteq.message import Ack, Lease, Outcome
from liteq.storage.settling.outcomes import MORE_THAN_A_ROW
from liteq.storage.storage import Storage, Turn
from liteq.worker.chores.counting import Counting
from liteq.worker.chores.event_log import EventLog

__all__ = ["WORTH_IT", "Aside", "tell_lost"]

logger = logging.getLogger("liteq.worker")

WORTH_IT = 16  # acknowledgements; the loop stores fewer itself: it has nothing better to do then
REST_S = 1.0  # after a batch that was refused: the loop stores it, and meets what is wrong

Outcomes = list[tuple[Lease, Outcome]]


class Aside:
    """A thread of the worker that stores one batch at a time; none where one alone may write.

    Every method belongs to the loop.
    """

    def __init__(self, storage: Storage, counting: Counting, events: EventLog | None) -> None:
        self._storage, self._counting, self._events = storage, counting, events
        self._asked: SimpleQueue[Outcomes | None] = SimpleQueue()
        self._ended: SimpleQueue[Turn | None] = SimpleQueue()
        self._batch: Outcomes = []
        self._since = self._rests_until = 0.0
        self._thread: threading.Thread | None = None
        self._ends: tuple[int, ...] = () if storage.driver.one_writer else os.pipe()

    def fileno(self) -> int:
        """The descriptor that is readable when a batch has ended; -1 where nothing is stored here."""
        return self._ends[0] if self._ends else -1

    def leases(self) -> list[Lease]:
        """The leases of the batch that is on its way."""
        return [lease for lease, _ in self._batch]

    def take(self, outcomes: Outcomes, now: float) -> Outcomes:
        """Take the plain acknowledgements among `outcomes` at the monotonic time `now`; those that are left.

        Where events are written all are left: an event goes with its outcome.
        """
        if not self._ends or self._batch or len(outcomes) < WORTH_IT or now < self._rests_until:
            return outcomes
        if self._events is not None and self._events.enabled:
            return outcomes
        plain: Outcomes = []
        left: Outcomes = []
        for pair in outcomes:
            (plain if type(pair[1]) is Ack and not pair[0].flags & MORE_THAN_A_ROW else left).append(pair)
        if len(plain) < WORTH_IT or not self._is_there():
            return outcomes
        self._batch, self._since = plain, now
        self._asked.put(plain)
        return left

    def stored(self) -> tuple[int, Outcomes]:
        """Meet the end of the batch: how many outcomes were stored, and those that were refused, for the loop."""
        os.read(self._ends[0], 1)
        outcomes, self._batch = self._batch, []
        turn = self._ended.get()
        if turn is None:
            self._rests_until = time.monotonic() + REST_S
            return 0, outcomes
        self._counting.turned(turn, outcomes, wrote=False, since=self._since)
        tell_lost(turn)
        return len(outcomes), []

    def close(self) -> None:
        """End the thread, and close the descriptors."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
        self.let_go()

    def let_go(self) -> None:
        """In a forked child, which has no such thread: close the descriptors."""
        ends, self._ends = self._ends, ()
        for fd in ends:
            os.close(fd)

    def _is_there(self) -> bool:
        """Whether the thread runs; it is started for the first batch."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="liteq-acknowledges", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is left
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while (batch := self._asked.get()) is not None:
            turn = None
            try:
                turn = self._storage.turn(batch, (), worker=0, limit=0, visibility_s=0)
            except BaseException as exc:  # the loop has the batch again, and meets the same
                logger.debug("acknowledgements are stored again: %s", exc)
            self._ended.put(turn)
            os.write(self._ends[1], b"!")


def tell_lost(turn: Turn) -> None:
    """Log the leases that were lost before their outcomes came."""
    if turn.lost:
        logger.warning("%d leases were lost to another worker; their outcomes are thrown away", len(turn.lost))
