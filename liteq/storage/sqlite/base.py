"""The SQLite driver: a pool of sessions, and the steps of a transaction around SQLite's own."""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import AbstractContextManager, suppress
from os import getpid
from threading import get_ident
from time import monotonic, sleep

from liteq.exceptions import ImproperlyConfigured, StorageBusy, StorageError, StorageFull
from liteq.storage.driver import Bell, Durability, Listener, Params, Promise, Transaction
from liteq.storage.sqlite import migrate
from liteq.storage.sqlite.disk import files, ownership
from liteq.storage.sqlite.keeping.upkeep import FileUpkeep
from liteq.storage.sqlite.session import Session
from liteq.storage.sqlite.transaction import Checkout, ReadTransaction, WriteTransaction
from liteq.storage.sqlite.turns import fork
from liteq.storage.sqlite.turns.gate import PATIENCE_S, pause_s
from liteq.storage.sqlite.turns.holder import writer
from liteq.storage.sqlite.versions import create
from liteq.storage.sqlite.waking.doorbell import Doorbell

__all__ = ["SQLiteDriver"]

FILE_CHECK_S = 1.0  # how often a process looks whether its file still is the one under that name
FORK_WAIT_S = 5.0  # how long a fork waits for other threads' transactions
IDLE_LIMIT = 8  # connections of one kind kept open


class SQLiteDriver(FileUpkeep):
    """`driver.Driver` over one SQLite file; a subclass brings the library. Its upkeep is keeping/upkeep.py."""

    def __init__(
        self,
        url: str,
        path: str,
        *,
        durability: Durability = Durability.DURABLE,
        busy_timeout_s: float = 30.0,
        allow_network_filesystem: bool = False,
        file_mode: int = ownership.MODE,
    ) -> None:
        super().__init__(files.resolve(path), durability=durability, busy_timeout_s=busy_timeout_s)
        self.url = url
        self.given_path = path
        self._allow_network = allow_network_filesystem
        self._file_mode = file_mode
        self._bells = {bell: Doorbell(f"{self.path}-{bell.value}", self.version) for bell in Bell}
        self._idle: dict[bool, list[Session]] = {True: [], False: []}  # by Session.reader; the last used first
        self._active: dict[bool, dict[Session, int]] = {True: {}, False: {}}  # likewise, with the thread that has it
        self._watcher: Session | None = None  # for version(): never in a transaction
        self._generation = 0  # goes up when what is open must not be used any more
        self._looked_at = -1  # the generation in which the file was looked at, and is a queue's
        self._identity = self._gate_identity = (0, 0)
        self._check_at = self._read_check_at = 0.0
        self._renew_locks()
        fork.register(self, self.path)

    # -- the library ---------------------------------------------------------------------------------------------

    @abstractmethod
    def new_session(self, *, reader: bool) -> Session:
        """A session that is not open yet."""

    @abstractmethod
    def others_open(self) -> bool:
        """Whether another SQLite library has the file open in this process, as far as one can tell."""

    # -- the protocol of driver.py -------------------------------------------------------------------------------

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        return WriteTransaction(self, promise, bell)

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        holder = Checkout(self, reader=False)
        try:
            session = self.take(holder, reader=False)
            start = self._to_the_gate(session, promise)
            while (changed := session.change(sql, params)) is None:
                self.not_free(start)
            self.committed(session)
            session.gate.release()
            self.checkin(holder, session)
        except BaseException:  # it is closed, which leaves the gate
            holder.give_up()
            raise
        self.after_commit(promise, bell)
        return changed

    def read(self, *, alone: bool = False, within_s: float | None = None) -> AbstractContextManager[Transaction]:
        return ReadTransaction(self, alone=alone, within_s=within_s)

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
        files.create(self.path, self._file_mode)
        return migrate.migrate(self, self.path)

    def check_schema(self) -> None:
        migrate.check(self, self.path)

    def where(self) -> str:
        return self.path

    def close(self) -> None:
        self._check_pid()
        if self._sidecars.log_lost():
            with suppress(StorageError):  # said before, or by the next process that opens it
                self.check_sidecars()
        with self._lock:
            self._close_idle()

    # -- one transaction (transaction.py) ------------------------------------------------------------------------

    def take(self, holder: Checkout, *, reader: bool) -> Session:
        """A session for this thread, open; `holder` has it from the moment it is nobody else's.

        Raises StorageUnavailable, and StorageError on a nested write.
        """
        if self._pid != getpid():  # as in _check_pid
            self._abandon()
        me = get_ident()
        if monotonic() >= (self._read_check_at if reader else self._check_at):
            if reader:
                self._check_moved()
            else:
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
                f"{self.path}: the disk is full: running tasks are finished, nothing new is accepted; free some space"
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
        """The process that may write now, for a person to read."""
        return writer(self.path)

    def checkin(self, holder: Checkout, session: Session) -> None:
        """Take `holder`'s session back, which is in no transaction."""
        reader = session.reader
        with self._lock:
            idle = self._idle[reader]
            keep = session.generation == self._generation and len(idle) < IDLE_LIMIT
            if keep:
                idle.append(session)
                self._release(session)
                holder.session = None
        if not keep:
            self._sidecars.forget()  # as in drop
            session.close()
            with self._lock:  # not before it is closed: a fork waits for it, as its child must not have it open
                self._release(session)
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

    # -- the file ------------------------------------------------------------------------------------------------

    def _open(self, session: Session) -> None:
        with self._opening:
            generation = self._generation  # before anything is opened: it may go up meanwhile
            is_open = self._looked_at != generation and self._look_at_file(session)
            ownership.check(self.path, ownership.LOG_FILES)
            self._sidecars.check(None)
            if not is_open:
                if session.generation >= 0:
                    session.close()
                session.open()
            session.monotonic = self.monotonic
            if not session.reader:
                session.ask_in_loop()
            session.generation = self._looked_at = generation

    @property
    def _ready(self) -> bool:
        return self._looked_at == self._generation

    def _look_at_file(self, session: Session) -> bool:
        """Refuse what is no queue, make one of a new file; whether `session` is open now.

        A writer looks itself: a connection more reads the whole schema, which a file that wakes would pay each time.
        """
        fork.check(self.path)
        files.check(self.given_path, self.path, self._allow_network)
        had_log = files.size(f"{self.path}-wal") > 0
        self._refuse_second_library()
        self._identity = files.identity(self.path)
        if not session.reader:
            if session.generation >= 0:
                session.close()
            session.open()
            if create.is_prepared(session):
                self.note_marks(session, had_log=had_log)
                return True
            session.close()
        probe = self.new_session(reader=False)
        try:
            probe.open()
            if create.is_prepared(probe):
                self.note_marks(probe, had_log=had_log)
            else:
                create.prepare(probe, self.busy_timeout_s)
        finally:
            probe.close()
        return False

    def _refuse_second_library(self) -> None:
        # POSIX locks belong to the process: when one library closes the file, the other's locks are gone.
        drivers = [d for d in fork.registered_at(self.path) if isinstance(d, SQLiteDriver) and d is not self]
        if any(d._ready and d.library != self.library for d in drivers) or (not drivers and self.others_open()):
            raise ImproperlyConfigured(
                f"{self.path} is already open in this process through another SQLite library, which would drop this "
                "one's locks: use one for both; add ?driver=stdlib to the broker URL for Python's own sqlite3 module"
            )

    def _check_file(self) -> None:
        """Somebody may have deleted or replaced the file; writes to the old one would vanish with it."""
        files.reach(self.path)  # first: in a folder that cannot be entered the file would seem to be gone
        self._check_at = monotonic() + FILE_CHECK_S
        # Without a worker nobody else makes it anew, and sends would be refused on a disk that has long had room.
        self._short = self._ballast.in_use() and not self._ballast.make()
        gate = files.identity(f"{self.path}-gate")
        self._check_moved(self._gate_identity not in ((0, 0), gate))
        self._gate_identity = gate
        self.check_sidecars()

    def _check_moved(self, new_gate: bool = False) -> None:
        """Readers look too: the history of a run in the old file would pass for that of a run in the new one."""
        files.reach(self.path)
        self._read_check_at = monotonic() + FILE_CHECK_S
        if new_gate or (self._ready and files.identity(self.path) != self._identity):
            with self._lock:
                self._close_idle()

    def check_sidecars(self) -> None:
        """Raises StorageCorrupt where somebody has deleted the log or its index under this process."""
        with self._lock:
            session = next((s for idle in self._idle.values() for s in idle), None)
            try:
                self._sidecars.check(session)
            except StorageError:
                self._check_at = 0.0  # nothing more is written to it: look again each time
                raise

    def _close_idle(self) -> None:
        """With the lock: close the idle sessions; one that is in use is closed when it comes back."""
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
        if self._pid != getpid():  # forked past Python's hooks: before_fork did not run
            self._abandon()

    def _abandon(self) -> None:
        """In a child: let go of all that the parent had open; with anything open, the file is lost to this process."""
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
        self._pid = getpid()
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)  # notified when a session comes back while a fork waits
        self._opening = threading.Lock()
        self._stopping = False
