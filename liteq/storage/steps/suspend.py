"""A run lets go of its worker: it waits, begins anew, stops as stuck, or its process died.

Each looks in its own transaction at what may have come since the body last looked: events, children that ended, what
was asked. So none of them is missed, whichever was first.
"""

from __future__ import annotations

import orjson

from liteq.message import ContinueAsNew, Flag, Lease, Park, StepRow, Suspend
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.rows import payloads
from liteq.storage.steps import rows
from liteq.storage.steps.wake import Waiting, end_step, lock_memo, waiting_for
from liteq.utils.records import NamedTuple

__all__ = ["Gone", "begin_anew", "note_crash", "park", "suspend", "take_from_inbox"]

STATE = f"""
SELECT r.gen, r.ends, r.fails, r.asked, r.deadline_ms, r.marks, r.tried, m.flags, r.news
  FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = m.seq
 WHERE m.seq = ? AND m.state = 'leased' AND m.token = ? {LOCK}
"""
# A claim ends what was due; only the next attempt of a step stays open until it is made, and may have been given up.
NEXT_DUE = """
SELECT min(due_ms) FROM liteq_steps
 WHERE run = ? AND gen = ? AND due_ms IS NOT NULL AND ended_ms IS NULL AND kind <> 'step'
"""
LET_GO = f"""
UPDATE liteq_messages SET state = ?, due_ms = ?, delay_ms = NULL, error = ?, flags = flags & {~Flag.ASKED}
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
SLEEP = """
UPDATE liteq_runs SET need = :need, fragile = :fragile, marks = :marks, now = NULL, tried = NULL, parked = :parked,
       asked = CASE WHEN asked = 'pause' THEN NULL ELSE asked END
 WHERE run = :run
"""
PARK = """
UPDATE liteq_runs SET parked = :parked, fingerprint = :fingerprint, tried = :tried, now = NULL, need = NULL,
       asked = CASE WHEN asked = 'pause' THEN NULL ELSE asked END
 WHERE run = :run
"""
ANEW = f"""
UPDATE liteq_messages SET state = 'pending', due_ms = ?, delay_ms = NULL, payload = ?, error = NULL, progress = NULL,
       flags = flags & {~(Flag.ASKED | Flag.TAKES_INPUT)}
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
NEXT_GEN = """
UPDATE liteq_runs SET gen = gen + 1, gen_ms = NULL, need = NULL, fragile = 0, ends = 0, fails = 0, spawned = 0,
       marks = NULL, now = NULL, tried = NULL, compensated = 0
 WHERE run = ?
"""
NAMES_IN_INBOX = "SELECT DISTINCT name FROM liteq_inbox WHERE run_id = ? AND taken = 0"
IN_INBOX = f"""
SELECT id, payload, dedup FROM liteq_inbox WHERE run_id = ? AND name = ? AND taken = 0 ORDER BY id LIMIT 1 {LOCK}
"""
TAKE = "UPDATE liteq_inbox SET taken = 1 WHERE id = ?"
TAKE_OUT = "DELETE FROM liteq_inbox WHERE id = ?"
# There is something to do for one that waits for a memo: its result is there, or nobody computes it.
MEMO_IS_FREE = """
SELECT 1 WHERE NOT EXISTS (
    SELECT 1 FROM liteq_memo AS o JOIN liteq_messages AS m ON m.seq = o.run AND m.token = o.token
     WHERE o.key = ? AND o.output IS NULL AND m.state = 'leased')
"""
LENGTH = """
SELECT r.crash_mark, r.gen, (SELECT count(*) + count(s.ended_ms) + coalesce(sum(s.attempts), 0)
                              FROM liteq_steps AS s
                              WHERE s.run = r.run AND s.gen = r.gen)
  FROM liteq_runs AS r WHERE r.run = ?
"""
MARK = "UPDATE liteq_runs SET crash_mark = ?, now = NULL WHERE run = ?"
FRESH = "UPDATE liteq_messages SET crashes = 0, reaps = 0 WHERE seq = ?"
GEN_LENGTH = 1 << 32  # no generation has so many steps


class Gone(Exception):
    """Raised when the lease is over."""


class _State(NamedTuple):
    gen: int
    ends: int
    fails: int
    asked: str | None
    deadline_ms: int | None
    marks: bytes | None
    tried: bytes | None
    flags: int
    news: int


def _state(tx: Transaction, lease: Lease) -> _State:
    for row in tx.execute(STATE, (lease.seq, lease.token)):
        return _State._make(row)
    raise Gone


def suspend(tx: Transaction, lease: Lease, outcome: Suspend, *, now_ms: int) -> bool:
    """Let a run wait; whether it goes on at once, or at a time. Raises Gone."""
    state = _state(tx, lease)
    rows.write(tx, lease.seq, state.gen, outcome.rows)
    awake = bool(state.news) or any(_is_free(tx, row) for row in outcome.rows)
    for (name,) in tx.execute(NAMES_IN_INBOX, (lease.id,)):
        awake |= _take_all(tx, lease, name, now_ms)
    need = outcome.need - (state.ends - outcome.seen[0]) if outcome.need else None
    awake = awake or (need is not None and need <= 0) or (outcome.fragile and state.fails > outcome.seen[1])
    paused = state.asked == "pause"
    awake = awake or (bool(state.flags & Flag.ASKED) and not paused)  # what it was told of before, it obeys already
    due_ms = _due_ms(tx, lease, state, outcome)
    awake = awake or (due_ms is not None and due_ms <= now_ms)
    name = "blocked" if paused else "pending" if awake else "blocked" if due_ms is None else "scheduled"
    due_ms = now_ms if awake or due_ms is None else due_ms
    if not tx.executemany(LET_GO, [(name, due_ms, None, lease.seq, lease.token)]):
        raise Gone
    marks = state.marks if outcome.marks is None else rows.joined(state.marks, outcome.marks)
    sleep = {"need": need, "fragile": int(outcome.fragile), "marks": marks, "parked": "paused" if paused else None}
    tx.executemany(SLEEP, [{**sleep, "run": lease.seq}])
    return name != "blocked"


def _due_ms(tx: Transaction, lease: Lease, state: _State, outcome: Suspend) -> int | None:
    """When a run wakes by time; None for never. Its clean-up has no deadline."""
    times = [outcome.due_ms, *(row.due_ms for row in outcome.rows if row.ended_ms is None)]
    times += [None if state.asked else state.deadline_ms, tx.execute(NEXT_DUE, (lease.seq, state.gen))[0][0]]
    return min((at for at in times if at is not None), default=None)


def _is_free(tx: Transaction, row: StepRow) -> bool:
    """Whether `row` waits for a memo, and there is something to do for it."""
    if row.waited is None or not row.waited.startswith("memo "):
        return False
    key = row.waited.removeprefix("memo ")
    lock_memo(tx, key)
    return bool(tx.execute(MEMO_IS_FREE, (key,)))


def _take_all(tx: Transaction, lease: Lease, name: str, now_ms: int) -> bool:
    """Give the events of `name` in the inbox to the waits for it; whether there was one."""
    taken = False
    while (place := waiting_for(tx, lease.seq, f"event {name}")) is not None:
        if not take_from_inbox(tx, lease.id, name, place, now_ms=now_ms):
            break
        taken = True
    return taken


def take_from_inbox(tx: Transaction, run_id: str, name: str, place: Waiting, *, now_ms: int) -> bool:
    """Give the oldest event of `name` in the inbox to the open row at `place`; False where there is none."""
    for number, payload, dedup in tx.execute(IN_INBOX, (run_id, name)):
        tx.executemany(TAKE_OUT if dedup is None else TAKE, [(number,)])
        end_step(tx, place, output=payload, now_ms=now_ms)
        return True
    return False


def begin_anew(tx: Transaction, lease: Lease, outcome: ContinueAsNew, *, now_ms: int) -> list[str]:
    """Give a run fresh history; its children that have not ended, which are to be cancelled. Raises Gone."""
    state = _state(tx, lease)
    children = rows.open_children(tx, lease.seq, state.gen)
    payload = outcome.payload
    large = max(len(payload), len(lease.payload)) > payloads.INLINE_BYTES
    if large:
        payloads.store(tx, [(payloads.payload_ref(lease.seq), payload)])
        payload = payloads.BESIDE
    if not tx.executemany(ANEW, [(now_ms, payload, lease.seq, lease.token)]):
        raise Gone
    tx.executemany(NEXT_GEN, [(lease.seq,)])
    return children


def park(tx: Transaction, lease: Lease, outcome: Park, *, now_ms: int) -> bool:
    """Stop a run until it is resumed, or other code tries it; whether it goes on at once. Raises Gone.

    That is one whose pause was taken back, or gave way to a cancel, when the body had obeyed it already.
    """
    state = _state(tx, lease)
    goes_on = outcome.state == "paused" and state.asked != "pause"
    name = "pending" if goes_on else "blocked"
    if not tx.executemany(LET_GO, [(name, now_ms, outcome.error, lease.seq, lease.token)]):
        raise Gone
    before = set() if outcome.progressed else rows.marks_of([state.tried])
    tried = orjson.dumps(sorted({*before, *([outcome.fingerprint] if outcome.fingerprint else [])}))
    parked = {"parked": None if goes_on else outcome.state, "fingerprint": outcome.fingerprint, "run": lease.seq}
    tx.executemany(PARK, [{**parked, "tried": tried if outcome.state == "stuck" else state.tried}])
    return goes_on


def note_crash(tx: Transaction, run: int) -> bool:
    """Begin to count crashes anew where history has grown since the last one; whether it has.

    Kills in different steps bury no run: each counts against the step it happened in.
    """
    for mark, gen, length in tx.execute(LENGTH, (run,)):
        here = gen * GEN_LENGTH + length
        tx.executemany(MARK, [(here, run)])
        if here != mark:
            tx.executemany(FRESH, [(run,)])
            return True
    return False
