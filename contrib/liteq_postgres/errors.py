"""The server's SQLSTATEs as liteq's exceptions."""

from __future__ import annotations

import psycopg

from liteq.exceptions import (
    ReadTimeout,
    StorageBusy,
    StorageConflict,
    StorageCorrupt,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageUnavailable,
)

__all__ = ["translate"]

HOLDER = "another transaction on the server (SELECT * FROM pg_stat_activity tells which)"


def translate(error: psycopg.Error, where: str, waited_s: float) -> StorageError:
    """The exception for `error`; `waited_s`: how long a statement may wait for a row."""
    state = error.sqlstate
    text = str(error).strip().partition("\n")[0]
    match state:
        case "40001" | "40P01":
            return StorageConflict(f"{where}: another transaction was in the way ({text})")
        case "23505" if (error.diag.table_name or "").startswith("liteq_"):
            # A verb writes what it has found free. So the row came since, and the next run finds it.
            return StorageConflict(f"{where}: another transaction was faster ({text})")
        case "55P03":
            return StorageBusy(waited_s, HOLDER)
        case "57014":
            return ReadTimeout(f"{where}: the statement took longer than it may, and was stopped: ask for less")
        case "53100":
            return StorageFull(
                f"{where}: the server's disk is full ({text}): free some space; nothing accepted is lost"
            )
        case "XX001" | "XX002":
            return StorageCorrupt(f"{where} is damaged ({text}): stop the workers and look at the server")
        case "25006":
            return StorageUnavailable(
                f"{where}: this server cannot be written: it is a standby (name the primary), or "
                f"default_transaction_read_only is on (turn it off) ({text})"
            )
        case "42P01" | "3F000":
            return StorageError(f"{where}: {text}: run `liteq migrate`")
        case "42501":  # no StorageUnavailable, for which callers wait; and no value is to blame
            return StorageDenied(
                f"{where}: the role may not do this ({text}): let the database's owner run `liteq migrate` and "
                "grant the rights"
            )
    if state is None:  # what psycopg itself says: that the connection is gone, or that it cannot send a value
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    else:
        lost = state.startswith(("08", "57P", "53", "25P03"))
    if lost:
        return StorageUnavailable(f"{where}: the server does not answer, or refuses ({text})")
    return StorageError(f"{where}: {text}")
