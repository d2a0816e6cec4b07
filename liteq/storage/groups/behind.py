"""The verb *put behind*: rows that come after a message which somebody has leased, before it is executed."""

from __future__ import annotations

from liteq.message import Batch, Flag, Lease
from liteq.storage.driver import Transaction
from liteq.storage.groups.open_groups import PATIENCE_MS, enter
from liteq.storage.settling.outcomes import FLAGS

__all__ = ["put_behind"]

IS_MESSAGE = f"SELECT 1 FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} = 0"
IS_GROUP = "SELECT 1 FROM liteq_groups WHERE id = ?"


def put_behind(tx: Transaction, lease: Lease, batch: Batch, *, now_ms: int) -> Lease | None:
    """Write the rows of `batch` that are not in the file; the lease that knows of them, None where it is over.

    One id is one row: another run of the message may have sent a part of them, each by itself. It may have opened a
    group, and have died before that was whole: with what is missing the group is whole, and closes.
    """
    if not tx.execute(FLAGS, (lease.seq, lease.token)):
        return None
    messages = [m for m in batch.messages if not tx.execute(IS_MESSAGE, (m.id,))]
    there = [g.id for g in batch.groups if tx.execute(IS_GROUP, (g.id,))]
    groups = [g for g in batch.groups if g.id not in there]
    if messages or batch.groups:
        closing = [(id_, None) for id_ in there]  # of one that has closed already nothing comes
        enter(tx, Batch(messages, groups, closing), patience_ms=PATIENCE_MS, now_ms=now_ms)
    (flags,) = tx.execute(FLAGS, (lease.seq, lease.token))[0]
    return lease._replace(flags=flags | lease.flags & Flag.BATCH)
