"""Runs that no code could go on with so far: each code tries them once, under a lease of its own."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from liteq.message import Lease
from liteq.storage.claim import lease_rows
from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.storage.steps.rows import marks_of

__all__ = ["claim", "untried"]

STUCK = f"""
SELECT r.run, r.tried FROM liteq_runs AS r JOIN liteq_messages AS m ON m.seq = r.run
 WHERE r.parked IS NOT NULL AND r.parked = 'stuck' AND m.state = 'blocked' AND m.queue = ?
 ORDER BY r.run LIMIT 1000 {SKIP_LOCKED}
"""
TRY = "UPDATE liteq_runs SET parked = NULL, tried = ? WHERE run = ?"


def untried(tx: Transaction, queues: Sequence[str], fingerprint: str, *, limit: int) -> dict[int, bytes]:
    """Up to `limit` stuck runs of `queues` that this code has not tried, each with what has tried it then."""
    found: dict[int, bytes] = {}
    for queue in queues:
        for run, tried in tx.execute(STUCK, (queue,)):
            before = marks_of([tried])
            if fingerprint not in before and len(found) < limit:
                found[run] = orjson.dumps(sorted({*before, fingerprint}))
    return found


def claim(
    tx: Transaction, queues: Sequence[str], fingerprint: str, *, worker: int, limit: int, visibility_ms: int,
    now_ms: int,
) -> list[Lease]:  # fmt: skip
    """Lease those runs."""
    found = untried(tx, queues, fingerprint, limit=limit)
    tx.executemany(TRY, [(tried, run) for run, tried in found.items()])
    return lease_rows(tx, list(found), worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)
