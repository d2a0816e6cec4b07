"""The worker's one loop: claim, dispatch, settle, in batches. It owns the queue and runs no user code.

Each turn settles what has come back and claims what there is room for, in one transaction: many acknowledgements share
one commit, and a chain's next link is here in the same commit that acknowledged the one before.
"""

from __future__ import annotations

import logging
import random
import selectors
import time
from collections import Counter
from collections.abc import Callable, Sequence

from liteq.exceptions import SchemaTooNew, StorageError, StorageFull
from liteq.message import DeadLetter, Lease, Outcome, Release
from liteq.serialization import encode_error
from liteq.storage.driver import Bell
from liteq.storage.rates import Budget
from liteq.storage.storage import Storage, TaggedEvents
from liteq.worker.chores.chore import Chore
from liteq.worker.chores.event_log import EventLog
from liteq.worker.chores.heartbeat import Heartbeat
from liteq.worker.chores.rate_limits import RateLimits
from liteq.worker.pool.base import BUDGET_S, Pool

__all__ = ["Consumer"]

logger = logging.getLogger("liteq.worker")

SAFETY_POLL_S = 1.0  # a lost ring costs this latency at most
GATHER_S = 1e-3  # outcomes wait this long for others to share their commit, while every executor has work
TROUBLE_PAUSE_S = 0.5  # between attempts while the storage refuses
TELL_AGAIN_S = 30.0  # between two reports of one trouble that lasts


class Consumer:
    """Feeds `pool` from `queues` of `storage` until told to stop.

    Single-threaded: every method belongs to the thread that calls `run`; others ask through `worker/signals.py`.
    """

    def __init__(
        self,
        storage: Storage,
        pool: Pool,
        queues: Sequence[str],
        heartbeat: Heartbeat,
        *,
        visibility_s: float,
        on_wake: Callable[[], None] = lambda: None,
        chores: Sequence[Chore] = (),
        admit: Callable[[list[Lease], int], list[Lease]] = lambda leases, _command: leases,
        rates: RateLimits | None = None,
        events: EventLog | None = None,
    ) -> None:
        self.queues = list(queues)
        self.processed = 0
        self.started_by_task: Counter[str] = Counter()
        self._chores = chores
        self._rates = rates
        self._events = events
        self._admit = admit  # of what was just claimed, what is to be executed
        self._storage = storage
        self._pool = pool
        self._heartbeat = heartbeat
        self._visibility_s = visibility_s
        self._on_wake = on_wake
        self._selector = selectors.DefaultSelector()
        self._bell = storage.listen(Bell.WORK)
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._gathering_since = 0.0
        self._more = True  # there may be something to claim
        self._heard = False  # the bell was rung since the last claim
        self._expectant = False  # a claim after a ring is not preceded by a look
        self._due_at: float | None = None  # monotonic: when the next scheduled message comes due
        self._tend_at: float | None = None
        self._poll_at = 0.0
        self._version = -1
        self._accepting = True
        self._aborting = False
        self._paused_until = 0.0
        self._short = False  # the disk was full: nothing is claimed until there is space again
        self._told: dict[str, float] = {}  # the troubles reported, and when each may be again

    # -- life --------------------------------------------------------------------------------------------------------

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop when `fd` is readable."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def run(self) -> None:
        """Work until `finish` was called and all that had started has been settled."""
        if self._bell.fileno() >= 0:
            self.watch(self._bell.fileno(), self._rung)
        self._storage.driver.reserve()
        while self._accepting or self._pool.held() or self._outcomes:
            self._wait()
            self.turn()

    def finish(self) -> None:
        """Claim no more; what has not started goes back to the queue. `run` returns when the rest has ended."""
        self._accepting = False
        self._return(self._pool.take_back())

    def abort(self) -> None:
        """Stop what runs; all of it goes back to the queue."""
        self._accepting = False
        self._aborting = True
        self._return(self._pool.take_back())
        self._pool.kill()
        self._outcomes += self._pool.collect()
        self._return(self._pool.held())

    def settle_later(self, settled: Sequence[tuple[Lease, Outcome]]) -> None:
        """Settle leases that the pool does not have, in the next turn."""
        self._outcomes += settled

    def add_queue(self, name: str) -> None:
        """Claim from one more queue."""
        if name not in self.queues:
            self.queues.append(name)
        self.look()

    def remove_queue(self, name: str) -> None:
        """Claim from a queue no more."""
        if name in self.queues:
            self.queues.remove(name)

    def look(self) -> None:
        """Look for something to claim in the next turn."""
        self._more = True

    def _return(self, leases: Sequence[Lease]) -> None:
        self._outcomes += [(lease, Release()) for lease in leases]

    def close(self) -> None:
        """Close what the loop waits on."""
        self._bell.close()
        self._selector.close()

    def let_go(self) -> None:
        """In a forked child: drop the loop's descriptors."""
        self.close()

    # -- one turn ----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = time.monotonic()
        watched = self._selector.get_map()
        for key, _ in self._selector.select(self._timeout(now)):
            if key.fd in watched:  # a callback may end what a later one is about: a child's end closes its socket
                key.data()
        self._on_wake()

    def _timeout(self, now: float) -> float:
        """How long there is nothing to do, in seconds."""
        if self._paused_until > now:
            return min(self._paused_until - now, SAFETY_POLL_S)
        if self._outcomes:
            return max(0.0, self._gathering_since + GATHER_S - now)
        times = [self._poll_at, self._heartbeat.due_at, *[chore.due_at for chore in self._chores]]
        if self._room() > 0:  # without room, what is due cannot be claimed: no hurry
            if self._more:
                return 0.0
            if self._due_at is not None:
                times.append(self._due_at)
        if self._tend_at is not None:
            times.append(self._tend_at)
        return max(0.0, min(times) - now)

    def _room(self) -> int:
        """How many messages may be claimed now."""
        return self._pool.capacity() if self._accepting and not self._short else 0

    def _rung(self) -> None:
        if self._bell.clear():
            self._more = self._heard = True
            for chore in self._chores:
                chore.rung()

    def turn(self) -> None:
        """Settle, claim, dispatch; then what time asks for."""
        now = time.monotonic()
        self._tend_at = self._pool.tend(now)
        fresh = self._pool.collect()
        if fresh:
            if not self._outcomes:
                self._gathering_since = now
            self._outcomes += fresh
        if now < self._paused_until:
            return
        try:
            self._exchange(now)
            self._look_around(now)
        except SchemaTooNew:
            raise  # a newer liteq has taken the file over: end without another write, it will find what was held
        except StorageFull as exc:
            self._out_of_space(exc)
        except StorageError as exc:
            self._in_trouble(exc)

    def _exchange(self, now: float) -> None:
        """One transaction: outcomes in, leases out."""
        capacity = self._room()
        due = self._due_at is not None and now >= self._due_at
        want = capacity if (self._more or due) else 0
        if not self._outcomes and not want:
            return
        if not want and self._accepting and capacity <= 0 and now < self._gathering_since + GATHER_S:
            return  # every executor has work: let more outcomes share this commit
        outcomes, self._outcomes = self._outcomes, []
        budget = self._rates.budget() if self._rates else None
        told = self._events.ended(outcomes) if self._events else ()
        try:
            # A batch of outcomes may unblock what comes next: always look, in the same transaction.
            turn = self._storage.turn(
                outcomes,
                self._queues(),
                worker=self._heartbeat.worker,
                limit=capacity,
                visibility_s=self._visibility_s,
                expectant=self._expectant and self._heard,
                budget=budget,
                events=told,
            )
        except BaseException as exc:
            if type(exc) is StorageError:  # none of the kinds that pass: one of these outcomes may be to blame
                outcomes = self._settle_apart(outcomes)
            self._outcomes = outcomes + self._outcomes  # not stored: again in the next turn
            raise
        self.processed += len(outcomes)
        self._committed(budget, told)
        if self._heard and capacity > 0:
            # Where the last ring was for this worker, the next one will be; of several idle ones, those that came too
            # late look first, without the write lock.
            self._expectant, self._heard = bool(turn.leases), False
        if turn.lost:
            logger.warning("%d leases were lost to another worker; their outcomes are thrown away", len(turn.lost))
        self._more = capacity <= len(turn.leases)  # also where there was no room to look: not known is not "none"
        if turn.leases:
            leases = self._take_in(turn.leases, turn.command)
            self.started_by_task.update([lease.task for lease in leases])
            self._pool.submit(leases)
            self._tend_at = min(self._tend_at or now + BUDGET_S, now + BUDGET_S)  # to see how they get on
        if not self._more and self._accepting:
            self._due_at = None if turn.due_ms is None else now + self._until_s(turn.due_ms)

    def _until_s(self, due_ms: int) -> float:
        return max(0.0, (due_ms - self._storage.clock.now_ms()) / 1000)

    def _take_in(self, leases: list[Lease], command: int) -> list[Lease]:
        """Tell what has come; what of it is to be executed."""
        if logger.isEnabledFor(logging.INFO):
            for lease in leases:
                logger.info("Task %s[%s] received", lease.task, lease.id)
        if self._events is not None:
            self._events.received(leases)
        return self._admit(leases, command)

    def _committed(self, budget: Budget | None, told: TaggedEvents) -> None:
        if self._rates is not None and budget is not None:
            self._rates.used(budget)
        if self._events is not None:
            self._events.written(told)

    def _settle_apart(self, outcomes: list[tuple[Lease, Outcome]]) -> list[tuple[Lease, Outcome]]:
        """Settle one by one what the storage refused together, so that one bad outcome holds up no other.

        What is refused alone too is a dead letter that says why; what is left cannot be stored at the moment.
        """
        left = []
        for lease, outcome in outcomes:
            try:
                self._storage.settle([(lease, outcome)])
            except StorageError as exc:
                try:
                    self._storage.settle([(lease, DeadLetter(encode_error(exc)))])
                except StorageError:
                    left.append((lease, outcome))
        return left

    def _queues(self) -> list[str]:
        """The queues in the order of this claim; another one first each time, so that none starves behind the rest."""
        if len(self.queues) > 1:
            self.queues.append(self.queues.pop(0))
        return self.queues

    def _look_around(self, now: float) -> None:
        """The chores, the heartbeat, and the safety net below the wake-ups."""
        for chore in self._chores:
            if now >= chore.due_at:
                chore.turn()
        if now >= self._heartbeat.due_at:
            self._pool.abandon(self._heartbeat.beat(self._pool.held() + [lease for lease, _ in self._outcomes]))
        if now >= self._poll_at:
            self._poll_at = now + SAFETY_POLL_S * random.uniform(0.9, 1.1)
            if self._bell.fileno() >= 0 and self._bell.wait(0.0):  # also looks after a bell that was deleted
                self._more = True
            if self._short and self._storage.driver.reserve():
                self._short, self._more = False, True
                logger.warning("there is space again: going on")
            for warning in self._storage.driver.warnings():
                self._tell(logging.WARNING, warning)
            version = self._storage.driver.version()
            if version != self._version:
                self._version = version
                self._more = True
                self._storage.driver.check_schema()
            if self._heartbeat.look_after_others():
                self._more = True

    def _out_of_space(self, exc: StorageFull) -> None:
        """The disk is full: claim nothing, finish what runs with the space in reserve, go on when there is more."""
        self._short = True
        if self._storage.driver.relieve():
            logger.error("%s; claiming nothing until then, finishing what runs with the space in reserve", exc)
        else:
            self._in_trouble(exc)

    def _in_trouble(self, exc: Exception) -> None:
        """The storage refused: go on executing what is here, try again soon, lose nothing.

        Who leaves at once does not wait for it: the leases end by themselves.
        """
        if self._aborting:
            logger.error("leaving %d leases to run out: %s", len(self._outcomes), exc)
            self._outcomes.clear()
            return
        self._tell(logging.ERROR, f"the queue cannot be used at the moment, trying again: {exc}")
        self._paused_until = time.monotonic() + TROUBLE_PAUSE_S

    def _tell(self, level: int, text: str) -> None:
        """Log `text`, but one trouble that lasts not at every attempt."""
        now, kind = time.monotonic(), text[:80]  # the figures, which differ each time, are further behind
        if now >= self._told.get(kind, 0.0):
            self._told[kind] = now + TELL_AGAIN_S
            logger.log(level, "%s", text)
