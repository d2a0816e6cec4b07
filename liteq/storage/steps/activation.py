"""A run in a worker's hands: what its claim does beside that of a task.

Waits whose time has come are marked as timed out by the claim: a later event cannot be taken for them, and no replay
decides anew.
"""

from __future__ import annotations

from liteq.message import Flag, Lease, RunFacts
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.steps.wake import Waiting, end_step

__all__ = ["activate", "look_at"]

LOOK = """
SELECT version, gen, started_ms, gen_ms, deadline_ms, asked, reason, marks, ends, fails, compensated, seed,
       CASE WHEN EXISTS (SELECT 1 FROM liteq_run_budgets) OR EXISTS (SELECT 1 FROM liteq_budgets) THEN 2
            WHEN EXISTS (SELECT 1 FROM liteq_spends) THEN 1 ELSE 0 END
  FROM liteq_runs WHERE run = ?
"""
FACTS = f"{LOOK} {LOCK}"
BEGIN = """
UPDATE liteq_runs
   SET started_ms = coalesce(started_ms, :now_ms), gen_ms = coalesce(gen_ms, :now_ms), need = NULL, fragile = 0,
       now = NULL, news = 0,
       deadline_ms = CASE WHEN started_ms IS NULL THEN :now_ms + timeout_ms ELSE deadline_ms END
 WHERE run = :run
"""
TIME_OUT = "UPDATE liteq_runs SET asked = 'timeout' WHERE run = ? AND asked IS NULL"
BEGUN = f"UPDATE liteq_messages SET flags = (flags | {Flag.HISTORY}) & ~{Flag.ASKED} WHERE seq = ?"
OVER = """
SELECT run, gen, scope, pos, details, due_ms FROM liteq_steps
 WHERE run = :run AND gen = :gen AND due_ms IS NOT NULL AND ended_ms IS NULL AND due_ms <= :now_ms AND kind <> 'step'
   AND child IS NULL
 ORDER BY due_ms, scope, pos
"""


def look_at(tx: Transaction, run: int) -> RunFacts | None:
    """The facts of the run of this number; None where it is none. A read."""
    for row in tx.execute(LOOK, (run,)):
        return RunFacts._make(row)
    return None


def _facts(tx: Transaction, run: int) -> RunFacts | None:
    for row in tx.execute(FACTS, (run,)):
        return RunFacts._make(row)
    return None


def activate(tx: Transaction, lease: Lease, *, now_ms: int) -> Lease:
    """`lease` of a run that was just claimed, with its facts; what it waited for in vain until now has ended.

    A run that has begun does not expire any more.
    """
    first = not lease.flags & Flag.HISTORY
    if first or lease.flags & Flag.ASKED:
        tx.executemany(BEGUN, [(lease.seq,)])
    tx.executemany(BEGIN, [{"run": lease.seq, "now_ms": now_ms}])
    facts = _facts(tx, lease.seq)
    if facts is None:  # written by another program
        return lease
    if not first and _time_out(tx, lease.seq, facts, now_ms):
        facts = _facts(tx, lease.seq) or facts
    expires_ms = lease.expires_ms if first else None
    return lease._replace(run=tuple(facts), expires_ms=expires_ms, flags=lease.flags & ~Flag.ASKED)


def _time_out(tx: Transaction, run: int, facts: RunFacts, now_ms: int) -> bool:
    """End the waits whose time has come, in its order, as of that time; whether anything changed."""
    over = tx.execute(OVER, {"run": run, "gen": facts.gen, "now_ms": now_ms})
    for run_, gen, scope, pos, details, due_ms in over:
        end_step(tx, Waiting(run_, gen, scope, pos, details, 0), output=None, now_ms=due_ms)
    late = facts.deadline_ms is not None and facts.deadline_ms <= now_ms
    if late and facts.asked is None:
        tx.executemany(TIME_OUT, [(run,)])
    return bool(over) or late
