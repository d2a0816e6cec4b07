"""A run goes on from an earlier point: after a failure, in a copy, or from an earlier step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from liteq.exceptions import RunConflict, RunNotFound, WorkflowError
from liteq.message import Flag, StepRow
from liteq.serialization import decode_error
from liteq.states import FINISHED, State, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.rows.aside import rename
from liteq.storage.runs.asks import Found, find_run
from liteq.storage.runs.executing import IN_FRONT
from liteq.storage.runs.records import ASIDE, CANCEL, DONE, END, HOLES, UNDONE, aside, doubt_scope, id_aside, in_place
from liteq.storage.runs.records import FORK as FORK_OF
from liteq.storage.runs.records import REWOUND as REWOUND_OF
from liteq.storage.settling.dead import requeue
from liteq.storage.settling.endings import cancel_children
from liteq.storage.steps import rows
from liteq.storage.steps.closing import reopen
from liteq.storage.steps.failing import Failed, failed, position

__all__ = ["fork", "requeue_all", "retry", "rewind"]

RETRY = """
UPDATE liteq_runs SET deadline_ms = :now_ms + timeout_ms, asked = NULL, parked = NULL, tried = NULL, need = NULL
 WHERE run = :run
"""
REWOUND = "UPDATE liteq_runs SET compensated = 0 WHERE run = ?"
# A child that has not ended goes on under another id. The keys and arguments that it makes of its id stay as they were.
RENAMED = """
SELECT r.run, r.marks FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = m.seq
 WHERE m.id = ? AND m.finished_ms IS NULL
"""
STAY_THE_SAME = "UPDATE liteq_runs SET seed = coalesce(seed, ?), marks = ? WHERE run = ?"
AGAIN = f"""
UPDATE liteq_messages SET state = 'pending', due_ms = :now_ms, delay_ms = NULL, result = NULL, error = NULL,
       progress = NULL, finished_ms = NULL, retries = 0, crashes = 0, reaps = 0
 WHERE seq = :run AND state IN {sql_list({*FINISHED, State.BLOCKED, State.SCHEDULED, State.PENDING, State.HELD})}
   AND (unique_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM liteq_messages AS other
         WHERE other.unique_key = liteq_messages.unique_key AND other.seq <> liteq_messages.seq
           AND other.finished_ms IS NULL))
"""
ERROR = "SELECT error, finished_ms FROM liteq_messages WHERE seq = ? AND error IS NOT NULL"
IS_TO_END = """
SELECT 1 FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = m.seq WHERE m.id = ? AND r.asked = 'cancel'
"""
EARLIER = "SELECT count(*) FROM liteq_steps WHERE run = ? AND gen < ?"
CLEAR_BODY = "DELETE FROM liteq_bodies WHERE ref = ?"
IN_USE = """
SELECT 1 FROM liteq_messages WHERE id = :id UNION ALL SELECT 1 FROM liteq_groups WHERE id = :id
"""
WITH_INPUT = Flag.TAKES_INPUT | Flag.ON_FAILURE  # its first argument is the result of what it awaited, or its id
FORK = f"""
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, created_ms, flags, awaits,
                            keys, position)
SELECT :new, task, queue, priority, 'pending', payload, options, :now_ms, :now_ms,
       (flags & {Flag.IGNORE_RESULT | Flag.TRACK_STARTED | WITH_INPUT}) | {Flag.RUN | Flag.HISTORY},
       CASE WHEN flags & {Flag.TAKES_INPUT} <> 0 THEN awaits END, keys, 0
  FROM liteq_messages WHERE seq = :run
RETURNING seq
"""
FORK_BODY = """
INSERT INTO liteq_bodies (ref, body) SELECT 2 * :new, body FROM liteq_bodies WHERE ref = 2 * :run
"""
FORK_RUN = """
INSERT INTO liteq_runs (run, name, step, version, input, gen, timeout_ms, started_ms, gen_ms, deadline_ms, marks,
                        forked_from, seed, ends, fails)
SELECT :new, name, 0, version, input, gen, timeout_ms, started_ms, gen_ms, :now_ms + timeout_ms, :marks, :id,
       coalesce(seed, :id), ends, fails
  FROM liteq_runs WHERE run = :run
"""
MARKS = "SELECT marks FROM liteq_runs WHERE run = ?"
SET_MARKS = "UPDATE liteq_runs SET marks = ? WHERE run = ?"
FORK_BUDGET = """
INSERT INTO liteq_run_budgets (run, what, most, period_ms, since_ms, soft, asks)
SELECT CAST(:new AS BIGINT), what, most, period_ms, CAST(:now_ms AS BIGINT), soft, asks FROM liteq_run_budgets
 WHERE run = :run
"""
FORK_TAGS = "INSERT INTO liteq_run_tags (tag, run) SELECT tag, :new FROM liteq_run_tags WHERE run = :run"


class Undone(WorkflowError):
    """Raised for a run that cannot go on, since its compensations, or its clean-up, have run."""


def _behind(tx: Transaction, run: Found, before: int) -> tuple[list[StepRow], list[StepRow]]:
    """The steps of the present generation before number `before`, and the others.

    Among the others is a wait before it that was given up with its branch because of them, or at the run's end: it
    begins anew.
    """
    steps, number = rows.in_order(rows.read(tx, run.seq, run.gen)), before
    if run.gen:
        first = int(tx.execute(EARLIER, (run.seq, run.gen))[0][0])
        if before <= first:
            raise WorkflowError(
                f"step {before} of {run.id!r} is from before its last continue_as_new, and its arguments are gone: "
                f"name a step from {first + 1} on"
            )
        before -= first
    if before < 1:
        raise ValueError(f"there is no step {before}: steps are counted from 1")
    if before > len(steps) + 1:
        last = number - before + len(steps)
        raise ValueError(f"there is no step {number} of {run.id!r}: it has {last}; to keep them all, name {last + 1}")
    kept, gone = steps[: before - 1], steps[before - 1 :]
    since = gone[:1] or (kept[-1:] if run.ended else [])
    anew = [step for step in kept if since and rows.given_up_ms(step) >= since[0].started_ms]
    return [step for step in kept if step not in anew], [*gone, *anew]


def retry(tx: Transaction, run_id: str, *, now_ms: int) -> bool:
    """Let a failed run go on at the step that failed, or begin the wait that timed out again; False for another.

    Raises RunNotFound, and WorkflowError where it was compensated, or has cleaned up when its time was over.
    """
    run = find_run(tx, run_id)
    if run.state != State.DEAD:
        return False
    if run.compensated:
        raise Undone(f"run {run_id!r} has undone its steps: fork it, or start another one")
    steps = rows.read(tx, run.seq, run.gen)
    marks = rows.marks_of([*(marks for (marks,) in tx.execute(MARKS, (run.seq,))), *(step.marks for step in steps)])
    if any(mark.startswith(CANCEL) for mark in marks):  # a replay would be cut off there, too
        raise Undone(f"run {run_id!r} has cleaned up when its time was over: rewind it to a step before that")
    gone, left = _failed(tx, run, steps)
    if not requeue(tx, [run_id], now_ms=now_ms):
        return False  # another one has its unique key: it keeps its history
    reopen(tx, run.seq, run.id)
    _forget(tx, run, gone, now_ms=now_ms)
    kept = {*steps}.difference(gone, left)
    _keep_marks(tx, run, kept, [step for step in gone if step.error is None] + left, gone=[*gone, *left])
    _set_aside(tx, run, left)
    tx.executemany(RETRY, [{"run": run.seq, "now_ms": now_ms}])
    return True


def requeue_all(tx: Transaction, ids: Sequence[str], *, now_ms: int) -> list[str]:
    """Put dead letters back in their queue; runs among them go on at the step that failed. The ids that are back.

    A run that has undone its steps is left out.
    """
    back = []
    for id_ in ids:
        try:
            if retry(tx, id_, now_ms=now_ms):
                back.append(id_)
        except RunNotFound:
            back += requeue(tx, [id_], now_ms=now_ms)
        except Undone:
            continue
    return back


def _failed(tx: Transaction, run: Found, steps: Sequence[StepRow]) -> Failed:
    """The step at which the run failed, what was cut off because of it, and what the body did behind it."""
    found = tx.execute(ERROR, (run.seq,))
    standing = [step for step in steps if in_place(step.scope) is None]  # an earlier retry has set others aside
    error, ended_ms = (decode_error(found[0][0]), found[0][1]) if found else (None, None)
    gone, left = failed(standing, error, ended_ms)
    known = {*gone, *left}
    # A child that was asked to end when this run ended may not have ended yet: its call is made again.
    gone = [*gone, *(step for step in standing if step not in known and _is_to_end(tx, step))]
    asked = {doubt_scope((step.scope, step.pos)) for step in gone}  # whether a step was done is asked anew
    return Failed([*gone, *(step for step in standing if step.scope in asked and step not in gone)], left)


def _is_to_end(tx: Transaction, step: StepRow) -> bool:
    return step.child is not None and step.ended_ms is None and bool(tx.execute(IS_TO_END, (step.child,)))


def _set_aside(tx: Transaction, run: Found, steps: Sequence[StepRow]) -> None:
    """Move step rows out of the calls' way. A call that is made again takes its row (workflow/history/aside.py)."""
    if not steps:
        return
    marks = rows.marks_of([tx.execute(MARKS, (run.seq,))[0][0]])
    before = {mark for mark in marks if mark.startswith(ASIDE)}
    times = max((int(mark.removeprefix(ASIDE)) for mark in before), default=0) + 1
    tx.executemany(SET_MARKS, [(orjson.dumps(sorted({*marks - before, f"{ASIDE}{times}"})), run.seq)])
    named = _give_up_ids(tx, steps)
    moved = [
        step._replace(scope=aside(step.scope, times), marks=None, child=named.get(step.child or "", step.child))
        for step in steps
    ]
    rows.delete(tx, run.seq, run.gen, steps)
    rows.write_new(tx, run.seq, run.gen, moved)


def _forget(tx: Transaction, run: Found, steps: Sequence[StepRow], *, now_ms: int) -> None:
    """Delete step rows. Their children give up their ids, and are cancelled where they have not ended.

    An event that such a row had taken goes back into the inbox, before those that no row has taken.
    """
    cancel_children(tx, [step.child for step in steps if step.child and step.ended_ms is None], now_ms=now_ms)
    _give_up_ids(tx, steps)
    taken = sorted((step for step in steps if step.kind == "event" and step.output is not None), key=_end_of)
    tx.executemany(IN_FRONT, [(run.id, step.name, step.output, now_ms) for step in reversed(taken)])
    rows.delete(tx, run.seq, run.gen, steps)


def _end_of(step: StepRow) -> int:
    return step.ended or 0


def _give_up_ids(tx: Transaction, steps: Sequence[StepRow]) -> dict[str, str]:
    """Give the children of these calls new ids: calls that are made anew get the old ones. The new ids, by the old.

    A child whose call is answered from aside gets its own id back (`executing.take_back`). What a body has sent without
    waiting for it is no child, and keeps its id: it may be a run that was there before.
    """
    named = {step.child: id_aside(step.child) for step in steps if step.child is not None and step.kind != "send"}
    for child in named:
        for number, marks in tx.execute(RENAMED, (child,)):
            tx.executemany(STAY_THE_SAME, [(child, _with_kin(marks, child), number)])
    rename(tx, [{"id": child, "to": to} for child, to in named.items()])
    return named


def rewind(tx: Transaction, run_id: str, before: int, *, now_ms: int) -> None:
    """Let a run go on behind the steps before number `before`. Raises RunNotFound, WorkflowError."""
    run = find_run(tx, run_id)
    if run.leased:
        raise WorkflowError(f"run {run_id!r} is running: pause() it first")
    if run.ended and run.flags & Flag.LINKED:
        raise WorkflowError(f"run {run_id!r} has ended, and what follows has taken its end: fork() it")
    if not run.begun and (run.flags & Flag.TAKES_INPUT or run.state == State.BLOCKED):
        raise WorkflowError(f"run {run_id!r} has not begun: there is nothing to rewind")
    kept, gone = _behind(tx, run, before)
    if run.state == State.DEAD:
        reopen(tx, run.seq, run.id)
    _forget(tx, run, gone, now_ms=now_ms)
    _keep_marks(tx, run, kept, gone, gone=gone)
    tx.executemany(CLEAR_BODY, [(2 * run.seq + 1,)])
    if not tx.executemany(AGAIN, [{"run": run.seq, "now_ms": now_ms}]):
        raise WorkflowError(f"run {run_id!r} has ended, and another one has its unique key: fork() it")
    tx.executemany(RETRY, [{"run": run.seq, "now_ms": now_ms}])
    tx.executemany(REWOUND, [(run.seq,)])


def _keep_marks(
    tx: Transaction, run: Found, kept: Iterable[StepRow], again: Iterable[StepRow], *, gone: Iterable[StepRow]
) -> None:
    """Keep the marks that hold without the steps `gone`; note it where finished ones, of `again`, run once more."""
    marks = _marks_of(tx, run, kept, gone)
    if any(step.kind == "step" and step.ended_ms is not None for step in again):
        times = [int(mark.removeprefix(REWOUND_OF)) for mark in marks if mark.startswith(REWOUND_OF)]
        marks.add(f"{REWOUND_OF}{max(times, default=0) + 1}")
    tx.executemany(SET_MARKS, [(orjson.dumps(sorted(marks)), run.seq)])


def _marks_of(tx: Transaction, run: Found, kept: Iterable[StepRow], gone: Iterable[StepRow]) -> set[str]:
    """The marks of a run when the steps `kept` alone are left: those that still hold, and that of holes before them."""
    last = dict[str, int]()
    behind = 0  # the last call of the body itself that is kept
    for step in kept:
        last[step.scope] = max(step.pos, last.get(step.scope, -1))
        behind = max(behind, position(step, "") or 0)
    marks = {mark for mark in rows.marks_of([tx.execute(MARKS, (run.seq,))[0][0]]) if _is_before(mark, last)}
    has_holes = any((at := position(step, "")) is not None and at < behind for step in gone)
    return {*marks, f"{HOLES}{behind if has_holes else 0}"}


def _is_before(mark: str, last: dict[str, int]) -> bool:
    """Whether a kept call is behind the place of `mark`, for a cancel also at it; True for a mark without a place."""
    if mark.startswith(CANCEL):
        scope, _, pos = mark.removeprefix(CANCEL).rpartition("/")
        return int(pos) <= last.get(scope.removesuffix(END), -1)
    if mark.startswith((DONE, UNDONE)):
        scope, pos, _ = mark.partition(" ")[2].partition(" ")[0].rsplit("/", 2)
        return int(pos) < last.get(scope, -1)
    return True


def _with_kin(marks: bytes | None, id_: str) -> bytes:
    """The marks of a run whose history is that of the id `id_`: arguments are compared under that id, too."""
    return orjson.dumps(sorted({*rows.marks_of([marks]), FORK_OF + id_}))


def fork(tx: Transaction, run_id: str, before: int, *, new: str, now_ms: int) -> str:
    """Start a run under `new` with the steps of another before number `before` that have ended. Raises RunConflict."""
    run = find_run(tx, run_id)
    if tx.execute(IN_USE, {"id": new}):
        raise RunConflict(f"the id {new!r} is in use: choose another one for the fork")
    if run.flags & Flag.TAKES_INPUT and not run.begun:
        raise WorkflowError(f"run {run_id!r} has not begun, and waits for its first argument: fork it when it has")
    kept, gone = _behind(tx, run, before)
    ended = [step for step in kept if step.ended_ms is not None]
    gone += [step for step in kept if step.ended_ms is None]
    for (seq,) in tx.execute(FORK, {"new": new, "run": run.seq, "now_ms": now_ms}):
        where = {"new": seq, "run": run.seq}
        tx.executemany(FORK_BODY, [where])
        marks = orjson.dumps(sorted({*_marks_of(tx, run, kept, gone), FORK_OF + run.id}))
        tx.executemany(FORK_RUN, [{**where, "id": run.id, "now_ms": now_ms, "marks": marks}])
        tx.executemany(FORK_TAGS, [where])
        tx.executemany(FORK_BUDGET, [{**where, "now_ms": now_ms}])
        rows.write_new(tx, seq, run.gen, ended)
    return new
