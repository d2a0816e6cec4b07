"""Runs that wait for a place which a step of theirs lacks: the first of them is woken when one is free."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from liteq.states import UNFINISHED, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.steps.wake import wake

__all__ = ["WAITS", "how_many", "wake_all", "wake_first"]

WAITS: Final = "limit "  # and the key: what such a step waits for, in liteq_steps.waited
# The steps of a run that has ended are kept, and stand in no line.
FIRST: Final = """
SELECT s.run, m.queue FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run
 WHERE s.waited = ? AND s.waited IS NOT NULL AND s.ended_ms IS NULL
   AND (m.state = 'blocked' OR m.state = 'scheduled') ORDER BY s.run LIMIT 16
"""
ALL = FIRST.replace("LIMIT 16", "LIMIT 1000")
COUNT: Final = f"""
SELECT count(*) FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run
 WHERE s.waited = ? AND s.waited IS NOT NULL AND s.ended_ms IS NULL AND m.state IN {sql_list(UNFINISHED)}
   AND s.run <> ?
"""
BEFORE: Final = COUNT.replace("s.run <> ?", "s.run < ?")
STANDS = "SELECT 1 FROM liteq_steps WHERE waited = ? AND waited IS NOT NULL AND ended_ms IS NULL AND run = ? LIMIT 1"


def how_many(tx: Transaction, key: str, run: int) -> int:
    """How many runs wait for `key` before this one: all others, or those before it where it stands among them."""
    stands = tx.execute(STANDS, (WAITS + key, run))
    return int(tx.execute(BEFORE if stands else COUNT, (WAITS + key, run))[0][0])


def wake_first(tx: Transaction, key: str, *, now_ms: int, but: Container[int] = ()) -> str | None:
    """Let the first run that waits for `key`, `but` none of these, go on; its queue, None where none waits."""
    for run, queue in tx.execute(FIRST, (WAITS + key,)):
        if run not in but and wake(tx, run, now_ms=now_ms):
            return str(queue)
    return None


def wake_all(tx: Transaction, key: str, *, now_ms: int) -> bool:
    """Let the runs that wait for `key` look again, up to a thousand; whether one does."""
    return sum(wake(tx, run, now_ms=now_ms) for run, _ in tx.execute(ALL, (WAITS + key,))) > 0
