"""A dead letter runs again: what ended because of it waits again, so that its workflow goes on from there.

Its errbacks, which ran when it failed, wait again too: should it fail once more, they are called once more.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from liteq.message import Flag
from liteq.states import UNFINISHED
from liteq.storage.driver import Row, Transaction
from liteq.storage.follow import take_key

__all__ = ["revive"]

REVIVE_ROWS: Final = """
UPDATE liteq_messages SET state = 'blocked', error = NULL, finished_ms = NULL
 WHERE awaits = :awaits AND state = 'upstream_failed' AND unique_key IS NULL
RETURNING id, group_id
"""
KEYED: Final = """
SELECT seq, id, group_id, unique_key FROM liteq_messages
 WHERE awaits = :awaits AND state = 'upstream_failed' AND unique_key IS NOT NULL
"""
WITHOUT_KEY: Final = """
UPDATE liteq_messages SET state = 'blocked', error = NULL, finished_ms = NULL, unique_key = NULL WHERE seq = ?
"""
COUNT_UP: Final = """
UPDATE liteq_groups SET remaining = remaining + 1, failed = failed - 1, finished_ms = NULL
 WHERE id = :id
RETURNING remaining, group_id
"""
ERRBACKS: Final = f"""
SELECT seq, id, group_id, state FROM liteq_messages WHERE awaits = ? AND flags & {Flag.ON_FAILURE} <> 0
"""
BEHIND: Final = "SELECT seq, id, group_id, state FROM liteq_messages WHERE awaits = ?"
AROUND: Final = "SELECT group_id FROM liteq_groups WHERE id = ? AND group_id IS NOT NULL"
AGAIN: Final = f"""
UPDATE liteq_messages SET state = 'blocked', error = NULL, result = NULL, progress = NULL, finished_ms = NULL,
       retries = 0, crashes = 0, reaps = 0,
       unique_key = CASE WHEN flags & {Flag.LATE_KEY} <> 0 THEN NULL ELSE unique_key END
 WHERE seq = ?
"""
AGAIN_GROUP: Final = "UPDATE liteq_groups SET remaining = size, failed = 0, finished_ms = NULL WHERE id = ?"
CLEAR_RESULT: Final = "DELETE FROM liteq_bodies WHERE ref = 2 * ? + 1"


def revive(tx: Transaction, message_id: str, group_id: str | None) -> None:
    """Let what ended as `upstream_failed` because of a message wait for it again, and its errbacks be ready again."""
    todo: deque[tuple[str, str | None]] = deque([(message_id, group_id)])
    while todo:
        node, group = todo.popleft()
        _rearm(tx, node)
        todo.extend((id_, counted_by) for id_, counted_by in tx.execute(REVIVE_ROWS, {"awaits": node}))
        for seq, id_, counted_by, key in tx.execute(KEYED, {"awaits": node}):
            tx.executemany(WITHOUT_KEY, [(seq,)])
            take_key(tx, seq, id_, key)  # taken since: it follows the message that holds it
            todo.append((id_, counted_by))
        if group is None:
            continue
        for remaining, parent in tx.execute(COUNT_UP, {"id": group}):
            if remaining == 1:  # it was done, as failed: what awaits it, and its own group, count on it again
                todo.append((group, parent))


def _rearm(tx: Transaction, node: str) -> None:
    """Let the errbacks of `node` wait for its next failure, unless a part of one still runs for the last one."""
    for rows, groups in [_canvas(tx, first) for first in tx.execute(ERRBACKS, (node,))]:
        if any(state in UNFINISHED for state in rows.values()):
            continue
        tx.executemany(AGAIN, [(seq,) for seq in rows])
        tx.executemany(CLEAR_RESULT, [(seq,) for seq in rows])
        tx.executemany(AGAIN_GROUP, [(group,) for group in groups])


def _canvas(tx: Transaction, first: Row) -> tuple[dict[int, str], set[str]]:
    """The rows from `first` on, with their states, and the groups that count them."""
    rows, groups, todo = dict[int, str](), set[str](), [first]
    while todo:
        seq, id_, group, state = todo.pop()
        if seq in rows:
            continue
        rows[seq] = state
        todo += tx.execute(BEHIND, (id_,))
        while group is not None and group not in groups:
            groups.add(group)
            todo += tx.execute(BEHIND, (group,))
            group = next((outer for (outer,) in tx.execute(AROUND, (group,))), None)
    return rows, groups
