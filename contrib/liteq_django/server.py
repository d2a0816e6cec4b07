"""The engine over a PostgreSQL database of Django's. Needs psycopg 3, which Django uses where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from django.core import mail
from django.db import connections, transaction

from liteq.exceptions import StorageUnavailable
from liteq.storage.driver import Bell, Durability, Listener, Params, Promise, Transaction
from liteq_django.conf import made_urls, server_url
from liteq_django.transaction import at_commit, awaits_commit, inside_atomic
from liteq_postgres.borrowed import borrowed
from liteq_postgres.driver import PostgresDriver
from liteq_postgres.hearing import PipeListener
from liteq_postgres.migrate import newest, read_versions
from liteq_postgres.session import Session
from liteq_postgres.transaction import Checkout
from liteq_postgres.url import Location, parse

__all__ = ["SharedServer", "open_shared"]

POLL_S = 0.05


def open_shared(url: str, using: str, *, durability: Durability, busy_timeout_s: float) -> SharedServer:
    """The queue at `url`, which leads to the database `using`: its name is perhaps a test's by now."""
    location = parse(url)
    if url in made_urls:
        location = replace(parse(server_url(connections[using].settings_dict)), schema=location.schema)
    return SharedServer(url, location, using=using, durability=durability, busy_timeout_s=busy_timeout_s)


class SharedServer(PostgresDriver):
    """The queue beside the models of the database `using`: inside its `atomic()` on its connection, else as ever.

    A transaction that has written nothing to the queue keeps no row of it locked. So what a running task says of itself
    is written beside it, at once: a heartbeat would wait for the row. Inside a `TestCase`, whose transaction is never
    committed, everything is on Django's connection.
    """

    def __init__(self, url: str, location: Location, *, using: str, **options: Any) -> None:
        super().__init__(url, location, **options)
        self.using = using
        # The callbacks of on_commit, made once: a transaction has each of them once, however much it sends.
        self._noted: Callable[[], None] = lambda: None
        self._rings = {bell: partial(PostgresDriver.ring, self, bell) for bell in Bell}

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        if not inside_atomic(self.using) or (promise is Promise.PROGRESS and not self._has_written()):
            return super().write(promise, bell)
        self._at_commit(self._noted if bell is None else self._rings[bell])
        relaxed = self.durability is Durability.RELAXED
        waits = not relaxed and (self.durability is Durability.STRICT or promise is not Promise.PROGRESS)
        return self._within(waits=waits)

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        with self.write(promise, bell) as tx:
            return tx.executemany(sql, [params])

    def read(self, *, alone: bool = False, within_s: float | None = None) -> AbstractContextManager[Transaction]:
        """A transaction sees what it has written itself; one that has written nothing has a snapshot of its own."""
        if inside_atomic(self.using) and self._has_written():
            return self._within(looks=True, within_s=within_s)
        return super().read(alone=alone, within_s=within_s)

    def ring(self, bell: Bell) -> None:
        """Heard once the transaction has been committed, and not at all when it is rolled back."""
        if inside_atomic(self.using):
            self._at_commit(self._rings[bell])
        else:
            super().ring(bell)

    def listen(self, bell: Bell) -> Listener:
        return _Polled(self.version) if _in_tests() else super().listen(bell)

    def migrate(self) -> int:
        """As any driver's. Inside `atomic()` it makes nothing, a rollback would take it away: StorageUnavailable."""
        if not inside_atomic(self.using):
            return super().migrate()
        with self.read() as tx:
            found = read_versions(tx, self.location.schema)
        if found.version < newest():
            raise StorageUnavailable(
                f"{self.where()} does not have the queue's tables, or older ones: run `manage.py migrate`"
            )
        self.check_schema()
        return found.version

    def checkin(self, holder: Checkout, session: Session) -> None:
        """As any driver's. In tests no connection is kept: a database that is in use cannot be dropped."""
        if _in_tests():
            holder.give_up()
        else:
            super().checkin(holder, session)

    @contextmanager
    def _within(self, **how: Any) -> Iterator[Transaction]:
        """A verb in a savepoint of Django's transaction. Raises TransactionManagementError in a broken one."""
        connection: Any = connections[self.using]
        connection.validate_no_broken_transaction()
        with (
            transaction.atomic(using=self.using),
            borrowed(connection.connection, self.location, self._tokens, waited_s=self.busy_timeout_s, **how) as tx,
        ):
            yield tx

    def _tokens(self, n: int, above: int = 0) -> int:
        """Take tokens on a connection of liteq's own: a sequence's numbers belong to no transaction."""
        with PostgresDriver.write(self, Promise.PROGRESS) as tx:
            return tx.tokens(n, above)

    def is_uncommitted(self) -> bool:
        return inside_atomic(self.using) and self._has_written()

    def _has_written(self) -> bool:
        """Whether this thread's transaction may have changed rows of the queue; it always may in a `TestCase`."""
        ours: list[Callable[[], None]] = [self._noted, *self._rings.values()]
        return _is_a_tests(connections[self.using]) or awaits_commit(self.using, ours)

    def _at_commit(self, callback: Callable[[], None]) -> None:
        if not _is_a_tests(connections[self.using]):
            at_commit(self.using, callback)


class _Polled(PipeListener):
    """A listener without a connection, for tests: it hears every commit, whichever bell it is about."""

    def __init__(self, version: Callable[[], int]) -> None:
        super().__init__(lambda _: None)
        self._version = version
        self._seen = version()

    def wait(self, timeout_s: float) -> bool:
        end = monotonic() + timeout_s
        while not super().wait(min(max(end - monotonic(), 0), POLL_S)):
            before, self._seen = self._seen, self._version()
            if self._seen != before:
                return True
            if monotonic() >= end:
                return False
        return True


def _is_a_tests(connection: Any) -> bool:
    """Whether the transaction is one that a `TestCase` keeps open around its tests."""
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[0]._from_testcase


def _in_tests() -> bool:
    """Whether Django's test runner, or pytest-django, has set this process up: from then on mails are kept here."""
    return hasattr(mail, "outbox")
