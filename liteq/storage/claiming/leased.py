"""Reading: one lease by its row number and token, for a program that was told these and no more."""

from __future__ import annotations

from liteq.message import Lease
from liteq.storage.driver import Transaction

__all__ = ["find", "holds"]

FIND = """
SELECT seq, token, id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes, flags, root_id,
       parent_id, group_id, awaits, NULL, NULL, reaps
  FROM liteq_messages WHERE seq = ? AND state = 'leased' AND token = ?
"""

HOLDS = "SELECT 1 FROM liteq_messages WHERE seq = ? AND state = 'leased' AND token = ?"


def find(tx: Transaction, seq: int, token: int) -> Lease | None:
    """The lease; None where it is over."""
    rows = tx.execute(FIND, (seq, token))
    return Lease(*rows[0]) if rows else None


def holds(tx: Transaction, seq: int, token: int) -> bool:
    """Whether the lease is not over; nothing else of its message is read."""
    return bool(tx.execute(HOLDS, (seq, token)))
