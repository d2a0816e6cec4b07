"""The marks that are set once in the life of a file, and checked when a process opens it."""

from __future__ import annotations

from time import monotonic, sleep

from liteq.exceptions import StorageBusy, StorageUnavailable
from liteq.storage.sqlite import epoch
from liteq.storage.sqlite.gate import pause_s
from liteq.storage.sqlite.session import APPLICATION_ID, PAGE_SIZE, Session

__all__ = ["check_application", "is_prepared", "prepare"]

HEAD_BYTES, MAGIC, WAL_VERSIONS = 100, b"SQLite format 3\0", b"\2\2"  # https://sqlite.org/fileformat.html


def prepare(session: Session, timeout_s: float) -> None:
    """Put a new file, or a copy that comes into use, into WAL mode; refuse another application's file.

    Raises StorageCorrupt where it is no database, StorageUnavailable, StorageBusy, SchemaTooNew.
    """
    check_application(session)
    if session.pragma("journal_mode") == "wal":
        return
    session.gate.acquire(timeout_s)
    try:
        _into_wal(session, timeout_s)
    finally:
        session.gate.release()


def is_prepared(path: str) -> bool:
    """Whether the file's first bytes say that `prepare` has nothing to do: a queue, and in WAL mode.

    Of a young file they may not say it yet, as its log has them; then a connection is asked. It costs a look at the
    whole schema, which a worker of many files would pay each time that one of them wakes.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return head[:16] == MAGIC and head[18:20] == WAL_VERSIONS and head[68:72] == APPLICATION_ID.to_bytes(4, "big")


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
