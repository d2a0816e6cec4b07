"""Step rows: how they are written and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import orjson

from liteq.message import Flag, Hold, StepRow
from liteq.serialization import decode_error
from liteq.storage.driver import LOCK, Params, Row, Transaction
from liteq.storage.rows.payloads import BESIDE, INLINE_BYTES

__all__ = [
    "CHECKPOINT", "CHECKPOINT_FIRST", "NO_BRANCH", "UNDER_HOLD", "checkpoint_params", "delete", "first_params",
    "given_up_ms", "has_event", "in_order", "joined", "marks_of", "open_children", "read", "read_ended", "read_one",
    "step_params", "was_cut_off", "write", "write_new",
]  # fmt: skip

COLUMNS = ", ".join(StepRow._fields)
VALUES = ", ".join("?" * (2 + len(StepRow._fields)))
# An open row is overwritten: a failed attempt by the next one. An ended one stays: a call that raised is repeated.
OVERWRITE = """
ON CONFLICT (run, gen, scope, pos) DO UPDATE
   SET attempts = excluded.attempts, output = excluded.output, error = excluded.error, due_ms = excluded.due_ms,
       waited = excluded.waited, memo = excluded.memo, marks = coalesce(excluded.marks, liteq_steps.marks),
       ended_ms = excluded.ended_ms
 WHERE liteq_steps.ended_ms IS NULL
"""
UNDER_HOLD = "seq = ? AND state = 'leased' AND token = ?"
# The fencing check, the checkpoint, and the news that nothing was asked, in one statement: told by the number of rows.
HELD = f"FROM liteq_messages WHERE {UNDER_HOLD} AND flags & {Flag.ASKED} = 0 {LOCK}"
CHECKPOINT = f"INSERT INTO liteq_steps (run, gen, {COLUMNS}) SELECT {VALUES} {HELD} {OVERWRITE}"
# Of a step that has returned at its first attempt: a place where something stands already is told by no row as well.
# apsw finds a statement by a hash of its text, so each character of this one is paid for in each step.
FIRST = (*StepRow._fields[:8], "started_ms", "ended_ms")
CHECKPOINT_FIRST = (
    f"INSERT INTO liteq_steps (run,gen,{','.join(FIRST)},memo) SELECT {','.join('?' * (2 + len(FIRST)))},0 "
    f"{HELD} ON CONFLICT DO NOTHING"
)
as_row: Callable[[Row], StepRow] = partial(tuple.__new__, StepRow)  # a long history has many
CUT_OFF = frozenset({"RunCancelled", "TaskRevokedError"})
NO_BRANCH = "its branch was cancelled"  # why a wait was given up
NOTHING_ELSE = (None, None, None, None, None, 0, None, None)  # from `error` to `details`
WRITE = f"INSERT INTO liteq_steps (run, gen, {COLUMNS}) VALUES ({VALUES}) {OVERWRITE}"
WRITE_NEW = f"INSERT INTO liteq_steps (run, gen, {COLUMNS}) VALUES ({VALUES}) ON CONFLICT DO NOTHING"
WRITE_BODY = """
INSERT INTO liteq_step_bodies (run, gen, scope, pos, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run, gen, scope, pos) DO UPDATE SET body = excluded.body
"""
DELETE = "DELETE FROM liteq_steps WHERE run = ? AND gen = ? AND scope = ? AND pos = ?"
DELETE_BODY = "DELETE FROM liteq_step_bodies WHERE run = ? AND gen = ? AND scope = ? AND pos = ?"
# In the order of the primary key; a body only where the row says so.
READ = """
SELECT s.scope, s.pos, s.kind, s.name, s.key, s.arghash, s.attempts,
       CASE length(s.output) WHEN 0 THEN (
            SELECT b.body FROM liteq_step_bodies AS b
             WHERE b.run = s.run AND b.gen = s.gen AND b.scope = s.scope AND b.pos = s.pos) ELSE s.output END,
       s.error, s.child, s.due_ms, s.waited, s.ended, s.memo, s.marks, s.details, s.started_ms, s.ended_ms
  FROM liteq_steps AS s WHERE s.run = ? AND s.gen = ? ORDER BY s.scope, s.pos
"""
READ_ENDED = READ.replace(" ORDER BY", " AND s.ended > ? ORDER BY")
READ_ONE = READ.replace(" ORDER BY s.scope, s.pos", " AND s.scope = ? AND s.pos = ?")
HAS_EVENT = "SELECT 1 FROM liteq_inbox WHERE run_id = ? AND name = ? AND taken = 0 LIMIT 1"
OPEN_CHILDREN = """
SELECT child FROM liteq_steps WHERE run = ? AND gen = ? AND child IS NOT NULL AND ended_ms IS NULL
"""


def step_params(run: int, gen: int, step: StepRow) -> Params:
    """`step` as the parameters of WRITE; a large output is left to `liteq_step_bodies`."""
    output = step.output
    if output is not None and len(output) > INLINE_BYTES:
        step = step._replace(output=BESIDE)
    return (run, gen, *step)


def checkpoint_params(hold: Hold, step: StepRow) -> Params:
    """`step` as the parameters of CHECKPOINT; its output is small."""
    return (hold.run, hold.gen, *step, hold.run, hold.token)


def first_params(hold: Hold, step: StepRow) -> Params | None:
    """`step` as the parameters of CHECKPOINT_FIRST; None where that is not for it."""
    if step[6] != 1 or step[8:16] != NOTHING_ELSE:
        return None
    run, token, gen = hold
    return (run, gen, *step[:8], *step[16:], run, token)


def write(tx: Transaction, run: int, gen: int, steps: Iterable[StepRow]) -> int:
    """Write `steps`; those that have ended before stay as they are. How many were written."""
    return _write(tx, WRITE, run, gen, steps)


def write_new(tx: Transaction, run: int, gen: int, steps: Iterable[StepRow]) -> int:
    """Write those of `steps` whose places are free; how many."""
    return _write(tx, WRITE_NEW, run, gen, steps)


def _write(tx: Transaction, sql: str, run: int, gen: int, steps: Iterable[StepRow]) -> int:
    written = 0
    for step in steps:
        changed = tx.executemany(sql, [step_params(run, gen, step)])
        written += changed
        if changed and step.output is not None and len(step.output) > INLINE_BYTES:
            tx.executemany(WRITE_BODY, [(run, gen, step.scope, step.pos, step.output)])
    return written


def delete(tx: Transaction, run: int, gen: int, steps: Iterable[StepRow]) -> None:
    """Delete the rows at the places of `steps`."""
    places = [(run, gen, step.scope, step.pos) for step in steps]
    tx.executemany(DELETE, places)
    tx.executemany(DELETE_BODY, places)


def read(tx: Transaction, run: int, gen: int) -> list[StepRow]:
    """The rows of one generation of a run, in the order of their places."""
    return list(map(as_row, tx.execute(READ, (run, gen))))


def read_ended(tx: Transaction, run: int, gen: int, ends: int) -> list[StepRow]:
    """The rows of those children, timers and events of a run that have ended after the first `ends` of them."""
    return list(map(as_row, tx.execute(READ_ENDED, (run, gen, ends))))


def read_one(tx: Transaction, run: int, gen: int, scope: str, pos: int) -> StepRow | None:
    """The row at one place; None where nothing is recorded."""
    for row in tx.execute(READ_ONE, (run, gen, scope, pos)):
        return StepRow._make(row)
    return None


def in_order(steps: Iterable[StepRow]) -> list[StepRow]:
    """`steps` in the order in which they began."""
    return sorted(steps, key=lambda step: (step.started_ms, step.scope, step.pos))


def was_cut_off(step: StepRow) -> bool:
    """Whether a step, or its child, has ended because it was cancelled."""
    return step.error is not None and decode_error(step.error).type in CUT_OFF


def given_up_ms(step: StepRow) -> int:
    """When a wait was given up with its branch; -1 for another step."""
    is_given_up = step.error is not None and decode_error(step.error).message == NO_BRANCH
    return (step.ended_ms or 0) if is_given_up else -1


def has_event(tx: Transaction, run_id: str, name: str) -> bool:
    """Whether an event of `name` waits for the run of this id."""
    return bool(tx.execute(HAS_EVENT, (run_id, name)))


def open_children(tx: Transaction, run: int, gen: int) -> list[str]:
    """The ids of the children that a run still waits for."""
    return [child for (child,) in tx.execute(OPEN_CHILDREN, (run, gen))]


def marks_of(documents: Iterable[bytes | None]) -> frozenset[str]:
    """The ids in these JSON arrays."""
    found: set[str] = set()
    for document in documents:
        if document:
            found.update(orjson.loads(document))
    return frozenset(found)


def joined(*documents: bytes | None) -> bytes:
    """The ids in these JSON arrays, as one array."""
    return orjson.dumps(sorted(marks_of(documents)))
