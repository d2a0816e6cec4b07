"""The cursors of tasks that go on where they were: saved under a lease, read under the next, gone with success."""

from __future__ import annotations

from collections.abc import Iterable

from liteq.message import Flag
from liteq.storage.driver import LOCK, Transaction

__all__ = ["find", "forget", "save"]

HELD = f"SELECT flags FROM liteq_messages WHERE seq = ? AND state = 'leased' AND token = ? {LOCK}"
MARK = f"UPDATE liteq_messages SET flags = flags | {Flag.CURSOR} WHERE seq = ?"
SAVE = """
INSERT INTO liteq_cursors (run, cursor) VALUES (?, ?)
ON CONFLICT (run) DO UPDATE SET cursor = excluded.cursor
"""
FIND = "SELECT cursor FROM liteq_cursors WHERE run = ?"
FORGET = "DELETE FROM liteq_cursors WHERE run = ?"


def save(tx: Transaction, seq: int, token: int, cursor: bytes) -> bool:
    """Keep the cursor of the task that runs under the lease (`seq`, `token`); False where that is over."""
    for (flags,) in tx.execute(HELD, (seq, token)):
        if not flags & Flag.CURSOR:
            tx.execute(MARK, (seq,))
        tx.execute(SAVE, (seq, cursor))
        return True
    return False


def find(tx: Transaction, seq: int) -> bytes | None:
    """The cursor of the message of this row number; None where it has none."""
    for (cursor,) in tx.execute(FIND, (seq,)):
        return bytes(cursor)
    return None


def forget(tx: Transaction, seqs: Iterable[int]) -> None:
    """Delete the cursors of these messages: they have succeeded, or are about something else now."""
    tx.executemany(FORGET, [(seq,) for seq in seqs])
