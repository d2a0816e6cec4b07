"""Runs that wait for a place which a step of theirs lacks: the first of them is woken when one is free."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.steps.wake import wake

__all__ = ["WAITS", "how_many", "wake_first"]

WAITS: Final = "limit "  # and the key: what such a step waits for, in liteq_steps.waited
FIRST: Final = """
SELECT s.run, m.queue FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run
 WHERE s.waited = ? AND s.waited IS NOT NULL AND s.ended_ms IS NULL ORDER BY s.run LIMIT 16
"""
COUNT: Final = """
SELECT count(*) FROM liteq_steps WHERE waited = ? AND waited IS NOT NULL AND ended_ms IS NULL AND run <> ?
"""


def how_many(tx: Transaction, key: str, run: int) -> int:
    """How many runs but this one wait for `key`."""
    return int(tx.execute(COUNT, (WAITS + key, run))[0][0])


def wake_first(tx: Transaction, key: str, *, now_ms: int, but: Container[int] = ()) -> str | None:
    """Let the first run that waits for `key`, `but` none of these, go on; its queue, None where none waits."""
    for run, queue in tx.execute(FIRST, (WAITS + key,)):
        if run not in but and wake(tx, run, now_ms=now_ms):
            return str(queue)
    return None
