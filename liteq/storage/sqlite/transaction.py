"""The two context managers. Classes, not generators: a write is one enqueue, and this is half of its Python."""

from __future__ import annotations

from os import getpid
from types import TracebackType
from typing import Protocol

from liteq.exceptions import StorageError
from liteq.storage.driver import Promise, Transaction
from liteq.storage.sqlite.session import Session

__all__ = ["Pool", "ReadTransaction", "WriteTransaction"]

WORK_PER_LOOK = 64  # statements and rows between two looks at the log's size


class Pool(Protocol):
    """What a transaction needs of its driver (base.py)."""

    def checkout(self, *, reader: bool) -> Session: ...
    def begin(self, session: Session, promise: Promise) -> None: ...
    def synced(self) -> None: ...
    def after_work(self, session: Session) -> None: ...
    def checkin(self, session: Session) -> None: ...
    def drop(self, session: Session) -> None: ...


class WriteTransaction:
    """Commits at the end of the block; rolls back on an exception."""

    __slots__ = ("_pool", "_promise", "_session")

    def __init__(self, pool: Pool, promise: Promise) -> None:
        self._pool = pool
        self._promise = promise

    def __enter__(self) -> Transaction:
        session = self._session = self._pool.checkout(reader=False)
        try:
            self._pool.begin(session, self._promise)
        except StorageError:
            self._pool.checkin(session)
            raise
        except BaseException:
            self._pool.drop(session)
            raise
        return session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, pool = self._session, self._pool
        try:
            if kind is not None:
                session.rollback()
            elif session.pid != getpid():
                raise StorageError("this process was forked inside a transaction of its parent: nothing was written")
            else:
                session.commit()
                if session.full:
                    pool.synced()
                if session.work >= WORK_PER_LOOK:
                    pool.after_work(session)
            session.gate.release()
        except BaseException:
            pool.drop(session)
            if kind is None:
                raise
            return  # the block's own exception says more than the failed rollback
        pool.checkin(session)


class ReadTransaction:
    """One snapshot, taken by the first SELECT."""

    __slots__ = ("_pool", "_session")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Transaction:
        session = self._session = self._pool.checkout(reader=True)
        try:
            session.execute("BEGIN")
        except BaseException:
            self._pool.drop(session)
            raise
        return session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._session.rollback()
        except BaseException:
            self._pool.drop(self._session)
            if kind is None:
                raise
            return
        self._pool.checkin(self._session)
