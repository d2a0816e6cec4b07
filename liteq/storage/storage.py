"""The verbs of the queue, one transaction each; other parts are facades. A verb's SQL is in the file of its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from liteq.clock import Clock, SystemClock
from liteq.message import Batch, Lease, Message, Outcome, Ran, RunSpec, WorkerIdentity
from liteq.storage import facades, sent
from liteq.storage.canvases import cancel as _cancel
from liteq.storage.canvases.continuation import End, propagate
from liteq.storage.claiming import admit as _admit
from liteq.storage.claiming import extend as _extend
from liteq.storage.claiming import reap as _reap
from liteq.storage.claiming import workers as _workers
from liteq.storage.claiming.extend import Begins
from liteq.storage.claiming.rates import Budget
from liteq.storage.claiming.turn import TaggedEvents, Turn, Wanted, claim_wanted, worth_a_claim
from liteq.storage.driver import Bell, Driver, Durability, Promise
from liteq.storage.engines import open_driver
from liteq.storage.housekeeping import cap as _cap
from liteq.storage.housekeeping import retention as _retention
from liteq.storage.interrupts import after, closes_itself, leaves_nothing_open
from liteq.storage.limits.rules import Cache
from liteq.storage.listeners import IdleListeners
from liteq.storage.rows import results as _results
from liteq.storage.sealed import keep_sealed
from liteq.storage.sending import enqueue as _enqueue
from liteq.storage.settling import settle as _settle
from liteq.storage.settling.terms import Terms
from liteq.storage.statistics import event_log as _event_log
from liteq.storage.statistics import stats as _stats
from liteq.storage.statistics.stats import NO_SUMS, Sums

if TYPE_CHECKING:
    from liteq.storage.facades.operators.operations import Operations
    from liteq.storage.facades.runs import Runs
    from liteq.storage.groups.ended import Ended

__all__ = ["Storage", "TaggedEvents", "Turn", "open_storage"]

NOT_TOLD: Mapping[int, Ran] = {}
CHUNK = 1_000  # rows of one housekeeping transaction: others get their turn in between


@leaves_nothing_open
class Storage(facades.Parts):
    """A queue in a storage engine. Safe to use from any thread, and after a fork.

    Its own methods are the life of a message: sent, claimed, settled, expired. Beside them are its parts (facades/).

    `max_crashes`, `max_reaps`: how often the child or the worker of a message may die before it is a dead letter.
    """

    def __init__(
        self, driver: Driver, *, clock: Clock | None = None, max_crashes: int = 3, max_reaps: int = 10
    ) -> None:
        self.driver = driver
        self.clock: Clock = driver.clock_over(clock or SystemClock())
        driver.monotonic = self.clock.monotonic
        super().__init__(driver, self.clock)
        self.calls = facades.PlainCalls(driver, self.clock, self.takes_calls)
        self.groups = facades.Groups(driver, self.clock, self._events_of)
        self.events_of: Callable[[Sequence[Message]], list[bytes]] | None = None  # of messages that are sent
        self.max_crashes = max_crashes
        self.max_reaps = max_reaps
        self.release = ""  # of the code that this process runs, noted with causes of failure; set by a worker
        self._limits, self._walks = Cache(), (_retention.Walk(dead=False), _retention.Walk(dead=True))
        self._idle = IdleListeners(driver)
        self.hearing = self._idle.hearing
        self.listen = driver.listen

    @cached_property
    def runs(self) -> Runs:
        """Runs of workflows. Loaded at the first use: a worker without workflows has no use for them."""
        from liteq.storage.facades.runs import Runs

        return Runs(self.driver, self.clock, self._events_of)

    @cached_property
    def operations(self) -> Operations:
        """The acts of operators. Loaded at the first use, as `runs`."""
        from liteq.storage.facades.operators.operations import Operations

        return Operations(self.driver, self.clock, self._events_of)

    def _terms(self, ran: Mapping[int, Ran]) -> Terms:
        return Terms(self.clock.now_ms(), self.max_crashes, ran, self.release)

    def _events_of(self, messages: Sequence[Message]) -> Sequence[bytes]:
        return self.events_of(messages) if self.events_of is not None else ()

    # -- producers ---------------------------------------------------------------------------------------------------

    @closes_itself
    def enqueue(self, batch: Batch, *, again: Collection[str] = (), told: bool = False) -> list[str]:
        """Write a message or a whole canvas, all or nothing; the ids that stand for its messages, then for its groups.

        Idempotent by id, but for those of `again`: where they have finished, they are sent anew. Where an unfinished
        message holds the `unique_key` of a call, its id is returned; a part of a canvas, and a call whose id was `told`
        before, follows it. Raises CanvasConflict for a canvas of which a part is there as something else.
        """
        try:
            return self._enqueue(batch, again, told)
        except BaseException as error:  # noqa: BLE001 - raised again by `after`
            return after(error, self._enqueue, batch, again, told)

    def _enqueue(self, batch: Batch, again: Collection[str], told: bool) -> list[str]:
        now_ms = self.clock.now_ms()
        events = self.events_of(batch.messages) if self.events_of is not None else ()
        if not events and _enqueue.enqueue_one(self.driver, batch, now_ms=now_ms, again=again):
            return sent.noted([batch.messages[0].id])
        enqueue: Callable[..., list[str]] = partial(_enqueue.enqueue, waiter=_enqueue.UNDER_ITS_ID if told else None)
        write = _enqueue.enqueue_new if _enqueue.may_be_new(batch) else enqueue
        while True:
            try:
                with self.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
                    ids = write(tx, batch, now_ms=now_ms, again=again)
                    if events:
                        _event_log.write(tx, events, now_ms=now_ms)
            except _enqueue.Collided:  # it is not as new as it seemed
                write = enqueue
            else:
                return sent.noted(ids)

    def enqueue_many(self, messages: Iterable[Message]) -> int:
        """Write any number of messages that await nothing, all or nothing; the number of rows written.

        `messages` is consumed before the write lock is taken: nothing of the caller's runs inside the transaction.
        """
        rows = list(messages)
        events = self._events_of(rows)
        with self.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            written = _enqueue.enqueue_many(tx, rows, now_ms=self.clock.now_ms())
            if events:
                _event_log.write(tx, events, now_ms=self.clock.now_ms())
        if rows:
            sent.note(rows[-1].id)
        return written

    def takes_parts(self) -> bool:
        """Whether a group may be sent in parts now: `groups.extend` finds the rows that `enqueue` has written."""
        return True

    def takes_calls(self) -> bool:
        """Whether plain calls may be sent without a `Message` each now (`calls`)."""
        return self.events_of is None

    def cancel(self, ids: Sequence[str], *, reason: str = "revoked") -> list[str]:
        """Cancel messages that have not started, and their followers; the ids that are running now instead."""
        with self.driver.write(Promise.REMOVED) as tx:
            running = _cancel.cancel(tx, ids, now_ms=self.clock.now_ms(), reason=reason)
        self._ring(done=True, work=True)
        return running

    def purge(self, queues: Sequence[str] | None = None) -> int:
        """Delete the messages that wait to run in `queues` (None: in all); how many."""
        return self.operations.purge(queues)

    # -- workers -----------------------------------------------------------------------------------------------------

    def register_worker(self, me: WorkerIdentity, info: bytes | None = None) -> int:
        """Enter a worker process; the number that its leases carry."""
        return self.workers.enter(me, info)

    def unregister_worker(self, worker: int) -> None:
        """Remove a worker that has given everything back."""
        self.workers.leave(worker)

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
        events: TaggedEvents = (),
        flows: Mapping[str, RunSpec] | None = None,
        ran: Mapping[int, Ran] = NOT_TOLD,
        sums: Sums = NO_SUMS,
        begins: Begins | None = None,
    ) -> Turn:
        """Settle a batch of outcomes and claim up to `limit` messages, in one transaction.

        So a chain's next link is in the worker's hands in the same commit that acknowledged the one before. An idle
        worker's turn is a read: it takes the write lock only for `events`, for something to claim, or where it is
        `expectant`, which saves the look.

        `budget`: the share that rate limits allow; None where this worker knows of none. `events` are written with the
        outcomes, but for those of lost leases. `flows`: the workflows that this worker knows, by name: a message for
        one that was sent by its name alone becomes a run. `ran`: when the executions of `settled` began, in ms, and how
        many seconds they took, by token. `sums` are added to the statistics, where there is something `settled`.
        `begins`: chooses those of the leases that begin at once, and run at most once (`leases.begin`).
        """
        if not settled and limit <= 0 and not events:
            return Turn([], [])
        terms = self._terms(ran)
        alone = len(settled) == 1 and limit <= 0 and not events and not sums
        if alone and _settle.acknowledge(self.driver, *settled[0], terms):
            return Turn([], [])
        looks = self.driver.one_writer or budget is not None or self._limits.version
        if looks and not (settled or events or expectant):
            with self.driver.read() as tx:
                worth_it, due_ms = worth_a_claim(tx, queues, budget, now_ms=terms.now_ms)
            if not worth_it:
                return Turn([], [], due_ms)
        wanted = Wanted(queues, worker, limit, visibility_s, budget, flows, begins)
        try:
            return self._turn(settled, wanted, terms, events, sums)
        except _settle.StaleBatch:
            return self._turn(settled, wanted, terms, events, sums, _settle.settle_current)

    def _turn(
        self, settled: Sequence[tuple[Lease, Outcome]], wanted: Wanted, terms: Terms, events: TaggedEvents, sums: Sums,
        settle: _settle.Settle = _settle.settle,
    ) -> Turn:  # fmt: skip
        claimed, now_ms = _admit.NOTHING, terms.now_ms
        with self.driver.write(Promise.PROGRESS) as tx:
            done = settle(tx, settled, terms) if settled else _settle.NOTHING
            if wanted.limit > 0:
                claimed = claim_wanted(tx, self._limits, wanted, now_ms=now_ms)
            # Last what everybody writes: who has it keeps it until the commit, and waits for nothing more.
            if settled and sums:
                _stats.add(tx, sums, now_ms=now_ms)
            if events:
                lost = {lease.token for lease in done.lost}
                _event_log.write(tx, [event for token, event in events if token not in lost], now_ms=now_ms)
        # A row that woke up and was not claimed here is for others: ring only then, a busy worker would wake all idle.
        woke = (done.woke or claimed.promoted > 0 or claimed.timed) and len(claimed.leases) >= max(wanted.limit, 0)
        freed = bool(done.freed and done.freed - set(wanted.queues))
        self._ring(done=done.finished or bool(events), work=woke or freed)
        return Turn(claimed.leases, done.lost, claimed.due_ms, claimed.command, claimed.again)

    def claim(self, queues: Sequence[str], *, worker: int, limit: int, visibility_s: float) -> list[Lease]:
        """Lease up to `limit` pending messages of `queues` for `visibility_s` seconds, the highest priority first."""
        return self.turn((), queues, worker=worker, limit=limit, visibility_s=visibility_s).leases

    def settle(
        self, settled: Sequence[tuple[Lease, Outcome]], *, ran: Mapping[int, Ran] = NOT_TOLD,
        also: Batch | None = None, ended: Sequence[Ended] = (),
    ) -> list[Lease]:  # fmt: skip
        """Store outcomes, and unless one is lost `also` (`groups.enter`) and `ended`; the leases that are lost."""
        if also is not None or ended:
            return self.leases.settle(settled, self._terms(ran), also or Batch(), ended)
        return self.turn(settled, (), worker=0, limit=0, visibility_s=0, ran=ran).lost

    def progress(self, message_id: str, data: bytes, *, lease: tuple[int, int] | None = None) -> bool:
        """Store a custom state (JSON) for an id, known or not; under `lease` (seq, token) only while that one holds.

        False when it does not, and nothing was stored. Rings, as for what has finished: somebody may look on.
        """
        with self.driver.write(Promise.PROGRESS, Bell.DONE) as tx:
            if lease is not None:
                return _extend.progress(tx, *lease, data)
            return _extend.progress_by_id(tx, message_id, data, now_ms=self.clock.now_ms())

    def bury_misfits(self) -> list[bytes]:
        """Make dead letters of unfinished rows that no verb can take; the error of each. Their followers end too."""
        with self.driver.write(Promise.PROGRESS) as tx:
            now_ms = self.clock.now_ms()
            buried = self.driver.bury_misfits(tx, now_ms=now_ms)
            ends = [End(one.id, ok=False, group_id=one.group_id, error=one.error, child=True) for one in buried]
            if ends:
                propagate(tx, ends, now_ms=now_ms)
        self._ring(done=bool(buried), work=bool(buried))
        return [misfit.error for misfit in buried]

    def reap(
        self, dead_workers: Sequence[int] = (), *, expired: bool = True, living: Collection[int] = (),
        now_ms: int | None = None,
    ) -> int:  # fmt: skip
        """End the leases of `dead_workers` and, if `expired`, those past their deadline (as of `now_ms`); how many.

        A worker of `living` keeps its leases in spite of that, but for those that its last heartbeat has left out.
        """
        reaped, owners, limit = 0, [], _reap.Limit(self.max_reaps)
        if expired:
            with self.driver.read() as tx:
                owners = _reap.expired(tx, living, now_ms=self.clock.now_ms() if now_ms is None else now_ms)
        for worker, until_ms in owners:
            step = partial(_reap.reap_expired, worker=worker, until_ms=until_ms, limit=limit)
            reaped += self._chunked(step, limit.tell)
        for worker in dead_workers:
            reaped += self._chunked(partial(_reap.reap_worker, worker=worker, limit=limit), limit.tell)
            self.unregister_worker(worker)
        return reaped

    def _chunked(self, step: Callable[..., int], tell: Callable[[], None] = lambda: None) -> int:
        """Run `step`, a chunk of housekeeping, in a transaction each until it does less; how many rows in all.

        Others hear of each chunk at once, and `tell` is called: a later one may fail.
        """
        total = 0
        while True:
            with self.driver.write(Promise.PROGRESS) as tx:
                n = step(tx, now_ms=self.clock.now_ms())
            if n:
                self._ring(done=True, work=True)
            tell()
            total += n
            if n < CHUNK:
                return total

    def cap(self) -> int:
        """After the clock was set back: let no time in the file lie further ahead than it can; how many rows."""
        return sum(self._chunked(partial(_cap.cap, step=step, limit=CHUNK)) for step in _cap.STEPS)

    def expire(self, *, result_expires_s: float | None, dead_expires_s: float | None, limit: int = CHUNK) -> int:
        """Delete a chunk of the rows that finished longer ago than these (None or 0: keep all); how many."""
        now_ms = self.clock.now_ms()
        before_ms = now_ms - int(result_expires_s * 1000) if result_expires_s else None
        dead_ms = now_ms - int(dead_expires_s * 1000) if dead_expires_s else None
        with self.driver.write(Promise.PROGRESS) as tx:
            return _retention.expire(tx, *self._walks, before_ms, dead_ms, now_ms=now_ms, limit=limit)

    # -- results -----------------------------------------------------------------------------------------------------

    def store_result(self, message_id: str, ending: _results.Ending) -> bool:
        """Store an end for an id without a message, or in the place of a message's failure or cancellation.

        False, and nothing is stored, where it waits, runs or has succeeded. One that has ended is not cancelled.
        """
        with self.driver.write(Promise.PROGRESS) as tx:
            stored = _results.store(tx, message_id, ending, now_ms=self.clock.now_ms())
        self.driver.ring(Bell.DONE)
        return stored

    def forget(self, ids: Sequence[str]) -> int:
        """Delete finished messages that no later row may still ask for; how many."""
        with self.driver.write(Promise.PROGRESS) as tx:
            return _results.forget(tx, ids)

    # -- the store itself --------------------------------------------------------------------------------------------

    def migrate(self, *, works: bool = False) -> int:
        """Bring the schema up to date, creating the store if need be; its version. `works`: as of `keep_sealed`."""
        version = self.driver.migrate()
        keep_sealed(self.driver, works=works)
        return version

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target`, which must not exist."""
        self.driver.backup(target)

    def close(self) -> None:
        """Close the connections of this process; the next use opens new ones."""
        self._idle.close()
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
    file_mode: int = 0o600,
    clock: Clock | None = None,
    max_crashes: int = 3,
    max_reaps: int = 10,
) -> Storage:
    """The queue behind a broker URL; touches nothing before its first use. See `open_driver` for the URLs.

    `durability`: "durable", "strict" or "relaxed". `file_mode`: the permissions of a file that is made.
    Raises ImproperlyConfigured for a bad URL.
    """
    engine = open_driver(
        url,
        driver=driver,
        durability=Durability(durability),
        busy_timeout_s=busy_timeout_s,
        allow_network_filesystem=allow_network_filesystem,
        file_mode=file_mode,
    )
    return Storage(engine, clock=clock, max_crashes=max_crashes, max_reaps=max_reaps)
