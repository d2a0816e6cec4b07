"""The verb *expire*: finished rows leave when their time is over, in chunks.

A result stays as long as a row may still take it: one that waits, runs, or could be replayed. Deleting 900,000 rows in
one transaction held the write lock for 2.4 s; hence the chunks.
"""

from __future__ import annotations

from liteq.message import Flag
from liteq.states import State, sql_list
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction
from liteq.storage.kept import task_logs
from liteq.storage.rows.aside import let_go
from liteq.storage.rows.needed import TAKERS_OF_THE_DEAD, excludes, needed
from liteq.storage.sending import sends, unique

__all__ = ["BEGINNING", "Walk", "expire"]

RUNS_STAY = f"m.flags & {Flag.RUN | Flag.STEP} <> {Flag.RUN}"  # they have an age of their own (runs/retention.py)

# From the outside in: a group leaves when no row needs it and the group that counts it has left; then its members may.
GROUPS = f"""
SELECT g.id FROM liteq_groups AS g
 WHERE g.finished_ms <= :before_ms
   AND NOT EXISTS (SELECT 1 FROM liteq_groups AS p WHERE p.id = g.group_id)
   AND NOT {needed("g")}
 LIMIT :limit {SKIP_LOCKED}
"""
NEVER = BEGINNING = -1
LOOKED_AT = 10_000  # messages, by one chunk
REACH = {
    dead: f"""
SELECT finished_ms FROM liteq_messages
 WHERE {which} AND finished_ms > :after_ms AND finished_ms <= :before_ms
 ORDER BY finished_ms LIMIT 1 OFFSET :looked_at
"""
    for dead, which in ((False, "finished_ms IS NOT NULL AND state <> 'dead'"), (True, "state = 'dead'"))
}
# An errback stays, with what stands behind it, as long as what it is for may be replayed and fail again. One that never
# ran leaves when what it is for has had its time: each would wait for the other.
MESSAGES = f"""
SELECT m.seq FROM liteq_messages AS m
 WHERE m.finished_ms IS NOT NULL AND m.state <> 'dead' AND m.finished_ms > :after_ms AND m.finished_ms <= :before_ms
   AND {RUNS_STAY} AND NOT {task_logs.STAYS}
   AND (m.state <> 'upstream_failed' OR m.finished_ms <= :dead_before_ms)
   AND NOT EXISTS (SELECT 1 FROM liteq_groups AS g WHERE g.id = m.group_id)
   AND NOT {needed("m")} AND NOT {excludes("m")}
   AND NOT (m.flags & {Flag.PERHAPS} <> 0 AND m.state <> 'upstream_failed' AND EXISTS (
        SELECT 1 FROM liteq_messages AS d
         WHERE d.id = m.awaits AND (d.flags & {Flag.PERHAPS} <> 0 OR (m.flags & {Flag.ON_FAILURE} <> 0
           AND d.state IN {sql_list((State.DEAD, State.UPSTREAM_FAILED))}))))
 ORDER BY m.finished_ms
 LIMIT :limit {SKIP_LOCKED}
"""
# Of members that never came, once their group has finished or is gone.
PLACES = f"""
DELETE FROM liteq_places WHERE member IN (
    SELECT p.member FROM liteq_places AS p
     WHERE p.created_ms <= :before_ms
       AND NOT EXISTS (SELECT 1 FROM liteq_groups AS g WHERE g.id = p.group_id AND g.finished_ms IS NULL)
     LIMIT :limit {SKIP_LOCKED})
"""
SAVED_GROUPS = "DELETE FROM liteq_saved_groups WHERE created_ms <= :before_ms"
DEAD = f"""
SELECT m.seq FROM liteq_messages AS m
 WHERE m.state = 'dead' AND m.finished_ms > :after_ms AND m.finished_ms <= :before_ms
   AND {RUNS_STAY} AND NOT {task_logs.STAYS}
   AND NOT {needed("m", TAKERS_OF_THE_DEAD)} AND NOT {excludes("m")}
 ORDER BY m.finished_ms
 LIMIT :limit {SKIP_LOCKED}
"""
# Once more, of rows that are locked by now: something may have been sent behind one until then.
GO_GROUP = f"DELETE FROM liteq_groups WHERE id = ? AND NOT {needed('liteq_groups')}"
GO = f"DELETE FROM liteq_messages WHERE seq = ? AND NOT {needed('liteq_messages')}"
GO_DEAD = f"""
DELETE FROM liteq_messages WHERE seq = ? AND NOT {needed("liteq_messages", TAKERS_OF_THE_DEAD)} RETURNING id
"""


class Walk:
    """The place up to which a process has looked at messages; the next chunk goes on there, at last from the beginning.

    `dead`: at dead letters, else at all others that have finished. What is looked for stands among what stays: runs,
    logs and what excludes others, or all messages but the runs. A chunk that went through a million of them would hold
    the write lock for seconds.
    """

    def __init__(self, *, dead: bool) -> None:
        self._dead = dead
        self.after_ms = BEGINNING

    def step(self, tx: Transaction, sql: str, *, before_ms: int, limit: int, **more: int) -> list[Row]:
        """Up to `limit` rows of `sql`, messages that may leave, of the next ones."""
        params = {"after_ms": self.after_ms, "before_ms": before_ms}
        reach = tx.execute(REACH[self._dead], {**params, "looked_at": LOOKED_AT})
        upto_ms = reach[0][0] if reach else before_ms
        found = tx.execute(sql, {**params, **more, "before_ms": upto_ms, "limit": limit})
        if len(found) < limit:
            self.after_ms = upto_ms if reach else BEGINNING
        return found


def expire(
    tx: Transaction, walk: Walk, of_dead: Walk, before_ms: int | None, dead_before_ms: int | None, *, now_ms: int,
    limit: int,
) -> int:  # fmt: skip
    """Delete up to `limit` rows of each kind that finished before these times (None: keep for ever); how many.

    Calls that exclude others for a time are forgotten when that is over, named sendings when they are old, and logs
    when theirs is: a task whose log is kept stays with it.
    """
    deleted = unique.expire(tx, now_ms=now_ms, limit=limit) + sends.expire(tx, now_ms=now_ms, limit=limit)
    deleted += task_logs.expire(tx, now_ms=now_ms, limit=limit)
    if before_ms is not None:
        dead_ms = NEVER if dead_before_ms is None else dead_before_ms
        deleted += tx.executemany(GO_GROUP, tx.execute(GROUPS, {"before_ms": before_ms, "limit": limit}))
        found = walk.step(tx, MESSAGES, before_ms=before_ms, dead_before_ms=dead_ms, limit=limit)
        deleted += tx.executemany(GO, found)
        tx.execute(SAVED_GROUPS, {"before_ms": before_ms})
        tx.executemany(PLACES, [{"before_ms": before_ms, "limit": limit}])
    if dead_before_ms is not None:
        dead = of_dead.step(tx, DEAD, before_ms=dead_before_ms, limit=limit)
        gone = [id_ for row in dead for (id_,) in tx.execute(GO_DEAD, row)]
        let_go(tx, gone)
        deleted += len(gone)
    return deleted
