"""The log and its index under running processes: whether those that are open still are those under their names.

Deleting `-wal` under its users leaves them with a log that has no name: they go on, and with the last of them
everything goes that was not folded. Deleting `-shm` splits its users into two halves, which do not see each other's
locks. Either is noticed by an inode that has changed, which costs two `stat`.
"""

from __future__ import annotations

from liteq.exceptions import StorageCorrupt, StorageError
from liteq.storage.sqlite.disk.files import identity, unreachable
from liteq.storage.sqlite.session import Session

__all__ = ["Sidecars"]

LOG, INDEX = 0, 1


class Sidecars:
    """The knowledge of one process about `-wal` and `-shm` of the database `path`. Safe to use from any thread.

    What is known is one tuple, replaced as a whole: between two looks at it another thread may note or forget.
    """

    __slots__ = ("_known", "_paths")

    def __init__(self, path: str) -> None:
        self._paths = (f"{path}-wal", f"{path}-shm")
        self.forget()

    def forget(self) -> None:
        """Some connection is about to be closed, perhaps the last: that one takes both files along.

        Before it is closed: who then finds the files gone sees that they are no more known.
        """
        self._known: tuple[tuple[int, int], ...] | None = None

    def note(self) -> None:
        """Some connection has just committed, and is still open: what is there now is what is open."""
        if self._known is None:
            self._known = (identity(self._paths[LOG]), identity(self._paths[INDEX]))

    def log_lost(self) -> bool:
        """Whether the open log is not the one under its name."""
        return self._lost(LOG)

    def index_lost(self) -> bool:
        """Whether the open index is not the one under its name."""
        return self._lost(INDEX)

    def _lost(self, which: int) -> bool:
        known = self._known
        while known is not None and identity(self._paths[which]) != known[which]:
            before, known = known, self._known
            if known is before:
                return not unreachable(self._paths[which])  # in a folder that cannot be entered it only looks lost
        return False

    def check(self, session: Session | None) -> None:
        """Raises StorageCorrupt when either is lost, after saving as much of the log as `session`, an open one, can.

        A new connection would begin a new log beside the index of the old one: none must be opened then.
        """
        if self.index_lost():
            raise StorageCorrupt(
                f"{self._paths[INDEX]} was deleted while processes use the file: stop all of them, then start them "
                "again; accepted tasks are in the log, which must stay"
            )
        if self.log_lost():
            saved = session is not None and _save(session)
            raise StorageCorrupt(
                f"{self._paths[LOG]} was deleted while processes use the file: "
                + ("its content is in the file now" if saved else "its content is lost with the last of them")
                + f"; stop all of them, delete {self._paths[INDEX]}, and start them again"
            )


def _save(session: Session) -> bool:
    """Fold the nameless log into the file; whether all of it is there.

    FULL takes the write lock itself and waits for readers: that needs no guard (checkpoint.py), and no second
    connection.
    """
    session.gate.acquire(session.busy_timeout_s)
    try:
        blocked, in_log, folded = session.execute("PRAGMA wal_checkpoint(FULL)")[0]
    except StorageError:
        return False
    finally:
        session.gate.release()
    return not blocked and in_log == folded
