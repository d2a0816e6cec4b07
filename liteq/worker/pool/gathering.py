"""Batches in a worker: messages of tasks with `batch` are gathered here, and go into the pool beneath as one lease.

    claim -> filling --(full, or the first has waited for `batch_wait`)--> one lease of the pool beneath --> outcomes

A batch that fills takes no executor, and holds nothing up: all else goes to the pool beneath at once. What is gathered
is leased by the worker, which keeps it alive as it does all its leases, and gives it back when it ends.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from math import inf

from liteq.context import App
from liteq.exceptions import StorageError
from liteq.execution.together import Each, Kind, Kinds, members_of, terms_in, together
from liteq.message import Flag, Lease, Outcome, Ran, Release
from liteq.worker.deliveries import NOT_BEGUN
from liteq.worker.pool.base import LONG_S, Loop, Pool, RunningLease, given_back, note
from liteq.worker.pool.page import StepNow

__all__ = ["Gathering"]

BATCH, EARLY_ACK = Flag.BATCH, Flag.EARLY_ACK
HOLD_S = 1.0  # for an executor; then the batch goes back to the queue: another worker may have one that is free
MOST_AHEAD = 1_000  # messages claimed in the hope that they are for a batch
MOST_KNOWN = 10_000  # messages that were given back, and do not wait once more


class _Filling:
    """A batch that fills: its members so far, and until when the first of them waits.

    `was_given`: to the pool beneath, which gave it back.
    """

    __slots__ = ("due_at", "members", "since", "size", "was_given")

    def __init__(self, size: int, since: float, wait_s: float = 0.0) -> None:
        self.members: list[Lease] = []
        self.size = size
        self.since = since
        self.due_at = since + wait_s
        self.was_given = False

    def is_due(self, now: float) -> bool:
        return now >= self.due_at or len(self.members) >= self.size


class Gathering:
    """A pool over `pool`. See `Pool` for what the methods promise.

    Where the last claim brought members of batches alone, the next one may bring twice as many: a batch of 100 is
    together after half a dozen claims. What then comes for others than batches, and has no executor, goes back.
    """

    def __init__(self, pool: Pool, app: App, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = pool.name
        self.width: int = getattr(pool, "width", 1)
        self.timings: dict[int, Ran] = pool.timings
        self.exits: Counter[str] = pool.exits
        self._app = app
        self._pool = pool
        self.monotonic = monotonic
        self.tell: Callable[[Sequence[Lease]], None] | None = None  # told of each batch that begins
        self._kinds = Kinds(terms_in(app.tasks), self._read)
        self._filling: dict[Kind, _Filling] = {}
        self._ready: list[_Filling] = []  # in the order in which they are executed
        self._given: dict[int, list[Lease]] = {}  # members, by the token of the lease that stands for them
        self._recalled: set[int] = set()  # tokens of leases beneath of which a member was to be withdrawn
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._known: dict[tuple[int, int], float] = {}  # until when messages wait that were given back
        self._ahead = 0
        self._leaving = False

    @property
    def size(self) -> int:
        return self._pool.size  # which another file of the worker's may have changed

    @size.setter
    def size(self, _size: int) -> None:
        raise AttributeError("batches have the size of the pool beneath: use resize()")

    def start(self, loop: Loop) -> None:
        self._pool.start(loop)

    def _read(self, lease: Lease) -> Lease:
        return self._app.storage.reader.with_payload(lease)

    # -- leases in ---------------------------------------------------------------------------------------------------

    def capacity(self) -> int:
        room = self._pool.capacity() - len(self._ready)
        return max(0, room) if room <= 0 or self._ready else room + self._ahead

    def submit(self, leases: list[Lease]) -> None:
        now, self._leaving = self.monotonic(), False
        others, room = [], 0
        for lease in leases:
            kind = self._kinds.of(lease)
            if kind is None:
                others.append(lease)
            else:
                room = self._add(kind, lease, now)
        self._ahead = 0 if others or not leases else min(2 * len(leases), room, MOST_AHEAD)
        if others:
            n = max(1, self._pool.capacity())
            self._pool.submit(others[:n])
            self._outcomes += [(lease, Release()) for lease in others[n:]]
        self._hand_on(now)

    def _add(self, kind: Kind, lease: Lease, now: float) -> int:
        """Add a message to the batch that fills; how many more like it are of use."""
        terms = self._kinds.terms(lease.task)
        assert terms is not None, "it has a kind"
        batch = self._filling.get(kind)
        if batch is None:
            batch = self._filling[kind] = _Filling(terms.size, now, terms.wait_s)
        batch.members.append(lease)
        if self._known:
            batch.due_at = min(batch.due_at, self._known.pop((lease.seq, lease.retries), batch.due_at))
        if len(batch.members) < batch.size:
            return batch.size - len(batch.members)
        self._ready.append(self._filling.pop(kind))
        return batch.size

    def _hand_on(self, now: float) -> None:
        """Give the pool beneath what is full, then what has waited; as long as it has an executor for it."""
        for kind, batch in list(self._filling.items()):
            if batch.is_due(now):
                self._ready.append(self._filling.pop(kind))
        while self._ready and self._pool.capacity() > 0:
            batch = self._ready.pop(0)
            if now - batch.since > LONG_S:
                self._give_back_paused(batch)
            members = batch.members
            if not members:
                continue
            lease = together(members)
            if lease.flags & BATCH:
                self._given[lease.token] = members
                if self.tell is not None:
                    self.tell(members)
            self._pool.submit([lease])

    def _give_back_paused(self, batch: _Filling) -> None:
        """Give back those of a batch that has waited whose queue was paused meanwhile."""
        try:
            paused = self._app.storage.queues.paused()
        except StorageError:
            return
        taken = self._take_out(batch, {lease.token for lease in batch.members if paused.of(lease.queue)})
        self._outcomes += [(lease, Release()) for lease in taken]

    def _take_out(self, batch: _Filling, tokens: Collection[int]) -> list[Lease]:
        """Take these messages out of a batch; those that were in it.

        What is left of a batch that the pool beneath has had goes back to the queue: a process may still have it as it
        was, under the token by which it would be given what is left, and would execute all of it.
        """
        taken = [lease for lease in batch.members if lease.token in tokens]
        if taken:
            batch.members = [lease for lease in batch.members if lease.token not in tokens]
            if batch.was_given:
                self._outcomes += [(lease, Release()) for lease in batch.members]
                self._remember(batch)
                batch.members = []
        return taken

    def tend(self, now: float) -> float | None:
        self._hand_on(now)
        for batch in [one for one in self._ready if now >= one.due_at + HOLD_S]:
            self._ready.remove(batch)
            self._outcomes += [(lease, Release()) for lease in batch.members]
            self._remember(batch)
            self._ahead = min(len(batch.members), MOST_AHEAD)
        again_at = self._pool.tend(now)
        times = [inf if again_at is None else again_at]
        times += [batch.due_at for batch in self._filling.values()]
        times += [batch.due_at + HOLD_S for batch in self._ready]
        if self._outcomes:
            times.append(now)
        at = min(times)
        return None if at == inf else at

    def _remember(self, batch: _Filling) -> None:
        """Where the members of a batch that goes back come here once more, they wait no longer than they would have."""
        self._known.update({(lease.seq, lease.retries): batch.due_at for lease in batch.members})
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    # -- outcomes out ------------------------------------------------------------------------------------------------

    def collect(self) -> list[tuple[Lease, Outcome]]:
        collected, self._outcomes = self._outcomes, []
        for lease, outcome in self._pool.collect():
            if not lease.flags & BATCH:
                collected.append((lease, outcome))
                continue
            members = self._given.pop(lease.token, None) or members_of(lease)
            stays = not (self._leaving or lease.token in self._recalled)
            self._recalled.discard(lease.token)
            if type(outcome) is Release and outcome == NOT_BEGUN and stays:
                self._wait_again(members)  # it met no free executor
            else:
                collected += self._apart(lease, members, outcome)
        return collected

    def _wait_again(self, members: list[Lease]) -> None:
        batch = _Filling(len(members), self.monotonic())
        batch.members, batch.was_given = members, True
        self._ready.insert(0, batch)

    def _apart(self, lease: Lease, members: Sequence[Lease], outcome: Outcome) -> Iterator[tuple[Lease, Outcome]]:
        """The outcomes of the members of a batch. Each has its share of the time that it ran."""
        began_ms, seconds = self.timings.pop(lease.token, (0, 0.0))
        share = (began_ms, seconds / len(members))
        for member, one in zip(members, _outcomes_in(self._app, outcome, members), strict=True):
            if seconds and (type(one) is not Release or one.crashed):
                note(self.timings, member, one, share)
            yield member, one

    # -- leases that it has ------------------------------------------------------------------------------------------

    def leases(self) -> list[Lease]:
        found = [lease for batch in self._gathered() for lease in batch.members]
        found += [lease for lease, _ in self._outcomes]
        for lease in self._pool.leases():
            found += self._given.get(lease.token) or members_of(lease)
        return found

    def jobs(self) -> int:
        """How many executors would be busy with what it has: a batch is one job."""
        return len(self._pool.leases()) + len(self._ready) + len(self._filling)

    def _gathered(self) -> list[_Filling]:
        return [*self._ready, *list(self._filling.values())]

    def running(self) -> list[RunningLease]:
        return [
            RunningLease(member, since, pid)
            for lease, since, pid in self._pool.running()
            for member in self._given.get(lease.token) or members_of(lease)
        ]

    def take_back(self) -> list[Lease]:
        self._leaving = True
        taken = []
        for batch in self._gathered():
            self._remember(batch)
            taken += batch.members
        self._ready.clear()
        self._filling.clear()
        return taken + self._taken(self._pool.take_back())

    def _taken(self, leases: Sequence[Lease]) -> list[Lease]:
        """The messages among leases that the pool beneath gives up."""
        return [member for lease in leases for member in self._given.pop(lease.token, None) or members_of(lease)]

    def abandon(self, leases: Sequence[Lease]) -> None:
        lost = {lease.token for lease in leases}
        self._drop(lost)
        beneath = [lease for lease in self._pool.leases() if self._is_lost(lease, lost)]
        for lease in beneath:
            self._given.pop(lease.token, None)  # it may not come back
        self._pool.abandon(beneath)

    def _is_lost(self, lease: Lease, lost: Collection[int]) -> bool:
        """Whether a lease of the pool beneath is of no use: of a batch, that none of its members is."""
        members = self._given.get(lease.token)
        if members is None:
            return lease.token in lost
        return all(member.token in lost for member in members)

    def _drop(self, tokens: Collection[int]) -> list[Lease]:
        """Take these messages out of what is gathered; those that were there."""
        found = []
        for batch in self._gathered():
            found += self._take_out(batch, tokens)
        self._filling = {kind: batch for kind, batch in self._filling.items() if batch.members}
        self._ready = [batch for batch in self._ready if batch.members]
        return found

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        found, beneath = [], self._beneath(tokens)
        for lease in self._pool.withdraw(beneath):
            members = self._given.pop(lease.token, None)
            if members is None:
                found.append(lease)
            else:
                self._wait_again(members)
        self._recalled |= beneath & self._given.keys()  # what comes back later is not to be given again
        return found + self._drop(tokens)

    def _beneath(self, tokens: Collection[int]) -> set[int]:
        """The tokens of the leases of the pool beneath that stand for these messages."""
        batches = {
            token: members for token, members in self._given.items() if any(one.token in tokens for one in members)
        }
        inside = {one.token for members in batches.values() for one in members}
        return {*(token for token in tokens if token not in inside), *batches}

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        def of(lease: Lease) -> Outcome:
            members = self._given.get(lease.token)
            if members is None:
                return outcome(lease)
            return Each([outcome(one) if one.token in tokens else given_back(self._app, one) for one in members])

        return self._pool.terminate(self._beneath(tokens), signum, of)

    # -- what the pool beneath does ----------------------------------------------------------------------------------

    def leave_runs(self) -> None:
        self._pool.leave_runs()

    def steps(self) -> list[StepNow]:
        return self._pool.steps()

    def end_overdue(self, now: float) -> None:
        self._pool.end_overdue(now)

    def renew(self) -> None:
        self._kinds.forget()
        self._pool.renew()

    def resize(self, size: int) -> None:
        self._pool.resize(size)

    def pids(self) -> list[int]:
        return self._pool.pids()

    def kill(self) -> None:
        self._leaving = True
        self._pool.kill()

    def stop(self) -> None:
        self._pool.stop()


def _outcomes_in(app: App, outcome: Outcome, members: Sequence[Lease]) -> list[Outcome]:
    if isinstance(outcome, Each):
        return outcome.outcomes
    if type(outcome) is Release:
        return [given_back(app, one) if outcome.crashed else _released(outcome, one) for one in members]
    return [outcome] * len(members)


def _released(batch: Release, member: Lease) -> Release:
    """The way back of a member of a batch that was not begun: with the batch's pause, and options of its own."""
    if batch.pause_ms is None:
        return Release()
    return Release(pause_ms=batch.pause_ms, options=member.options, elsewhere=batch.elsewhere)
