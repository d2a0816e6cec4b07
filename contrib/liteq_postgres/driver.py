"""The PostgreSQL driver: a pool of few connections, and the steps of a transaction around the server's own."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from os import getpid
from threading import get_ident
from typing import Any, Final

from liteq.clock import Clock
from liteq.exceptions import ReadOnly, StorageError
from liteq.storage.driver import Bell, Durability, Listener, Params, Promise, Transaction
from liteq.storage.upkeep import Check
from liteq_postgres import describe, fork, migrate
from liteq_postgres.clock import ServerClock
from liteq_postgres.hearing import Hearing
from liteq_postgres.session import Session, settings
from liteq_postgres.transaction import Checkout, ReadTransaction, WriteTransaction
from liteq_postgres.upkeep import ServerUpkeep
from liteq_postgres.url import Location
from liteq_postgres.wire import Command

__all__ = ["PostgresDriver"]

IDLE_LIMIT: Final = 4  # connections kept open
SNAPSHOT = "SELECT CAST(pg_current_snapshot() AS TEXT)"
BEGIN_WRITING: Final[Command] = (b"BEGIN ISOLATION LEVEL READ COMMITTED", ())
BEGIN_READING: Final[Command] = (b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())


class PostgresDriver(ServerUpkeep):
    """`driver.Driver` over a schema of a PostgreSQL database."""

    one_machine = False
    _clock: ServerClock | None = None
    one_writer = False

    def __init__(
        self, url: str, location: Location, *, durability: Durability = Durability.DURABLE, busy_timeout_s: float = 30.0
    ) -> None:
        self.url, self.location = url, location
        self.read_only = location.read_only
        self.durability, self.busy_timeout_s = durability, busy_timeout_s
        self._hearing = Hearing(self.connect, location.schema, location.listen)
        self._renew()
        fork.register(self)

    def _renew(self) -> None:
        """Nothing open, and a lock of this process's own."""
        self._pid = getpid()
        self._lock = threading.Lock()
        self._idle: list[Session] = []  # the last used last
        self._active: dict[Session, int] = {}  # with the thread that has it; writers alone: a thread has one at most
        self._reading: set[Session] = set()
        self._generation: set[Session] = set()  # those that `close` has not dismissed

    # -- the protocol of driver.py -----------------------------------------------------------------------------------

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        if self.read_only:
            raise ReadOnly(self.where())
        return WriteTransaction(self, promise, bell)

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        if self.read_only:
            raise ReadOnly(self.where())
        with WriteTransaction(self, promise, None) as session:
            return session.change(sql, params, bell)

    def read(self, *, alone: bool = False, within_s: float | None = None) -> AbstractContextManager[Transaction]:
        return ReadTransaction(self, alone=alone, within_s=within_s)

    def ring(self, bell: Bell) -> None:
        if self.read_only:
            return
        holder = Checkout(self)
        try:
            session = self._take(holder, lambda _: (), reader=True)
            session.ring(bell)
            self.checkin(holder, session)
        except StorageError:
            holder.give_up()
        except BaseException:
            holder.give_up()
            raise

    def listen(self, bell: Bell) -> Listener:
        return self._hearing.listen(bell)

    def version(self) -> int:
        with PostgresDriver.read(self, alone=True) as tx:
            ((snapshot,),) = tx.execute(SNAPSHOT)
        return zlib.crc32(snapshot.encode())

    def migrate(self) -> int:
        return migrate.look(self) if self.read_only else migrate.migrate(self)

    def check_schema(self) -> None:
        migrate.check(self)

    def where(self) -> str:
        return self.location.where()

    def close(self) -> None:
        if self._pid != getpid():
            self.abandon()
            return
        self._hearing.stop()
        self._close_idle()

    # -- one transaction (transaction.py) ----------------------------------------------------------------------------

    def connect(self, **other: Any) -> Session:
        """A session that is not in the pool; `other`: of libpq, over the URL's. Raises StorageUnavailable."""
        return Session(self.location, self.busy_timeout_s, **other)

    def begin_writing(self, holder: Checkout, promise: Promise) -> Session:
        """A session for `holder` with an open transaction. Raises StorageError on a nested one."""
        me = get_ident()
        if self._pid == getpid() and any(thread == me for thread in list(self._active.values())):
            raise StorageError("write transactions cannot be nested: this thread has one open")

        def opening(session: Session) -> Sequence[Command]:
            own = session.own_settings | {"synchronous_commit": self._commits(session, promise)}
            return (BEGIN_WRITING, *settings(**own))

        return self._take(holder, opening, reader=False)

    def begin_reading(self, holder: Checkout, alone: bool, within_s: float | None) -> Session:
        """A session for `holder` with a snapshot, whose statements take no longer than `within_s`.

        `alone`: for one statement.
        """
        within = None if within_s is None else str(max(int(within_s * 1000), 1))

        def opening(session: Session) -> Sequence[Command]:
            facts = settings(**session.own_settings, statement_timeout=within)
            return facts if alone else (BEGIN_READING, *facts)

        return self._take(holder, opening, reader=True, alone=alone)

    def _commits(self, session: Session, promise: Promise) -> str | None:
        """How long the commit waits. For the disk alone or for replicas too is the server's setting, where it waits."""
        relaxed = self.durability is Durability.RELAXED
        waits = not relaxed and (self.durability is Durability.STRICT or promise is not Promise.PROGRESS)
        if waits == session.syncs:
            return None
        return "on" if waits else "off"

    def _take(
        self, holder: Checkout, opening: Callable[[Session], Sequence[Command]], *, reader: bool, alone: bool = False
    ) -> Session:
        """A session for this thread; `holder` has it from the moment it is nobody else's.

        One from the pool whose connection has broken since is no trouble yet: nothing was said on it. Then all of the
        pool go, and a new one is opened: the server, or the one that has taken its place, is perhaps there again.
        """
        if self._pid != getpid():
            self.abandon()
        while True:
            with self._lock:
                session = self._idle[-1] if self._idle else None
                if session is not None:
                    self._enter(holder, session, reader)
                    del self._idle[-1]
            is_new = session is None
            if session is None:
                session = self.connect()
                with self._lock:
                    self._generation.add(session)
                    self._enter(holder, session, reader)
            try:
                session.begin(*opening(session), alone=alone)
            except StorageError:
                if is_new or not session.broken:
                    raise
                holder.give_up()
                self._close_idle()
            else:
                clock = self._clock
                if clock is not None and (is_new or clock.is_due):
                    clock.learn(session.time_ms)
                return session

    def _enter(self, holder: Checkout, session: Session, reader: bool) -> None:
        # In this order: whatever a signal's handler interrupts, the session is the pool's or the holder's.
        holder.session = session
        session.looks = reader
        if reader:
            self._reading.add(session)
        else:
            self._active[session] = get_ident()

    def checkin(self, holder: Checkout, session: Session) -> None:
        """Take `holder`'s session back, which is in no transaction."""
        with self._lock:
            keep = session.idle and session in self._generation and len(self._idle) < IDLE_LIMIT
            self._leave(session)
            if keep:
                self._idle.append(session)
                holder.session = None
        if not keep:
            holder.give_up()

    def drop(self, session: Session) -> None:
        """Close a session that may be in any state, unless it has come back to the pool."""
        if session.pid != getpid():  # `abandon` has let go of it
            return
        with self._lock:
            if session in self._idle and session not in self._active and session not in self._reading:
                return
            with suppress(ValueError):  # it was being taken, or given back
                self._idle.remove(session)
            self._leave(session)
            self._generation.discard(session)
        session.close()
        if session.unfit:  # so are the others
            self._close_idle()

    def _leave(self, session: Session) -> None:
        self._active.pop(session, None)
        self._reading.discard(session)

    def _close_idle(self) -> None:
        """Close the sessions that nobody has; one that is in use is closed when it comes back."""
        with self._lock:
            closing, self._idle = self._idle, []
            self._generation.clear()
        for session in closing:
            session.close()

    def abandon(self) -> None:
        """In a child: let go of all that the parent had open."""
        Session.abandon_all()
        self._hearing.abandon()
        self._renew()

    # -- the clock ---------------------------------------------------------------------------------------------------

    def clock_over(self, machine: Clock) -> Clock:
        """As `Upkeep.clock_over`: the server's. One that is such a clock already is shared."""
        self._clock = machine if isinstance(machine, ServerClock) else ServerClock(machine, self._look_at_the_clock)
        return self._clock

    def _look_at_the_clock(self) -> None:
        with suppress(StorageError), PostgresDriver.read(self):  # which reads it, as it is due
            pass

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        return describe.warnings(self)

    def sizes(self) -> dict[str, int]:
        return describe.sizes(self)

    def describe(self, *, whole: bool = True) -> dict[str, Any]:
        return describe.describe(self, whole=whole)

    def checks(self, facts: dict[str, Any]) -> list[Check]:
        return describe.checks(facts)
