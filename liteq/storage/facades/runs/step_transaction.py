"""A step's own transaction in the queue's file: what it writes and its checkpoint are one commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Self

from liteq.clock import Clock
from liteq.exceptions import StorageError, WorkflowError
from liteq.message import Batch, Hold, Message, StepRow
from liteq.storage.driver import LATER, Bell, Driver, Promise, Row, Transaction
from liteq.storage.kept import streams as _streams
from liteq.storage.runs import executing as _executing
from liteq.storage.runs import starting as _starting
from liteq.storage.runs.records import Asked, Started
from liteq.storage.sending import enqueue as _enqueue
from liteq.storage.spending.kinds import Warned
from liteq.storage.spending.settling import Settled, Spent
from liteq.storage.statistics import event_log as _event_log

__all__ = ["StepTransaction"]

REFUSED: Final = frozenset({
    "ABORT", "ATTACH", "BEGIN", "COMMIT", "DETACH", "END", "PRAGMA", "PREPARE", "RELEASE", "ROLLBACK", "SAVEPOINT",
    "START", "VACUUM",
})  # fmt: skip
# Texts, quoted names and comments, in which a word or a semicolon means nothing; then what does.
PARTS: Final = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
      | (?P<end>;) | (?P<word>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)
# It is there as long as the transaction is: a conflict may roll that back (`INSERT OR ROLLBACK`).
MARK, IS_MARKED = f"SAVEPOINT liteq_step {LATER}", f"RELEASE liteq_step {LATER}"


def _first_words(sql: str) -> list[str]:
    """The first word of each statement in `sql`; of a CREATE alone, as a trigger has statements in it."""
    words, begins = list[str](), True
    for found in PARTS.finditer(sql):
        if found["word"] and begins:
            words.append(found["word"].upper())
        begins = bool(found["end"]) or (begins and not found["word"])
    return words[:1] if words[:1] == ["CREATE"] else words


class StepTransaction:
    """A transaction under a run's lease. The write lock is taken at its first call, not before."""

    def __init__(
        self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]], hold: Hold,
        settle: Callable[[Transaction, Hold, Spent], Settled],
    ) -> None:  # fmt: skip
        self._driver, self._clock, self._events_of, self._hold = driver, clock, events_of, hold
        self._settle = settle
        self._block: AbstractContextManager[Transaction] | None = None
        self._tx: Transaction | None = None
        self._bells: set[Bell] = set()
        self._recorded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block, self._block, self._tx = self._block, None, None
        if block is None:
            return
        if kind is None and not self._recorded:
            unrecorded = WorkflowError("a transactional step ended without its checkpoint: nothing was written")
            block.__exit__(WorkflowError, unrecorded, None)
            raise unrecorded
        block.__exit__(kind, error, trace)
        for bell in self._bells if kind is None else ():
            self._driver.ring(bell)

    def _begun(self) -> Transaction:
        if self._tx is None:
            block = self._driver.write(Promise.ACCEPTED)
            self._tx = block.__enter__()
            self._block = block
            self._tx.execute(MARK)
            _executing.hold_on(self._tx, self._hold)
        return self._tx

    def execute(self, sql: str, params: Any = ()) -> list[Row]:
        """Run one statement of the caller's; all its rows. Raises WorkflowError for one that would end the commit."""
        word = next((word for word in _first_words(sql) if word in REFUSED), None)
        if word is not None:
            raise WorkflowError(
                f"{word} inside a transactional step: leave it out, liteq begins and commits with the checkpoint"
            )
        return self._begun().execute(sql, params)

    def enqueue(self, batch: Batch, *, again: Collection[str] = ()) -> list[str]:
        """As `Storage.enqueue`, as a part of this transaction."""
        events = self._events_of(batch.messages)
        tx, now_ms = self._begun(), self._clock.now_ms()
        ids = _enqueue.enqueue(tx, batch, now_ms=now_ms, again=again)
        if events:
            _event_log.write(tx, events, now_ms=now_ms)
        self._bells.add(Bell.WORK)
        return ids

    def start(self, message: Message, *, on_conflict: str = "fail", event: tuple[str, bytes] | None = None) -> Started:
        """As `Runs.start`, as a part of this transaction."""
        events = self._events_of([message])
        tx, now_ms = self._begun(), self._clock.now_ms()
        started = _starting.start(tx, message, on_conflict=on_conflict, event=event, now_ms=now_ms)
        if events and started.new:
            _event_log.write(tx, events, now_ms=now_ms)
        self._bells.add(Bell.WORK)
        return started

    def emit(self, stream: str, step: StepRow, chunks: Sequence[bytes], attempt: int | None = None) -> int:
        """As `Runs.emit`, as a part of this transaction."""
        self._bells.add(Bell.DONE)
        place = (self._hold.gen, step.scope, step.pos)
        return _streams.emit(self._begun(), self._hold.run, stream, place, chunks, attempt)

    def settle(self, spent: Spent) -> Sequence[Warned]:
        """As the `spent` of `Runs.checkpoint`, as a part of this transaction; the budgets that it warns of."""
        settled = self._settle(self._begun(), self._hold, spent)
        if settled.woke:
            self._bells.add(Bell.WORK)
        return settled.warned

    def checkpoint(self, step: StepRow) -> Asked | None:
        """As `Runs.checkpoint`, as a part of this transaction; the last call of the block. Raises LeaseLost."""
        tx = self._begun()
        try:
            tx.execute(IS_MARKED)
        except StorageError as exc:
            if "savepoint" not in str(exc).lower():  # as of a connection that is lost: it says nothing of the step
                raise
            raise WorkflowError(
                "a statement of this step has rolled its transaction back, as INSERT OR ROLLBACK does on a conflict: "
                "write OR ABORT to have it fail, OR IGNORE to leave such a row out"
            ) from exc
        told = _executing.checkpoint(tx, self._hold, step)
        self._recorded = True
        return told
