"""The results that the body of a task has made, beside its own, as its outcome told them (`Ack.children`)."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag
from liteq.storage.driver import LATER, Transaction

__all__ = ["find", "store"]

# Its trigger takes them away with the message, which it knows by the flag.
MARK = f"UPDATE liteq_messages SET flags = flags | {Flag.CHILDREN} WHERE seq = ? {LATER}"
STORE = f"""
INSERT INTO liteq_children (run, children) VALUES (?, ?)
ON CONFLICT (run) DO UPDATE SET children = excluded.children {LATER}
"""
FIND = """
SELECT c.children FROM liteq_messages AS m JOIN liteq_children AS c ON c.run = m.seq WHERE m.id = ?
"""


def store(tx: Transaction, children: Sequence[tuple[int, bytes]]) -> None:
    """Keep the children (JSON) of these messages, by their row numbers."""
    tx.executemany(MARK, [(seq,) for seq, _ in children])
    tx.executemany(STORE, children)


def find(tx: Transaction, message_id: str) -> bytes | None:
    """The children of a message, JSON; None where nobody has told them."""
    for (found,) in tx.execute(FIND, (message_id,)):
        return bytes(found)
    return None
