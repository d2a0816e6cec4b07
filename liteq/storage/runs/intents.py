"""Intents: rows that say a step was begun, written before it where its repetition would do harm.

It goes in the transaction of the step's end. One that is found later is of a step in doubt: its process is gone.
"""

from __future__ import annotations

from liteq.message import Hold
from liteq.storage.driver import Transaction
from liteq.storage.runs.records import Intent

__all__ = ["begin", "end", "find", "in_doubt"]

FIND = """
SELECT name, step_key, begun, began_ms FROM liteq_intents WHERE run = ? AND gen = ? AND scope = ? AND pos = ?
"""
BEGIN = """
INSERT INTO liteq_intents (run, gen, scope, pos, name, step_key, begun, token, began_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, gen, scope, pos) DO UPDATE
   SET begun = excluded.begun, token = excluded.token, began_ms = excluded.began_ms
"""
END = "DELETE FROM liteq_intents WHERE run = ? AND gen = ? AND scope = ? AND pos = ?"
# A run that has ended well, or that a person has ended, asks for nothing any more; one that has failed may be retried.
IN_DOUBT = """
SELECT m.id FROM liteq_intents AS i JOIN liteq_messages AS m ON m.seq = i.run JOIN liteq_runs AS r ON r.run = i.run
 WHERE i.gen = r.gen AND (m.finished_ms IS NULL OR m.state = 'dead')
   AND (m.state <> 'leased' OR m.token <> i.token)
   AND NOT EXISTS (
        SELECT 1 FROM liteq_steps AS s
         WHERE s.run = i.run AND s.gen = i.gen AND s.scope = i.scope AND s.pos = i.pos AND s.ended_ms IS NOT NULL)
 GROUP BY m.id, i.run ORDER BY i.run DESC LIMIT ?
"""

Place = tuple[str, int]


def find(tx: Transaction, hold: Hold, place: Place) -> Intent | None:
    """The intent of the step at `place`; None where it was not begun, or has ended. A read."""
    for row in tx.execute(FIND, (hold.run, hold.gen, *place)):
        return Intent._make(row)
    return None


def begin(tx: Transaction, hold: Hold, place: Place, name: str, step_key: str, begun: int, *, now_ms: int) -> None:
    """Note that the step at `place` is about to run, for the time number `begun`."""
    tx.executemany(BEGIN, [(hold.run, hold.gen, *place, name, step_key, begun, hold.token, now_ms)])


def end(tx: Transaction, hold: Hold, place: Place) -> None:
    """Note that the end of that step is known."""
    tx.executemany(END, [(hold.run, hold.gen, *place)])


def in_doubt(tx: Transaction, *, limit: int) -> list[str]:
    """The ids of runs, and of steps that were sent, of which a step is in doubt; the newest first."""
    return [id_ for (id_,) in tx.execute(IN_DOUBT, (limit,))]
