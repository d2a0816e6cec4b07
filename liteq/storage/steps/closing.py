"""A run that has ended, or will never begin, is closed: nothing is asked of it any more, and it takes no events."""

from __future__ import annotations

from liteq.storage.driver import Transaction

__all__ = ["close"]

CLOSE = "UPDATE liteq_runs SET asked = NULL, parked = NULL, now = NULL, need = NULL WHERE run = ?"
DROP_EVENTS = "DELETE FROM liteq_inbox WHERE run_id = ?"


def close(tx: Transaction, run: int, id_: str) -> None:
    """Close the run of this number and id. Events that nobody has taken are gone: a later run of the id gets none."""
    tx.executemany(DROP_EVENTS, [(id_,)])
    tx.executemany(CLOSE, [(run,)])
