"""Conversations of agents: items by the id of a session, in the order in which they were added.

A write of a step names its step_key: repeated after a crash, it finds what it has done.
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Transaction

__all__ = ["add", "clear", "items", "replace", "take"]

ADDED = "SELECT 1 FROM liteq_sessions WHERE session = ? AND step = ? AND step IS NOT NULL LIMIT 1"
LAST = "SELECT coalesce(max(n), 0) FROM liteq_sessions WHERE session = ?"
ADD = "INSERT INTO liteq_sessions (session, n, item, step, taken) VALUES (?, ?, ?, ?, NULL)"
NEWEST = """
SELECT item FROM (
    SELECT n, item FROM liteq_sessions WHERE session = ? AND taken IS NULL ORDER BY n DESC LIMIT ?) AS newest
 ORDER BY n
"""
TAKEN = "SELECT item FROM liteq_sessions WHERE session = ? AND taken = ?"
TOP = "SELECT n, item FROM liteq_sessions WHERE session = ? AND taken IS NULL ORDER BY n DESC LIMIT 1"
TAKE = "UPDATE liteq_sessions SET taken = ? WHERE session = ? AND n = ?"
REMOVE = "DELETE FROM liteq_sessions WHERE session = ? AND n = ?"
CLEAR = "DELETE FROM liteq_sessions WHERE session = ?"


def items(tx: Transaction, session: str, *, limit: int) -> list[bytes]:
    """The last `limit` items of a session, the oldest first. A read."""
    return [bytes(item) for (item,) in tx.execute(NEWEST, (session, limit))]


def add(tx: Transaction, session: str, added: Sequence[bytes], *, step: str | None) -> bool:
    """Add items behind the last one, side by side; False where `step` has done so before."""
    tx.in_turn(f"liteq_sessions {session}")
    if step is not None and tx.execute(ADDED, (session, step)):
        return False
    last = tx.execute(LAST, (session,))[0][0]
    tx.executemany(ADD, [(session, last + i, item, step) for i, item in enumerate(added, 1)])
    return True


def replace(tx: Transaction, session: str, new: Sequence[bytes]) -> None:
    """Put `new` in the place of all items of a session."""
    tx.in_turn(f"liteq_sessions {session}")
    clear(tx, session)
    add(tx, session, new, step=None)


def take(tx: Transaction, session: str, *, step: str | None) -> bytes | None:
    """Take the last item back, and return it; that which `step` has taken before. None for an empty session."""
    tx.in_turn(f"liteq_sessions {session}")
    if step is not None:
        for (item,) in tx.execute(TAKEN, (session, step)):
            return bytes(item)
    for n, item in tx.execute(TOP, (session,)):
        if step is None:
            tx.executemany(REMOVE, [(session, n)])
        else:
            tx.executemany(TAKE, [(step, session, n)])
        return bytes(item)
    return None


def clear(tx: Transaction, session: str) -> int:
    """Forget a session; how many rows it had."""
    return tx.executemany(CLEAR, [(session,)])
