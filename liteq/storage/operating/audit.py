"""The audit: the actions of people and programs, with their reasons; each row in the transaction of the act itself."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Actor", "Audited", "add", "expire", "of_target", "page", "write", "write_of"]

WRITE = """
INSERT INTO liteq_audit (at_ms, actor, action, target, queue, n, reason, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
# A bulk action has one row for each queue, which its chunks count up.
ADD = """
UPDATE liteq_audit SET n = n + :n
 WHERE id IN (SELECT id FROM liteq_audit
               WHERE target = :target AND action = :action AND queue = :queue AND actor = :actor
               ORDER BY id DESC LIMIT 1)
"""
WRITE_OF = """
INSERT INTO liteq_audit (at_ms, actor, action, target, queue, n, reason, source)
SELECT :now_ms, :actor, :action, id, queue, 1, :reason, :source FROM liteq_messages WHERE id = :id
"""
COLUMNS = "SELECT id, at_ms, actor, action, target, queue, n, reason, source FROM liteq_audit"
PAGE = f"{COLUMNS} WHERE id < ? ORDER BY id DESC LIMIT ?"
OF_TARGET = f"{COLUMNS} WHERE target = ? ORDER BY id DESC LIMIT ?"
EXPIRE = f"""
DELETE FROM liteq_audit
 WHERE id IN (SELECT id FROM liteq_audit WHERE at_ms < ? ORDER BY at_ms LIMIT ? {SKIP_LOCKED})
"""
NEWEST = (1 << 63) - 1


class Actor(NamedTuple):
    """The person or program that acts: `name`, the `reason` that it gives, and its `source`: page cli tui api mcp."""

    name: str
    source: str
    reason: str = ""


class Audited(NamedTuple):
    """One row of the audit. `target` is an id or a name; `queue` is None for what belongs to no queue."""

    id: int
    at_ms: int
    actor: str
    action: str
    target: str
    queue: str | None
    n: int
    reason: str
    source: str


def write(tx: Transaction, by: Actor, action: str, target: str, queue: str | None, n: int, *, now_ms: int) -> None:
    """Note that `by` did `action` to `target`, which concerned `n` rows of `queue`."""
    tx.executemany(WRITE, [(now_ms, by.name, action, target, queue, n, by.reason, by.source)])


def write_of(tx: Transaction, by: Actor, action: str, ids: Sequence[str], *, now_ms: int) -> None:
    """Note that `by` did `action` to each of these messages, under its queue; before it is deleted."""
    common = {"actor": by.name, "action": action, "reason": by.reason, "source": by.source, "now_ms": now_ms}
    tx.executemany(WRITE_OF, [{**common, "id": id_} for id_ in ids])


def add(tx: Transaction, by: Actor, action: str, target: str, queue: str, n: int, *, now_ms: int) -> None:
    """Count `n` more rows of `queue` in the row of this action of `by` on `target`; write that row where it is new."""
    where = {"n": n, "target": target, "action": action, "queue": queue, "actor": by.name}
    if not tx.executemany(ADD, [where]):
        write(tx, by, action, target, queue, n, now_ms=now_ms)


def page(tx: Transaction, *, after: int | None, limit: int) -> list[Audited]:
    """Up to `limit` rows, the newest first: those behind the row of number `after`."""
    return [Audited._make(row) for row in tx.execute(PAGE, (NEWEST if after is None else after, limit))]


def of_target(tx: Transaction, target: str, *, limit: int) -> list[Audited]:
    """Up to `limit` rows of one target, the newest first."""
    return [Audited._make(row) for row in tx.execute(OF_TARGET, (target, limit))]


def expire(tx: Transaction, before_ms: int, *, limit: int) -> int:
    """Delete up to `limit` rows that are older than `before_ms`; how many."""
    return tx.executemany(EXPIRE, [(before_ms, limit)])
