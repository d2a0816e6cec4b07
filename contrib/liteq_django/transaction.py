"""The queue's verbs inside a transaction of Django's: the same SQL, on the connection that Django has open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, cast

from django.db import connections, transaction

from liteq.storage.driver import Params, Row
from liteq.storage.sqlite.errors import translate
from liteq.storage.sqlite.tokens import Tokens
from liteq.utils.boot import clocks

__all__ = ["DjangoTransaction", "at_commit", "awaits_commit", "inside_atomic", "within"]


class DjangoTransaction:
    """`driver.Transaction` over Django's connection, by its DB-API connection: Django's own cursors know only `%s`."""

    def __init__(self, connection: Any) -> None:
        self._raw: sqlite3.Connection = connection.connection
        self._path = str(connection.settings_dict["NAME"])
        self._timeout_s = float(connection.settings_dict.get("OPTIONS", {}).get("timeout", 5.0))

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        with self._translated():
            return self._raw.execute(sql, cast("Any", params)).fetchall()

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        with self._translated():
            return self._raw.executemany(sql, cast("Any", rows)).rowcount  # not what triggers do as well

    def tokens(self, n: int, above: int = 0) -> int:
        return Tokens().take(self, n, above)

    def uptime(self) -> tuple[str, int]:
        return clocks(), int(monotonic() * 1000)

    def in_turn(self, name: str) -> None:
        """One writer at a time: numbers become visible in their order."""

    def pragma(self, name: str) -> Any:
        """The value of `PRAGMA name`; None where it has none."""
        rows = self.execute(f"PRAGMA {name}")
        return rows[0][0] if rows else None

    @staticmethod
    def complete(sql: str) -> bool:
        return sqlite3.complete_statement(sql)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None) or 1
            raise translate(code, str(error), self._path, self._timeout_s) from error


def inside_atomic(alias: str) -> bool:
    """Whether this thread is inside `atomic()` on the database `alias`."""
    return bool(connections[alias].in_atomic_block)


def at_commit(alias: str, callback: Callable[[], None]) -> None:
    """Have `callback` called once with the commit of this transaction; not where the part that it is in is rolled back.

    One that is there already is enough, unless a rollback may take it away without this part.
    """
    connection: Any = connections[alias]
    open_now = set(connection.savepoint_ids)
    if not any(known is callback and parts <= open_now for parts, known, _ in connection.run_on_commit):
        transaction.on_commit(callback, using=alias, robust=True)


def awaits_commit(alias: str, callbacks: Collection[Callable[[], None]]) -> bool:
    """Whether one of `callbacks` is called with the commit of this thread's transaction."""
    connection: Any = connections[alias]
    return any(callback in callbacks for _, callback, _ in connection.run_on_commit)


@contextmanager
def within(alias: str) -> Iterator[DjangoTransaction]:
    """A verb's transaction: inside `atomic()` a savepoint of it, so that a verb is all or nothing; else one of its own.

    Raises TransactionManagementError in a transaction that is broken already.
    """
    connection: Any = connections[alias]
    connection.validate_no_broken_transaction()
    with transaction.atomic(using=alias):
        yield DjangoTransaction(connection)
