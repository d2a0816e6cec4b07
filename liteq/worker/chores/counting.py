"""The sums of what became of this worker's tasks: in memory, and in the file once a second at most.

They go with the transaction of a turn that settles something; those of an idle worker go by themselves, a second after
the last. A worker that is killed loses the sums of a second at most, and of no other worker.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import inf
from operator import itemgetter
from typing import Any

from liteq.context import Observer
from liteq.exceptions import StorageError
from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Outcome
from liteq.storage.claiming.turn import Turn
from liteq.storage.statistics.ended_as import ACKNOWLEDGED, ended_as
from liteq.storage.statistics.stats import CHILD_EXIT, MEMO, NO_SUMS, STEP, WRITE_WAIT, Key, Sums, Tally
from liteq.storage.storage import Storage
from liteq.worker.pool import Pool

__all__ = ["Counting"]

FLUSH_S = 1.0  # between two writes of the sums
RUN = Flag.RUN
TASK_AND_QUEUE = itemgetter(Lease._fields.index("task"), Lease._fields.index("queue"))


class Counting:
    """A chore of the worker's loop. `monotonic`: the clock that paces it. `observer`: told of each turn."""

    def __init__(
        self,
        storage: Storage,
        pool: Pool,
        *,
        worker: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer
        self._worker = worker.partition("@")[0]  # without the machine's name: pods come and go
        self._storage = storage
        self._pool = pool
        self._monotonic = monotonic
        self._sums: dict[Key, Tally] = {}
        self._succeeded: dict[Any, tuple[list[float], list[int]]] = {}
        self._fresh: list[Any] = []  # task and queue of each that was taken in, not yet counted
        self._taken: Counter[Any] = Counter()  # since the start, by task and queue
        self._not_sent: Counter[Any] = Counter()  # of those, and told already
        self.due_at = inf

    # -- the consumer's turns ----------------------------------------------------------------------------------------

    def due(self, now: float) -> Sums:
        """The sums to write with this turn's outcomes; none but once a second."""
        return self._gathered() if now >= self.due_at else NO_SUMS

    def turned(self, turn: Turn, outcomes: Sequence[tuple[Lease, Outcome]], *, wrote: bool, since: float) -> None:
        """Take note of a turn that is in the file, and began at `since`; `wrote`: with the sums of before."""
        if outcomes or wrote:
            self.settled(outcomes, turn.lost, wrote=wrote)
        if self._observer is not None:
            self._observer.turned(turn.leases, outcomes, self._monotonic() - since)

    def claimed(self, fresh: Sequence[Lease], again: Sequence[int] = ()) -> None:
        """Count messages that this worker takes in, and as sent those that none had before: not the tokens `again`."""
        if fresh:
            self._fresh.extend(map(TASK_AND_QUEUE, fresh))
            if again:
                self._not_sent.update([TASK_AND_QUEUE(one) for one in fresh if one.token in again])
            self._rest_no_more()

    def _rest_no_more(self) -> None:
        if self.due_at == inf:
            self.due_at = self._monotonic() + FLUSH_S

    def _counted(self) -> Counter[Any]:
        """The messages taken in, counted with those that have come since the last call: a list costs a claim less."""
        fresh, self._fresh = self._fresh, []
        self._taken.update(fresh)
        return self._taken

    def taken_in(self) -> Counter[str]:
        """How many of each task this worker has taken in."""
        found = Counter[str]()
        for (task, _), n in self._counted().items():
            found[task] += n
        return found

    def settled(
        self, outcomes: Sequence[tuple[Lease, Outcome]], lost: Collection[Lease] = (), *, wrote: bool = False
    ) -> None:
        """Count outcomes that are in the file now, but for those of `lost` leases; `wrote`: with the sums of before."""
        if wrote:
            self._sums = {}
            self.due_at = self._monotonic() + FLUSH_S
        gone = {lease.token for lease in lost} if lost else ()
        succeeded = self._succeeded
        for lease, outcome in outcomes:
            ran = outcome.ran if type(outcome) is Ack else None
            if ran is None or gone or lease.flags & RUN:
                self._count(lease, outcome, ran or self._pool.timings.pop(lease.token, None), lost=lease.token in gone)
                continue
            times = succeeded.get(TASK_AND_QUEUE(lease))
            if times is None:
                times = succeeded[TASK_AND_QUEUE(lease)] = ([], [])
                self._rest_no_more()
            # Two appends a task, and all the rest in one go a second later: half the cost of adding each up here.
            times[0].append(ran[1])
            times[1].append(ran[0] - lease.due_ms)

    def _count(self, lease: Lease, outcome: Outcome, ran: tuple[int, float] | None, *, lost: bool) -> None:
        told = ("lost", "") if lost else ended_as(lease, outcome, self._storage.max_crashes)
        if told is None:
            return
        if lease.flags & Flag.RUN and isinstance(outcome, (Ack, DeadLetter, Cancel)) and not lost:
            self._count_steps(lease)
        tally = self._tally((lease.task, lease.queue, *told))
        if ran is None or lost:
            tally.n += 1
        else:
            tally.ran(ran[1], (ran[0] - lease.due_ms) / 1000)

    def _count_steps(self, lease: Lease) -> None:
        """Count the steps of a run that has ended, from its history: no step pays for it while the run goes on."""
        try:
            found = self._storage.runs.ended_steps(lease.seq)
        except StorageError:  # numbers are no reason to stop a turn
            return
        for outcome, memo, n in found:
            self._tally(("", lease.task, STEP, outcome)).n += n
            if memo:
                self._tally(("", "", MEMO, "hit")).n += n

    def _tally(self, key: Key) -> Tally:
        tally = self._sums.get(key)
        if tally is None:
            tally = self._sums[key] = Tally()
            self._rest_no_more()
        return tally

    def _gathered(self) -> Sums:
        for (task, queue), (runs_s, waits_ms) in self._succeeded.items():
            self._tally((task, queue, *ACKNOWLEDGED)).ran_many(runs_s, waits_ms)
        for (task, queue), n in self._counted().items():
            if sent := n - self._not_sent[task, queue]:
                self._tally((task, queue, "sent", "")).n += sent
        self._succeeded, self._not_sent = {}, self._taken.copy()
        self._gather_of_worker()
        return self._sums

    def _gather_of_worker(self) -> None:
        """Rows of no task: the ends of child processes, and the waits for the write lock."""
        for reason, n in self._pool.exits.items():
            self._tally(("", self._worker, CHILD_EXIT, reason)).n += n
        self._pool.exits.clear()
        for seconds in self._storage.driver.waited():
            self._tally(("", "", WRITE_WAIT, "")).ran(0.0, seconds)

    # -- the chore ---------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Write the sums that no turn has taken along; then rest until there are some."""
        sums = self._gathered()
        if sums:
            self.due_at = self._monotonic() + FLUSH_S  # where it is refused
            self._storage.stats.add(sums)
            self._sums = {}
        self.due_at = inf
