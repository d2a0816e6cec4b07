"""The verbs of conversations: records, each with a revision, and a log of entries that conversations may share.

An entry is stored once, and points at the one before it. It leaves when no record's head or branch leads to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import LOCK, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Entry", "Record", "delete", "entry", "find", "history", "listing", "write"]

COLUMNS = "id, scope, revision, document, updated_us"
FIND = f"SELECT {COLUMNS} FROM liteq_conversations WHERE id = ?"
LIST = f"SELECT {COLUMNS} FROM liteq_conversations ORDER BY updated_us DESC, id LIMIT ?"
LIST_OF = f"SELECT {COLUMNS} FROM liteq_conversations WHERE scope = ? ORDER BY updated_us DESC, id LIMIT ?"
LOCKED = f"SELECT revision FROM liteq_conversations WHERE id = ? {LOCK}"
BEGIN = f"""
INSERT INTO liteq_conversations ({COLUMNS}) VALUES (:id, :scope, :revision, :document, :updated_us)
ON CONFLICT (id) DO NOTHING
"""
CHANGE = """
UPDATE liteq_conversations SET scope = :scope, revision = :revision, document = :document, updated_us = :updated_us
 WHERE id = :id
"""
REMOVE = "DELETE FROM liteq_conversations WHERE id = ?"
TIPS = "SELECT entry FROM liteq_conversation_tips WHERE id = ?"
ADD_TIP = "INSERT INTO liteq_conversation_tips (id, entry) VALUES (?, ?)"
REMOVE_TIPS = "DELETE FROM liteq_conversation_tips WHERE id = ?"
ENTRY = "SELECT id, parent, message FROM liteq_conversation_entries WHERE id = ?"
# An entry that another record leads to may be deleted now: that delete sees this record, or this save sees it gone.
HOLD = f"SELECT 1 FROM liteq_conversation_entries WHERE id = ? {LOCK}"
ADD = "INSERT INTO liteq_conversation_entries (id, parent, message) VALUES (?, ?, ?)"
# From the newest to the oldest: one lookup of the key for each.
HISTORY = """
WITH RECURSIVE line (id, parent, message, n) AS (
    SELECT id, parent, message, 1 FROM liteq_conversation_entries WHERE id = :tip
    UNION ALL
    SELECT e.id, e.parent, e.message, line.n + 1
      FROM line JOIN liteq_conversation_entries AS e ON e.id = line.parent
     WHERE line.n < :limit
)
SELECT id, parent, message FROM line ORDER BY n DESC
"""
LEAVES = """
DELETE FROM liteq_conversation_entries
 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM liteq_conversation_entries AS c WHERE c.parent = ?1)
   AND NOT EXISTS (SELECT 1 FROM liteq_conversation_tips AS t WHERE t.entry = ?1)
RETURNING parent
"""
ALL = 2**31 - 1


class Record(NamedTuple):
    """One conversation. `document`: JSON, opaque here; `updated_us`: microseconds since the epoch."""

    id: str
    scope: str | None
    revision: str
    document: bytes
    updated_us: int


class Entry(NamedTuple):
    """One message of a conversation. `parent`: the entry before it."""

    id: str
    parent: str | None
    message: bytes


def find(tx: Transaction, id_: str) -> Record | None:
    """The record of a conversation."""
    for row in tx.execute(FIND, (id_,)):
        return Record._make(row)
    return None


def listing(tx: Transaction, scope: str | None, limit: int | None) -> list[Record]:
    """Records, those that were saved last first; of one scope, where it is given."""
    most = ALL if limit is None else limit
    rows = tx.execute(LIST, (most,)) if scope is None else tx.execute(LIST_OF, (scope, most))
    return [Record._make(row) for row in rows]


def entry(tx: Transaction, id_: str) -> Entry | None:
    """One entry."""
    for row in tx.execute(ENTRY, (id_,)):
        return Entry._make(row)
    return None


def history(tx: Transaction, tip: str, limit: int | None) -> list[Entry]:
    """The entries that lead to `tip`, the oldest first; of the last `limit`."""
    rows = tx.execute(HISTORY, {"tip": tip, "limit": ALL if limit is None else limit})
    return [Entry._make(row) for row in rows]


def write(
    tx: Transaction,
    record: Record,
    tips: Sequence[str],
    entries: Sequence[Entry],
    *,
    expected: str | None,
    head: str | None,
) -> bool:
    """Store a record with its new entries; False, and nothing is stored, where its revision is not `expected` any more.

    False, too, where an entry is missing that is to be there: `head`, the last one of the record, or one that a new
    entry follows. The same save again changes nothing.
    """
    found = _revision(tx, record.id)
    if found == record.revision:
        return True
    ends = [head] if found else [head, *tips]  # the branches that it has had are held by its record
    if found != expected or not all(tx.execute(HOLD, (id_,)) for id_ in _led_to(entries, ends)):
        return False
    if found is not None:
        tx.executemany(CHANGE, [record._asdict()])
    elif not tx.executemany(BEGIN, [record._asdict()]):  # another one has begun it meanwhile
        return _revision(tx, record.id) == record.revision
    tx.executemany(ADD, entries)
    tx.execute(REMOVE_TIPS, (record.id,))
    tx.executemany(ADD_TIP, [(record.id, tip) for tip in dict.fromkeys(tips)])
    return True


def _revision(tx: Transaction, id_: str) -> str | None:
    """The revision of a record, which is locked until the transaction ends; None where there is no such record."""
    return next((revision for (revision,) in tx.execute(LOCKED, (id_,))), None)


def _led_to(entries: Sequence[Entry], ends: Sequence[str | None]) -> list[str]:
    """The entries that must be there already: sorted, so that two saves lock them in one order."""
    new = {one.id for one in entries}
    return sorted({id_ for id_ in (*ends, *(one.parent for one in entries)) if id_ is not None and id_ not in new})


def delete(tx: Transaction, id_: str, *, expected: str) -> bool:
    """Delete a record, and the entries that no other leads to; False where its revision is another one."""
    if _revision(tx, id_) != expected:
        return False
    tips = [tip for (tip,) in tx.execute(TIPS, (id_,))]
    tx.execute(REMOVE_TIPS, (id_,))
    tx.execute(REMOVE, (id_,))
    for tip in tips:
        last: str | None = tip
        while last is not None:
            tx.execute(HOLD, (last,))
            gone = tx.execute(LEAVES, (last,))
            last = gone[0][0] if gone else None
    return True
