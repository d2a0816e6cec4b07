"""The end of a run: what it has started and left open ends with it."""

from __future__ import annotations

from collections.abc import Iterable

from liteq.exceptions import TaskRevokedError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.states import State
from liteq.storage.canvases.cancel import cancel
from liteq.storage.driver import Transaction
from liteq.storage.steps import rows
from liteq.storage.steps.closing import close
from liteq.storage.steps.wake import free_memo, lock_memo

__all__ = ["CANCELLED", "LEFT_ALONE", "cancel_children", "end_run"]

STATE = """
SELECT r.gen, r.spawned, m.state FROM liteq_runs AS r LEFT JOIN liteq_messages AS m ON m.seq = r.run WHERE r.run = ?
"""
CLAIMS = "SELECT key FROM liteq_memo WHERE run = ? AND output IS NULL"
DROP_CLAIM = "DELETE FROM liteq_memo WHERE key = ? AND output IS NULL"
# It runs to its end, and is not run again (settle.py, reap.py).
LET_END = f"""
UPDATE liteq_messages SET flags = flags | {Flag.ASKED} WHERE id = ? AND state = 'leased' AND flags & {Flag.RUN} = 0
"""
LEFT = "the run that had started it has ended"
CANCELLED = "the run that had started it has cancelled it"
LEFT_ALONE = encode_error(TaskRevokedError("the run that had started it has ended, or has cancelled it"))


def end_run(tx: Transaction, run: int, id_: str, *, now_ms: int) -> bool:
    """Cancel the children of a run that has just ended, give up what it computes for others; whether something woke."""
    woke = failed = False
    for gen, spawned, state in tx.execute(STATE, (run,)):
        failed = state == State.DEAD
        if spawned:
            cancel_children(tx, rows.open_children(tx, run, gen), now_ms=now_ms)
    for (key,) in tx.execute(CLAIMS, (run,)):
        lock_memo(tx, key)
        tx.executemany(DROP_CLAIM, [(key,)])
        woke |= free_memo(tx, key, first=True, now_ms=now_ms)
    close(tx, run, id_, failed_ms=now_ms if failed else None)
    return woke


def cancel_children(tx: Transaction, children: Iterable[str], *, now_ms: int, reason: str = LEFT) -> None:
    """Cancel those that have not begun, and ask the others; tasks that run at the moment run to their end.

    Such a task does not run again: where it is retried, or its process dies, or its worker, it is cancelled then.
    """
    ids = list(children)
    if ids:
        running = cancel(tx, ids, now_ms=now_ms, reason=reason)
        tx.executemany(LET_END, [(id_,) for id_ in running])
