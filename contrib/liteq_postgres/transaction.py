"""The context managers around a session. A manager remembers its session from the moment that it leaves the pool."""

from __future__ import annotations

from os import getpid
from types import TracebackType
from typing import Protocol

from liteq.exceptions import StorageError
from liteq.storage.driver import Bell, Promise
from liteq.storage.interrupts import managers
from liteq_postgres.session import Session

__all__ = ["Pool", "ReadTransaction", "WriteTransaction"]


class Pool(Protocol):
    """A driver (driver.py), as a transaction needs it."""

    def begin_writing(self, holder: Checkout, promise: Promise) -> Session: ...
    def begin_reading(self, holder: Checkout, alone: bool, within_s: float | None) -> Session: ...
    def checkin(self, holder: Checkout, session: Session) -> None: ...
    def drop(self, session: Session) -> None: ...


class Checkout:
    """A session out of the pool; closed, not returned, where it is in an unknown state."""

    __slots__ = ("_pool", "session")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.session: Session | None = None  # set by the pool

    def give_up(self) -> None:
        """Close the session, which may be in any state; nothing where it has gone back."""
        session = self.session
        if session is not None:
            self._pool.drop(session)
            self.session = None

    def _roll_back(self, session: Session) -> None:
        """Back into the pool, unless the connection is lost, or busy with what nobody waits for."""
        if session.pid != getpid() or session.broken:
            self.give_up()
            return
        session.roll_back()
        self._pool.checkin(self, session)


class WriteTransaction(Checkout):
    """Commits at the end of the block; rolls back on an exception."""

    __slots__ = ("_bell", "_promise")

    def __init__(self, pool: Pool, promise: Promise, bell: Bell | None) -> None:
        super().__init__(pool)
        self._promise = promise
        self._bell = bell

    def __enter__(self) -> Session:
        try:
            return self._pool.begin_writing(self, self._promise)
        except BaseException:
            self.give_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self.session
        if session is None:
            return
        try:
            if kind is None:
                commit(session, self._bell)
                self._pool.checkin(self, session)
            else:
                self._roll_back(session)
        except BaseException:
            self.give_up()
            if kind is None:
                raise
            # The block's own exception says more than the failed rollback.


class ReadTransaction(Checkout):
    """One snapshot, taken by the first SELECT. `alone`: it is the only one, and a transaction by itself."""

    __slots__ = ("_alone", "_within_s")

    def __init__(self, pool: Pool, *, alone: bool, within_s: float | None) -> None:
        super().__init__(pool)
        self._alone = alone
        self._within_s = within_s

    def __enter__(self) -> Session:
        try:
            return self._pool.begin_reading(self, self._alone, self._within_s)
        except BaseException:
            self.give_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self.session
        if session is None:
            return
        try:
            self._roll_back(session)
        except BaseException:
            self.give_up()
            if kind is None:
                raise


def commit(session: Session, bell: Bell | None) -> None:
    """Commit, and ring `bell`. Raises StorageError where it is not known whether it did."""
    if session.pid != getpid():
        raise StorageError("this process was forked inside a transaction of its parent: nothing was written")
    session.commit(bell)


managers.update(
    {
        method.__code__: Checkout.give_up
        for manager in (WriteTransaction, ReadTransaction)
        for method in (manager.__enter__, manager.__exit__)
    }
)
