"""A run that has ended, or will never begin, is closed: nothing is asked of it any more, and it takes no events."""

from __future__ import annotations

from liteq.storage.driver import Transaction

__all__ = ["apart", "close", "reopen", "shifted"]

CLOSE = "UPDATE liteq_runs SET asked = NULL, parked = NULL, now = NULL, need = NULL WHERE run = ?"
DROP_EVENTS = "DELETE FROM liteq_inbox WHERE run_id = ?"
KEEP_EVENTS = "UPDATE liteq_inbox SET run_id = :to, created_ms = :now_ms WHERE run_id = :id"
GIVE_EVENTS = "UPDATE liteq_inbox SET run_id = :to WHERE run_id = :id"
MARK = "\x1f"


def close(tx: Transaction, run: int, id_: str, *, failed_ms: int | None = None) -> None:
    """Close the run of this number and id. Events that nobody has taken are gone: a later run of the id gets none.

    Those of one that has failed, at `failed_ms`, are kept apart from its id: it may be retried. They are as old as its
    end is from then on, and leave with it, not before (runs/retention.py).
    """
    if failed_ms is not None:
        place = apart(run, id_)
        tx.executemany(DROP_EVENTS, [(place,)])  # of a deleted run of this id, whose number came again
        tx.executemany(KEEP_EVENTS, [{"id": id_, "to": place, "now_ms": failed_ms}])
    else:
        tx.executemany(DROP_EVENTS, [(id_,)])
    tx.executemany(CLOSE, [(run,)])


def reopen(tx: Transaction, run: int, id_: str) -> None:
    """Give a run that goes on after a failure its events back."""
    tx.executemany(GIVE_EVENTS, [{"id": apart(run, id_), "to": id_}])


def apart(run: int, id_: str) -> str:
    """The place in the inbox of a failed run's events; no run has it for its id."""
    return f"{id_}{MARK}{run}"


def shifted(place: str, by: int) -> str:
    """A place in the inbox, as it is where the numbers of runs are higher by `by`."""
    id_, mark, run = place.rpartition(MARK)
    return apart(int(run) + by, id_) if mark and run.isdecimal() else place
