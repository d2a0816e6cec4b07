"""The epoch: which life of its queue a schema is. A new one begins after a point-in-time recovery (`liteq epoch`).

The server has gone back to an older state. What runs, or has only been stopped, since then holds leases under tokens
that this state knows nothing of, and might give out again.
"""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import Transaction

__all__ = ["next_one"]

# Steps of the sequence: what a thousand claims a second take in twelve days. There is room for 100,000 epochs.
FURTHER: Final = 2**30
TOKENS: Final = f"SELECT setval('liteq_tokens', coalesce(pg_sequence_last_value('liteq_tokens'), 0) + {FURTHER})"
BEGIN: Final = (
    "UPDATE liteq_messages SET token = 0, deadline_ms = 0 WHERE state = 'leased'",
    "DELETE FROM liteq_workers",
)
NUMBER: Final = "UPDATE liteq_meta SET value = value + 1 WHERE key = 'epoch' RETURNING value"


def next_one(tx: Transaction) -> int:
    """Begin a new epoch, in the open write transaction; its number."""
    tx.execute(TOKENS)  # first: a claim that passes by has one of the new tokens
    for sql in BEGIN:
        tx.execute(sql)
    return int(tx.execute(NUMBER)[0][0])
