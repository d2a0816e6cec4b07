"""The rows of runs leave when their time is over: a long history in chunks, before its message."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag
from liteq.states import FINISHED, UNFINISHED, sql_list
from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.storage.housekeeping.retention import Walk
from liteq.storage.rows.aside import let_go
from liteq.storage.rows.needed import TAKERS_OF_THE_DEAD, excludes, hold, needed
from liteq.storage.runs import memo
from liteq.storage.spending import usage

__all__ = ["empty", "expire"]

OLD = f"SELECT run, gen FROM liteq_runs WHERE gen > swept LIMIT ? {SKIP_LOCKED}"
SWEPT = "UPDATE liteq_runs SET swept = ? WHERE run = ?"
SWEEP = """
DELETE FROM liteq_steps WHERE (run, gen, scope, pos) IN (
    SELECT run, gen, scope, pos FROM liteq_steps WHERE run = :run AND gen < :gen LIMIT :limit)
"""
SWEEP_BODIES = """
DELETE FROM liteq_step_bodies WHERE (run, gen, scope, pos) IN (
    SELECT run, gen, scope, pos FROM liteq_step_bodies WHERE run = :run AND gen < :gen LIMIT :limit)
"""
SWEEP_STREAM = """
DELETE FROM liteq_stream WHERE (run, stream, n) IN (
    SELECT run, stream, n FROM liteq_stream WHERE run = :run LIMIT :limit)
"""
IS_RUN = f"m.flags & {Flag.RUN | Flag.STEP} = {Flag.RUN}"
ENDED = f"""
SELECT m.seq FROM liteq_messages AS m
 WHERE m.finished_ms IS NOT NULL AND m.state <> 'dead' AND m.finished_ms > :after_ms AND m.finished_ms <= :before_ms
   AND {IS_RUN}
   AND NOT EXISTS (SELECT 1 FROM liteq_groups AS g WHERE g.id = m.group_id) AND NOT {needed("m")}
   AND NOT {excludes("m")}
 ORDER BY m.finished_ms LIMIT :limit {SKIP_LOCKED}
"""
FAILED = f"""
SELECT m.seq FROM liteq_messages AS m
 WHERE m.state = 'dead' AND m.finished_ms > :after_ms AND m.finished_ms <= :before_ms AND {IS_RUN}
   AND NOT {needed("m")} AND NOT {excludes("m")}
 ORDER BY m.finished_ms LIMIT :limit {SKIP_LOCKED}
"""
# Once more, of one that is locked by now: something may have been sent behind it until then.
FREE = f"SELECT 1 FROM liteq_messages AS m WHERE m.seq = ? AND NOT {needed('m')}"
NUMBERS = f"""
SELECT m.seq FROM liteq_messages AS m
 WHERE m.id = ? AND m.flags & {Flag.RUN} <> 0 AND m.state IN {sql_list(FINISHED)}
   AND NOT {needed("m", TAKERS_OF_THE_DEAD)}
"""
DELETE = "DELETE FROM liteq_messages WHERE seq = ?"
# Events for which no run waits. One that is kept for its `dedup` goes at its run's end.
LOST_EVENTS = f"""
DELETE FROM liteq_inbox WHERE id IN (
    SELECT i.id FROM liteq_inbox AS i
     WHERE i.created_ms <= :before_ms AND NOT EXISTS (
        SELECT 1 FROM liteq_messages AS m WHERE m.id = i.run_id AND m.state IN {sql_list(UNFINISHED)})
     LIMIT :limit {SKIP_LOCKED})
"""
# Whether anything of LangGraph's is over: an item, or a thread of a run that is gone.
GRAPHS = """
SELECT 1 WHERE EXISTS (SELECT 1 FROM liteq_graph_items WHERE expires_ms <= :now_ms)
   OR EXISTS (SELECT 1 FROM liteq_graph_threads WHERE lost = 1)
"""
EVERY_GEN = 1 << 62
USAGE_MS = 400 * 86_400_000  # a year is compared with the one before
FEW = 50  # runs in one transaction: each may have a thousand rows


def expire(
    tx: Transaction, walk: Walk, of_dead: Walk, *, before_ms: int | None, now_ms: int, limit: int
) -> int:  # fmt: skip
    """Delete up to about `limit` rows of what is over; how many. `before_ms`: when a run ended; None: runs stay."""
    gone = memo.expire(tx, now_ms=now_ms, limit=limit)
    gone += usage.expire(tx, before_ms=now_ms - USAGE_MS, limit=limit)
    if tx.execute(GRAPHS, {"now_ms": now_ms}):
        from liteq.storage.graphs import retention as graphs  # of LangGraph's callers alone

        gone += graphs.expire(tx, now_ms=now_ms, limit=limit)
    for run, gen in tx.execute(OLD, (FEW,)):
        left = limit - gone
        swept = _sweep(tx, run, gen, left, stream=False) if left > 0 else left
        gone += swept
        if left > 0 and swept < left:
            tx.executemany(SWEPT, [(gen, run)])
    if before_ms is None or gone >= limit:
        return gone
    gone += tx.executemany(LOST_EVENTS, [{"before_ms": before_ms, "limit": limit - gone}])
    for one, sql in ((walk, ENDED), (of_dead, FAILED)):
        since_ms = one.after_ms
        for (run,) in one.step(tx, sql, before_ms=before_ms, limit=limit):
            gone += _leave(tx, run, limit - gone) if tx.execute(FREE, (run,)) else 0
            if gone >= limit:
                one.after_ms = since_ms  # some of these are left
                return gone
    return gone


def _leave(tx: Transaction, run: int, limit: int) -> int:
    """Delete up to `limit` of a run's rows, at last its message; how many."""
    gone = _sweep(tx, run, EVERY_GEN, limit, stream=True)
    return gone if gone >= limit else gone + tx.executemany(DELETE, [(run,)])


def _sweep(tx: Transaction, run: int, gen: int, limit: int, *, stream: bool) -> int:
    """Delete up to `limit` rows of a run's generations before `gen`; how many."""
    gone = 0
    for sql in (SWEEP, SWEEP_BODIES, *([SWEEP_STREAM] if stream else [])):
        if gone < limit:
            params: dict[str, object] = {"run": run, "limit": limit - gone}
            gone += tx.executemany(sql, [params if sql == SWEEP_STREAM else {**params, "gen": gen}])
    return gone


def empty(tx: Transaction, ids: Sequence[str], *, limit: int) -> tuple[int, int]:
    """Delete up to `limit` rows of ended runs: how many rows, and how many runs have gone.

    One whose end something unfinished may still ask for stays.
    """
    gone = runs = 0
    hold(tx, ids)
    for id_ in ids:
        for (run,) in tx.execute(NUMBERS, (id_,)):
            if gone >= limit:
                return gone, runs
            swept = _sweep(tx, run, EVERY_GEN, limit - gone, stream=True)
            gone += swept
            if gone < limit:
                runs += tx.executemany(DELETE, [(run,)])
                let_go(tx, [id_])
                gone += 1
    return gone, runs
