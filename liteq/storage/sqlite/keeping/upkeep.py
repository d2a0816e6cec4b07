"""The upkeep of a SQLite file: its log, the wait for the disk, space held in reserve, copies, the doctor's facts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from liteq.exceptions import StorageError, StorageUnavailable
from liteq.storage.driver import Bell, Driver, Durability, Promise, Transaction
from liteq.storage.sqlite.disk import files
from liteq.storage.sqlite.keeping import shutting
from liteq.storage.sqlite.keeping.ballast import Ballast
from liteq.storage.sqlite.keeping.checkpoint import LogWatch, cut, fold, overgrown
from liteq.storage.sqlite.keeping.sidecars import Sidecars
from liteq.storage.sqlite.keeping.vacuum import Vacuum, free_bytes
from liteq.storage.sqlite.litestream import marks
from liteq.storage.sqlite.session import Session
from liteq.storage.sqlite.transaction import Checkout
from liteq.storage.sqlite.turns import gate, greenlets, holder
from liteq.storage.sqlite.versions import epoch
from liteq.storage.upkeep import Check, Misfit, Remedy, Replicator

__all__ = ["FileUpkeep"]

RELAXED_SYNC_S = 0.1  # relaxed: accepted work waits for the disk when nothing of this process has for so long
WORK_PER_LOOK = 64  # statements and rows between two looks at the log's size

# Whether a commit waits for the disk; None: when the last wait was RELAXED_SYNC_S ago. SQLite's own
# `synchronous=FULL` waits with the write lock in hand: then writers wait for the disk one after the other, and a worker
# hears of a message only when it is on the disk. Here the lock is let go and the bell rung first, and writers that
# wait at the same time wait once. A log that was begun anew meanwhile has been synced by the checkpoint before.
WAITS_FOR_DISK: dict[tuple[Durability, Promise], bool | None] = {
    (Durability.DURABLE, Promise.ACCEPTED): True,
    (Durability.DURABLE, Promise.REMOVED): True,
    (Durability.DURABLE, Promise.RECORDED): True,
    (Durability.DURABLE, Promise.PROGRESS): False,
    (Durability.STRICT, Promise.ACCEPTED): True,
    (Durability.STRICT, Promise.REMOVED): True,
    (Durability.STRICT, Promise.RECORDED): True,
    (Durability.STRICT, Promise.PROGRESS): True,
    (Durability.RELAXED, Promise.ACCEPTED): None,
    (Durability.RELAXED, Promise.REMOVED): None,
    (Durability.RELAXED, Promise.RECORDED): None,
    (Durability.RELAXED, Promise.PROGRESS): False,  # nobody waits: the worker's loop syncs (worker/chores/sync.py)
}


class FileUpkeep(Driver):
    """A driver's part that keeps the file. The sessions, through which it does so, are its subclass's (base.py)."""

    library: ClassVar[str]

    def __init__(self, path: str, *, durability: Durability, busy_timeout_s: float) -> None:
        self.path = path
        self.durability = durability
        self.busy_timeout_s = busy_timeout_s
        self._waits = {promise: WAITS_FOR_DISK[durability, promise] for promise in Promise}
        self._synced_at = -RELAXED_SYNC_S
        self.unsynced_since = inf
        self._log = LogWatch()
        self._work = 0  # statements and rows since the log's size was last looked at
        self._sidecars = Sidecars(self.path)
        self._ballast = Ballast(f"{self.path}-ballast")
        self._vacuum = Vacuum()
        self._short = False  # the ballast is in use: the disk was full
        self.marks: list[str] = []  # of Litestream's in the file, as sentences for an operator

    # -- the sessions ----------------------------------------------------------------------------------------------

    @abstractmethod
    def take(self, holder: Checkout, *, reader: bool) -> Session: ...

    @abstractmethod
    def begin(self, session: Session, promise: Promise) -> None: ...

    @abstractmethod
    def checkin(self, holder: Checkout, session: Session) -> None: ...

    @abstractmethod
    def drop(self, session: Session) -> None: ...

    @abstractmethod
    def not_free(self, start: float) -> None:
        """The write lock is not to be had: sleep a little. Raises StorageBusy when that has been so for long."""

    @abstractmethod
    def check_sidecars(self) -> None:
        """Raises StorageCorrupt where somebody has deleted the log or its index under this process."""

    @abstractmethod
    def session_on(self, path: str) -> Session:
        """A session on any file, not open yet: for copies (restore.py)."""

    @abstractmethod
    def library_version(self) -> str: ...

    # -- the log and the disk ----------------------------------------------------------------------------------------

    def committed(self, session: Session) -> None:
        """A commit has been made. Still holding the gate: fold the log if it has grown. Never raises: it stands."""
        self._sidecars.note()
        # The driver's count, not the session's: of many threads most sessions are closed before they have done so much.
        self._work += session.work
        session.work = 0
        if self._work < WORK_PER_LOOK:
            return
        self._work = 0
        if self._log.due(self.path):
            try:
                self._fold(session)
            except StorageError:
                pass  # the next one tries again; the error shows itself where somebody waits for an answer

    def after_commit(self, promise: Promise, bell: Bell | None) -> None:
        """With the write lock let go: wake the listeners of `bell`, and keep `promise`. Raises StorageUnavailable."""
        if bell is not None:
            self.ring(bell)
        waits = self._waits[promise]
        if waits or (waits is None and monotonic() - self._synced_at >= RELAXED_SYNC_S):
            self._sync()
        elif self.durability is Durability.RELAXED:
            self.owes = self.owes or waits is None
            if self.unsynced_since == inf:
                self.unsynced_since = monotonic()

    def sizes(self) -> dict[str, int]:
        names = {"file_bytes": self.path, "wal_bytes": f"{self.path}-wal"}
        return {name: max(files.size(path), 0) for name, path in names.items()}

    def fold_log(self) -> None:
        with Checkout(self, reader=False) as session:
            start = monotonic()
            session.gate.acquire(self.busy_timeout_s)
            try:
                while not self._fold(session):
                    self.not_free(start)
            finally:
                session.gate.release()

    def sync(self) -> None:
        with suppress(StorageError):
            self._sync()

    def _sync(self) -> None:
        """Put the log on the disk. Raises StorageError's subclasses where that fails."""
        owed = self.owes
        self.unsynced_since, self.owes = inf, False  # before it: a commit meanwhile may be too late
        self._synced_at = monotonic()
        try:
            self.sync_log()
        except StorageError:
            if self.durability is Durability.RELAXED:
                self.unsynced_since, self.owes = self._synced_at, self.owes or owed
            raise

    def sync_log(self) -> None:
        """The system call. Raises StorageUnavailable."""
        # The log alone: opening and closing it drops no lock, those are on the database and its -shm.
        try:
            greenlets.call(files.sync, f"{self.path}-wal")
        except FileNotFoundError:
            pass  # the process that closed the last connection has folded it, and that waits for the disk
        except OSError as exc:
            raise StorageUnavailable(
                f"{self.path}-wal cannot be put on the disk: {exc.strerror}; the last write is in the queue, "
                "and may be lost in a power cut"
            ) from exc

    def _fold(self, session: Session) -> bool:
        with Checkout(self, reader=True) as folder:
            return fold(session, folder)

    # -- space -------------------------------------------------------------------------------------------------------

    def reserve(self) -> bool:
        if not self._ballast.make():
            self._cut_log()
        self._short = not self._ballast.make()
        return not self._short

    def _cut_log(self) -> None:
        """The log may have the space that is wanted: SQLite keeps it for the next writes."""
        with suppress(StorageError), Checkout(self, reader=True) as folder:
            cut(folder)

    def relieve(self) -> bool:
        self._short = True
        return self._ballast.drop()

    def free_bytes(self) -> int:
        with self.read() as tx:
            return free_bytes(tx)

    def vacuum(self) -> int:
        with self.write(Promise.PROGRESS) as tx:
            return self._vacuum.slice(tx)

    def waited(self) -> list[float]:
        return gate.waited(f"{self.path}-gate")

    def in_reserve(self) -> bool:
        return self._ballast.in_use()

    def warnings(self) -> list[str]:
        try:
            self.check_sidecars()
        except StorageError as error:
            return [str(error)]
        return [*self.marks, *overgrown(self.path)]

    def note_marks(self, session: Session, *, had_log: bool) -> None:
        """Have `warnings` tell of Litestream's marks in the file, which `session` has opened.

        `had_log`: whether a log stood beside it before that.
        """
        self.marks = marks.told_of(session, self.library, files.identity(self.path), had_log=had_log)

    def bury_misfits(self, tx: Transaction, *, now_ms: int) -> list[Misfit]:
        from liteq.storage.sqlite.doctor import misfits

        return misfits.bury(tx, now_ms=now_ms)

    # -- copies and facts --------------------------------------------------------------------------------------------

    def shut(self, tx: Transaction, tables: Sequence[str]) -> None:
        shutting.shut(tx, tables)

    def reopen(self, tx: Transaction, tables: Sequence[str]) -> None:
        shutting.reopen(tx, tables)

    def begin_epoch(self, tx: Transaction) -> int:
        return epoch.next_one(tx)

    def backup(self, target: Path) -> None:
        from liteq.storage.sqlite.keeping import backup

        with Checkout(self, reader=True) as session:
            backup.backup(session, target)

    def restore(self, source: Path) -> Path | None:
        from liteq.storage.sqlite.keeping import restore

        self.close()
        return restore.restore(self, source)

    def replicator(self, control: str | None) -> Replicator:
        from liteq.storage.sqlite.litestream.control import Control

        return Control(control, self.path)

    def users(self) -> list[str]:
        return holder.users(self.path)

    def describe(self, *, whole: bool = True) -> dict[str, Any]:
        from liteq.storage.sqlite.doctor import describe

        with Checkout(self, reader=True) as session:
            return describe.describe(session, self, whole=whole)

    def remedies(self, facts: dict[str, Any]) -> list[Remedy]:
        from liteq.storage.sqlite.doctor import remedies

        return remedies.remedies(self, facts)

    def checks(self, facts: dict[str, Any]) -> list[Check]:
        from liteq.storage.sqlite.doctor import checks

        return checks.checks(facts)
