"""Runs that wait for a budget in which something is in flight: the first is woken when something is given back."""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.steps.wake import wake

__all__ = ["WAITS", "wake_all", "wake_first"]

WAITS: Final = "budget "  # and its label: what such a step waits for, in liteq_steps.waited
_WAITING: Final = """
SELECT s.run, m.queue FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run
 WHERE s.waited = ? AND s.waited IS NOT NULL AND s.ended_ms IS NULL
   AND (m.state = 'blocked' OR m.state = 'scheduled') ORDER BY s.run
"""
WAITING = _WAITING
FIRST = f"{_WAITING} LIMIT 16"


def wake_first(tx: Transaction, label: str, *, now_ms: int) -> str | None:
    """Let the first run that waits for the budget go on; its queue, None where none does."""
    for run, queue in tx.execute(FIRST, (WAITS + label,)):
        if wake(tx, run, now_ms=now_ms):
            return str(queue)
    return None


def wake_all(tx: Transaction, label: str, *, now_ms: int) -> bool:
    """Let all that wait for the budget go on: a person has decided; whether one does."""
    return sum(wake(tx, run, now_ms=now_ms) for run, _ in tx.execute(WAITING, (WAITS + label,))) > 0
