"""Storage: the verbs, one transaction each. No SQL here; the SQL of a verb is in the file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from liteq.clock import Clock, SystemClock
from liteq.message import Batch, Lease, Message, Outcome, WorkerIdentity
from liteq.states import State
from liteq.storage import append_members as _grow
from liteq.storage import browse as _browse
from liteq.storage import cancel as _control
from liteq.storage import cap as _cap
from liteq.storage import claim as _claim
from liteq.storage import commands as _commands
from liteq.storage import dead as _dead
from liteq.storage import enqueue as _enqueue
from liteq.storage import event_log as _events
from liteq.storage import extend as _extend
from liteq.storage import inspect as _inspect
from liteq.storage import rates as _rates
from liteq.storage import reap as _reap
from liteq.storage import results as _results
from liteq.storage import retention as _retention
from liteq.storage import settle as _settle
from liteq.storage import workers as _workers
from liteq.storage.browse import Line, Mark
from liteq.storage.driver import Bell, Driver, Durability, Listener, Promise, Transaction
from liteq.storage.engines import open_driver
from liteq.storage.facades import Commands, Events, Rates, SavedGroups, Schedules
from liteq.storage.inspect import Count, GroupRecord, Member, Record
from liteq.storage.rates import Budget
from liteq.storage.workers import WorkerRecord

__all__ = ["Storage", "Told", "Turn", "open_storage"]

IDLE_EARS = 4
CHUNK = 1_000  # rows of one housekeeping transaction: others get their turn in between


Told = Sequence[tuple[int | None, bytes]]  # events, each with the token of the lease that it is about


class Turn(NamedTuple):
    """What one turn of a worker brought: new `leases`, and those whose outcome came too late.

    `due_ms`: when the next scheduled message comes due; None when there is none, and where nothing was to be claimed.
    `command`: with new leases, the newest command that was given before them (`boards.Commands`); else 0.
    """

    leases: list[Lease]
    lost: list[Lease]
    due_ms: int | None = None
    command: int = 0


class _Step(Protocol):
    """A chunk of housekeeping: how many rows it dealt with."""

    def __call__(self, tx: Transaction, /, *, now_ms: int) -> int: ...


class Storage:
    """A queue in a storage engine. Safe to use from any thread, and after a fork.

    `max_crashes`, `max_reaps`: how often a message's child process may die, or the worker that holds it vanish, before
    the message becomes a dead letter.
    """

    def __init__(
        self, driver: Driver, *, clock: Clock | None = None, max_crashes: int = 3, max_reaps: int = 10
    ) -> None:
        self.driver = driver
        self.clock: Clock = clock or SystemClock()
        self.schedules = Schedules(driver, self.clock)
        self.commands = Commands(driver, self.clock)
        self.saved_groups = SavedGroups(driver, self.clock)
        self.rates = Rates(driver)
        self.events = Events(driver, self.clock)
        self.tell_sent: Callable[[Sequence[Message]], list[bytes]] | None = None  # the events of what is enqueued
        self.max_crashes = max_crashes
        self.max_reaps = max_reaps
        self._ears: list[Listener] = []  # listeners of Bell.DONE that nobody waits with

    # -- producers ---------------------------------------------------------------------------------------------------

    def enqueue(self, batch: Batch, *, again: Collection[str] = ()) -> list[str]:
        """Write a message or a whole canvas, all or nothing; the id that stands for each of its messages.

        Idempotent by id, but for those of `again`: where they have finished, they are sent anew. Where an unfinished
        message holds the `unique_key` of a new one, its id is returned instead.
        """
        now_ms = self.clock.now_ms()
        told = self.tell_sent(batch.messages) if self.tell_sent is not None else ()
        if not told and _enqueue.enqueue_one(self.driver, batch, now_ms=now_ms):
            return [batch.messages[0].id]
        with self.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            ids = _enqueue.enqueue(tx, batch, now_ms=now_ms, again=again)
            if told:
                _events.write(tx, told, now_ms=now_ms)
        return ids

    def enqueue_many(self, messages: Iterable[Message]) -> int:
        """Write any number of messages that await nothing, all or nothing; the number of rows written.

        `messages` is consumed before the write lock is taken: nothing of the caller's runs inside the transaction.
        """
        rows = list(messages)
        told = self.tell_sent(rows) if self.tell_sent is not None else ()
        with self.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            written = _enqueue.enqueue_many(tx, rows, now_ms=self.clock.now_ms())
            if told:
                _events.write(tx, told, now_ms=self.clock.now_ms())
        return written

    def grow_group(self, group_id: str, batch: Batch) -> bool:
        """Send `batch` as one more member of a group; False, and nothing is sent, when the group is done."""
        with self.driver.write(Promise.ACCEPTED) as tx:
            grown = _grow.grow(tx, group_id, batch, now_ms=self.clock.now_ms())
        self._ring(done=False, work=grown)
        return grown

    def takes_parts(self) -> bool:
        """Whether a group may be sent in parts now: `extend_group` finds what `enqueue` has written."""
        return True

    def extend_group(
        self, group_id: str, hold: str, batch: Batch, members: int, *, patience_s: float, last: bool = False
    ) -> bool:
        """Send the next part of a group, with `members` more; False, and nothing is sent, when its `hold` has run.

        `hold`: the message that keeps it open, for `patience_s` seconds more; with the `last` part it leaves.
        """
        told = self.tell_sent(batch.messages) if self.tell_sent is not None else ()
        with self.driver.write(Promise.ACCEPTED) as tx:
            now_ms = self.clock.now_ms()
            due_ms = now_ms + int(patience_s * 1000)
            grown = _grow.extend(tx, group_id, hold, batch, members, due_ms=due_ms, now_ms=now_ms)
            if grown and last:
                _grow.complete(tx, group_id, hold, now_ms=now_ms)
            if grown and told:
                _events.write(tx, told, now_ms=now_ms)
        self._ring(done=last, work=grown)
        return grown

    def cancel(self, ids: Sequence[str], *, reason: str = "revoked") -> list[str]:
        """Cancel messages that have not started, and what awaits them; the ids that are running now instead."""
        with self.driver.write(Promise.REMOVED) as tx:
            running = _control.cancel(tx, ids, now_ms=self.clock.now_ms(), reason=reason)
        self._ring(done=True, work=True)
        return running

    def purge(self, queues: Sequence[str] | None = None) -> int:
        """Delete what waits to run in `queues` (None: in all); how many messages."""
        purged = 0
        for queue in queues if queues is not None else [None]:
            while True:
                with self.driver.write(Promise.REMOVED) as tx:
                    n = _control.purge(tx, queue, now_ms=self.clock.now_ms(), limit=CHUNK)
                purged += n
                if n < CHUNK:
                    break
        self._ring(done=True, work=False)
        return purged

    # -- workers -----------------------------------------------------------------------------------------------------

    def register_worker(self, me: WorkerIdentity, info: bytes | None = None) -> int:
        """Enter a worker process; the number that its leases carry."""
        with self.driver.write(Promise.PROGRESS) as tx:
            return _workers.register(tx, me, info, now_ms=self.clock.now_ms())

    def unregister_worker(self, worker: int) -> None:
        """Remove a worker that has given everything back."""
        with self.driver.write(Promise.PROGRESS) as tx:
            _workers.unregister(tx, worker)

    def heartbeat(
        self, worker: int, leases: Sequence[Lease], *, visibility_s: float, info: bytes | None = None
    ) -> tuple[bool, list[Lease]]:
        """Say that `worker` lives, and extend its `leases` to `visibility_s` seconds from now.

        Whether the worker is still known, and the leases that are lost: whose work is to be stopped.
        """
        now_ms = self.clock.now_ms()
        with self.driver.write(Promise.PROGRESS) as tx:
            known = _workers.heartbeat(tx, worker, info, now_ms=now_ms)
            return known, _extend.extend(tx, worker, leases, deadline_ms=now_ms + int(visibility_s * 1000))

    def turn(
        self,
        settled: Sequence[tuple[Lease, Outcome]],
        queues: Sequence[str],
        *,
        worker: int,
        limit: int,
        visibility_s: float,
        expectant: bool = False,
        budget: Budget | None = None,
        told: Told = (),
    ) -> Turn:
        """Settle a batch of outcomes and claim up to `limit` messages, in one transaction.

        So a chain's next link is in the worker's hands in the same commit that acknowledged the one before. An idle
        worker's turn is a read: it takes the write lock only when there is something to claim, or when it is
        `expectant`, which saves the look.

        `budget`: what rate limits allow; None where this worker knows of none. `told`: events to be written with the
        outcomes, but for those of lost leases.
        """
        now_ms = self.clock.now_ms()
        if not settled and limit <= 0:
            return Turn([], [])
        if not settled and not expectant:
            worth_it, due_ms = self._worth_a_claim(queues, now_ms, budget)
            if not worth_it:
                return Turn([], [], due_ms)
        try:
            return self._turn(settled, queues, worker, limit, visibility_s, now_ms, budget, told, _settle.settle)
        except _settle.StaleBatch:
            one_by_one = _settle.settle_one_by_one
            return self._turn(settled, queues, worker, limit, visibility_s, now_ms, budget, told, one_by_one)

    def _turn(
        self,
        settled: Sequence[tuple[Lease, Outcome]],
        queues: Sequence[str],
        worker: int,
        limit: int,
        visibility_s: float,
        now_ms: int,
        budget: Budget | None,
        told: Told,
        settle: _settle.Settle,
    ) -> Turn:
        done, promoted, due_ms, leases, command = _settle.NOTHING, 0, None, [], 0
        with self.driver.write(Promise.PROGRESS) as tx:
            if settled:
                done = settle(tx, settled, now_ms=now_ms, max_crashes=self.max_crashes)
            if told:
                lost = {lease.token for lease in done.lost}
                _events.write(tx, [event for token, event in told if token not in lost], now_ms=now_ms)
            if limit > 0:
                promoted, due_ms = _claim.promote(tx, now_ms=now_ms)
                claim = _claim.claim if budget is None else partial(_rates.claim_within, budget=budget)
                leases = claim(
                    tx, queues, worker=worker, limit=limit, visibility_ms=int(visibility_s * 1000), now_ms=now_ms
                )
            if leases:
                command = _commands.last_seen(tx)
        # What woke up and was not claimed here is for others: ring only then, a busy worker would wake all the idle.
        self._ring(done=done.finished or bool(told), work=(done.woke or promoted > 0) and len(leases) >= max(limit, 0))
        return Turn(leases, done.lost, due_ms, command)

    def _worth_a_claim(self, queues: Sequence[str], now_ms: int, budget: Budget | None) -> tuple[bool, int | None]:
        """Whether there is something to claim, and if not, when the next scheduled message comes due."""
        with self.driver.read() as tx:
            if budget is not None and _rates.look(tx, queues, budget, now_ms=now_ms):
                return True, None
            if _claim.claimable(tx, queues):
                return True, None
            due_ms = _claim.next_due_ms(tx)
        return due_ms is not None and due_ms <= now_ms, due_ms

    def claim(self, queues: Sequence[str], *, worker: int, limit: int, visibility_s: float) -> list[Lease]:
        """Lease up to `limit` pending messages of `queues` for `visibility_s` seconds, the highest priority first."""
        return self.turn((), queues, worker=worker, limit=limit, visibility_s=visibility_s).leases

    def settle(self, settled: Sequence[tuple[Lease, Outcome]]) -> list[Lease]:
        """Store outcomes and what they set in motion, in one transaction; the leases that were lost."""
        return self.turn(settled, (), worker=0, limit=0, visibility_s=0).lost

    def progress(self, message_id: str, data: bytes, *, lease: tuple[int, int] | None = None) -> bool:
        """Store a custom state (JSON) for an id, known or not; under `lease` (seq, token) only while that one holds.

        False when it does not, and nothing was stored.
        """
        with self.driver.write(Promise.PROGRESS) as tx:
            if lease is not None:
                return _extend.progress(tx, *lease, data)
            return _extend.progress_by_id(tx, message_id, data, now_ms=self.clock.now_ms())

    def waiting(self, queues: Sequence[str], *, limit: int) -> int:
        """How many messages of `queues` could be claimed now, counting no further than `limit`."""
        with self.driver.read() as tx:
            return _inspect.waiting(tx, queues, limit=limit)

    def next_due_ms(self) -> int | None:
        """When the next scheduled message comes due; None when there is none."""
        with self.driver.read() as tx:
            return _claim.next_due_ms(tx)

    def reap(self, dead_workers: Sequence[int] = (), *, expired: bool = True, living: Collection[int] = ()) -> int:
        """Put back what `dead_workers` hold and, if `expired`, what is leased past its deadline; how many messages.

        A worker of `living` keeps its leases in spite of their deadline, but for those that its last heartbeat has
        left out.
        """
        reaped = 0
        for worker, until_ms in self._expired(living) if expired else ():
            reaped += self._chunked(
                partial(_reap.reap_expired, worker=worker, until_ms=until_ms, max_reaps=self.max_reaps)
            )
        for worker in dead_workers:
            reap_worker = partial(_reap.reap_worker, worker=worker, max_reaps=self.max_reaps)
            reaped += self._chunked(reap_worker)
            self.unregister_worker(worker)
        if reaped:
            self._ring(done=True, work=True)
        return reaped

    def _expired(self, living: Collection[int]) -> list[tuple[int, int]]:
        with self.driver.read() as tx:
            return _reap.expired(tx, living, now_ms=self.clock.now_ms())

    def _chunked(self, step: _Step) -> int:
        """Run `step` in a transaction each until it does less than a chunk; what it did in all."""
        total = 0
        while True:
            with self.driver.write(Promise.PROGRESS) as tx:
                n = step(tx, now_ms=self.clock.now_ms())
            total += n
            if n < CHUNK:
                return total

    def is_ahead(self, slack_s: float = 1.0) -> bool:
        """Whether the clock was set back, by more than `slack_s` seconds, since the last message was sent; a read."""
        with self.driver.read() as tx:
            return _cap.is_ahead(tx, now_ms=self.clock.now_ms() + int(slack_s * 1000))

    def cap(self) -> int:
        """After the clock was set back: let no time in the file lie further ahead than it can; how many rows."""
        capped = sum(self._chunked(partial(_cap.cap, step=step, limit=CHUNK)) for step in _cap.STEPS)
        if capped:
            self._ring(done=False, work=True)
        return capped

    def expire(self, *, result_expires_s: float | None, dead_expires_s: float | None, limit: int = CHUNK) -> int:
        """Delete a chunk of what finished longer ago than these (None: keep); how many rows."""
        now_ms = self.clock.now_ms()
        before_ms = None if result_expires_s is None else now_ms - int(result_expires_s * 1000)
        dead_ms = None if dead_expires_s is None else now_ms - int(dead_expires_s * 1000)
        with self.driver.write(Promise.PROGRESS) as tx:
            return _retention.expire(tx, before_ms=before_ms, dead_before_ms=dead_ms, limit=limit)

    # -- readers -----------------------------------------------------------------------------------------------------

    def find(self, message_id: str) -> Record | None:
        """The message of this id; None when there is none (never was, or its time is over)."""
        with self.driver.read() as tx:
            return next(_inspect.find(tx, [message_id]), None)

    def find_many(self, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these messages that exist, by id, from one snapshot."""
        with self.driver.read() as tx:
            return {record.id: record for record in _inspect.find(tx, ids)}

    def find_finished(self, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these messages that have finished, by id, from one snapshot."""
        with self.driver.read() as tx:
            return {record.id: record for record in _inspect.find_finished(tx, ids)}

    def find_group(self, group_id: str) -> GroupRecord | None:
        """The counter of a group; None when there is none of that id."""
        with self.driver.read() as tx:
            return _inspect.find_group(tx, group_id)

    def group_members(self, group_id: str) -> list[Member]:
        """The members of a group in the order of its result; [] when there is none of that id."""
        with self.driver.read() as tx:
            return _inspect.group_members(tx, group_id)

    def sent_by(self, message_id: str) -> list[tuple[str, bool]]:
        """What the body of a message sent, as (id, whether of a group), in the order of sending. Costs a scan."""
        with self.driver.read() as tx:
            return _inspect.sent_by(tx, message_id)

    def followers(self, node: str) -> list[str]:
        """The ids of the messages that await a message or a group, or did, in the order of sending."""
        with self.driver.read() as tx:
            return _inspect.followers(tx, node)

    def messages(
        self, state: State, *, queue: str | None = None, task: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Record]:
        """Messages in one state, a page of them."""
        with self.driver.read() as tx:
            return _inspect.messages(tx, state, queue=queue, task=task, limit=limit, offset=offset)

    def browse(
        self,
        state: State | None = None,
        *,
        queue: str | None = None,
        task: str | None = None,
        after: Mark | None = None,
        limit: int = 100,
    ) -> list[Line]:
        """A page of messages, in `state` or in any, as lines of a list: those after the one that `after` marks."""
        with self.driver.read() as tx:
            return _browse.page(tx, state, queue=queue, task=task, after=after, limit=limit)

    def counts(self) -> list[Count]:
        """How many messages there are, by queue and state."""
        with self.driver.read() as tx:
            return _inspect.counts(tx)

    def workers(self) -> list[WorkerRecord]:
        """Every worker that the file knows."""
        with self.driver.read() as tx:
            return _workers.workers(tx)

    def worker_before(self, worker: int, boot: str, *, fresh_s: float) -> tuple[WorkerRecord | None, bool]:
        """The worker before `worker` under the same `boot`, and whether one of all those before it is fresh.

        Fresh: its heartbeat is `fresh_s` seconds old at most.
        """
        now_ms = self.clock.now_ms()
        fresh_ms = int(fresh_s * 1000)
        with self.driver.read() as tx:
            return _workers.before(tx, worker, boot, since_ms=now_ms - fresh_ms, until_ms=now_ms + fresh_ms)

    def store_result(self, message_id: str, ending: _results.Ending) -> bool:
        """Say how a message ended that no worker ran, or that has ended.

        False, and nothing is stored, where it is in a queue or runs.
        """
        with self.driver.write(Promise.PROGRESS) as tx:
            stored = _results.store(tx, message_id, ending, now_ms=self.clock.now_ms())
        self.driver.ring(Bell.DONE)
        return stored

    def forget(self, ids: Sequence[str]) -> int:
        """Delete finished messages that no later row may still ask for; how many."""
        with self.driver.write(Promise.PROGRESS) as tx:
            return _results.forget(tx, ids)

    def listen(self, bell: Bell) -> Listener:
        """Wait for what happens: listen first, then look, then wait."""
        return self.driver.listen(bell)

    @contextmanager
    def hearing(self) -> Iterator[Listener]:
        """A listener of Bell.DONE for the time of one wait; it hears nothing from before.

        They are kept for the next wait: the kernel takes some 10 ms to close one.
        """
        ear = self._ears.pop() if self._ears else self.driver.listen(Bell.DONE)
        try:
            ear.clear()
            yield ear
        finally:
            if len(self._ears) < IDLE_EARS:
                self._ears.append(ear)
            else:
                ear.close()

    # -- dead letters ------------------------------------------------------------------------------------------------

    def dead_matching(self, *, task: str | None = None, queue: str | None = None, limit: int = CHUNK) -> list[str]:
        """The ids of dead letters of a task and a queue (None: of any), the oldest first."""
        with self.driver.read() as tx:
            return _dead.matching(tx, task=task, queue=queue, limit=limit)

    def dead_replay(self, ids: Sequence[str]) -> list[str]:
        """Put dead letters back in their queue, all or nothing; the ids that were replayed."""
        with self.driver.write(Promise.ACCEPTED) as tx:
            replayed = _dead.replay(tx, ids, now_ms=self.clock.now_ms())
        self._ring(done=False, work=bool(replayed))
        return replayed

    def dead_drop(self, ids: Sequence[str]) -> int:
        """Delete dead letters; how many there were."""
        with self.driver.write(Promise.REMOVED) as tx:
            return _dead.drop(tx, ids)

    # -- the store itself --------------------------------------------------------------------------------------------

    def migrate(self) -> int:
        """Bring the schema up to date, creating the file if need be; its version."""
        return self.driver.migrate()

    def fold_log(self) -> None:
        """Fold the write-ahead log into the file."""
        self.driver.fold_log()

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target`, which must not exist."""
        self.driver.backup(target)

    def restore(self, source: Path) -> Path | None:
        """Put a copy of `source` in the place of the file, which nobody may have open; where the old one is now."""
        return self.driver.restore(source)

    def describe(self) -> dict[str, Any]:
        """What there is to know of the engine and the file, for `liteq doctor`."""
        return self.driver.describe()

    def close(self) -> None:
        """Close what this process has open; the next use opens it again."""
        while self._ears:
            self._ears.pop().close()
        self.driver.close()

    def _ring(self, *, done: bool, work: bool) -> None:
        if done:
            self.driver.ring(Bell.DONE)
        if work:
            self.driver.ring(Bell.WORK)


def open_storage(
    url: str,
    *,
    driver: str | None = None,
    durability: str = "durable",
    busy_timeout_s: float = 30.0,
    allow_network_filesystem: bool = False,
    clock: Clock | None = None,
    max_crashes: int = 3,
    max_reaps: int = 10,
) -> Storage:
    """The queue behind a broker URL; touches nothing before its first use. See `open_driver` for the URLs.

    `durability`: "durable", "strict" or "relaxed". Raises ImproperlyConfigured for a bad URL.
    """
    engine = open_driver(
        url,
        driver=driver,
        durability=Durability(durability),
        busy_timeout_s=busy_timeout_s,
        allow_network_filesystem=allow_network_filesystem,
    )
    return Storage(engine, clock=clock, max_crashes=max_crashes, max_reaps=max_reaps)
