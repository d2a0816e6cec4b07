"""Ids of what has ended, for what is sent under them anew (ADR 0014).

An errback may never be needed. So what had its id before it does not go: it has another id, which the errback's row
notes (Flag.ASIDE), and gets its own back where the errback vanishes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import orjson

from liteq.message import Flag, Message
from liteq.storage.driver import Transaction

__all__ = ["come_back", "let_go", "refer", "rename", "with_note"]

KEY = "aside"  # in the document of a row with Flag.ASIDE
# The mark behind the unique key of one that has started names it too (sending/unique.py).
RENAME = """
UPDATE liteq_messages SET id = :to, unique_key = replace(
       replace(unique_key, '\x1f' || CAST(:id AS TEXT), '\x1f' || CAST(:to AS TEXT)),
       '\x1e' || CAST(:id AS TEXT) || '\x1e', '\x1e' || CAST(:to AS TEXT) || '\x1e')
 WHERE id = :id
"""
RENAME_IF_FREE = f"""{RENAME}
   AND NOT EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.id = :to)
   AND NOT EXISTS (SELECT 1 FROM liteq_groups AS g WHERE g.id = :to)
"""
REFERENCES = {
    "a follower": "UPDATE liteq_messages SET awaits = :to WHERE awaits = :id",
    "a member": "UPDATE liteq_messages SET group_id = :to WHERE group_id = :id",
    "an inner group": "UPDATE liteq_groups SET group_id = :to WHERE group_id = :id",
}

LET_GO = """
UPDATE liteq_messages SET awaits = NULL
 WHERE awaits = :id AND finished_ms IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.id = :id)
"""


def refer(tx: Transaction, changes: Sequence[Mapping[str, str | None]]) -> None:
    """Let what refers to each `id` refer to its `to`; to nothing where that is None."""
    for sql in REFERENCES.values():
        tx.executemany(sql, changes)


def let_go(tx: Transaction, ids: Iterable[str]) -> None:
    """Let what ended behind those of these messages that have gone refer to nothing: another one may get such an id."""
    tx.executemany(LET_GO, [{"id": id_} for id_ in ids])


def rename(tx: Transaction, changes: Sequence[Mapping[str, str | None]], *, free: bool = False) -> int:
    """Give each message `id` the id `to`; how many have it now. What refers to them is left to `refer`.

    `free`: not where something else has that id.
    """
    if free:
        return tx.executemany(RENAME_IF_FREE, changes)
    return tx.executemany(RENAME, changes)


def with_note(errback: Message, other: str) -> Message:
    """`errback`, whose id a message had that has ended, and that is `other` as long as it is not known to be needed."""
    document = orjson.loads(errback.options) if errback.options else {}
    options = orjson.dumps({**document, KEY: other})
    return replace(errback, options=options, flags=errback.flags | Flag.ASIDE)


def come_back(tx: Transaction, id_: str, options: bytes) -> None:
    """Give what stepped aside for the errback `id_`, which has vanished, its id back, if it is there still."""
    changes = [{"id": orjson.loads(options)[KEY], "to": id_}]
    rename(tx, changes)
    refer(tx, changes)
