"""The log and its index under running processes: whether those that are open still are those under their names.

Deleting `-wal` under its users leaves them with a log that has no name: they go on, and with the last of them
everything goes that was not folded. Deleting `-shm` splits its users into two halves, which do not see each other's
locks. Either is noticed by an inode that has changed, which costs two `stat`.
"""

from __future__ import annotations

from liteq.exceptions import StorageCorrupt, StorageError
from liteq.storage.sqlite.files import identity
from liteq.storage.sqlite.session import Session

__all__ = ["Sidecars"]

NONE = (0, 0)


class Sidecars:
    """The knowledge of one process about `-wal` and `-shm` of the database `path`."""

    __slots__ = ("_index", "_log", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self.forget()

    def forget(self) -> None:
        """No connection is open any more, or perhaps none: the last one takes both files along."""
        self._log = self._index = NONE

    def note(self) -> None:
        """Some connection has just committed: the files of now are the open ones."""
        if self._log == NONE:
            self._log, self._index = identity(f"{self._path}-wal"), identity(f"{self._path}-shm")

    def log_lost(self) -> bool:
        """Whether the open log is not the one under its name."""
        return self._log != NONE and identity(f"{self._path}-wal") != self._log

    def index_lost(self) -> bool:
        """Whether the open index is not the one under its name."""
        return self._index != NONE and identity(f"{self._path}-shm") != self._index

    def check(self, session: Session | None) -> None:
        """Raises StorageCorrupt when either is lost, after saving as much of the log as `session`, an open one, can.

        A new connection would begin a new log beside the index of the old one: none must be opened then.
        """
        if self.index_lost():
            raise StorageCorrupt(
                f"{self._path}-shm was deleted while processes use the file: stop all of them, then start them again; "
                "accepted tasks are in the log, which must stay"
            )
        if self.log_lost():
            saved = session is not None and _save(session)
            raise StorageCorrupt(
                f"{self._path}-wal was deleted while processes use the file: "
                + ("its content is in the file now" if saved else "its content is lost with the last of them")
                + f"; stop all of them, delete {self._path}-shm, and start them again"
            )


def _save(session: Session) -> bool:
    """Fold the nameless log into the file; whether all of it is there.

    FULL takes the write lock itself and waits for readers: that needs no guard (checkpoint.py), and no second
    connection.
    """
    if not session.gate.acquire(session.busy_timeout_s):
        return False
    try:
        blocked, in_log, folded = session.execute("PRAGMA wal_checkpoint(FULL)")[0]
    except StorageError:
        return False
    finally:
        session.gate.release()
    return not blocked and in_log == folded
