"""The marks that are set once in the life of a file, and checked when a process opens it."""

from __future__ import annotations

from time import monotonic, sleep

from liteq.exceptions import StorageBusy, StorageUnavailable
from liteq.storage.sqlite.session import APPLICATION_ID, PAGE_SIZE, Session
from liteq.storage.sqlite.turns.gate import pause_s
from liteq.storage.sqlite.versions import epoch

__all__ = ["check_application", "is_prepared", "prepare"]


def prepare(session: Session, timeout_s: float) -> None:
    """Put a new file, or a copy that comes into use, into WAL mode; refuse another application's file.

    Raises StorageCorrupt where it is no database, StorageUnavailable, StorageBusy, SchemaTooNew.
    """
    if is_prepared(session):
        return
    session.gate.acquire(timeout_s)
    try:
        _into_wal(session, timeout_s)
    finally:
        session.gate.release()


def is_prepared(session: Session) -> bool:
    """Whether `prepare` has nothing to do. Raises StorageUnavailable for another application's file."""
    check_application(session)
    return bool(session.pragma("journal_mode") == "wal")


def check_application(session: Session) -> None:
    """Raises StorageUnavailable where the file says that it is another application's."""
    found = session.pragma("application_id")
    if found not in (0, APPLICATION_ID):  # 0: new, or shared with an application that does not sign its files
        raise StorageUnavailable(
            f"{session.path} is the database of another application (application_id {found:#x}): name another file"
        )


def _into_wal(session: Session, timeout_s: float) -> None:
    end = monotonic() + timeout_s
    while True:
        if session.pragma("page_count") == 0:  # both are fixed by the first page that is written
            session.script(f"PRAGMA page_size={PAGE_SIZE}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=FULL")
        try:
            if session.pragma("page_count"):
                epoch.begin(session)
            session.script("PRAGMA journal_mode=WAL")
        except StorageBusy:
            if monotonic() >= end:
                raise
            sleep(pause_s())
            continue
        break
    mode = session.pragma("journal_mode")
    if mode != "wal":
        raise StorageUnavailable(
            f"{session.path} stays in journal mode {mode!r}: its file system has no shared memory for SQLite's "
            "write-ahead log; move it to a local disk"
        )
