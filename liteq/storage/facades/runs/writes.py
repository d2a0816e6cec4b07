"""Runs, by the processes that execute them; one transaction a method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager

from liteq.clock import Clock
from liteq.exceptions import LeaseLost
from liteq.message import Batch, Hold, Lease, Message, StepRow
from liteq.storage.canvases.follow import UNDER_ITS_ID
from liteq.storage.driver import Bell, Driver, Promise
from liteq.storage.facades.runs.spending import RunSpending
from liteq.storage.facades.runs.step_transaction import StepTransaction
from liteq.storage.interrupts import after, closes_itself
from liteq.storage.kept import streams as _streams
from liteq.storage.limits.rules import version
from liteq.storage.runs import executing as _executing
from liteq.storage.runs import history as _history
from liteq.storage.runs import intents as _intents
from liteq.storage.runs import memo as _memo
from liteq.storage.runs import showing as _showing
from liteq.storage.runs import starting as _starting
from liteq.storage.runs import stuck as _stuck
from liteq.storage.runs.executing import Slots
from liteq.storage.runs.records import Asked, Event, History, Intent, Memo, MemoTaken, Started
from liteq.storage.sending import enqueue as _enqueue
from liteq.storage.sent import note
from liteq.storage.spending.kinds import Warned
from liteq.storage.spending.settling import Spent
from liteq.storage.statistics import event_log as _event_log
from liteq.storage.steps import rows as _rows

__all__ = ["RunWrites"]

Warn = Callable[[Sequence[Warned]], None]


class RunWrites(RunSpending):
    """Runs, by those that start them and those that execute them. LeaseLost: the `Hold` is over, nothing was written.

    Where a write returns an `Asked`, the body obeys it: a cancel, a pause or a timeout. It is told once.
    """

    def __init__(self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]]) -> None:
        super().__init__(driver, clock)
        self._events_of = events_of
        self._stuck_after = 0  # of `claim_stuck`

    def start(self, message: Message, *, on_conflict: str = "fail", event: Event | None = None) -> Started:
        """Send a run (a message with Flag.RUN), with `event` to it in the same transaction.

        Where a run of its id exists: "fail" is that one if workflow and payload are the same, else RunConflict;
        "existing" that one; "renew" that one while it lives, else a new one; "replace" a new one, the old one
        terminated. A new one takes the id over, and what was there under it goes.
        """
        events = self._events_of([message])
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            now_ms = self._clock.now_ms()
            started = _starting.start(tx, message, on_conflict=on_conflict, event=event, now_ms=now_ms)
            if events and started.new:
                _event_log.write(tx, events, now_ms=now_ms)
        note(started.id)
        return started

    def history(self, run: int) -> History:
        """The steps of the run of this row number, in its present generation, with the facts of now.

        Raises LookupError where there is no such run.
        """
        with self._driver.read() as tx:
            return _history.history(tx, run)

    @closes_itself
    def checkpoint(
        self, hold: Hold, step: StepRow, *, memo: Memo | None = None, intent: bool = False, spent: Spent | None = None,
        warn: Warn | None = None,
    ) -> Asked | None:  # fmt: skip
        """Record a call: one statement that also checks the lease and that nothing was asked.

        An open row of its place is overwritten, an ended one stays. `memo`: its output is stored there as well, and
        those that wait for it go on; of a step that the memo has answered, that is counted. `intent`: that of the step
        goes (`begin_intent`). `spent`: written with it; `warn` is called with the budgets of which people want to know
        now. What is asked of the run by now is returned once; the row was written all the same. Raises LeaseLost.
        """
        try:
            return self._checkpoint(hold, step, memo, intent, spent, warn)
        except BaseException as error:  # noqa: BLE001 - raised again by `after`
            return after(error, self._checkpoint, hold, step, memo, intent, spent, warn)

    def _checkpoint(
        self, hold: Hold, step: StepRow, memo: Memo | None, intent: bool, spent: Spent | None, warn: Warn | None
    ) -> Asked | None:
        if memo is None and not intent and spent is None and _executing.checkpoint_one(self._driver, hold, step):
            return None
        woke, settled = False, None
        with self._driver.write(Promise.RECORDED) as tx:
            told = _executing.checkpoint(tx, hold, step)
            if spent is not None:
                settled = self._settle(tx, hold, spent)
            if memo is not None and step.memo:
                _memo.hit(tx, memo.key)
            elif memo is not None:
                woke = _memo.store(tx, memo, step, now_ms=self._clock.now_ms())
            if intent:
                _intents.end(tx, hold, (step.scope, step.pos))
        self._ring(work=woke or (settled is not None and settled.woke))
        if settled is not None and settled.warned and warn is not None:
            warn(settled.warned)
        return told

    def spawn(
        self, hold: Hold, steps: Sequence[StepRow], batch: Batch, *, slots: Slots | None = None,
        again: Collection[str] = (),
    ) -> Asked | None:  # fmt: skip
        """Record calls and send what they stand for, in one transaction; a place that is recorded already is left.

        A step whose `child` is a message of `batch`, and which has not ended, waits for that message: one with
        Flag.CHILD | Flag.LINKED. A canvas is waited for by an alias row in `batch`: a message that has Flag.ALIAS too,
        and `awaits` the canvas's last node. `slots`: these children are some of a `map`, of which so many are to run at
        once; the others wait for a slot, which each end hands on. Where something is asked, nothing is sent.
        Raises LeaseLost, CanvasConflict.
        """
        events = self._events_of([m for m in batch.messages if m.awaits is None])
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            now_ms = self._clock.now_ms()
            told = _executing.spawn(tx, hold, steps, batch, slots=slots, now_ms=now_ms, again=again)
            if events and told is None:
                _event_log.write(tx, events, now_ms=now_ms)
        return told

    def record(
        self, hold: Hold, step: StepRow, *, batch: Batch | None = None, again: Collection[str] = (),
        start: tuple[Message, str, Event | None] | None = None, send: tuple[str, str, bytes] | None = None,
    ) -> Asked | None:  # fmt: skip
        """Record a call with its effect, in one transaction: messages, the start of a run, or an event to a run.

        The effect happens once: where the place is recorded already, nothing is done. `start`: message, on_conflict,
        event; `send`: run id, name, payload. Where something is asked, nothing is done or recorded: inside a shield the
        call is made again. Raises LeaseLost, RunConflict, RunEnded, CanvasConflict.
        """
        messages = [*(batch.messages if batch else ()), *([start[0]] if start else ())]
        events = self._events_of(messages)
        with self._driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
            now_ms = self._clock.now_ms()
            first, told = _executing.record(tx, hold, step)
            if first:
                if batch is not None:
                    _enqueue.place(tx, batch, now_ms=now_ms, again=again, waiter=UNDER_ITS_ID)
                if start is not None:
                    message, on_conflict, event = start
                    _starting.start(
                        tx, message, on_conflict=on_conflict, event=event, now_ms=now_ms, waiter=UNDER_ITS_ID
                    )
                if send is not None:
                    _starting.send(tx, *send, dedup=None, now_ms=now_ms)
                if events:
                    _event_log.write(tx, events, now_ms=now_ms)
        return told

    def take_back(
        self, hold: Hold, steps: Sequence[StepRow], aside: Sequence[StepRow]
    ) -> tuple[Asked | None, list[StepRow]]:
        """Record calls that are made again after a retry, by rows that stood aside for them; the rows `aside` go.

        The rows as they are then: their children have their own ids back, where nothing else has these. Where something
        is asked, nothing is done. Raises LeaseLost.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _executing.take_back(tx, hold, steps, aside)

    def leave_aside(self, hold: Hold, aside: Sequence[StepRow]) -> None:
        """Delete what still stands aside of a run that ends well. Raises LeaseLost."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _executing.leave_aside(tx, hold, aside)

    def take_event(self, hold: Hold, step: StepRow, name: str) -> StepRow | None:
        """Take the oldest event of `name` out of the inbox and record it at `step`'s place; the ended row.

        None, and nothing is written, where there is none, or something is asked. Raises LeaseLost.
        """
        with self._driver.read(alone=True) as tx:
            if not _executing.has_event(tx, hold, name):
                return None
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _executing.take_event(tx, hold, step, name, now_ms=self._clock.now_ms())

    def mark(self, hold: Hold, marks: bytes) -> None:
        """Add to the marks of the run. Raises LeaseLost."""
        with self._driver.write(Promise.RECORDED) as tx:
            _executing.hold_on(tx, hold)
            _executing.add_marks(tx, hold, marks)

    def ended_since(self, hold: Hold, ends: int) -> list[StepRow]:
        """The rows of children, timers and events that have ended after the first `ends`, for a body that asks."""
        with self._driver.read() as tx:
            return _rows.read_ended(tx, hold.run, hold.gen, ends)

    def cancel_children(
        self, hold: Hold, places: Sequence[tuple[str, int]], marks: bytes | None = None, *, branch: bool = False
    ) -> list[StepRow]:
        """Cancel the children of these calls, (scope, pos), as far as they have not ended; their rows end as theirs do.

        Returns the rows as they are then. `marks`: added to those of the run. `branch`: by the cancel of a branch, and
        not by a race. Raises LeaseLost.
        """
        why = _rows.NO_BRANCH if branch else _executing.LOST_RACE
        with self._driver.write(Promise.ACCEPTED) as tx:
            _executing.cancel_places(tx, hold, places, why=why, now_ms=self._clock.now_ms())
            if marks is not None:
                _executing.add_marks(tx, hold, marks)
            found = _executing.rows_at(tx, hold, places)
        self._ring(done=True, work=True)
        return found

    def transaction(self, hold: Hold) -> AbstractContextManager[StepTransaction]:
        """A transaction of a step in the queue's own file; it commits when the block ends after its checkpoint.

        Nothing is locked before its first call. Left by an exception, or without a checkpoint: rolled back.
        """
        return StepTransaction(self._driver, self._clock, self._events_of, hold, self._settle)

    # -- the memo ----------------------------------------------------------------------------------------------------

    def memo(self, hold: Hold, key: str, name: str) -> MemoTaken:
        """Look for a result under `key`, of the step `name`; where none is and nobody computes it, claim it.

        The claim holds as long as the lease. Raises LeaseLost.
        """
        with self._driver.read() as tx:
            found = _memo.look(tx, key, now_ms=self._clock.now_ms())
        if found is not None:
            return found
        with self._driver.write(Promise.PROGRESS) as tx:
            _executing.hold_on(tx, hold)
            return _memo.claim(tx, hold, key, name, now_ms=self._clock.now_ms())

    def memo_scope(self, hold: Hold, name: str) -> str | None:
        """The tag "NAME:..." of the run, or of the nearest of its parents that has one; None where none does."""
        with self._driver.read() as tx:
            return _memo.scope_of(tx, hold.run, name)

    def drop_memo(self, hold: Hold, key: str) -> None:
        """Give a claim up, since the step failed: the next one that waits computes it."""
        with self._driver.write(Promise.PROGRESS) as tx:
            woke = _memo.drop(tx, hold, key, now_ms=self._clock.now_ms())
        self._ring(work=woke)

    # -- doubt -------------------------------------------------------------------------------------------------------

    def intent(self, hold: Hold, place: tuple[str, int]) -> Intent | None:
        """The intent of the step at `place`, under which an earlier lease has begun it; a read."""
        with self._driver.read(alone=True) as tx:
            return _intents.find(tx, hold, place)

    def begin_intent(self, hold: Hold, place: tuple[str, int], name: str, step_key: str, begun: int) -> Asked | None:
        """Note that a step is about to run, for the time number `begun`, and is not to be repeated blindly.

        Where something is asked of the run, nothing is noted. Raises LeaseLost.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            told = _executing.obey(tx, hold, _executing.hold_on(tx, hold))
            if told is None:
                _intents.begin(tx, hold, place, name, step_key, begun, now_ms=self._clock.now_ms())
        return told

    def end_intent(self, hold: Hold, place: tuple[str, int]) -> None:
        """Note that the end of such a step is known, where no checkpoint does: it was sent. Raises LeaseLost."""
        with self._driver.write(Promise.RECORDED) as tx:
            _executing.hold_on(tx, hold)
            _intents.end(tx, hold, place)

    # -- what it shows -----------------------------------------------------------------------------------------------

    def set_state(self, hold: Hold, key: str, value: bytes) -> None:
        """Store a value that readers of the run see at once. Raises LeaseLost."""
        if not _showing.set_value(self._driver, hold, key, value):
            raise LeaseLost(f"run {hold.run}")

    def tag(self, hold: Hold, tags: Sequence[str]) -> None:
        """Add tags. Raises LeaseLost."""
        for tag in tags:
            if not _showing.tag_under(self._driver, hold, tag):
                raise LeaseLost(f"run {hold.run}")

    def emit(self, hold: Hold, stream: str, step: StepRow, chunks: Sequence[bytes], attempt: int | None = None) -> int:
        """Add chunks of the step at (`step.scope`, `step.pos`) to a stream; the attempt that they bear.

        `attempt`: None at the first chunks of an execution: one more than the last that the step's chunks bear. Raises
        LeaseLost.
        """
        with self._driver.write(Promise.PROGRESS, Bell.DONE) as tx:
            _executing.hold_on(tx, hold)
            return _streams.emit(tx, hold.run, stream, (hold.gen, step.scope, step.pos), chunks, attempt)

    def asked(self, hold: Hold) -> Asked | None:
        """The request to the run that no write has told it of yet; a read, for long steps. Raises LeaseLost."""
        with self._driver.read() as tx:
            return _executing.asked(tx, hold)

    def compensated(self, hold: Hold) -> None:
        """Note that a compensation is about to run: `retry` is refused from now on. Raises LeaseLost."""
        if not _executing.mark_compensated(self._driver, hold):
            raise LeaseLost(f"run {hold.run}")

    # -- workers -----------------------------------------------------------------------------------------------------

    def show(self, executing: Iterable[tuple[int, int, bytes | None]]) -> None:
        """Note what runs execute, as (row number, token, JSON): for `steps()`.

        The JSON is an array of objects with scope, pos, kind, name, key and started_ms; None for nothing any more.
        """
        rows = list(executing)
        if rows:
            with self._driver.write(Promise.PROGRESS) as tx:
                _executing.show(tx, rows)

    def claim_stuck(
        self, queues: Sequence[str], *, worker: int, fingerprint: str, limit: int, visibility_s: float
    ) -> list[Lease]:
        """Lease runs that are stuck, and that code of this fingerprint has not tried since they last went on.

        Only a read where there are none. Of very many that are stuck it looks at the next ones each time.
        """
        after = self._stuck_after
        with self._driver.read() as tx:
            now_ms = self._clock.now_ms()
            found, self._stuck_after = _stuck.untried(tx, queues, fingerprint, after, limit=1, now_ms=now_ms)
        if not found:
            return []
        with self._driver.write(Promise.PROGRESS) as tx:
            visibility_ms, now_ms = int(visibility_s * 1000), self._clock.now_ms()
            leases = _stuck.claim(
                tx, queues, fingerprint, after, self._limits.rules(tx, version(tx)), worker=worker, limit=limit,
                visibility_ms=visibility_ms, now_ms=now_ms,
            )  # fmt: skip
        if leases:
            self._stuck_after = after  # there may be more
        return leases
