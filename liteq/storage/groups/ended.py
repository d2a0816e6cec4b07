"""The verb *end*: messages that end without ever having been sent, as the rest of a chain does that broke before it.

Their senders had told the ids, and somebody may wait for one: it gets a row that has ended, and what counts it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag
from liteq.storage.canvases.continuation import End, propagate
from liteq.storage.driver import Transaction
from liteq.storage.groups.open_groups import PATIENCE_MS, give_up, take_seat
from liteq.storage.rows.payloads import NO_ARGUMENTS
from liteq.utils.records import NamedTuple

__all__ = ["Ended", "end"]

ONLY_SHOWN = f"DELETE FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} <> 0"
IS_THERE = "SELECT 1 FROM liteq_messages WHERE id = ?"
END = """
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, created_ms, flags, root_id,
                            parent_id, group_id, position, error, finished_ms)
VALUES (:id, :task, :queue, 0, 'upstream_failed', :payload, :options, :now_ms, :now_ms, :flags, :root_id,
        :parent_id, :group_id, :position, :error, :now_ms)
ON CONFLICT DO NOTHING
"""


class Ended(NamedTuple):
    """A message that will not be sent, because what came before it did not succeed: why, as its error document.

    `group_id`, `position`: of the group that counts it; a place that is kept for it there decides (open_groups.py).
    """

    id: str
    error: bytes
    task: str = ""
    queue: str = ""
    options: bytes | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    position: int = 0


def end(tx: Transaction, ended: Sequence[Ended], *, now_ms: int) -> bool:
    """End these, but for those that are in the file; whether something woke.

    One may be a group that is held open, of a chord whose sender was killed between its opening and its members.
    """
    ends, woke = [], False
    for one in ended:
        tx.executemany(ONLY_SHOWN, [(one.id,)])
        if tx.execute(IS_THERE, (one.id,)):
            continue
        if give_up(tx, one.id, one.error, now_ms=now_ms):  # a chord that was about to be sent
            woke = True
            continue
        seat = take_seat(tx, one.id, one.group_id, one.position, patience_ms=PATIENCE_MS, now_ms=now_ms)
        group_id, position = (None, 0) if seat is None else seat
        flags = 0 if group_id is None else Flag.LINKED
        row = {**one._asdict(), "group_id": group_id, "position": position, "flags": flags}
        if tx.executemany(END, [{**row, "payload": NO_ARGUMENTS, "now_ms": now_ms}]) and group_id is not None:
            ends.append(End(one.id, False, group_id, one.error))
    return bool(propagate(tx, ends, now_ms=now_ms)) or woke if ends else woke
