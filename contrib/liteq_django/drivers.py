"""Storage engines over a SQLite database of Django's: one in a file, and one in memory, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import monotonic
from typing import Any

from django.db import connections

from liteq.exceptions import ImproperlyConfigured, StorageUnavailable
from liteq.storage.driver import Bell, Driver, Listener, Params, Promise, Transaction
from liteq.storage.sqlite import migrate
from liteq.storage.sqlite.stdlib_driver import StdlibDriver
from liteq.storage.sqlite.waking.polling import PollingListener
from liteq.storage.upkeep import Replicator
from liteq_django import waiting
from liteq_django.transaction import DjangoTransaction, at_commit, awaits_commit, inside_atomic, within

__all__ = ["MemoryDriver", "SharedDriver"]


class SharedDriver(StdlibDriver):
    """The queue in the file of the database `using`: inside its `atomic()` on its connection, else as ever.

    A connection of liteq's own could not write there at that moment: Django's holds the write lock. A bell rung in a
    transaction is heard once that has been committed, and not at all when it is rolled back.
    """

    def __init__(self, url: str, path: str, *, using: str, **options: Any) -> None:
        super().__init__(url, path, **options)
        self.using = using
        # The callbacks of on_commit, made once: a transaction has each of them once, however much it sends.
        self._noted: Callable[[], None] = lambda: None
        self._rings = {bell: partial(StdlibDriver.ring, self, bell) for bell in Bell}

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        if not inside_atomic(self.using):
            return super().write(promise, bell)
        at_commit(self.using, self._noted if bell is None else self._rings[bell])
        return within(self.using)

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        if not inside_atomic(self.using):
            return super().change(sql, params, promise, bell)
        with self.write(promise, bell) as tx:
            return tx.executemany(sql, [params])

    def read(self, *, alone: bool = False, within_s: float | None = None) -> AbstractContextManager[Transaction]:
        """A transaction sees what it has written itself; one that has written nothing sees what others commit."""
        if inside_atomic(self.using) and (self._has_written() or not self._ready):
            return within(self.using)
        return super().read(alone=alone, within_s=within_s)

    def ring(self, bell: Bell) -> None:
        if inside_atomic(self.using):
            at_commit(self.using, self._rings[bell])
        else:
            super().ring(bell)

    def migrate(self) -> int:
        """As any driver's. Inside `atomic()` it makes nothing, a rollback would take it away: StorageUnavailable."""
        if not inside_atomic(self.using):
            return super().migrate()
        known = max(migrate.migrations())
        with within(self.using) as tx:
            found = migrate.read_versions(tx, self.path)
        if found.version < known:
            raise StorageUnavailable(
                f"{self.path} does not have the queue's tables, or older ones: run `manage.py migrate`"
            )
        self.check_schema()
        return found.version

    def replicator(self, control: str | None) -> Replicator:
        """As any driver's. Raises ImproperlyConfigured inside `atomic()`: before its commit nothing can be copied."""
        if inside_atomic(self.using):
            raise ImproperlyConfigured(
                "replicated=True cannot wait inside atomic(): the message is in the queue only with its commit. "
                "Nothing was sent; send it by transaction.on_commit()"
            )
        return super().replicator(control)

    def not_free(self, start: float) -> None:
        """As any driver's. Raises StorageError when the lock belongs to a thread that waits for this one."""
        if monotonic() - start >= waiting.GRACE_S:
            waiting.refuse_deadlock(self.using)
        super().not_free(start)

    def holder(self) -> str:
        inside = waiting.thread_inside_atomic(self.using)
        return super().holder() + (f"; the thread {inside} of this process is inside atomic()" if inside else "")

    def is_uncommitted(self) -> bool:
        return inside_atomic(self.using) and self._has_written()

    def _has_written(self) -> bool:
        return awaits_commit(self.using, (self._noted, *self._rings.values()))


class MemoryDriver(Driver):
    """The queue in a database in memory, as Django's test runner makes it: every verb on Django's connection.

    For tests only: no other process can see it. `liteq_django.drain()` runs the messages that were sent.
    """

    def __init__(self, url: str, *, using: str) -> None:
        self.url = url
        self.using = using
        self._rung = 0

    def write(
        self,
        promise: Promise = Promise.ACCEPTED,  # noqa: ARG002 - nothing in memory is durable
        bell: Bell | None = None,
    ) -> AbstractContextManager[Transaction]:
        if bell is not None:
            self.ring(bell)
        return within(self.using)

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        with self.write(promise, bell) as tx:
            return tx.executemany(sql, [params])

    def read(
        self,
        *,
        alone: bool = False,  # noqa: ARG002 - it begins nothing
        within_s: float | None = None,  # noqa: ARG002 - what a test has written is read at once
    ) -> AbstractContextManager[Transaction]:
        return self._look()

    @contextmanager
    def _look(self) -> Iterator[Transaction]:
        connection = connections[self.using]
        connection.ensure_connection()
        yield DjangoTransaction(connection)

    def ring(self, bell: Bell) -> None:  # noqa: ARG002 - one for both
        self._rung += 1

    def listen(self, bell: Bell) -> Listener:  # noqa: ARG002 - as above
        return PollingListener(self.version)

    def version(self) -> int:
        return self._rung

    def migrate(self) -> int:
        return migrate.migrate(self, self.url)

    def check_schema(self) -> None:
        """Only this process's tests know of it."""

    def where(self) -> str:
        return f"in memory (database {self.using!r})"

    def close(self) -> None:
        """The connection is Django's."""
