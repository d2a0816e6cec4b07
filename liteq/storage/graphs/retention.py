"""The rows of LangGraph's that leave by time: items of the store, and the threads of runs that are gone."""

from __future__ import annotations

from liteq.storage.driver import Transaction
from liteq.storage.graphs import items, leave

__all__ = ["expire"]

FEW = 20  # threads in one transaction


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Delete up to about `limit` rows of what is over; how many."""
    gone = items.expire(tx, now_ms=now_ms, limit=limit)
    for thread in sorted(leave.lost(tx, FEW)):
        if gone < limit:
            gone += leave.delete_thread(tx, thread, limit=limit - gone)
    return gone
