"""Marks: a deploy, an incident; each is a line in the charts."""

from __future__ import annotations

from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Mark", "add", "add_release", "between", "expire", "release"]

ADD = "INSERT INTO liteq_marks (at_ms, label, release) VALUES (?, ?, ?)"
RELEASE = "SELECT label FROM liteq_marks WHERE release = 1 ORDER BY at_ms DESC, id DESC LIMIT 1"
BETWEEN = "SELECT at_ms, label FROM liteq_marks WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms DESC, id DESC LIMIT ?"
EXPIRE = f"""
DELETE FROM liteq_marks
 WHERE id IN (SELECT id FROM liteq_marks WHERE at_ms < ? ORDER BY at_ms LIMIT ? {SKIP_LOCKED})
"""


class Mark(NamedTuple):
    """A moment (ms since the epoch) with a name."""

    at_ms: int
    label: str


def add(tx: Transaction, label: str, *, now_ms: int) -> None:
    """Mark this moment as `label`."""
    tx.executemany(ADD, [(now_ms, label, 0)])


def release(tx: Transaction) -> str | None:
    """The release whose workers started last; None where none told."""
    return next((label for (label,) in tx.execute(RELEASE)), None)


def add_release(tx: Transaction, label: str, *, now_ms: int) -> bool:
    """Mark this moment as the start of a release; False where it is the one that started last."""
    tx.in_turn("liteq_marks")
    if release(tx) == label:
        return False
    tx.executemany(ADD, [(now_ms, label, 1)])
    return True


def between(tx: Transaction, from_ms: int, until_ms: int, *, limit: int) -> list[Mark]:
    """The marks from `from_ms` up to `until_ms`, the oldest first; the newest `limit` of them."""
    return [Mark._make(row) for row in tx.execute(BETWEEN, (from_ms, until_ms, limit))][::-1]


def expire(tx: Transaction, before_ms: int, *, limit: int) -> int:
    """Delete up to `limit` marks that are older than `before_ms`; how many."""
    return tx.executemany(EXPIRE, [(before_ms, limit)])
