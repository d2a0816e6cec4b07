"""Autoscaling: the pool grows while more messages wait than it has executors, and shrinks afterwards."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from liteq.storage.storage import Storage
from liteq.worker.pool import Pool, jobs, width

__all__ = ["Autoscaler", "bounds_of", "make_autoscaler"]

logger = logging.getLogger("liteq.worker")

PERIOD_S = 1.0  # between looks
LEAST_PAUSE_S = 0.1  # between looks, however often the bell rings
KEEPALIVE_S = 30.0  # an executor too many is kept for so long: forking one again costs more


class Claimer(Protocol):
    """The consumer, as far as it is asked here."""

    @property
    def queues(self) -> Sequence[str]:
        """The queues from which it claims."""

    @property
    def claims(self) -> bool:
        """Whether it would claim what waits, if there was room."""


class Autoscaler:
    """A chore of the worker's loop: keeps the size of `pool` between `least` and `most`.

    `waiting(limit)` counts the messages that could be claimed now, up to `limit`. `look` makes the loop claim again.
    """

    def __init__(
        self,
        pool: Pool,
        most: int,
        least: int,
        waiting: Callable[[int], int],
        look: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.least = most, least
        self._pool = pool
        self._waiting = waiting
        self._look = look
        self._monotonic = monotonic
        self._keepalive_s = float(os.environ.get("AUTOSCALE_KEEPALIVE", KEEPALIVE_S))
        self._needed_at = monotonic()  # when all executors were last needed
        self._looked_at = 0.0
        self.due_at = 0.0

    def rung(self) -> None:
        """Look soon: a message may have come."""
        self.due_at = min(self.due_at, self._looked_at + LEAST_PAUSE_S)

    def turn(self) -> None:
        """Grow at once, shrink after a while."""
        now = self._monotonic()
        self._looked_at, self.due_at = now, now + PERIOD_S
        size = self._pool.size
        each = width(self._pool)
        needed = jobs(self._pool)
        if needed < self.most * each:
            needed += self._waiting(self.most * each - needed)
        wanted = max(self.least, min(-(-needed // each), self.most))
        if wanted >= size:
            self._needed_at = now
        if wanted > size:
            logger.info("Scaling up %s processes.", wanted - size)
            self._resize(wanted)
        elif size > self.most or (wanted < size and now - self._needed_at >= self._keepalive_s):
            wanted = min(wanted, self.most)
            logger.info("Scaling down %s processes.", size - wanted)
            self._resize(wanted)

    def update(self, most: int | None = None, least: int | None = None) -> tuple[int, int]:
        """Set the limits; returns (most, least) as they are now. Raises ValueError for limits that cannot be kept."""
        new_most = self.most if most is None else int(most)
        new_least = self.least if least is None else int(least)
        if least is None:
            new_least = min(new_least, new_most)
        if new_most < 1 or not 0 <= new_least <= new_most:
            raise ValueError(
                f"autoscale between {new_least} and {new_most} cannot be kept: write MAX MIN, MAX from 1 up"
            )
        self.most, self.least = new_most, max(1, new_least)
        if self._pool.size < self.least:
            self._resize(self.least)
        self.due_at = 0.0
        return self.most, self.least

    def info(self) -> dict[str, int]:
        """For `inspect stats`."""
        return {"max": self.most, "min": self.least, "current": self._pool.size}

    def _resize(self, size: int) -> None:
        self._pool.resize(size)
        self._look()


def bounds_of(one: int, other: int) -> tuple[int, int]:
    """The (most, least) executors of two numbers in either order, as in Celery; 0 is the least as 1 is.

    Raises ValueError for those between which no pool can be.
    """
    if max(one, other) < 1 or min(one, other) < 0:
        raise ValueError(f"autoscale is (most, least) executors, most from 1 up, not {(one, other)!r}")
    return max(one, other), max(1, min(one, other))


def make_autoscaler(
    bounds: tuple[int, int] | None,
    pool: Pool,
    storage: Storage,
    consumer: Callable[[], Claimer],
    look: Callable[[], None],
) -> Autoscaler | None:
    """The autoscaler of `pool` between `bounds` (most, least); None where none is asked for, or cannot be."""
    if bounds is None:
        return None
    if pool.name == "solo":
        logger.warning("--autoscale needs a pool of several: the solo pool runs one task at a time")
        return None

    def waiting(limit: int) -> int:
        if not consumer().claims:  # quiet, or about to end: what waits is for others
            return 0
        paused = storage.queues.paused()
        return storage.reader.waiting([queue for queue in consumer().queues if not paused.of(queue)], limit=limit)

    return Autoscaler(pool, *bounds, waiting, look)
