"""The SQLite driver: a pool of sessions, and what a transaction does around SQLite's own."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from math import inf
from pathlib import Path
from threading import get_ident
from time import monotonic, sleep
from typing import Any, ClassVar

from liteq.exceptions import ImproperlyConfigured, StorageBusy, StorageError, StorageFull, StorageUnavailable
from liteq.storage.driver import Bell, Durability, Listener, Params, Promise, Transaction
from liteq.storage.sqlite import backup, create, describe, files, fork, greenlets, migrate, ownership, restore
from liteq.storage.sqlite.ballast import Ballast
from liteq.storage.sqlite.checkpoint import LogWatch, cut, fold, overgrown
from liteq.storage.sqlite.doorbell import Doorbell
from liteq.storage.sqlite.gate import PATIENCE_S, pause_s
from liteq.storage.sqlite.holder import writer
from liteq.storage.sqlite.session import Session
from liteq.storage.sqlite.sidecars import Sidecars
from liteq.storage.sqlite.transaction import Checkout, ReadTransaction, WriteTransaction

__all__ = ["SQLiteDriver"]

RELAXED_SYNC_S = 0.1  # relaxed: what was accepted waits for the disk when nothing of this process has for so long
FILE_CHECK_S = 1.0  # how often a writer looks whether its file still is the one under that name
FORK_WAIT_S = 5.0  # how long a fork waits for other threads' transactions
IDLE_LIMIT = 8  # connections of one kind kept open
WORK_PER_LOOK = 64  # statements and rows between two looks at the log's size

# Whether who has committed waits for the disk; None: when the last time was RELAXED_SYNC_S ago. SQLite's own
# `synchronous=FULL` waits with the write lock in hand: then writers wait for the disk one after the other, and a worker
# hears of a message only when it is on the disk. Here the lock is let go and the bell rung first, and those who wait at
# the same time wait once. A log that was begun anew meanwhile has been synced by the checkpoint before.
WAITS_FOR_DISK: dict[tuple[Durability, Promise], bool | None] = {
    (Durability.DURABLE, Promise.ACCEPTED): True,
    (Durability.DURABLE, Promise.REMOVED): True,
    (Durability.DURABLE, Promise.PROGRESS): False,
    (Durability.STRICT, Promise.ACCEPTED): True,
    (Durability.STRICT, Promise.REMOVED): True,
    (Durability.STRICT, Promise.PROGRESS): True,
    (Durability.RELAXED, Promise.ACCEPTED): None,
    (Durability.RELAXED, Promise.REMOVED): None,
    (Durability.RELAXED, Promise.PROGRESS): False,  # nobody waits: the worker's loop syncs (worker/chores/sync.py)
}


class SQLiteDriver(ABC):
    """`driver.Driver` over one SQLite file; a subclass brings the library."""

    library: ClassVar[str]

    def __init__(
        self,
        url: str,
        path: str,
        *,
        durability: Durability = Durability.DURABLE,
        busy_timeout_s: float = 30.0,
        allow_network_filesystem: bool = False,
    ) -> None:
        self.url = url
        self.given_path = path
        self.path = files.resolve(path)
        self.durability = durability
        self.busy_timeout_s = busy_timeout_s
        self._allow_network = allow_network_filesystem
        self._waits = {promise: WAITS_FOR_DISK[durability, promise] for promise in Promise}
        self._synced_at = -RELAXED_SYNC_S
        self.unsynced_since = inf
        self._log = LogWatch()
        self._work = 0  # statements and rows since the log's size was last looked at
        self._sidecars = Sidecars(self.path)
        self._ballast = Ballast(f"{self.path}-ballast")
        self._short = False  # the ballast is in use: the disk was full
        self._bells = {bell: Doorbell(f"{self.path}-{bell.value}", self.version) for bell in Bell}
        self._idle: dict[bool, list[Session]] = {True: [], False: []}  # by Session.reader; the last used first
        self._active: dict[bool, dict[Session, int]] = {True: {}, False: {}}  # likewise, with the thread that has it
        self._watcher: Session | None = None  # for version(): never in a transaction
        self._generation = 0  # goes up when what is open must not be used any more
        self._looked_at = -1  # the generation in which the file was looked at, and is a queue's
        self._identity = self._gate_identity = (0, 0)
        self._check_at = 0.0
        self._renew_locks()
        fork.register(self)

    # -- the library ---------------------------------------------------------------------------------------------

    @abstractmethod
    def new_session(self, *, reader: bool) -> Session:
        """A session that is not open yet."""

    @abstractmethod
    def session_on(self, path: str) -> Session:
        """A session on any file, not open yet: for copies (restore.py)."""

    @abstractmethod
    def library_version(self) -> str: ...

    @abstractmethod
    def others_open(self) -> bool:
        """Whether another SQLite library has the file open in this process, as far as one can tell."""

    # -- the protocol of driver.py -------------------------------------------------------------------------------

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        return WriteTransaction(self, promise, bell)

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        with Checkout(self, reader=False) as session:  # after an exception it is closed, which leaves the gate
            start = self._to_the_gate(session, promise)
            while (changed := session.change(sql, params)) is None:
                self.not_free(start)
            self.committed(session)
            session.gate.release()
        self.after_commit(promise, bell)
        return changed

    def read(self) -> AbstractContextManager[Transaction]:
        return ReadTransaction(self)

    def ring(self, bell: Bell) -> None:
        self._bells[bell].ring()

    def listen(self, bell: Bell) -> Listener:
        return self._bells[bell].listen()

    def version(self) -> int:
        self._check_pid()
        with self._lock:
            session = self._watcher
            if session is None or session.generation != self._generation:
                session = self.new_session(reader=True)
                self._open(session)
                self._watcher = session
            # Of another connection the same number means another state of the file.
            return session.generation << 40 | int(session.pragma("data_version"))

    def migrate(self) -> int:
        files.create(self.path)
        return migrate.migrate(self, self.path)

    def check_schema(self) -> None:
        migrate.check(self, self.path)

    def checkpoint(self) -> None:
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
        self.unsynced_since = inf  # before it: what is committed meanwhile may be too late
        self._synced_at = monotonic()
        self.sync_log()

    def sync_log(self) -> None:
        """The system call. Raises StorageUnavailable."""
        # The log alone: opening and closing it drops no lock, those are on the database and its -shm.
        try:
            greenlets.call(files.sync, f"{self.path}-wal")
        except FileNotFoundError:
            pass  # whoever closed the last connection has folded it into the file, and that waits for the disk
        except OSError as exc:
            raise StorageUnavailable(
                f"{self.path}-wal cannot be put on the disk: {exc.strerror}; what was just written is in the queue, "
                "and may be lost in a power cut"
            ) from exc

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

    def warnings(self) -> list[str]:
        try:
            self._check_sidecars()
        except StorageError as error:
            return [str(error)]
        return overgrown(self.path)

    def backup(self, target: Path) -> None:
        with Checkout(self, reader=True) as session:
            backup.backup(session, target)

    def restore(self, source: Path) -> Path | None:
        self.close()
        return restore.restore(self, source)

    def describe(self) -> dict[str, Any]:
        with Checkout(self, reader=True) as session:
            return describe.describe(session, self)

    def close(self) -> None:
        self._check_pid()
        if self._sidecars.log_lost():
            with suppress(StorageError):  # said before, or by the next who opens it; what could be saved has been
                self._check_sidecars()
        with self._lock:
            self._close_idle()

    # -- one transaction (transaction.py) ------------------------------------------------------------------------

    def take(self, holder: Checkout, *, reader: bool) -> Session:
        """A session for this thread, open; `holder` has it from the moment it is nobody else's.

        Raises StorageUnavailable, and StorageError on a nested write.
        """
        self._check_pid()
        me = get_ident()
        if not reader and monotonic() >= self._check_at:
            self._check_file()
        with self._lock:
            while self._stopping and me not in self._threads_inside():
                self._quiet.wait()
            active, idle = self._active[reader], self._idle[reader]
            if not reader and me in active.values():
                raise StorageError("write transactions cannot be nested: this thread has one open")
            # In this order: whatever a signal's handler interrupts, the session is the pool's or the holder's.
            session = idle[-1] if idle else self.new_session(reader=reader)
            holder.session = session
            active[session] = me
            if idle:
                del idle[-1]
        while session.generation != self._generation:
            self._open(session)
        return session

    def begin(self, session: Session, promise: Promise) -> None:
        """Wait for the turn at the gate and take the write lock. Raises StorageBusy after `busy_timeout_s`.

        After an exception the session is closed, which leaves the gate.
        """
        start = self._to_the_gate(session, promise)
        while not session.begin_immediate():
            self.not_free(start)

    def _to_the_gate(self, session: Session, promise: Promise) -> float:
        """Wait for the turn, but not without end; when the waiting began (monotonic)."""
        if self._short and promise is Promise.ACCEPTED:
            raise StorageFull(
                f"{self.path}: the disk is full: what runs is being finished, nothing new is accepted; free some space"
            )
        start = monotonic()
        session.gate.acquire(self.busy_timeout_s)
        return start

    def not_free(self, start: float) -> None:
        """Somebody past the gate has the write lock: sleep a little. Raises StorageBusy when that has been so for long.

        `start`: when the waiting began (monotonic).
        """
        waited = monotonic() - start
        if waited >= self.busy_timeout_s:
            raise StorageBusy(self.busy_timeout_s, self.holder())
        sleep(pause_s() if waited < 2 * PATIENCE_S else 10 * pause_s())  # many may be asking by then

    def holder(self) -> str:
        """Who may write now, for a person to read."""
        return writer(self.path)

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
        """With the write lock let go: wake who waits for `bell`, and keep `promise`. Raises StorageUnavailable."""
        if bell is not None:
            self.ring(bell)
        waits = self._waits[promise]
        if waits or (waits is None and monotonic() - self._synced_at >= RELAXED_SYNC_S):
            self._sync()
        elif self.durability is Durability.RELAXED and self.unsynced_since == inf:
            self.unsynced_since = monotonic()

    def checkin(self, holder: Checkout, session: Session) -> None:
        """Take `holder`'s session back, which is in no transaction."""
        with self._lock:
            self._release(session)
            idle = self._idle[session.reader]
            keep = session.generation == self._generation and len(idle) < IDLE_LIMIT
            if keep:
                idle.append(session)
                holder.session = None
        if not keep:
            self._sidecars.forget()  # as in drop
            session.close()
            holder.session = None

    def drop(self, session: Session) -> None:
        """Close a session that may be in any state, unless it has come back to the pool and gone to another thread."""
        with self._lock:
            if self._active[session.reader].get(session, me := get_ident()) != me:
                return
            if session in self._idle[session.reader]:  # it was being taken, or given back
                self._idle[session.reader].remove(session)
        self._sidecars.forget()  # it may be the last that is open, of all processes
        if session.pid == self._pid:
            session.close()
        else:
            session.abandon()
        with self._lock:
            self._release(session)

    def _release(self, session: Session) -> None:
        self._active[session.reader].pop(session, None)
        if self._stopping:
            self._quiet.notify_all()

    def _fold(self, session: Session) -> bool:
        with Checkout(self, reader=True) as folder:
            return fold(session, folder)

    # -- the file ------------------------------------------------------------------------------------------------

    def open_files(self) -> Iterable[str]:
        """The paths of this process's open files, where the system tells."""
        try:
            return {os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)}
        except OSError:
            return ()

    def _open(self, session: Session) -> None:
        with self._opening:
            generation = self._generation  # before anything is opened: it may go up meanwhile
            if self._looked_at != generation:
                self._look_at_file()
            ownership.check(self.path, ownership.LOG_FILES)
            self._sidecars.check(None)
            if session.generation >= 0:
                session.close()
            session.open()
            if not session.reader:
                session.ask_in_loop()
            session.generation = self._looked_at = generation

    @property
    def _ready(self) -> bool:
        return self._looked_at == self._generation

    def _look_at_file(self) -> None:
        fork.check(self.path)
        files.check(self.given_path, self.path, self._allow_network)
        self._refuse_second_library()
        self._identity = files.identity(self.path)
        probe = self.new_session(reader=False)
        try:
            probe.open()
            create.prepare(probe, self.busy_timeout_s)
        finally:
            probe.close()

    def _refuse_second_library(self) -> None:
        # POSIX locks belong to the process: when one library closes the file, the other's locks are gone.
        drivers = [
            d for d in fork.registered() if isinstance(d, SQLiteDriver) and d is not self and d.path == self.path
        ]
        if any(d._ready and d.library != self.library for d in drivers) or (not drivers and self.others_open()):
            raise ImproperlyConfigured(
                f"{self.path} is already open in this process through another SQLite library, which would drop this "
                "one's locks: use one for both; add ?driver=stdlib to the broker URL for Python's own sqlite3 module"
            )

    def _check_file(self) -> None:
        """Somebody may have deleted or replaced the file; writes to the old one would vanish with it."""
        self._check_at = monotonic() + FILE_CHECK_S
        self._short = self._ballast.in_use()
        gate = files.identity(f"{self.path}-gate")
        moved = self._ready and files.identity(self.path) != self._identity
        if moved or self._gate_identity not in ((0, 0), gate):
            with self._lock:
                self._close_idle()
        self._gate_identity = gate
        self._check_sidecars()

    def _check_sidecars(self) -> None:
        """Raises StorageCorrupt where somebody has deleted the log or its index under this process."""
        with self._lock:
            session = next((s for idle in self._idle.values() for s in idle), None)
            try:
                self._sidecars.check(session)
            except StorageError:
                self._check_at = 0.0  # nothing more is written to it: look again each time
                raise

    def _close_idle(self) -> None:
        """With the lock: close what nobody uses; what is in use is closed when it comes back."""
        self._generation += 1
        self._sidecars.forget()
        for idle in self._idle.values():
            while idle:
                idle.pop().close()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    # -- forks ---------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Called in the forking thread; see fork.py."""
        self._check_pid()
        self._lock.acquire()
        self._stopping = True
        me, end = get_ident(), monotonic() + FORK_WAIT_S
        while self._threads_inside() - {me}:
            left = end - monotonic()
            if left <= 0 or not self._quiet.wait(left):
                break
        self._close_idle()

    def after_fork(self, *, child: bool) -> None:
        """Called on both sides."""
        if child:
            self._abandon()
            return
        self._stopping = False
        self._quiet.notify_all()
        self._lock.release()

    def _threads_inside(self) -> set[int]:
        return {*self._active[True].values(), *self._active[False].values()}

    def _check_pid(self) -> None:
        if self._pid != os.getpid():  # forked past Python's hooks: before_fork did not run
            self._abandon()

    def _abandon(self) -> None:
        """In a child: let go of whatever the parent had open; with anything open, the file is lost to this process."""
        inherited = [session for kind in (True, False) for session in (*self._active[kind], *self._idle[kind])]
        if self._watcher is not None:
            inherited.append(self._watcher)
        for session in inherited:
            session.abandon()
        if inherited:
            fork.forbid(self.path, self._pid)
        self._active = {True: {}, False: {}}
        self._idle = {True: [], False: []}
        self._watcher = None
        self._sidecars.forget()
        self._generation += 1
        self._renew_locks()

    def _renew_locks(self) -> None:
        """Locks of this process's own: an inherited one may be held by a thread that is not here."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)  # notified when a session comes back while a fork waits
        self._opening = threading.Lock()
        self._stopping = False
