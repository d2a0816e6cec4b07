"""The word of a failure that nobody saw: of a message that the file itself makes a dead letter.

A message of Celery's carries its errbacks and the rest of its chain, and the worker that sees it fail sends those.
Where the worker that held it has vanished, or has died with it too often, nobody has seen it. Then a row is put behind
it in the transaction that gives it up: a task of Celery's workers, which tells as they would have done.
"""

from __future__ import annotations

from typing import Final

import orjson

from liteq.message import Batch, Flag, Message
from liteq.serialization.embedded import is_deflated, unpacked
from liteq.storage.driver import Transaction
from liteq.storage.sending.enqueue import place
from liteq.utils.ids import ids_of

__all__ = ["ERRBACK", "errback_id", "leave_word"]

ERRBACK: Final = "liteq.errback"
EMBED: Final = b'"embed"'
ROW = "SELECT options, queue, priority, root_id FROM liteq_messages WHERE seq = ?"
# The rows that a worker of liteq's, or a sender, has put behind it tell already.
FOLLOWED = "SELECT 1 FROM liteq_messages WHERE awaits = ? LIMIT 1"


def errback_id(id_: str) -> str:
    """The id of the row that tells of the failure of the message `id_`: the same one each time it is given up."""
    return ids_of(f"errback {id_}", 0, 1)[0]


def leave_word(tx: Transaction, seq: int, id_: str, *, now_ms: int) -> bool:
    """Put the row that tells behind a message that is about to be given up; whether there is anybody to be told."""
    options, queue, priority, root_id = tx.execute(ROW, (seq,))[0]
    if not _names_somebody(options) or tx.execute(FOLLOWED, (id_,)):
        return False
    row = Message(
        id=errback_id(id_), task=ERRBACK, payload=b"[[],{}]", queue=queue, priority=priority, root_id=root_id or id_,
        parent_id=id_, awaits=id_, flags=Flag.ON_FAILURE | Flag.CALLBACK | Flag.TAKES_INPUT | Flag.IGNORE_RESULT,
    )  # fmt: skip
    place(tx, Batch([row]), now_ms=now_ms)
    return True


def _names_somebody(options: bytes | None) -> bool:
    """Whether these options embed errbacks or more of a chain. Another program may have written anything there."""
    if options is None or EMBED not in options:
        return False
    try:
        found = orjson.loads(options)
    except ValueError:
        return False
    for name in ("celery", "embed"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return False
    if is_deflated(found):
        try:
            found = orjson.loads(unpacked(found))
        except ValueError:
            return False
    return bool(found.get("errbacks") or found.get("chain"))
