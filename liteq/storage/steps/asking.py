"""A run is asked for something: to end, or to pause. It obeys at its next checkpoint, or at its next activation."""

from __future__ import annotations

from liteq.message import Flag
from liteq.storage.driver import Transaction
from liteq.storage.steps.wake import wake

__all__ = ["ask"]

# A cancel takes the place of a pause, and nothing takes its own.
ASK = """
UPDATE liteq_runs SET asked = :asked, reason = :reason, parked = CASE WHEN :asked = 'pause' THEN parked END
 WHERE run = :run AND (asked IS NULL OR asked = 'pause')
"""
FLAG = f"UPDATE liteq_messages SET flags = flags | {Flag.ASKED} WHERE seq = ? AND state = 'leased'"


def ask(tx: Transaction, run: int, what: str, *, reason: str, leased: bool, now_ms: int) -> bool:
    """Note that a run which has begun is asked for `what`; one that waits wakes, to obey. False: it was before."""
    if not tx.executemany(ASK, [{"run": run, "asked": what, "reason": reason}]):
        return False
    if leased:
        tx.executemany(FLAG, [(run,)])
    else:
        wake(tx, run, now_ms=now_ms)
    return True
