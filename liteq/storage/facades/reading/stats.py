"""The statistics of tasks, the causes of failures and the attempts of a message, one transaction a method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from liteq.storage.claiming import pauses as _pauses
from liteq.storage.driver import Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.statistics import attempts as _attempts
from liteq.storage.statistics import batches as _batches
from liteq.storage.statistics import causes as _causes
from liteq.storage.statistics import samples as _samples
from liteq.storage.statistics import stats as _stats
from liteq.storage.statistics.attempts import AttemptRecord
from liteq.storage.statistics.causes import CauseRecord
from liteq.storage.statistics.stats import Number, Stat, Sums

__all__ = ["Causes", "Stats"]

MINUTE_MS = 60_000
MINUTES_KEPT = 48 * 60  # minutes until minutes become hours
HISTORY_S = 90 * 86_400.0  # until hours go, and a cause that was not seen again, where no dead letter has it
BATCHES_KEPT_MS = 7 * 86_400_000  # since they began
CHUNK = 500  # rows of one transaction of upkeep


class Stats(Facade):
    """How many tasks ended how, and how long they ran and waited."""

    def add(self, sums: Sums) -> None:
        """Add sums to those of this minute."""
        if sums:
            with self._driver.write(Promise.PROGRESS) as tx:
                _stats.add(tx, sums, now_ms=self._clock.now_ms())

    def totals(self) -> list[Stat]:
        """The sums of all since the file was made, by task, queue, outcome and exception; they never go back."""
        with self._driver.read(alone=True) as tx:
            return _stats.totals(tx)

    def series(self, range_s: float, *, task: str | None = None, queue: str | None = None) -> list[Stat]:
        """The sums of the last `range_s` seconds, the oldest first: hours, then minutes. None: of all tasks, queues.

        The first and the last of them are not over: this minute's is still being summed.
        """
        now = self._clock.now_ms() // MINUTE_MS
        with self._driver.read() as tx:
            since = now - int(range_s // 60)
            return _stats.series(tx, since_minute=since, until_minute=now + 1, task=task, queue=queue)

    def by_slot(
        self, range_s: float, step: int, outcomes: Collection[str], *, task: str | None = None, queue: str | None = None
    ) -> list[tuple[int, str, int]]:
        """How many ended in one of these ways: (the first minute of each `step`, queue, how many), as of `series`."""
        now = self._clock.now_ms() // MINUTE_MS
        with self._driver.read() as tx:
            return _stats.by_slot(
                tx, since_minute=now - int(range_s // 60), until_minute=now + 1, step=step, outcomes=outcomes,
                task=task, queue=queue,
            )  # fmt: skip

    def samples(self, key: str, range_s: float) -> list[tuple[int, int]]:
        """A measure of each minute (`sample`) of the last `range_s` seconds: (minute since the epoch, value).

        Keys: "waiting" and "head_wait_ms" of all queues, "waiting:QUEUE" and "head_wait_ms:QUEUE" (none where nothing
        waited), "running", "scheduled", "dead", "file_bytes", "wal_bytes". Older than two days, one an hour.
        """
        now = self._clock.now_ms() // MINUTE_MS
        with self._driver.read(alone=True) as tx:
            return _samples.series(tx, key, since=now - int(range_s // 60), until=now + 1)

    def sample(self) -> bool:
        """Measure, once a minute: how much waits, how late queues are, how large the file is.

        False where it has been done in this minute; then it was only a read.
        """
        now_ms = self._clock.now_ms()
        minute = now_ms // MINUTE_MS
        with self._driver.read() as tx:
            if _samples.is_taken(tx, minute):
                return False
            measures = _samples.measure(tx, now_ms=now_ms)
        with self._driver.write(Promise.PROGRESS) as tx:
            _samples.write(tx, minute, {**measures, **self._driver.sizes()})
        return True

    def counts(self, range_s: float) -> list[Number]:
        """How many tasks ended how in the last `range_s` seconds, two days at most; without times."""
        with self._driver.read(alone=True) as tx:
            return _stats.counts(tx, since_minute=self._clock.now_ms() // MINUTE_MS - int(range_s // 60))

    def names(self) -> list[str]:
        """The names of the tasks that have been counted."""
        with self._driver.read(alone=True) as tx:
            return _stats.names(tx)

    def queues(self) -> list[str]:
        """The names of the queues in which something has been counted."""
        with self._driver.read(alone=True) as tx:
            return _stats.queues(tx)

    def tidy(self, history_s: float | None = HISTORY_S) -> None:
        """Make hours of old minutes, and let history go that is older than so many seconds (None or 0: none of it)."""
        for _ in self.tidying(history_s):
            pass

    def tidying(self, history_s: float | None = HISTORY_S) -> Iterator[None]:
        """As `tidy`, a transaction at a step: history (hours, measures, causes, batches), and pauses that are over."""
        now_ms = self._clock.now_ms()
        minute = now_ms // MINUTE_MS
        kept = max(1, int(history_s // 60)) if history_s else minute
        minutes_kept = min(MINUTES_KEPT, kept)
        yield from self._steps(partial(_stats.fold, before_minute=(minute - minutes_kept) // 60 * 60, limit=CHUNK))
        yield from self._steps(partial(_stats.expire, before_minute=minute - kept, limit=CHUNK))
        batches_ms = min(BATCHES_KEPT_MS, kept * MINUTE_MS)
        yield from self._steps(partial(_batches.expire, before_ms=now_ms - batches_ms, limit=CHUNK))
        yield from self._steps(partial(_causes.expire, before_ms=(minute - kept) * MINUTE_MS, limit=CHUNK))
        key: str | None = "" if minute % 60 == 0 else None
        while key is not None:
            with self._driver.write(Promise.PROGRESS) as tx:
                key = _samples.thin(tx, minute=minute, kept=minutes_kept, hours_kept=kept, after=key)
            yield
        yield from self._steps(partial(_pauses.expire, now_ms=now_ms))

    def _steps(self, step: Callable[[Transaction], int]) -> Iterator[None]:
        full = True
        while full:
            with self._driver.write(Promise.PROGRESS) as tx:
                full = step(tx) >= CHUNK
            yield


class Causes(Facade):
    """Failures that are one, counted together."""

    def list(self, *, since_ms: int = 0, limit: int = 200) -> Sequence[CauseRecord]:
        """The causes that were seen at `since_ms` or later, the newest first."""
        with self._driver.read(alone=True) as tx:
            return _causes.newest(tx, since_ms=since_ms, limit=limit)

    def find(self, cause: str) -> CauseRecord | None:
        """The cause of this id; None where there is none."""
        with self._driver.read(alone=True) as tx:
            return _causes.find(tx, cause)

    def tasks_of(
        self, cause: str, *, after: tuple[int, int] | None = None, limit: int = 100
    ) -> Sequence[tuple[int, int, str, str]]:
        """The dead letters of a cause, the newest first: when each failed, in ms, its row's number, its id, its queue.

        `after`: the first two of the last one of the page before.
        """
        with self._driver.read(alone=True) as tx:
            return _causes.tasks_of(tx, cause, after=after, limit=limit)

    def count_dead(self, cause: str, *, limit: int = 10_000) -> int:
        """How many dead letters a cause has; no more than `limit` are counted."""
        with self._driver.read(alone=True) as tx:
            return _causes.count_dead(tx, cause, limit=limit)

    def attempts(self, message_id: str) -> Sequence[AttemptRecord]:
        """The attempts of a message that are kept, the oldest first; [] for one that did not fail."""
        with self._driver.read(alone=True) as tx:
            return _attempts.attempts(tx, message_id)
