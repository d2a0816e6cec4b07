"""The verb *grow*: a group that has not finished takes one more member."""

from __future__ import annotations

from dataclasses import replace

from liteq.message import Batch
from liteq.storage.driver import Transaction
from liteq.storage.enqueue import enqueue

__all__ = ["UNPLACED", "grow"]

# A group that is done has told those who awaited it: too late for one more.
GROW = (
    "UPDATE liteq_groups SET size = size + 1, remaining = remaining + 1 WHERE id = ? AND remaining > 0 RETURNING size"
)

UNPLACED = -1  # the position, in `batch`, of the member whose place the group decides


def grow(tx: Transaction, group_id: str, batch: Batch, *, now_ms: int) -> bool:
    """Add `batch`, whose member of the group has the position UNPLACED, as its last; False when the group is done."""
    rows = tx.execute(GROW, (group_id,))
    if not rows:
        return False
    last = rows[0][0] - 1
    messages = [
        replace(m, position=last) if m.group_id == group_id and m.position == UNPLACED else m for m in batch.messages
    ]
    groups = [
        replace(g, position=last) if g.group_id == group_id and g.position == UNPLACED else g for g in batch.groups
    ]
    enqueue(tx, Batch(messages, groups), now_ms=now_ms)
    return True
