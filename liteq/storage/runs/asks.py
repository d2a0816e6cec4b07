"""Requests of people to runs: to cancel, pause, resume, decide, go on after a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import orjson

from liteq.clock import from_ms
from liteq.exceptions import AlreadyDecided, NoSuchApproval, RunNotFound, WorkflowError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.states import FINISHED, UNFINISHED, State, sql_list
from liteq.storage.canvases.cancel import cancel as _cancel
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.spending import asking
from liteq.storage.steps.asking import ask
from liteq.storage.steps.wake import Waiting, child_ended, end_step, waiting_for, wake
from liteq.utils.records import NamedTuple

__all__ = ["Found", "approve", "cancel", "find_run", "pause", "resume"]

RUN = f"""
SELECT m.seq, m.id, m.state, m.flags, m.due_ms, r.gen, r.parked, r.asked, r.compensated
  FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = m.seq WHERE m.id = ? {LOCK}
"""
STOP = f"""
UPDATE liteq_messages SET state = 'blocked' WHERE seq = ? AND state IN {sql_list(UNFINISHED - {State.LEASED})}
"""
PAUSED = "UPDATE liteq_runs SET parked = 'paused' WHERE run = ? AND (parked IS NULL OR parked = 'stuck')"
GO_ON = """
UPDATE liteq_runs SET parked = NULL, tried = NULL, asked = CASE WHEN asked = 'pause' THEN NULL ELSE asked END
 WHERE run = ?
"""
UNASK = f"UPDATE liteq_messages SET flags = flags & {~Flag.ASKED} WHERE seq = ?"
WAKE_UP = """
UPDATE liteq_messages SET state = :state, due_ms = :due_ms, error = NULL WHERE seq = :run AND state = 'blocked'
"""
GONE = """
SELECT s.child FROM liteq_steps AS s
 WHERE s.run = ? AND s.gen = ? AND s.child IS NOT NULL AND s.ended_ms IS NULL
   AND NOT EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.id = s.child)
"""
NOT_HERE = encode_error(
    WorkflowError("what it has called is not in this queue: import a run with its children, then resume it")
)
DECIDED = """
SELECT output, ended_ms FROM liteq_steps
 WHERE run = ? AND kind = 'approval' AND name = ? AND ended_ms IS NOT NULL ORDER BY ended_ms DESC, gen DESC LIMIT 1
"""


class Found(NamedTuple):
    """A run that something is asked of."""

    seq: int
    id: str
    state: str
    flags: int
    due_ms: int
    gen: int
    parked: str | None
    asked: str | None
    compensated: int

    @property
    def ended(self) -> bool:
        return State(self.state) in FINISHED

    @property
    def begun(self) -> bool:
        return bool(self.flags & Flag.HISTORY)

    @property
    def leased(self) -> bool:
        return self.state == State.LEASED


def find_run(tx: Transaction, run_id: str) -> Found:
    """The run of this id, locked. Raises RunNotFound."""
    for row in tx.execute(RUN, (run_id,)):
        return Found._make(row)
    raise RunNotFound(f"no run {run_id!r} is known here: it was never started in this queue, or its time is over")


def _known(tx: Transaction, ids: Sequence[str]) -> Iterator[Found]:
    for id_ in ids:
        for row in tx.execute(RUN, (id_,)):
            yield Found._make(row)


def cancel(tx: Transaction, ids: Sequence[str], *, reason: str, now_ms: int) -> list[str]:
    """Ask those of these runs to end that have not; their ids."""
    alive = [run.id for run in _known(tx, ids) if not run.ended]
    if alive:
        _cancel(tx, alive, now_ms=now_ms, reason=reason)
    return alive


def pause(tx: Transaction, run_id: str, *, now_ms: int) -> bool:
    """Stop a run after its step in progress; False where it has ended. Raises RunNotFound."""
    run = find_run(tx, run_id)
    if run.ended:
        return False
    if run.parked == "paused":
        return True
    waits_for_another = run.state == State.BLOCKED and not run.begun  # whose end lets it go: it stops as it begins
    if run.leased or waits_for_another:
        ask(tx, run.seq, "pause", reason="", leased=run.leased, now_ms=now_ms)
        return True
    tx.executemany(STOP, [(run.seq,)])
    tx.executemany(PAUSED, [(run.seq,)])
    return True


def resume(tx: Transaction, run_id: str, *, now_ms: int) -> bool:
    """Let a paused or stuck run go on; False where it is neither. Raises RunNotFound.

    A call of a stuck one whose child is not here has failed: else an imported run would wait for ever.
    """
    run = find_run(tx, run_id)
    if run.parked is None and run.asked != "pause":
        return False
    if run.parked == "stuck":  # it may have been imported
        for (child,) in tx.execute(GONE, (run.seq, run.gen)):
            child_ended(tx, child, ok=False, error=NOT_HERE, now_ms=now_ms)
    tx.executemany(GO_ON, [(run.seq,)])
    if run.asked == "pause":
        tx.executemany(UNASK, [(run.seq,)])
    if run.parked is not None:
        later = not run.begun and run.due_ms > now_ms
        woken = {"state": "scheduled" if later else "pending", "due_ms": run.due_ms if later else now_ms}
        tx.executemany(WAKE_UP, [{**woken, "run": run.seq}])
    return True


def approve(
    tx: Transaction, run_id: str, title: str, *, ok: bool, by: str | None, comment: str, data: bytes | None,
    check: Callable[[bytes | None], None] | None, now_ms: int,
) -> tuple[bool, bool]:  # fmt: skip
    """Decide the oldest open approval of `title`: whether this call did, and whether the run woke.

    Raises RunNotFound, NoSuchApproval, AlreadyDecided, and whatever `check` does.
    """
    run = find_run(tx, run_id)
    place = None if run.ended else waiting_for(tx, run.seq, f"approval {title}")
    if place is None:
        _was_decided_so(tx, run, title, ok, data)
        return False, False
    if check is not None:
        check(place.details)
    woke = False
    if place.scope == asking.PLACE:
        woke = asking.answer(tx, place, ok=ok, data=data, now_ms=now_ms)
    return True, _decide(tx, run, place, _decision(ok, by, comment, data, now_ms), now_ms) or woke


def _decision(ok: bool, by: str | None, comment: str, data: bytes | None, now_ms: int) -> bytes:
    document = {"ok": ok, "by": by, "comment": comment, "at": now_ms}
    return orjson.dumps({**document, "data": None if data is None else orjson.Fragment(data)})


def _decide(tx: Transaction, run: Found, place: Waiting, output: bytes, now_ms: int) -> bool:
    end_step(tx, place, output=output, now_ms=now_ms, news=True)
    return wake(tx, run.seq, now_ms=now_ms)


def _was_decided_so(tx: Transaction, run: Found, title: str, ok: bool, data: bytes | None) -> None:
    for output, ended_ms in tx.execute(DECIDED, (run.seq, title)):
        if output is None:
            raise NoSuchApproval(f"run {run.id!r} waits no more for approval {title!r}: its time was over")
        before = orjson.loads(output)
        if before["ok"] == ok and before["data"] == (None if data is None else orjson.loads(data)):
            return
        raise AlreadyDecided(before["ok"], before["by"] or "", from_ms(ended_ms).isoformat())
    raise NoSuchApproval(f"run {run.id!r} has asked for no approval {title!r}: see its approvals()")
