"""The verbs of batches that ran: which messages were executed together. Written by the worker once a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Began", "expire", "note", "of"]

NOTE = "INSERT INTO liteq_batches (last, began_ms, members) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
# Tokens go up over the whole file: the batch of a message's last lease is among the first that ended with a later one,
# and those of its leases before have all ended with an earlier one.
OF: Final = """
SELECT b.began_ms, b.members FROM liteq_messages AS m JOIN liteq_batches AS b ON b.last >= m.token
 WHERE m.id = :id ORDER BY b.last LIMIT :limit
"""
NEAR: Final = 200  # batches that may have filled while a message's own did
EXPIRE = f"""
DELETE FROM liteq_batches WHERE last IN (
    SELECT last FROM liteq_batches WHERE began_ms < :before_ms ORDER BY began_ms LIMIT :limit {SKIP_LOCKED})
"""


class Began(NamedTuple):
    """A batch that has begun, in ms since the epoch: its members' ids and tokens, in their order."""

    began_ms: int
    ids: tuple[str, ...]
    tokens: tuple[int, ...]


def note(tx: Transaction, batches: Sequence[Began]) -> None:
    """Write batches that have begun."""
    rows = [(one, dict(zip(one.ids, one.tokens, strict=True))) for one in batches]
    tx.executemany(NOTE, [(max(one.tokens), one.began_ms, orjson.dumps(members)) for one, members in rows])


def of(tx: Transaction, message_id: str) -> Began | None:
    """The batch in which a message was executed last; None where it was executed alone, or that is forgotten."""
    for began_ms, members in tx.execute(OF, {"id": message_id, "limit": NEAR}):
        found: dict[str, int] = orjson.loads(members)
        if message_id in found:
            return Began(began_ms, tuple(found), tuple(found.values()))
    return None


def expire(tx: Transaction, *, before_ms: int, limit: int) -> int:
    """Forget up to `limit` batches that began before `before_ms`; how many."""
    return tx.executemany(EXPIRE, [{"before_ms": before_ms, "limit": limit}])
