"""Runs end at once: no clean-up of theirs runs."""

from __future__ import annotations

from liteq.exceptions import RunCancelled
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.states import UNFINISHED, sql_list
from liteq.storage.canvases.continuation import End, propagate
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.limits import places
from liteq.storage.settling.endings import end_run

__all__ = ["terminate"]

ALIVE = f"""
SELECT seq, state, token, flags, group_id FROM liteq_messages
 WHERE id = ? AND state IN {sql_list(UNFINISHED)} AND flags & {Flag.RUN} <> 0 {LOCK}
"""
END = "UPDATE liteq_messages SET state = 'cancelled', error = ?, finished_ms = ? WHERE seq = ?"


def terminate(tx: Transaction, run_id: str, *, reason: str, now_ms: int) -> tuple[bool, int | None]:
    """End a run: whether it had not ended, and the token of the lease that it had."""
    for seq, state, token, flags, group_id in tx.execute(ALIVE, (run_id,)):
        error = encode_error(RunCancelled(reason or "terminated"))
        if state == "leased":
            places.free(tx, [(seq, token)], now_ms=now_ms)
        tx.executemany(END, [(error, now_ms, seq)])
        if flags & Flag.LINKED:
            propagate(tx, [End(run_id, False, group_id, error, child=bool(flags & Flag.CHILD))], now_ms=now_ms)
        end_run(tx, seq, run_id, now_ms=now_ms)
        return True, token if state == "leased" else None
    return False, None
