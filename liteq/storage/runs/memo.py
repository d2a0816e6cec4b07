"""The memo: results of steps that runs share, each computed once.

A claim stands under the lease of the run that computes: it holds exactly as long as that, so a crash frees it.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal, InvalidOperation

import orjson

from liteq.message import Hold, StepRow
from liteq.storage.driver import LOCK, SKIP_LOCKED, Row, Transaction
from liteq.storage.runs.records import Memo, MemoEntry, MemoStats, MemoTaken
from liteq.storage.steps.wake import free_memo, lock_memo

__all__ = ["claim", "clear", "drop", "entries", "entry", "expire", "hit", "look", "scope_of", "stats", "store"]

STORED = """
SELECT output, spent FROM liteq_memo WHERE key = ? AND output IS NOT NULL AND (expires_ms IS NULL OR expires_ms > ?)
"""
CLAIMED = f"""
SELECT m.seq FROM liteq_memo AS o JOIN liteq_messages AS m ON m.seq = o.run AND m.token = o.token
 WHERE o.key = ? AND o.output IS NULL AND m.state = 'leased' {LOCK}
"""
CLAIM = """
INSERT INTO liteq_memo (key, name, output, run, token, created_ms, expires_ms) VALUES (?, ?, NULL, ?, ?, ?, NULL)
ON CONFLICT (key) DO UPDATE
   SET name = excluded.name, output = NULL, run = excluded.run, token = excluded.token,
       created_ms = excluded.created_ms, expires_ms = NULL, hits = 0, spent = NULL
"""
STORE = """
INSERT INTO liteq_memo (key, name, output, run, token, created_ms, expires_ms, scope, spent)
VALUES (?, ?, ?, NULL, NULL, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE
   SET output = excluded.output, run = NULL, token = NULL, created_ms = excluded.created_ms,
       expires_ms = excluded.expires_ms, scope = excluded.scope, spent = excluded.spent
"""
DROP = "DELETE FROM liteq_memo WHERE key = ? AND output IS NULL AND run = ? AND token = ?"
EXPIRE = f"""
DELETE FROM liteq_memo WHERE key IN (
    SELECT key FROM liteq_memo WHERE expires_ms IS NOT NULL AND expires_ms <= :now_ms LIMIT :limit
    {SKIP_LOCKED})
"""
HIT = "UPDATE liteq_memo SET hits = hits + 1 WHERE key = ? AND output IS NOT NULL"
STATS = """
SELECT name, count(output), coalesce(sum(hits), 0), coalesce(sum(length(output)), 0), count(*) - count(output)
  FROM liteq_memo GROUP BY name ORDER BY name
"""
SAVED = "SELECT name, spent, sum(hits) FROM liteq_memo WHERE spent IS NOT NULL AND hits > 0 GROUP BY name, spent"
FITS = """
 output IS NOT NULL AND (CAST(:name AS TEXT) IS NULL OR name = :name)
   AND (CAST(:scope AS TEXT) IS NULL OR scope = :scope)
   AND (CAST(:before_ms AS BIGINT) IS NULL OR created_ms <= :before_ms)
"""
ENTRIES = f"""
SELECT key, name, scope, length(output), hits, spent, created_ms, expires_ms, NULL FROM liteq_memo WHERE {FITS}
 ORDER BY created_ms DESC, key LIMIT :limit
"""
ONE = """
SELECT key, name, scope, length(output), hits, spent, created_ms, expires_ms, output FROM liteq_memo
 WHERE key = ? AND output IS NOT NULL
"""
CLEAR = f"DELETE FROM liteq_memo WHERE {FITS}"
RUN_TAGS = "SELECT tag FROM liteq_run_tags WHERE run = ? ORDER BY tag"
PARENT = """
SELECT p.seq FROM liteq_messages AS m JOIN liteq_messages AS p ON p.id = m.parent_id WHERE m.seq = ?
"""
DEEPEST = 100  # of runs that have started each other


def scope_of(tx: Transaction, run: int, name: str) -> str | None:
    """The tags "NAME:..." of a run, joined by commas, or those of its nearest parent with one; None. A read."""
    for _ in range(DEEPEST):
        found = sorted(tag for (tag,) in tx.execute(RUN_TAGS, (run,)) if tag.startswith(f"{name}:"))
        if found:
            return ",".join(found)
        parents = tx.execute(PARENT, (run,))
        if not parents:
            return None
        run = parents[0][0]
    return None


def look(tx: Transaction, key: str, *, now_ms: int) -> MemoTaken | None:
    """The result under `key`; None where none is stored. A read."""
    for output, spent in tx.execute(STORED, (key, now_ms)):
        return MemoTaken(bytes(output), mine=False, spent=spent)
    return None


def claim(tx: Transaction, hold: Hold, key: str, name: str, *, now_ms: int) -> MemoTaken:
    """The result under `key`, or else the right to compute it, unless another run has that."""
    lock_memo(tx, key)
    found = look(tx, key, now_ms=now_ms)
    if found is not None:
        return found
    if tx.execute(CLAIMED, (key,)):
        return MemoTaken(None, mine=False)
    tx.executemany(CLAIM, [(key, name, hold.run, hold.token, now_ms)])
    return MemoTaken(None, mine=True)


def store(tx: Transaction, memo: Memo, step: StepRow, *, now_ms: int) -> bool:
    """Keep the output of `step` at its place in the memo; whether a run woke that waited for it."""
    lock_memo(tx, memo.key)
    expires_ms = None if memo.holds_ms is None else now_ms + memo.holds_ms
    tx.executemany(STORE, [(memo.key, step.name, step.output, now_ms, expires_ms, memo.scope, memo.spent)])
    return free_memo(tx, memo.key, first=False, now_ms=now_ms)


def hit(tx: Transaction, key: str) -> None:
    """Count that the memo has answered a call."""
    tx.executemany(HIT, [(key,)])


def drop(tx: Transaction, hold: Hold, key: str, *, now_ms: int) -> bool:
    """Give the right up; whether a run woke that is to compute it now."""
    lock_memo(tx, key)
    return bool(tx.executemany(DROP, [(key, hold.run, hold.token)])) and free_memo(tx, key, first=True, now_ms=now_ms)


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Delete up to `limit` results whose time is over; how many."""
    return tx.executemany(EXPIRE, [{"now_ms": now_ms, "limit": limit}])


def stats(tx: Transaction) -> list[MemoStats]:
    """The numbers of what is kept, by the name of the step."""
    saved = defaultdict[str, list[Decimal]](list)
    for name, spent, hits in tx.execute(SAVED):
        if (cost := _cost(spent)) is not None:
            saved[name].append(cost * int(hits))
    found = []
    for name, kept, hits, size, claimed in tx.execute(STATS):
        found.append(MemoStats(name, kept, int(hits), int(size), sum(saved[name], Decimal(0)) or None, claimed))
    return found


def _cost(spent: bytes | None) -> Decimal | None:
    """The cost of computing a result, in the unit of its prices; None where nothing tells it."""
    try:
        costs = [one.get("cost") for one in orjson.loads(spent)] if spent else []
        return sum((Decimal(cost) for cost in costs), Decimal(0)) if costs and None not in costs else None
    except (ValueError, TypeError, AttributeError, InvalidOperation):  # of another version
        return None


def _entry(row: Row) -> MemoEntry:
    key, name, scope, size, hits, spent, created_ms, expires_ms, output = row
    cost = _cost(spent)
    saved = cost * hits if cost and hits else None
    return MemoEntry(key, name, scope, size, hits, saved, created_ms, expires_ms, output)


def _filter(name: str | None, scope: str | None, before_ms: int | None) -> dict[str, object]:
    return {"name": name, "scope": scope, "before_ms": before_ms}


def entries(
    tx: Transaction, *, name: str | None, scope: str | None, before_ms: int | None, limit: int
) -> list[MemoEntry]:
    """The results that are kept, the newest first: of a step, of a tag, computed until then; without their outputs."""
    return [_entry(row) for row in tx.execute(ENTRIES, {**_filter(name, scope, before_ms), "limit": limit})]


def entry(tx: Transaction, key: str) -> MemoEntry | None:
    """The result under `key`, with its output; None where none is kept."""
    for row in tx.execute(ONE, (key,)):
        return _entry(row)
    return None


def clear(tx: Transaction, *, name: str | None, scope: str | None, before_ms: int | None) -> int:
    """Forget the results that fit, else all of them; how many. What is being computed goes on."""
    return tx.executemany(CLEAR, [_filter(name, scope, before_ms)])
