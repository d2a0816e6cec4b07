"""Runs of durable workflows; one transaction a method.

Errors: RunNotFound for an id under which no run is known; LeaseLost where the `Hold` that a process writes under is
over: nothing was written, and the body is to be left at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from liteq.message import Batch, Hold, Lease, Message, StepRow
from liteq.storage.driver import Row
from liteq.storage.facades.base import Facade
from liteq.storage.runs.records import (
    Approval,
    Asked,
    Chunk,
    History,
    MemoStats,
    MemoTaken,
    RunRecord,
    RunStep,
    Started,
)

__all__ = ["Runs", "StepTransaction"]

Event = tuple[str, bytes]  # its name, its payload (JSON)


class StepTransaction(Protocol):
    """A transaction in the queue's file, under a run's lease: a step's rows and its checkpoint are one commit."""

    def execute(self, sql: str, params: Any = ()) -> list[Row]:
        """Run one statement of the caller's; all its rows. The first call takes the write lock."""

    def enqueue(self, batch: Batch, *, again: Collection[str] = ()) -> list[str]:
        """As `Storage.enqueue`, as a part of this transaction."""

    def emit(self, stream: str, step: StepRow, chunks: Sequence[bytes], attempt: int | None = None) -> int:
        """As `Runs.emit`, as a part of this transaction."""

    def checkpoint(self, step: StepRow) -> Asked | None:
        """As `Runs.checkpoint`, as a part of this transaction; the last call of the block."""


class Runs(Facade):
    """Runs of durable workflows, by those who start and ask for them, and by the processes that execute them."""

    # -- starting ----------------------------------------------------------------------------------------------------

    def start(
        self, message: Message, *, on_conflict: str = "fail", event: Event | None = None, hold: Hold | None = None
    ) -> Started:
        """Send a run (a message with Flag.RUN), with `event` to it in the same transaction.

        Where a run of its id exists: "fail" is that one if workflow and payload are the same, else RunConflict;
        "existing" that one; "renew" that one while it lives, else a new one; "replace" a new one, the old one
        terminated. A new one takes the id over, and what was there under it goes.
        """
        raise NotImplementedError

    # -- executing: by the process that has the lease ----------------------------------------------------------------

    def history(self, run: int) -> History:
        """What is recorded of the run of this row number in its present generation, with the facts of now."""
        raise NotImplementedError

    def checkpoint(self, hold: Hold, step: StepRow, *, memo: tuple[str, int | None] | None = None) -> Asked | None:
        """Record a call: one statement that also checks the lease and that nothing was asked.

        An open row of its place is overwritten, an ended one stays. `memo`: (key, milliseconds for which it holds, None
        for ever): its output is stored in the memo as well, and those that wait for it go on. What is asked of the run
        by now is returned once; the row was written all the same. Raises LeaseLost.
        """
        raise NotImplementedError

    def spawn(self, hold: Hold, steps: Sequence[StepRow], batch: Batch, *, limit: int | None = None) -> Asked | None:
        """Record calls and send what they stand for, in one transaction; a place that is recorded already is left.

        A step whose `child` is a message of `batch` and that has not ended waits for that message, which has a run's
        Flag.CHILD | Flag.LINKED. One that has ended is detached. `limit`: so many of `steps`, which are one `map`
        (all have its `key`, their slot), are to run at once; the others wait for a slot, which each end hands on.
        Where a cancel is asked, nothing is sent or recorded. Raises LeaseLost, CanvasConflict.
        """
        raise NotImplementedError

    def record(
        self, hold: Hold, step: StepRow, *, batch: Batch | None = None, again: Collection[str] = (),
        start: tuple[Message, str, Event | None] | None = None, send: tuple[str, str, bytes] | None = None,
    ) -> Asked | None:  # fmt: skip
        """Record a call with its effect, in one transaction: messages, the start of a run, or an event to a run.

        The effect happens once: where the place is recorded already, nothing is done. `start`: message, on_conflict,
        event; `send`: run id, name, payload. Raises LeaseLost, RunConflict, RunEnded.
        """
        raise NotImplementedError

    def take_event(self, hold: Hold, step: StepRow) -> StepRow | None:
        """Take the oldest event of the name that `step` waits for, if one is there, and record it; the ended row."""
        raise NotImplementedError

    def steps_of_children(self, hold: Hold) -> list[StepRow]:
        """The rows of the run's children as they stand now: for a body that asks `handle.done`."""
        raise NotImplementedError

    def cancel_children(self, hold: Hold, places: Sequence[tuple[str, int]]) -> None:
        """Cancel the children of these calls, as far as they have not ended; their rows end as theirs do."""
        raise NotImplementedError

    def transaction(self, hold: Hold) -> AbstractContextManager[StepTransaction]:
        """A transaction of a step in the queue's own file; it commits when the block ends after its checkpoint.

        Nothing is locked before its first call. Left by an exception, or without a checkpoint: rolled back.
        """
        raise NotImplementedError

    def memo(self, hold: Hold, key: str, name: str) -> MemoTaken:
        """Look for a result under `key`, of the step `name`; where none is and nobody computes it, claim it."""
        raise NotImplementedError

    def drop_memo(self, hold: Hold, key: str) -> None:
        """Give a claim up, since the step failed: the next one that waits computes it."""
        raise NotImplementedError

    def set_state(self, hold: Hold, key: str, value: bytes) -> None:
        """Store a value that readers of the run see at once."""
        raise NotImplementedError

    def tag(self, hold: Hold, tags: Sequence[str]) -> None:
        """Add tags."""
        raise NotImplementedError

    def emit(self, hold: Hold, stream: str, step: StepRow, chunks: Sequence[bytes], attempt: int | None = None) -> int:
        """Add chunks of the step at (`step.scope`, `step.pos`) to a stream; the attempt that they bear.

        `attempt`: None at the first chunks of an execution: one more than the last that the step's chunks bear.
        """
        raise NotImplementedError

    def asked(self, hold: Hold) -> Asked | None:
        """What is asked of the run, as long as it is not obeyed; a read, for long steps. Raises LeaseLost."""
        raise NotImplementedError

    def compensated(self, hold: Hold) -> None:
        """Note that a compensation is about to run: `retry` is refused from now on."""
        raise NotImplementedError

    # -- workers -----------------------------------------------------------------------------------------------------

    def show(self, executing: Iterable[tuple[int, int, bytes | None]]) -> None:
        """Note what runs execute, as (row number, token, JSON): for `steps()`."""
        raise NotImplementedError

    def claim_stuck(
        self, queues: Sequence[str], *, worker: int, fingerprint: str, limit: int, visibility_s: float
    ) -> list[Lease]:
        """Lease runs that are stuck, and that code of this fingerprint has not tried since they last went on."""
        raise NotImplementedError

    # -- asking ------------------------------------------------------------------------------------------------------

    def send(self, run_id: str, name: str, payload: bytes, *, dedup: str | None = None) -> bool:
        """Send an event to a run, also to one that is yet to be started; False where `dedup` was there before.

        Raises RunEnded.
        """
        raise NotImplementedError

    def approve(
        self, run_id: str, title: str, *, ok: bool, by: str | None, comment: str, data: bytes | None,
        check: Callable[[bytes | None], None] | None = None,
    ) -> bool:  # fmt: skip
        """Decide the oldest open approval of `title`: True. The same decision (ok, data) again: False.

        The row's output is then JSON of ok, by, comment, data, at (ms). `check` is called with the request's details
        before that, and may raise. Raises AlreadyDecided, NoSuchApproval, RunNotFound.
        """
        raise NotImplementedError

    def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[str]:
        """Ask runs to end: sagas and shields run. One that has not begun ends at once. The ids that are known."""
        raise NotImplementedError

    def terminate(self, ids: Sequence[str], *, reason: str = "") -> list[tuple[str, int | None]]:
        """End runs at once; each with the token of the lease that it had, whose process is to be killed."""
        raise NotImplementedError

    def pause(self, run_id: str) -> bool:
        """Stop a run after its step in progress; False where it has ended."""
        raise NotImplementedError

    def resume(self, run_id: str) -> bool:
        """Let a paused or stuck run go on; False where it is neither."""
        raise NotImplementedError

    def retry(self, run_id: str) -> bool:
        """Let a failed run go on at the step that failed; False where it has not failed. Raises WorkflowError."""
        raise NotImplementedError

    def fork(self, run_id: str, before: int, *, new: str) -> str:
        """Start a run under the id `new` with the steps before number `before` of another; its id.

        Raises RunConflict.
        """
        raise NotImplementedError

    def rewind(self, run_id: str, before: int) -> None:
        """Let a run go on behind the steps before number `before`. Raises WorkflowError where that is refused."""
        raise NotImplementedError

    # -- reading -----------------------------------------------------------------------------------------------------

    def find(self, run_id: str) -> RunRecord | None:
        """The run of this id; None where there is none."""
        raise NotImplementedError

    def list(
        self, ids: Sequence[str] = (), *, name: str | None = None, status: str | None = None, tags: Sequence[str] = (),
        since_ms: int | None = None, limit: int = 100, after: str | None = None,
    ) -> list[RunRecord]:  # fmt: skip
        """Runs, the newest first: of these ids, or those that fit; those started before the run `after`."""
        raise NotImplementedError

    def steps(self, run_id: str) -> list[RunStep]:
        """The steps of a run in the order in which they began. Raises RunNotFound."""
        raise NotImplementedError

    def approvals(self, run_id: str | None = None, *, limit: int = 1_000) -> list[Approval]:
        """The open approvals of a run, or (None) of all runs, the oldest first."""
        raise NotImplementedError

    def state(self, run_id: str) -> dict[str, bytes]:
        """The values that the run has set, by key."""
        raise NotImplementedError

    def chunks(self, run_id: str, stream: str, *, after: int = 0, limit: int = 1_000) -> tuple[list[Chunk], bool]:
        """Chunks of a stream behind the offset `after`, and whether the run has ended: no more come then."""
        raise NotImplementedError

    def needed_marks(self) -> list[tuple[str, str, str, int]]:
        """What unfinished runs still need: (name of the workflow, "patch" or "version", its id, how many runs)."""
        raise NotImplementedError

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def expire(self, expires_s: float | None, *, limit: int = 1_000) -> int:
        """Delete a chunk of what is over: ended runs, old generations, memos, events that no run took; how many."""
        raise NotImplementedError

    def delete(self, ids: Sequence[str]) -> int:
        """Delete ended runs with all that belongs to them; how many."""
        raise NotImplementedError

    def export(self, run_id: str) -> dict[str, Any]:
        """A run with all its rows, as a document for `bring`; bytes are there as they are. Raises RunNotFound."""
        raise NotImplementedError

    def bring(self, document: Mapping[str, Any]) -> str:
        """Write an exported run, stuck where it had not ended; its id. Raises RunConflict where the id is in use."""
        raise NotImplementedError

    def memo_stats(self) -> list[MemoStats]:
        """What the memo holds, by the name of the step."""
        raise NotImplementedError

    def clear_memo(self, name: str | None = None) -> int:
        """Forget results of the memo, of one step or of all; how many."""
        raise NotImplementedError
