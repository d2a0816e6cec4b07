"""A dead letter runs again: what ended because of it waits again, so that its workflow goes on from there.

Its errbacks, which ran when it failed, wait again too: should it fail once more, they are called once more.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from liteq.message import Flag, new_id
from liteq.states import UNFINISHED, sql_list
from liteq.storage.canvases.follow import take_key
from liteq.storage.driver import LOCK, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["ERROR_STILL_TAKEN", "revive"]

# An errback that has not run yet still takes the error.
ERROR_STILL_TAKEN: Final = f"""
CASE WHEN EXISTS (
     SELECT 1 FROM liteq_messages AS b WHERE b.awaits = liteq_messages.id AND b.state IN {sql_list(UNFINISHED)})
     THEN error END
"""
# A latest start (expires) does not count any more, as of the dead letter itself.
REVIVE_ROWS: Final = f"""
UPDATE liteq_messages SET state = 'blocked', error = {ERROR_STILL_TAKEN}, finished_ms = NULL, expires_ms = NULL
 WHERE awaits = :awaits AND state = 'upstream_failed' AND unique_key IS NULL
RETURNING id, group_id
"""
KEYED: Final = f"""
SELECT seq, id, group_id, unique_key FROM liteq_messages
 WHERE awaits = :awaits AND state = 'upstream_failed' AND unique_key IS NOT NULL ORDER BY seq {LOCK}
"""
WITHOUT_KEY: Final = f"""
UPDATE liteq_messages SET state = 'blocked', error = {ERROR_STILL_TAKEN}, finished_ms = NULL, expires_ms = NULL,
       unique_key = NULL
 WHERE seq = ?
"""
COUNT_UP: Final = """
UPDATE liteq_groups SET remaining = remaining + 1, failed = failed - 1, finished_ms = NULL
 WHERE id = :id
RETURNING remaining, group_id
"""
# A message that follows a holder of its key is of another canvas, and the fork of a run of none.
BEHIND: Final = f"""
SELECT seq, id, awaits, group_id, state FROM liteq_messages
 WHERE awaits = ? AND flags & {Flag.FOLLOWS} = 0 AND NOT (flags & {Flag.RUN} <> 0 AND EXISTS (
       SELECT 1 FROM liteq_runs AS r WHERE r.run = liteq_messages.seq AND r.forked_from IS NOT NULL))
"""
ERRBACKS: Final = f"{BEHIND} AND flags & {Flag.ON_FAILURE} <> 0 AND state <> 'upstream_failed' ORDER BY seq"
AROUND: Final = "SELECT group_id FROM liteq_groups WHERE id = ? AND group_id IS NOT NULL"
# An errback that has run stays as it ended; a copy of it waits. When the original was due is over: only the time (eta)
# of one that never came to run still counts. The delay of one that was retried is that of its last retry.
OF_THE_FIRST: Final = Flag.HISTORY | Flag.ASKED | Flag.BEGUN | Flag.PLACED | Flag.EMITS | Flag.ASIDE
COPY: Final = f"""
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, delay_ms, created_ms, flags,
                            root_id, parent_id, awaits, group_id, position, keys)
SELECT :id, task, queue, priority, 'blocked', payload, options,
       CASE WHEN state = 'upstream_failed' AND due_ms > created_ms THEN due_ms ELSE :now_ms END,
       CASE WHEN retries = 0 THEN delay_ms END, :now_ms,
       flags & {~OF_THE_FIRST}, root_id, parent_id, :awaits, :group_id,
       position, keys
  FROM liteq_messages WHERE seq = :seq
"""
COPY_RUN: Final = """
INSERT INTO liteq_runs (run, name, step, version, input, timeout_ms)
SELECT m.seq, r.name, r.step, r.version, r.input, r.timeout_ms
  FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = :seq WHERE m.id = :id
"""
COPY_BODY: Final = """
INSERT INTO liteq_bodies (ref, body)
SELECT 2 * m.seq, b.body FROM liteq_messages AS m JOIN liteq_bodies AS b ON b.ref = 2 * :seq
 WHERE m.id = :id AND length(m.payload) = 0
"""
# Nothing of a budget is spent by the copy yet.
COPY_BUDGET: Final = """
INSERT INTO liteq_run_budgets (run, what, most, period_ms, since_ms, soft, asks)
SELECT m.seq, b.what, b.most, b.period_ms, m.created_ms, b.soft, b.asks
  FROM liteq_messages AS m JOIN liteq_run_budgets AS b ON b.run = :seq WHERE m.id = :id
"""
COPY_TAGS: Final = """
INSERT INTO liteq_run_tags (tag, run)
SELECT t.tag, m.seq FROM liteq_messages AS m JOIN liteq_run_tags AS t ON t.run = :seq WHERE m.id = :id
"""
COPY_BESIDE: Final = (COPY_BODY, COPY_RUN, COPY_BUDGET, COPY_TAGS)
COPY_GROUP: Final = """
INSERT INTO liteq_groups (id, size, remaining, group_id, position, root_id, created_ms)
SELECT :id, :size, :size, :group_id, position, root_id, :now_ms FROM liteq_groups WHERE id = :old
"""
DETACH: Final = "UPDATE liteq_messages SET awaits = NULL WHERE seq = ?"


class _Row(NamedTuple):
    """A row of an errback's canvas."""

    seq: int
    id: str
    awaits: str | None
    group_id: str | None
    state: str


def revive(tx: Transaction, message_id: str, group_id: str | None, *, now_ms: int) -> None:
    """Let what ended as `upstream_failed` because of a message wait for it again, and its errbacks be ready again."""
    todo: deque[tuple[str, str | None]] = deque([(message_id, group_id)])
    while todo:
        node, group = todo.popleft()
        _rearm(tx, node, now_ms)
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


def _rearm(tx: Transaction, node: str, now_ms: int) -> None:
    """Let the errbacks of `node` wait for its next failure, unless a part of one still runs for the last one."""
    canvases: list[tuple[dict[int, _Row], dict[str, str | None]]] = []
    for first in tx.execute(ERRBACKS, (node,)):
        rows, groups = _canvas(tx, _Row._make(first))
        for other in [one for one in canvases if not groups.keys().isdisjoint(one[1])]:  # members of one group
            canvases.remove(other)
            rows |= other[0]
            groups |= other[1]
        canvases.append((rows, groups))
    for rows, groups in canvases:
        if not any(row.state in UNFINISHED for row in rows.values()):
            _copy(tx, node, list(rows.values()), groups, now_ms)


def _canvas(tx: Transaction, first: _Row) -> tuple[dict[int, _Row], dict[str, str | None]]:
    """The rows from `first` on, by number, and the groups that count them, with the groups around those."""
    rows, groups, todo = dict[int, _Row](), dict[str, str | None](), [first]
    while todo:
        row = todo.pop()
        if row.seq in rows:
            continue
        rows[row.seq] = row
        todo += map(_Row._make, tx.execute(BEHIND, (row.id,)))
        group = row.group_id
        while group is not None and group not in groups:
            todo += map(_Row._make, tx.execute(BEHIND, (group,)))
            groups[group] = outer = next((outer for (outer,) in tx.execute(AROUND, (group,))), None)
            group = outer
    return rows, groups


def _copy(tx: Transaction, node: str, rows: list[_Row], groups: dict[str, str | None], now_ms: int) -> None:
    names = {id_: new_id() for id_ in (*[row.id for row in rows], *groups)}
    sizes = Counter((*[row.group_id for row in rows], *groups.values()))
    for group, outer in groups.items():
        copied = {"id": names[group], "old": group, "size": sizes[group], "group_id": names.get(outer or "")}
        tx.executemany(COPY_GROUP, [{**copied, "now_ms": now_ms}])
    for row in sorted(rows):
        copied = {"id": names[row.id], "seq": row.seq, "now_ms": now_ms, "group_id": names.get(row.group_id or "")}
        tx.executemany(COPY, [{**copied, "awaits": names.get(row.awaits or "", row.awaits)}])
        for sql in COPY_BESIDE:
            tx.executemany(sql, [{"seq": row.seq, "id": names[row.id]}])
        if row.awaits == node:
            tx.executemany(DETACH, [(row.seq,)])
