"""How far named sendings of very many calls have come: the place of one goes on in the commit of its calls."""

from __future__ import annotations

from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction

__all__ = ["Moved", "advance", "expire", "place"]

PLACE = "SELECT place FROM liteq_sends WHERE name = ?"
BEGIN = "INSERT INTO liteq_sends (name, place, updated_ms) VALUES (?, 0, ?) ON CONFLICT DO NOTHING"
LOCKED = f"SELECT place FROM liteq_sends WHERE name = ? {LOCK}"
ADVANCE = "UPDATE liteq_sends SET place = ?, updated_ms = ? WHERE name = ?"
EXPIRE = f"""
DELETE FROM liteq_sends
 WHERE name IN (SELECT name FROM liteq_sends WHERE updated_ms <= ? ORDER BY updated_ms LIMIT ? {SKIP_LOCKED})
"""

KEPT_MS = 90 * 24 * 3600 * 1000  # since its last chunk: nobody repeats a call of a season ago to have it go on


class Moved(Exception):
    """Raised when another process has sent under the same name meanwhile: the transaction is to be rolled back."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def place(tx: Transaction, name: str) -> int:
    """How many elements are sent under `name`; 0 for one that is not known."""
    rows = tx.execute(PLACE, (name,))
    return int(rows[0][0]) if rows else 0


def advance(tx: Transaction, name: str, *, begin: int, end: int, now_ms: int) -> None:
    """Note that `end` elements are sent, where `begin` were before. Raises Moved where it is another number."""
    tx.execute(BEGIN, (name, now_ms))
    (found,) = tx.execute(LOCKED, (name,))[0]
    if found != begin:
        raise Moved(int(found))
    tx.execute(ADVANCE, (end, now_ms, name))


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Forget up to `limit` names under which nothing was sent for KEPT_MS; how many."""
    return tx.executemany(EXPIRE, [(now_ms - KEPT_MS, limit)])
