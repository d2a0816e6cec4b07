"""Groups that a caller put together of messages sent one by one, kept under an id: `GroupResult.save()`."""

from __future__ import annotations

from liteq.storage.driver import Transaction

__all__ = ["delete", "load", "save"]

SAVE = """
INSERT INTO liteq_saved_groups (id, members, created_ms) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET members = excluded.members, created_ms = excluded.created_ms
"""
LOAD = "SELECT members FROM liteq_saved_groups WHERE id = ?"
DELETE = "DELETE FROM liteq_saved_groups WHERE id = ?"


def save(tx: Transaction, group_id: str, members: bytes, *, now_ms: int) -> None:
    """Keep `members` (JSON) under `group_id`, in the place of any that are there."""
    tx.executemany(SAVE, [(group_id, members, now_ms)])


def load(tx: Transaction, group_id: str) -> bytes | None:
    """The members saved under `group_id`; None when nothing was."""
    for (members,) in tx.execute(LOAD, (group_id,)):
        return bytes(members)
    return None


def delete(tx: Transaction, group_id: str) -> bool:
    """Forget the members saved under `group_id`; whether there were any."""
    return tx.executemany(DELETE, [(group_id,)]) == 1
