"""Runs that no code could go on with so far: each code tries them once, under a lease of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.message import Lease
from liteq.storage.claiming.claim import lease_rows
from liteq.storage.claiming.pauses import open_queues
from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.storage.limits import places
from liteq.storage.limits.keys import lock
from liteq.storage.limits.ledger import Ledger, parsed
from liteq.storage.limits.rules import Rules
from liteq.storage.runs.records import NO_CODE
from liteq.storage.steps.rows import marks_of

__all__ = ["claim", "untried"]

STUCK = f"""
SELECT r.run, r.tried FROM liteq_runs AS r JOIN liteq_messages AS m ON m.seq = r.run
 WHERE r.parked IS NOT NULL AND r.parked = 'stuck' AND m.state = 'blocked' AND m.queue = ? AND r.run > ?
 ORDER BY r.run LIMIT ? {SKIP_LOCKED}
"""
KEYS = "SELECT task, queue, keys FROM liteq_messages WHERE seq = ?"
LOOKED_AT: Final = 1_000  # runs of a queue, by one look: most may have been tried by this code
TRY = "UPDATE liteq_runs SET parked = NULL WHERE run = ?"


def untried(
    tx: Transaction, queues: Sequence[str], fingerprint: str, after: int, *, limit: int, now_ms: int
) -> tuple[list[int], int]:
    """Up to `limit` stuck runs of `queues`, but of those that are paused, that this code has not got stuck with since
    they last went on; and the number behind which a look goes on that found none, 0: at the beginning.

    A look is at LOOKED_AT runs of each queue, those behind the number `after`.
    """
    found: list[int] = []
    ends: list[int] = []
    for queue in open_queues(tx, queues, now_ms=now_ms):
        rows = tx.execute(STUCK, (queue, after, LOOKED_AT))
        found += [run for run, tried in rows if not marks_of([tried]) & {fingerprint, NO_CODE}]
        ends += [rows[-1][0]] if len(rows) >= LOOKED_AT else []
    return found[:limit], min(ends, default=0)


def claim(
    tx: Transaction, queues: Sequence[str], fingerprint: str, after: int, rules: Rules, *, worker: int, limit: int,
    visibility_ms: int, now_ms: int,
) -> list[Lease]:  # fmt: skip
    """Lease those runs, but for those that lack a place under a limit: they are tried another time.

    That it was tried is noted when the code has got stuck, and not before: a try whose process is killed, or that is
    given back by a worker that leaves, counts for none.
    """
    lock(tx)
    ledger, placed = Ledger(tx, rules, now_ms), dict[int, list[str]]()
    for run in untried(tx, queues, fingerprint, after, limit=limit, now_ms=now_ms)[0]:
        ((task, queue, text),) = tx.execute(KEYS, (run,))
        keys = ledger.keys_of(task, queue, parsed(text).limits)
        if ledger.lack(keys, begun=1) is None:
            placed[run] = ledger.take(keys, begun=1)
    tx.executemany(TRY, [(run,) for run in placed])
    tx.executemany(places.MARK, [(run,) for run, keys in placed.items() if keys])
    leases = lease_rows(tx, list(placed), worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)
    places.take(tx, [(key, one.seq, one.token, now_ms) for one in leases for key in placed[one.seq]])
    return leases
