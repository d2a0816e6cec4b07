"""The context managers around a session. Classes, not generators: a write is one enqueue, and this is half its Python.

A manager remembers its session from the moment it leaves the pool: where a signal's handler raises before the first
line of its `__exit__`, the verb gives that session up (liteq/storage/interrupts.py). Nothing depends on `__del__`.
"""

from __future__ import annotations

from os import getpid
from time import monotonic
from types import TracebackType
from typing import Protocol

from liteq.exceptions import StorageError
from liteq.storage.driver import Bell, Promise
from liteq.storage.interrupts import managers
from liteq.storage.sqlite.session import Session

__all__ = ["Checkout", "Pool", "ReadTransaction", "WriteTransaction"]


class Pool(Protocol):
    """A driver (base.py), as a checkout needs it."""

    def take(self, holder: Checkout, *, reader: bool) -> Session: ...
    def begin(self, session: Session, promise: Promise) -> None: ...
    def committed(self, session: Session) -> None: ...
    def after_commit(self, promise: Promise, bell: Bell | None) -> None: ...
    def checkin(self, holder: Checkout, session: Session) -> None: ...
    def drop(self, session: Session) -> None: ...


class Checkout:
    """A session out of the pool, in no transaction; closed, not returned, after an exception."""

    __slots__ = ("_pool", "_reader", "session")

    def __init__(self, pool: Pool, *, reader: bool) -> None:
        self._pool = pool
        self._reader = reader
        self.session: Session | None = None  # set by Pool.take

    def __enter__(self) -> Session:
        try:
            return self._pool.take(self, reader=self._reader)
        except BaseException:
            self.give_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self.session
        if session is None:
            return
        if kind is None:
            self._pool.checkin(self, session)
        else:
            self.give_up()

    def give_up(self) -> None:
        """Close the session, which may be in any state; nothing where it has gone back."""
        session = self.session
        if session is not None:
            self._pool.drop(session)
            self.session = None


class WriteTransaction(Checkout):
    """Commits at the end of the block; rolls back on an exception."""

    __slots__ = ("_bell", "_promise")

    def __init__(self, pool: Pool, promise: Promise, bell: Bell | None = None) -> None:
        self._pool = pool
        self._reader = False
        self._promise = promise
        self._bell = bell
        self.session = None

    def __enter__(self) -> Session:
        try:
            session = self._pool.take(self, reader=False)
            self._pool.begin(session, self._promise)
            return session
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
                self._commit(session)
            else:
                session.rollback()
                session.forget_tokens()
            session.gate.release()
        except BaseException:
            self.give_up()
            if kind is None:
                raise
            return  # the block's own exception says more than the failed rollback
        self._pool.checkin(self, session)
        if kind is None:
            self._pool.after_commit(self._promise, self._bell)

    def _commit(self, session: Session) -> None:
        if session.pid != getpid():
            raise StorageError("this process was forked inside a transaction of its parent: nothing was written")
        session.commit()
        self._pool.committed(session)


class ReadTransaction(Checkout):
    """One snapshot, taken by the first SELECT."""

    __slots__ = ("_alone", "_within_s")

    def __init__(self, pool: Pool, *, alone: bool = False, within_s: float | None = None) -> None:
        super().__init__(pool, reader=True)
        self._alone = alone
        self._within_s = within_s

    def __enter__(self) -> Session:
        try:
            session = self._pool.take(self, reader=True)
            if self._within_s is not None:
                session.stop_at(monotonic() + self._within_s)
            if not self._alone:
                session.execute("BEGIN")
            return session
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
            if self._within_s is not None:
                session.stop_at(None)
            session.rollback()  # nothing where it has not begun
        except BaseException:
            self.give_up()
            if kind is None:
                raise
            return
        self._pool.checkin(self, session)


managers.update(
    {manager.__exit__.__code__: Checkout.give_up for manager in (Checkout, WriteTransaction, ReadTransaction)}
)
