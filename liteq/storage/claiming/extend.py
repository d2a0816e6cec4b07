"""The verb *extend*: a worker says that its leases are still being worked on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from liteq.message import Flag, Lease
from liteq.storage.driver import AT_ONCE, LATER, Transaction
from liteq.storage.rows.payloads import NO_ARGUMENTS

__all__ = ["EXTEND", "Begins", "begin", "begin_some", "extend", "progress", "progress_by_id", "progress_of"]

Begins = Callable[[Sequence[Lease]], Sequence[Lease]]  # of those that were claimed, those that begin at once

EXTEND = f"UPDATE liteq_messages SET deadline_ms = ? WHERE seq = ? AND state = 'leased' AND token = ? {AT_ONCE}"
# After the clock was set back, what its worker has lost sight of would stay leased for as long as that.
CAP = f"""
UPDATE liteq_messages SET deadline_ms = :deadline_ms
 WHERE state = 'leased' AND worker = :worker AND deadline_ms > :deadline_ms {LATER}
"""
PROGRESS = "UPDATE liteq_messages SET progress = ? WHERE seq = ? AND state = 'leased' AND token = ?"
BEGIN = f"UPDATE liteq_messages SET flags = flags | {Flag.BEGUN} WHERE seq = ? AND state = 'leased' AND token = ?"
# For a caller that knows the id alone: update_state() of a task that is not the running one.
PROGRESS_BY_ID = "UPDATE liteq_messages SET progress = ? WHERE id = ?"
# An id that is not sent yet, or runs elsewhere: its state is kept as a result is, and as long.
SHOW = f"""
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, due_ms, created_ms, flags, position, progress,
                            finished_ms)
VALUES (:id, '', '', 0, 'cancelled', :payload, :now_ms, :now_ms, {Flag.SHOWN}, 0, :data, :now_ms)
"""


def extend(tx: Transaction, worker: int, leases: Sequence[Lease], *, deadline_ms: int) -> list[Lease]:
    """Move the deadline of `leases`; those that are lost, whose work is to be stopped.

    No lease of `worker` ends later than that, whatever the clock was when it was given.
    """
    tx.executemany(CAP, [{"worker": worker, "deadline_ms": deadline_ms}])
    if tx.executemany(EXTEND, [(deadline_ms, lease.seq, lease.token) for lease in leases]) == len(leases):
        return []
    return [lease for lease in leases if not tx.executemany(EXTEND, [(deadline_ms, lease.seq, lease.token)])]


def begin(tx: Transaction, leases: Sequence[Lease]) -> list[Lease]:
    """Note that these messages have begun and run at most once; those whose leases are not over, marked so."""
    begun = [
        lease
        for lease in sorted(leases, key=itemgetter(0))  # by row: in one order everywhere
        if tx.executemany(BEGIN, [(lease.seq, lease.token)])
    ]
    return [lease._replace(flags=lease.flags | Flag.BEGUN) for lease in begun]


def begin_some(tx: Transaction, leases: list[Lease], begins: Begins) -> list[Lease]:
    """`leases`, which were claimed in this transaction; those of them that `begins` chooses have begun."""
    begun = {lease.token: lease for lease in begin(tx, begins(leases))}
    return [begun.get(lease.token, lease) for lease in leases] if begun else leases


def progress(tx: Transaction, seq: int, token: int, data: bytes) -> bool:
    """Store the state that a running task sets itself; False when its lease is over."""
    return tx.executemany(PROGRESS, [(data, seq, token)]) == 1


def progress_of(tx: Transaction, leases: Sequence[tuple[int, int]], data: bytes) -> int:
    """As `progress`, for the members of a batch; for how many it was stored."""
    return tx.executemany(PROGRESS, [(data, seq, token) for seq, token in leases])


def progress_by_id(tx: Transaction, message_id: str, data: bytes, *, now_ms: int) -> bool:
    """Store `data` as the custom state of a message in any state, or of an id that is not known; True."""
    if tx.executemany(PROGRESS_BY_ID, [(data, message_id)]) == 0:
        tx.executemany(SHOW, [{"id": message_id, "payload": NO_ARGUMENTS, "data": data, "now_ms": now_ms}])
    return True
