"""The worker's one loop: claim, dispatch, settle, in batches.

Each turn settles the outcomes that have come back and claims as many messages as there is room for, in one transaction:
many acknowledgements share one commit, and a chain's next link is here in the same commit that acknowledged the one
before.

The loop owns the queue. Tasks run elsewhere, in children or threads (the solo pool alone runs them between two turns).
Some code of the user's runs here all the same, and holds up the loop for as long as it takes: control commands,
receivers of signals, bootsteps and their timer, and, where events are on, the repr() of arguments and results.
"""

from __future__ import annotations

import logging
import random
import selectors
import time
from collections.abc import Callable, Sequence
from math import inf

from liteq.context import Observer
from liteq.exceptions import SchemaTooNew, StorageError, StorageFull, StorageUnavailable
from liteq.execution.lines import LINES, about, name_of
from liteq.execution.shown import noun_of
from liteq.message import Lease, Limited, Outcome, Release
from liteq.serialization import decode_error
from liteq.storage.claiming.turn import passes
from liteq.storage.driver import Bell, Listener
from liteq.storage.settling import settle
from liteq.storage.statistics.stats import NO_SUMS
from liteq.storage.storage import Storage, Turn
from liteq.utils.lines import Repeated
from liteq.worker.apart import refusal, settle_apart
from liteq.worker.chores.counting import Counting
from liteq.worker.chores.event_log import EventLog
from liteq.worker.chores.heartbeat import Heartbeat
from liteq.worker.chores.rate_limits import RateLimits
from liteq.worker.chores.runs import RunWatch
from liteq.worker.claiming import Claiming, due_at
from liteq.worker.deliveries import GivenBack
from liteq.worker.hooks import Chore, Listening
from liteq.worker.order import Order
from liteq.worker.pool.base import Pool
from liteq.worker.space import Space

__all__ = ["Consumer"]

logger, received = logging.getLogger("liteq.worker"), logging.getLogger("liteq.worker.received")

SAFETY_POLL_S = 0.5  # a lost ring costs this latency at most, and so long a worker that has died keeps its places
GATHER_S = 1e-3  # outcomes wait this long for others to share their commit, while every executor has work
TROUBLE_PAUSE_S = 0.5  # between attempts while the storage refuses


class Consumer:
    """Feeds `pool` from `queues` of `storage` until asked to stop.

    Single-threaded: every method belongs to the thread that calls `run`; others ask through `worker/signals.py`.
    """

    def __init__(
        self,
        storage: Storage,
        pool: Pool,
        queues: Sequence[str] | Order,
        heartbeat: Heartbeat,
        *,
        visibility_s: float,
        on_wake: Callable[[], None] = lambda: None,
        chores: Sequence[Chore] = (),
        admit: Callable[[list[Lease], int, list[Lease]], list[Lease]] = lambda leases, _command, _fresh: leases,
        rates: RateLimits | None = None,
        events: EventLog | None = None,
        runs: RunWatch | None = None,
        observer: Observer | None = None,
        bell: Listener | None = None,
        selector: selectors.BaseSelector | None = None,
    ) -> None:
        self.order = queues if isinstance(queues, Order) else Order(queues)
        self.processed, self.quiet = 0, False  # quiet: it claims no more, and stays
        self._counting = Counting(storage, pool, worker=heartbeat.me.name, observer=observer)
        self.started_by_task = self._counting.taken_in
        self._chores = [self._counting, *chores]
        self._listening = [chore for chore in chores if isinstance(chore, Listening)]
        self._rates = rates
        self._events = events
        self._runs = runs
        self._admit = admit  # chooses, of the leases that were just claimed, those to be executed
        self._storage = storage
        self._pool = pool
        self._heartbeat = heartbeat
        self._visibility_s = visibility_s
        self._on_wake = on_wake
        self._selector = selector or selectors.DefaultSelector()
        self._bell = bell or storage.listen(Bell.WORK)
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._given_back = GivenBack()
        self._gathering_since = 0.0
        self._claiming = Claiming()
        self._tend_at: float | None = None
        self._version, self._poll_at = -1, 0.0
        self._accepting, self._aborting = True, False
        self._paused_until = 0.0
        self._space = Space(storage.driver)
        self._report = Repeated(logger).report
        self._refused = False

    # -- life --------------------------------------------------------------------------------------------------------

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop when `fd` is readable."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def run(self) -> None:
        """Work until `finish` was called and everything that had started has been settled."""
        if self._bell.fileno() >= 0:
            self.watch(self._bell.fileno(), self._rung)
        self._storage.driver.reserve()
        self._space.look()
        while self._accepting or self._pool.leases() or self._outcomes:
            self._wait()
            self.turn()
        self._attempt(lambda _now: self._counting.turn(), time.monotonic())

    def finish(self) -> None:
        """Claim no more, give back what has not started, and a run after its step; `run` returns when all has ended."""
        self._accepting = False
        self._pool.leave_runs()
        self._return(self._pool.take_back())

    def abort(self) -> None:
        """Stop the running tasks; every lease goes back to the queue."""
        self._accepting = False
        self._aborting = True
        self._return(self._pool.take_back())
        self._pool.kill()
        self._outcomes += self._pool.collect()
        self._return(self._pool.leases())

    def settle_later(self, settled: Sequence[tuple[Lease, Outcome]]) -> None:
        """Settle leases that the pool does not have, in the next turn."""
        self._outcomes += settled

    def recall(self, which: Callable[[Lease], bool]) -> list[Lease]:
        """Take back leases that are about to return to the queue: their release is not stored yet."""
        releases = [lease for lease, outcome in self._outcomes if type(outcome) is Release and not outcome.crashed]
        returning = [lease for lease in releases if which(lease)]
        tokens = {lease.token for lease in returning}
        self._outcomes = [pair for pair in self._outcomes if pair[0].token not in tokens]
        return returning

    def held(self) -> list[Lease]:
        """Its leases: those that the pool has, and those whose outcomes are not stored yet."""
        return self._pool.leases() + [lease for lease, _ in self._outcomes]

    @property
    def queues(self) -> list[str]:
        """The queues that it claims from, as far as they are known."""
        return self.order.names

    def hush(self, quiet: bool) -> None:
        """Claim no more, and give back what has not started, but stay; or claim again."""
        self.quiet = quiet
        if quiet:
            self._return(self._pool.take_back())
        self.look()

    def look(self) -> None:
        """Look for something to claim in the next turn."""
        self._claiming.look()

    def _return(self, leases: Sequence[Lease]) -> None:
        self._outcomes += [(lease, Release()) for lease in leases]

    def close(self) -> None:
        """Close the descriptors that the loop waits on."""
        self._bell.close()
        self._selector.close()

    let_go = close  # in a forked child: drops them there

    # -- one turn ----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = time.monotonic()
        watched = self._selector.get_map()
        for key, _ in self._selector.select(self.timeout(now)):
            if key.fd in watched:  # a callback may end what a later one is about: a child's end closes its socket
                key.data()
        self._on_wake()

    def timeout(self, now: float) -> float:
        """How long there is nothing to do, in seconds."""
        if self._paused_until > now:
            return min(self._paused_until - now, SAFETY_POLL_S)
        if self._outcomes:
            return max(0.0, self._gathering_since + GATHER_S - now)
        times = [self._poll_at, self._heartbeat.due_at, *[chore.due_at for chore in self._chores]]
        claim_at = self._claiming.next_at()
        if claim_at < inf and self.room() > 0:  # without room, a message that is due cannot be claimed: no hurry
            times.append(claim_at)
        if self._tend_at is not None:
            times.append(self._tend_at)
        return max(0.0, min(times) - now)

    def room(self) -> int:
        """How many messages may be claimed now."""
        return self._pool.capacity() if self.claims else 0

    @property
    def claims(self) -> bool:
        """Whether it would claim what waits, if there was room."""
        return self._accepting and not (self._space.full or self.quiet)

    def _rung(self) -> None:
        if self._bell.clear():
            self.heard()

    def heard(self) -> None:
        self._claiming.rung()
        for chore in self._listening:
            chore.rung()

    def turn(self) -> None:
        """Settle, claim, dispatch; then do what has come due."""
        now = time.monotonic()
        self._collect(now)
        self._attempt(self._exchange, now)
        self._tend_at = self._pool.tend(now)
        self._collect(now)
        self._attempt(self._look_around, now)

    def _collect(self, now: float) -> None:
        if fresh := self._pool.collect():
            if not self._outcomes:
                self._gathering_since = now
            self._outcomes += fresh
            if any(type(outcome) is Limited for _, outcome in fresh):  # what waits here may have the paused key
                self._return(self._pool.take_back())

    def _attempt(self, step: Callable[[float], None], now: float) -> None:
        """Do a part of a turn that uses the storage, unless it pauses; what is refused is met here."""
        try:
            if now >= self._paused_until:
                step(now)
        except SchemaTooNew:
            raise  # a newer liteq has taken the file over: end without another write, it will find the leases
        except StorageFull as exc:
            self._out_of_space(exc)
        except StorageError as exc:
            self._in_trouble(exc)
        except Exception as exc:  # a value or a row that no check has stopped must not end the worker
            self._pass_over(exc)

    def _pass_over(self, exc: Exception) -> None:
        """Go on after an error that no storage raises: bury the rows that cannot be taken, else try again soon."""
        if self._aborting:
            raise exc
        logger.error("a row or an outcome cannot be handled: looking for it, and going on", exc_info=exc)
        try:
            errors = self._storage.bury_misfits()
        except StorageError as refused:
            self._in_trouble(refused)
            return
        for error in errors:
            logger.error("a message is a dead letter now: %s", decode_error(error).message)
        if errors:
            self.look()
        else:
            self._in_trouble(exc)

    def _exchange(self, now: float) -> None:
        """Hand in outcomes and take leases, in one transaction, where this turn needs one."""
        gathering = self._accepting and now < self._gathering_since + GATHER_S
        wakes = self._claiming.next_at() > now and settle.one_wakes(self._outcomes)
        limit = self._claiming.limit(now, self.room(), outcomes=bool(self._outcomes), gathering=gathering, wakes=wakes)
        if limit is None:
            return
        turn = self._transact(limit)
        self._claiming.learn(limit, len(turn.leases), due_at(turn.due_ms, self._storage.clock.now_ms(), now))
        if turn.lost:
            logger.warning("%d leases were lost to another worker; their outcomes are thrown away", len(turn.lost))
        if turn.leases:
            self.take(turn.leases, turn.command, turn.again)

    def take(self, leases: list[Lease], command: int = 0, again: Sequence[int] = ()) -> None:
        """Execute leases that were just claimed; `command`, `again`: as of `Turn`."""
        try:
            self._pool.submit(self._take_in(leases, command, again))
        except BaseException:  # a command that came with them cannot be read, say: nobody would run them
            held = {lease.token for lease in self.held()}
            self._return([lease for lease in leases if lease.token not in held])
            raise
        self._tend_at = time.monotonic()  # those of a chore come after this turn has tended the pool

    def _transact(self, limit: int) -> Turn:
        """Settle all outcomes and claim up to `limit` messages. Outcomes that cannot be stored are kept."""
        outcomes, self._outcomes = self._outcomes, []
        budget = self._rates.budget() if self._rates else None
        tagged = self._events.ended(outcomes) if self._events else ()
        before = time.monotonic()
        sums = self._counting.due(before) if outcomes else NO_SUMS
        try:
            turn = self._storage.turn(
                outcomes,
                self.order.next() if limit else self.order.names,
                worker=self._heartbeat.worker,
                limit=limit,
                visibility_s=self._visibility_s,
                expectant=self._claiming.expectant,
                budget=budget,
                events=tagged,
                flows=self._runs.specs if self._runs else None,
                ran=self._pool.timings,
                sums=sums,
            )
        except BaseException as exc:
            if isinstance(exc, Exception) and not passes(exc):  # an outcome may be to blame, or a value in it
                left = settle_apart(self._storage, outcomes, self._pool.timings)
                self._counting.settled([pair for pair in outcomes if pair not in left])
                outcomes = left
            self._outcomes = outcomes + self._outcomes  # not stored: again in the next turn
            raise
        if outcomes:
            self.processed += len(outcomes) - self._given_back.note(outcomes)
        if self._rates is not None and budget is not None:
            self._rates.used(budget)
        if self._events is not None and tagged:
            self._events.written(tagged)
        self._counting.turned(turn, outcomes, wrote=bool(sums), since=before)
        if self._runs and outcomes:
            self._runs.settled(outcomes, turn.lost)
        return turn

    def _take_in(self, leases: list[Lease], command: int, again: Sequence[int]) -> list[Lease]:
        """Log and report the leases that have come, and choose those that are to be executed.

        What this worker gave back before it began was received then: it is not reported again, nor a run that goes on.
        """
        fresh = self._given_back.fresh(leases)
        if received.isEnabledFor(logging.INFO):
            for it in fresh:
                received.info("%s %s[%s] received", noun_of(it), name_of(it), it.id, extra=about(it, "task.received"))
        if self._events is not None:
            self._events.received(fresh)
        self._counting.claimed(fresh, again)
        return self._admit(leases, command, fresh)

    def _look_around(self, now: float) -> None:
        """Beat, do the chores that are due, and poll for the case that a wake-up was lost."""
        if now >= self._heartbeat.due_at:  # first: a chore that raises at each turn is to cost no lease
            self._pool.abandon(self._heartbeat.beat(self.held()))
            if self._refused:
                self._refused = False
                logger.warning("the queue can be used again: going on")
        for chore in self._chores:
            if now >= chore.due_at:
                chore.turn()
        if now >= self._poll_at:
            LINES.idle()  # of the pools that execute in this process
            self._poll_at = now + SAFETY_POLL_S * random.uniform(0.9, 1.1)
            self._poll()

    def _poll(self) -> None:
        """Look after the bell, the disk, the schema and the other workers."""
        self._heartbeat.tell(ending=not self._accepting, quiet=self.quiet, full=self._space.full, pool=self._pool)
        if self._bell.fileno() >= 0 and self._bell.wait(0.0):  # also looks after a bell that was deleted
            self.heard()
        if self._space.look():
            self.look()
        for warning in self._storage.driver.warnings():
            self._report(logging.WARNING, warning)
        if (version := self._storage.driver.version()) != self._version:
            self._version = version
            self.look()
            self._storage.driver.check_schema()
        if self._heartbeat.look_after_others():
            self.look()

    def _out_of_space(self, exc: StorageFull) -> None:
        """Claim nothing while the disk is full; settle the running tasks with the space in reserve."""
        if not self._space.end(exc):
            self._in_trouble(exc)

    def _in_trouble(self, exc: Exception) -> None:
        """Go on after the storage has refused, try again soon; a worker that leaves at once lets its leases run out."""
        if self._aborting:
            logger.error("leaving %d leases to run out: %s", len(self._outcomes), exc)
            self._outcomes.clear()
            return
        self._report(logging.ERROR, refusal(exc, keep=0 if self._accepting else len(self._outcomes)))
        self._refused = True
        if isinstance(exc, StorageUnavailable):  # the leases are to be extended as soon as it can be done
            self._heartbeat.soon()
        self._paused_until = time.monotonic() + TROUBLE_PAUSE_S
