"""Reading: whether a replica is as far as a commit that another process has made in the queue itself."""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import Transaction

__all__ = ["created_ms", "has_reached"]

MESSAGE: Final = "SELECT created_ms FROM liteq_messages WHERE id = ?"
GROUP: Final = "SELECT created_ms FROM liteq_groups WHERE id = ?"
# The newest times that every working queue has. Each is the time of a commit or earlier, so a later one than that of
# a commit was written by another that came after it. By an end of an index, or of a small table.
NEWEST: Final = (
    "SELECT max(heartbeat_ms) FROM liteq_workers",
    "SELECT created_ms FROM liteq_messages ORDER BY seq DESC LIMIT 1",
    "SELECT max(finished_ms) FROM liteq_messages WHERE finished_ms IS NOT NULL AND state <> 'dead'",
    "SELECT max(finished_ms) FROM liteq_messages WHERE state = 'dead'",
    "SELECT created_ms FROM liteq_events ORDER BY id DESC LIMIT 1",
)


def created_ms(tx: Transaction, id_: str) -> int:
    """The time of the row of the message, or group, `id_`; 0 where it has gone."""
    return int((tx.execute(MESSAGE, (id_,)) or tx.execute(GROUP, (id_,)) or [(0,)])[0][0])


def has_reached(tx: Transaction, id_: str, from_ms: int, after_ms: int) -> bool:
    """Whether the commit of the message, or group, `id_` is in the store, which was made before `after_ms`.

    Its row tells, unless it is of before `from_ms`: an id may be sent again. Where the row has gone since, whatever was
    written later tells.
    """
    found = created_ms(tx, id_)
    if found and found >= from_ms:
        return True
    return any(ms is not None and ms > after_ms for sql in NEWEST for (ms,) in tx.execute(sql))
