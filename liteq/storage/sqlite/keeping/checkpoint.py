"""The guarded checkpoint: nobody can commit while the log is folded into the file.

SQLite 3.7.0 - 3.51.2 (but 3.50.7 and 3.44.6) can corrupt a file when one process checkpoints while another writes.
So one connection holds the write lock, doing nothing, while a second runs the checkpoint. PASSIVE: waits for nobody.
"""

from __future__ import annotations

import os

from liteq.storage.sqlite.litestream.marks import is_copied
from liteq.storage.sqlite.session import WAL_LIMIT, Session
from liteq.storage.sqlite.turns.holder import readers

__all__ = ["LARGE_LOG", "LogWatch", "cut", "fold", "overgrown"]

LARGE_LOG = 64 * 1024 * 1024  # the log is folded at WAL_LIMIT: one so large has a reader that does not end


PATIENCE_MS = 100  # that writers are held up at the most, to let the readers of a long log finish
LONG_LOG = 2 * WAL_LIMIT


def fold(guard: Session, folder: Session) -> bool:
    """Checkpoint through `folder` while `guard`, whose turn at the gate it is, holds the write lock; whether it did.

    A log is begun anew only in a moment without readers. Where many read all the time that moment does not come by
    itself, so a long log is worth a short wait for it.

    A log that Litestream copies is emptied instead. After a pause Litestream (0.5.17) looks for the last frame that it
    has copied. In a log that was begun anew over the old one it finds that frame behind the new ones, believes that it
    has missed nothing, and makes a damaged copy. In one that is shorter it does not find it, and takes a snapshot.
    While Litestream runs it reads the log, so nobody can begin that anew or empty it: then, and where others read, the
    log stays, and True is returned all the same.
    """
    if is_copied(folder):
        cut(folder)
        return True
    if not guard.begin_immediate():
        return False  # a foreign writer: the log can wait
    try:
        folder.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        guard.rollback()
    if _size(folder.path) >= LONG_LOG:
        _alone(folder, "RESTART")
    return True


def cut(folder: Session) -> None:
    """Fold the log and give its space back to the disk, unless somebody reads for long."""
    _alone(folder, "TRUNCATE")


def _alone(folder: Session, mode: str) -> None:
    """Wait for the readers to leave the log. These modes take the write lock themselves, so they need no guard."""
    folder.script(f"PRAGMA busy_timeout={PATIENCE_MS}")
    try:
        folder.execute(f"PRAGMA wal_checkpoint({mode})")
    finally:
        folder.script(f"PRAGMA busy_timeout={int(folder.busy_timeout_s * 1000)}")


def _size(path: str) -> int:
    """The log's size in bytes; one `stat`."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:
        return 0


class LogWatch:
    """Whether the log has grown enough to be folded, by its size alone.

    The log's file never shrinks below WAL_LIMIT by itself, and while a long reader keeps it from starting anew each
    fold helps little: so after a fold it must grow by as much again.
    """

    __slots__ = ("_folded_at",)

    def __init__(self) -> None:
        self._folded_at = 0

    def due(self, path: str) -> bool:
        """Costs one `stat`."""
        size = _size(path)
        if size <= WAL_LIMIT:
            self._folded_at = 0
            return False
        if size < self._folded_at + WAL_LIMIT:
            return False
        self._folded_at = size
        return True


def overgrown(path: str) -> list[str]:
    """A sentence on a log that has not been folded, with those that read it; [] while all is well."""
    size = _size(path)
    if size < LARGE_LOG:
        return []
    grown = f"{path}-wal has grown to {size // 2**20:,} MiB"
    who = ", ".join(readers(path))
    if who:
        return [f"{grown}, since a transaction that reads does not end: {who}. End that transaction, or its process"]
    otherwise = "if it stays, a process that cannot be told from here (of another container or user) reads without end"
    return [f"{grown}, and nobody is seen to read now: the next writes fold it; {otherwise}"]
