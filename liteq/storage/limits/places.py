"""Places under a limit: each is a row that goes with the lease of the message that has it."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Final

from liteq.message import Flag, Lease, Outcome
from liteq.storage.driver import Transaction
from liteq.storage.limits.keys import lock
from liteq.storage.limits.waiting import WAITS, wake_first
from liteq.storage.spending import settling

__all__ = [
    "ANY_TAKEN", "MARK", "NOBODY", "Leases", "Place", "Woken", "ending", "free", "running", "sweep", "take",
    "wake_runs",
]  # fmt: skip

Place = tuple[str, int, int, int]
"""A row of liteq_slots: the key, the message's row number, the token of its lease, since when in ms."""

Leases = Collection[tuple[int, int]]
"""Those that end, by the row number of the message and the token."""

Woken = Mapping[tuple[int, str], str]
"""The queues of runs that go on, by the row number of the lease and the key whose place it gives back."""

NOBODY: Final[Woken] = {}

COUNT = "SELECT count(*) FROM liteq_slots WHERE key = ?"
TAKE = "INSERT INTO liteq_slots (key, seq, token, since_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
# By the token: a late worker's outcome frees no place of the lease that came after its own.
WAKE: Final = """
UPDATE liteq_wakes SET at = :now_ms
 WHERE key IN (SELECT key FROM liteq_slots WHERE seq = :seq AND token = :token) AND (at IS NULL OR at > :now_ms)
RETURNING queue
"""
# Where a step of a run waits for it.
WAITED_FOR: Final = f"""
SELECT s.key FROM liteq_slots AS s
 WHERE s.seq = :seq AND s.token = :token
   AND EXISTS (SELECT 1 FROM liteq_steps AS w WHERE w.waited = '{WAITS}' || s.key AND w.ended_ms IS NULL)
"""
FREE = "DELETE FROM liteq_slots WHERE seq = :seq AND token = :token"
MARK = f"UPDATE liteq_messages SET flags = flags | {Flag.PLACED} WHERE seq = ?"
ANY_TAKEN = "SELECT 1 WHERE EXISTS (SELECT 1 FROM liteq_slots) OR EXISTS (SELECT 1 FROM liteq_reserved)"
# Of leases that are over all the same: rows that another program changed, or a misfit that was buried.
STALE: Final = """
SELECT s.seq, s.token FROM liteq_slots AS s
 WHERE NOT EXISTS (
    SELECT 1 FROM liteq_messages AS m WHERE m.seq = s.seq AND m.state = 'leased' AND m.token = s.token)
 LIMIT :limit
"""


def running(tx: Transaction, key: str) -> int:
    """How many places under `key` are taken."""
    return int(tx.execute(COUNT, (key,))[0][0])


def take(tx: Transaction, places: Iterable[Place]) -> None:
    """Write places that a claim has found free."""
    tx.executemany(TAKE, places)


def free(
    tx: Transaction, leases: Leases, *, now_ms: int, woken: Woken = NOBODY,
    but: Container[int] = (),
) -> set[str]:  # fmt: skip
    """Free the places of leases (row number, token) that end in this transaction, and what is held of budgets.

    The queues in which something waited for one of them. `woken`: the answer of `wake_runs`; `but` these runs are to be
    woken: they have begun to wait in this transaction, perhaps for a token, and not for the place that they give back.
    """
    queues = set(woken.values())
    if leases:
        lock(tx)
    for seq, token in leases:
        params = {"seq": seq, "token": token, "now_ms": now_ms}
        queues.update(queue for (queue,) in tx.execute(WAKE, params))
        found = [key for (key,) in tx.execute(WAITED_FOR, params) if (seq, key) not in woken]
        queues.update(queue for key in found if (queue := wake_first(tx, key, now_ms=now_ms, but=but)) is not None)
        tx.executemany(FREE, [params])
    return queues | settling.free(tx, leases, now_ms=now_ms)


def wake_runs(tx: Transaction, leases: Leases, *, now_ms: int) -> Woken:
    """Let runs go on that wait for a place of these leases, which end in this transaction and are not yet written."""
    woken: dict[tuple[int, str], str] = {}
    for seq, token in leases:
        for (key,) in tx.execute(WAITED_FOR, {"seq": seq, "token": token}):
            queue = wake_first(tx, key, now_ms=now_ms)
            if queue is not None:
                woken[seq, key] = queue
    return woken


def ending(tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], endings: Container[type]) -> Leases:
    """The leases that are about to end and may have places.

    One of `endings` looks itself whether a place has come while it ran; the others are written without that look.
    """
    placed = [(lease.seq, lease.token) for lease, _ in settled if lease.flags & Flag.PLACED]
    others = [
        (lease.seq, lease.token)
        for lease, outcome in settled
        if not lease.flags & Flag.PLACED and type(outcome) not in endings
    ]
    if not placed and (not others or not tx.execute(ANY_TAKEN)):
        return ()
    return [*placed, *others]


def sweep(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Free up to `limit` places whose lease is over; how many leases that were."""
    stale = {(seq, token) for seq, token in tx.execute(STALE, {"limit": limit})}
    free(tx, stale, now_ms=now_ms)
    return len(stale) + settling.sweep(tx, now_ms=now_ms, limit=limit)
