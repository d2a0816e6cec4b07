"""The epoch: which life of its queue a file is. A new one begins when a copy is taken into use.

A copy is in an older state than the file it was made of. What runs, or has only been stopped, since then holds leases
under fencing tokens that the copy knows nothing of, and might give out again by a clock that is behind. So the tokens
of a new epoch lie ahead of those of the one before (tokens.py); what is leased in the copy is nobody's, and goes back
to its queue as a lease that ran out does; and the workers enter their names anew.

A copy is told by its journal mode: `backup` writes it as one file without a log, as VACUUM INTO does, and the first
process that opens it in its place puts it into WAL mode.
"""

from __future__ import annotations

from typing import Final, cast

from liteq.exceptions import SchemaTooNew
from liteq.storage.driver import Transaction
from liteq.storage.sqlite.migrate import newest, read_versions
from liteq.storage.sqlite.session import Session

__all__ = ["begin", "next_one"]

BEGIN: Final = (
    "UPDATE liteq_meta SET value = value + 1 WHERE key = 'epoch'",
    "UPDATE liteq_messages SET token = 0, deadline_ms = 0 WHERE state = 'leased'",
    "DELETE FROM liteq_workers",
)
NUMBER: Final = "SELECT value FROM liteq_meta WHERE key = 'epoch'"


def begin(session: Session) -> None:
    """Begin a new epoch in a file that has a queue and is not in WAL mode, in a transaction of its own.

    Raises StorageBusy where another connection writes, SchemaTooNew where the file is a newer liteq's.
    """
    session.script("BEGIN IMMEDIATE")
    try:
        found = read_versions(cast("Transaction", session), session.path)
        known = newest()
        if found.min_writer > known:
            raise SchemaTooNew(session.path, found.version, known)
        if found.version and session.pragma("journal_mode") != "wal":  # else another process has just done so
            for sql in BEGIN:
                session.execute(sql)
        session.commit()
    except BaseException:
        session.rollback()
        raise


def next_one(tx: Transaction) -> int:
    """Begin a new epoch in a file that is in use, in the open write transaction; its number.

    A connection that has given out tokens goes on with those of the epoch before for up to a minute; a claim looks that
    the tokens of each message go up all the same.
    """
    for sql in BEGIN:
        tx.execute(sql)
    return int(tx.execute(NUMBER)[0][0])
