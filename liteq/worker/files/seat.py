"""A seat: the worker on one file of several. It has a consumer of its own, and a share of the pool.

    new --open--> active --nothing to do--> at rest --a ring, a due time, a change--> active
                     \\--the file fails--> aside --after a while--> active

At rest it holds no connection and no descriptor, and is turned by nobody.
"""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from math import inf
from typing import Any, Protocol

from liteq.app.files.patterns import stamp_of
from liteq.context import App
from liteq.context.living import RESTS
from liteq.exceptions import ImproperlyConfigured, SchemaTooNew, StorageCorrupt, StorageError, StorageUnavailable
from liteq.message import Lease, WorkerIdentity
from liteq.storage.driver import Listener
from liteq.storage.storage import Storage
from liteq.worker.chores.event_log import EventLog
from liteq.worker.chores.rate_limits import RateLimits
from liteq.worker.files.sharing import Share, Sharing
from liteq.worker.hooks import Chore, Hooks
from liteq.worker.loop import Consumer
from liteq.worker.parts import Running, make_running
from liteq.worker.pool import Pool, with_batches

__all__ = ["Aside", "Host", "Seat"]

logger = logging.getLogger("liteq.worker")

PATIENCE_S = 0.25  # that the loop waits for the write lock of one file: meanwhile it serves no other
LATER_S = 3.0  # after it woke: then the chores, if it is still awake
KNOWN_S = 60.0  # that what a rest depends on holds true, as a rule
REST_AFTER_S = 2.0  # without work
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # until a file that was set aside is tried again
LASTING = (StorageCorrupt, StorageUnavailable, SchemaTooNew)  # trouble that does not pass by itself


class Aside(Exception):
    """Raised out of a turn where a file cannot be used, with the reason."""


class Host(Protocol):
    """The worker, as a seat sees it."""

    app: App
    hostname: str
    hooks: Hooks
    limits: tuple[float | None, float | None]
    max_tasks: int | None
    start_method: str

    def enter_as(self, storage: Storage) -> tuple[int, WorkerIdentity]:
        """Enter the list of workers in the file of `storage`."""

    def told(self, pool: Pool, consumer: Consumer | None, events: EventLog | None) -> dict[str, object]:
        """The figures that lists of workers show."""

    def order_options(self) -> Mapping[str, Any]:
        """The queues to take from, as arguments of `Order`."""

    @property
    def sends_events(self) -> bool:
        """Whether it writes events of tasks."""

    def ended_by(self) -> AbstractContextManager[None]:
        """End the worker in order where the user's code in this block asks for that."""

    def stop(self, *, cold: bool = False) -> None:
        """Ask the worker to end."""


class _Silent:
    """The bell of a seat: it is heard by the watch over all folders, and the consumer is told of it."""

    def fileno(self) -> int:
        return -1

    def clear(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        return False

    def close(self) -> None: ...


BELL: Listener = _Silent()


class _SeatConsumer(Consumer):
    """The consumer of one file: it waits for nothing itself, and a file that fails does not stay in the loop's way."""

    _look_from = 0.0  # before, chores wait
    took = False  # it has claimed something since this was set

    @property
    def has_outcomes(self) -> bool:
        """Whether there are outcomes to be settled."""
        return bool(self._outcomes)

    def claims_at(self) -> float:
        """When there may be something to claim: 0.0 for now."""
        return self._claiming.next_at()

    def may_rest(self) -> bool:
        """Whether nothing is held that only the passing of time, as this worker sees it, sets free."""
        return self._counting.due_at == inf and (self._rates is None or self._rates.is_idle)

    def woke(self, now: float) -> None:
        """Claim at once, and see to everything else later: where it soon rests again, at another time."""
        self._look_from = now + LATER_S
        self._claiming.woke()

    def take(self, leases: list[Lease], command: int = 0, again: Sequence[int] = ()) -> None:
        self.took = True
        super().take(leases, command, again)

    def count(self) -> None:
        """Write the sums of what has ended; the last call."""
        self._attempt(lambda _now: self._counting.turn(), time.monotonic())

    def found_nothing(self) -> None:
        """See to everything else now: what woke it was no message, so perhaps a command."""
        self._look_from = 0.0

    def timeout(self, now: float) -> float:
        if now >= self._look_from or self._outcomes:
            return super().timeout(now)
        claim_at = self.claims_at() if self.room() > 0 else inf
        return max(0.0, min(self._look_from, self._heartbeat.due_at, self._counting.due_at, claim_at) - now)

    def _look_around(self, now: float) -> None:
        if now >= min(self._look_from, self._heartbeat.due_at):
            self._look_from = 0.0
            super()._look_around(now)
        elif now >= self._counting.due_at:
            self._counting.turn()

    def _in_trouble(self, exc: Exception) -> None:
        if isinstance(exc, LASTING) and not self._aborting:
            raise Aside(str(exc)) from exc
        super()._in_trouble(exc)


class _SeatHooks(Hooks):
    """The hooks of the worker, as far as they are about one file; its chores are the loop's."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def received(self, leases: Sequence[Lease]) -> None:
        self._hooks.received(leases)


class Seat:
    """The worker `host` on the file `path`. `place` is told to remote control's commands as their worker."""

    _entered: tuple[int, WorkerIdentity] | None = None  # its number in the file, once it is there

    def __init__(
        self,
        host: Host,
        path: str,
        sharing: Sharing,
        *,
        selector: selectors.BaseSelector,
        told: Callable[[], Mapping[str, object]],
        chores: Callable[[App], Sequence[Chore]] = lambda _app: (),
    ) -> None:
        self.path = path
        self.app, self.url = host.app.view_at(path)
        self.hostname = host.hostname
        self.hooks: Hooks = _SeatHooks(host.hooks)
        self.limits, self.max_tasks, self.start_method = host.limits, host.max_tasks, host.start_method
        self.share = Share(sharing, self.url, self.inside, self._touch)
        self._sharing = sharing
        self.wake_at = 0.0
        self.served = 0  # the loop's number of the turn in which it last claimed
        self.touched = False  # something has come for it
        self.at_rest = False
        self.reason = ""  # why it is set aside; "" where it is not
        self.stamp: tuple[int, ...] = ()  # the file's marks before the last look for messages
        self._host = host
        self._selector = selector
        self._told = told
        self._chores = chores
        self._running: Running | None = None
        self._pause_s = FIRST_PAUSE_S
        self._busy_at = 0.0
        self._was_rung = False
        self._known_until = 0.0  # nobody else has leases there, and
        self._ends_at = inf  # no pause of a queue ends before

    # -- what its parts ask for: `Place` -------------------------------------------------------------------------------

    @property
    def running(self) -> Running:
        """The parts. Raises RuntimeError before it was opened."""
        if self._running is None:
            raise RuntimeError(f"{self.path} has not been opened")
        return self._running

    @property
    def consumer(self) -> _SeatConsumer:
        found = self.running.consumer
        assert isinstance(found, _SeatConsumer)
        return found

    @property
    def is_open(self) -> bool:
        return self._running is not None

    def enter(self) -> tuple[int, WorkerIdentity]:
        if self._entered is None:
            self._entered = self._host.enter_as(self.app.storage)
        self.hostname = self._entered[1].name
        return self._entered

    def info(self, pool: Pool) -> dict[str, object]:
        made = self._running
        told = self._host.told(pool, None, None) if made is None else self._host.told(pool, made.consumer, made.events)
        return {**told, RESTS: True, **self._told()}

    def ended_by(self) -> AbstractContextManager[None]:
        return self._host.ended_by()

    def stop(self, *, cold: bool = False) -> None:
        self._host.stop(cold=cold)

    def inside(self) -> AbstractContextManager[None]:
        """Where this file counts, for the user's code."""
        return self._host.app.at_home(self.app)

    # -- for the loop --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Enter the file, which is made where it is not there. Raises Aside."""
        try:
            with self.inside():
                self._open()
        except StorageError as exc:
            raise Aside(str(exc)) from exc

    def _open(self) -> None:
        storage = self.app.open_storage(busy_timeout_s=min(PATIENCE_S, self.app.conf.busy_timeout))
        try:
            storage.migrate(works=True)
            self.app.keep(storage)
            self._running = self._make_running(storage)
        except BaseException as exc:
            if self._entered is not None:
                with suppress(StorageError):  # else it comes back under this number
                    storage.unregister_worker(self._entered[0])
                    self._entered = None
            storage.close()  # while it is set aside, nobody is held up by a file that is open here
            if isinstance(exc, ImproperlyConfigured):  # its values are sealed, without a codec: the others go on
                raise Aside(str(exc)) from exc
            raise
        self._busy_at = time.monotonic()

    def _make_running(self, storage: Storage) -> Running:
        return make_running(
            self,
            storage,
            with_batches(self.share, self.app),
            self._host.order_options(),
            rates=RateLimits(self.app, storage, self._look),
            look=self._look,
            on_wake=lambda: None,
            chores=self._chores(self.app),
            first=(),
            task_events=self._host.sends_events,
            autoscaler=self._sharing.autoscaler,
            bell=BELL,
            selector=self._selector,
            consumer=_SeatConsumer,
            patience_s=0.0,  # meanwhile the loop serves no other file
        )

    def _look(self) -> None:
        if self._running is not None:
            self.consumer.look()

    def _touch(self) -> None:
        self.touched = True

    def heard(self) -> None:
        """Take note that its bell has rung."""
        self.touched = self._was_rung = True
        if self._running is not None:
            self.consumer.heard()

    def turn(self, now: float) -> None:
        """Let it settle and claim, and do what has come due. Raises Aside where the file cannot be used."""
        woke, self.at_rest = self.at_rest, False
        rung, self._was_rung = self._was_rung, False
        self.consumer.took = False
        if woke:
            self.running.heartbeat.rested()
            self.consumer.woke(now)
        self.touched = False
        before = self.consumer.processed
        if self.consumer.claims_at() <= now:
            self.stamp = stamp_of(self.path)  # before the look: what is written after it changes the marks
        try:
            with self.inside():
                self.consumer.turn()
        except StorageError as exc:
            raise Aside(str(exc)) from exc
        self.reason, self._pause_s = "", FIRST_PAUSE_S
        if self.has_work or self.consumer.processed != before:
            self._busy_at = now
        if (woke or rung) and not self.consumer.took:
            self.consumer.found_nothing()
            self._known_until = 0.0
        self.wake_at = now + self.consumer.timeout(now)

    @property
    def has_work(self) -> bool:
        """Whether it has leases, or outcomes that are not stored."""
        return bool(self.share.held or self.share.returned or self.consumer.has_outcomes)

    def is_hungry(self, now: float) -> bool:
        """Whether it would claim, if there was room."""
        return not self.reason and self.consumer.claims_at() <= now

    def set_aside(self, reason: str, now: float) -> None:
        """Leave the file alone for a while."""
        if reason != self.reason:
            logger.error("%s is set aside, and tried again now and then: %s", self.path, reason)
        self.reason = reason
        self.wake_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self.touched = False

    def idle_s(self, now: float) -> float:
        """For how long it has had nothing to do; 0.0 while it has, or cannot rest for another reason."""
        if self.has_work or self.reason or not self.consumer.may_rest() or self.consumer.claims_at() <= now:
            return 0.0
        return now - self._busy_at

    @property
    def is_read_up(self) -> bool:
        """Whether nothing was written to the file since the worker looked for messages in it."""
        return stamp_of(self.path) == self.stamp

    def rest(self, now: float) -> None:
        """Close the file, until something comes; not where somebody else's lease is to be looked after."""
        storage = self.running.storage
        if now < self._known_until:
            self._close(now, min(self._ends_at, self._known_until))
            return
        try:
            others = any(one.leased for one in storage.reader.workers() if one.id != self.running.heartbeat.worker)
            ends_ms = [one.until_ms for one in storage.queues.paused().values() if one.until_ms is not None]
        except StorageError as exc:
            logger.warning("%s: %s", self.path, exc)
            return
        if others:
            self._busy_at = now
            return
        self._known_until = now + KNOWN_S
        self._ends_at = now + max(0.0, (min(ends_ms) - storage.clock.now_ms()) / 1000) if ends_ms else inf
        self._close(now, self._ends_at)

    def _close(self, now: float, ends_at: float) -> None:
        self.running.storage.close()
        self.at_rest = True
        self.wake_at = min(self.consumer.claims_at(), ends_at if ends_at > now else inf)

    def leave(self) -> None:
        """Sign off, and close the file."""
        if self._running is None:
            return
        try:
            if not self.reason:
                if not self.at_rest:
                    self.consumer.count()
                self.running.heartbeat.leave()
        except (StorageError, Aside) as exc:  # the others notice by themselves that this process is gone
            logger.warning("cannot sign off from %s: %s", self.path, exc)
        self.running.storage.close()
