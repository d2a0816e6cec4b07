"""A message that met a limit outside: its key is paused for everybody, and it is held until that is over."""

from __future__ import annotations

from typing import Final

from liteq.message import Flag, Lease, Limited
from liteq.storage.driver import Transaction
from liteq.storage.limits import keys, lines, rules
from liteq.storage.limits.ledger import parsed

__all__ = ["meet", "pause"]

ROW = "SELECT keys FROM liteq_messages WHERE seq = ? AND state = 'leased' AND token = ?"
# Its due time stays: it is the first of its line.
HELD = f"""
UPDATE liteq_messages SET state = 'held', held_by = :line, error = coalesce(:error, error),
       flags = flags & {~Flag.BEGUN}
 WHERE seq = :seq AND state = 'leased' AND token = :token
"""
PUT_OFF = f"""
UPDATE liteq_messages SET state = 'scheduled', due_ms = :until_ms, delay_ms = :pause_ms,
       error = coalesce(:error, error), flags = flags & {~Flag.BEGUN}
 WHERE seq = :seq AND state = 'leased' AND token = :token
"""
MET: Final = "it was asked for"


def pause(tx: Transaction, key: str, *, until_ms: int, reason: str, now_ms: int) -> None:
    """Let nothing of `key` start before a time. Claims look at a key of a task, a queue, or many, for its limit alone:
    so it has one, which limits nothing.
    """
    keys.pause(tx, key, until_ms=until_ms, reason=reason, now_ms=now_ms)
    if "*" in key or key.startswith(("task:", "queue:")):
        rules.ensure(tx, key, now_ms=now_ms)
    lines.matter(tx)


def meet(tx: Transaction, lease: Lease, outcome: Limited, *, now_ms: int) -> bool:
    """Write one; False where its lease is over. Without a key of its own it alone is put off."""
    for (text,) in tx.execute(ROW, (lease.seq, lease.token)):
        own = parsed(text)
        key = outcome.key or (own.limits[0] if own.limits else None)
        until_ms = now_ms + outcome.pause_ms
        if key is not None:
            pause(tx, key, until_ms=until_ms, reason=MET, now_ms=now_ms)
        params = {"seq": lease.seq, "token": lease.token, "error": outcome.error}
        if key is None or key not in (*own.limits, f"task:{lease.task}", f"queue:{lease.queue}"):
            off = {**params, "until_ms": until_ms, "pause_ms": outcome.pause_ms}
            return tx.executemany(PUT_OFF, [off]) == 1
        line = key if own.fair is None else lines.fair_line(lease.queue, own.fair)
        lines.enter(tx, line, lease.queue, lease.priority, key if own.fair is None else None)
        if own.fair is None:
            lines.wake(tx, key, lease.queue, until_ms)
        return tx.executemany(HELD, [{**params, "line": line}]) == 1
    return False
