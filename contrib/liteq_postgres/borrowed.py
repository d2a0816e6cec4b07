"""A verb inside a transaction of somebody else's, on their connection: a framework's, which decides how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
from psycopg import Connection, RawCursor

from liteq.storage.driver import Params, Row
from liteq_postgres.errors import translate
from liteq_postgres.names import advisory_key, quoted
from liteq_postgres.session import LOCK_NAME
from liteq_postgres.translate import sought, statement, values
from liteq_postgres.types import adapt
from liteq_postgres.url import Location

__all__ = ["Borrowed", "TakeTokens", "borrowed"]

# Of the transaction: what the verb changes, as it was before, and as the verb needs it. In one statement.
ENTER = """
WITH former AS MATERIALIZED (
    SELECT current_setting('search_path') AS path, current_setting('lock_timeout') AS lock,
           current_setting('statement_timeout') AS statement, current_setting('synchronous_commit') AS commits
)
SELECT path, lock, statement,
       set_config('search_path', concat_ws(', ', CAST(:schema AS text), nullif(path, '')), true),
       set_config('lock_timeout', CAST(:lock AS text), true),
       set_config('statement_timeout', coalesce(CAST(:statement AS text), statement), true),
       set_config('synchronous_commit', CASE WHEN :waits AND commits = 'off' THEN 'on' ELSE commits END, true)
  FROM former
"""
LEAVE = """
SELECT set_config('search_path', CAST(? AS text), true), set_config('lock_timeout', CAST(? AS text), true),
       set_config('statement_timeout', CAST(? AS text), true)
"""


class TakeTokens(Protocol):
    """The way to take fencing tokens: `driver.Transaction.tokens`."""

    def __call__(self, n: int, above: int = 0) -> int: ...


class Borrowed:
    """`driver.Transaction` on a connection that stays as it is: its adapters and its cursors are its owner's."""

    pooled = False

    def __init__(self, connection: Connection[Any], location: Location, waited_s: float, tokens: TakeTokens) -> None:
        self.looks = False  # whether it only reads
        self.tokens = tokens
        self._location, self._waited_s = location, waited_s
        self._cursor = RawCursor(connection)
        self._cursor.format = 1  # type: ignore[assignment]
        adapt(self._cursor)

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        found = statement(sql)
        given = values(found.names, params)
        with self._translated():
            self._cursor.execute(*((found.look, sought(given)) if self.looks else (found.sql, given)))
            return self._cursor.fetchall() if self._cursor.description is not None else []

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        found = statement(sql)
        taken = [values(found.names, row) for row in rows]
        if not taken:
            return 0
        with self._translated():
            self._cursor.executemany(found.sql, taken)
            return max(self._cursor.rowcount, 0)

    def uptime(self) -> tuple[str, int]:
        """As `driver.Transaction.uptime`: not known, as for any session."""
        return "", 0

    def in_turn(self, name: str) -> None:
        """As `driver.Transaction.in_turn`: by a lock that ends with the owner's transaction."""
        self.execute(LOCK_NAME, (advisory_key(self._location.schema, name),))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise translate(error, self._location.where(), self._waited_s) from error


@contextmanager
def borrowed(
    connection: Connection[Any], location: Location, tokens: TakeTokens, *, waited_s: float, waits: bool = False,
    looks: bool = False, within_s: float | None = None,
) -> Iterator[Borrowed]:  # fmt: skip
    """A verb's transaction inside that of `connection`. The caller has set a savepoint, and keeps it or rolls back.

    `tokens`: takes some, as `driver.Transaction.tokens`; they belong to no transaction. `waited_s`: how long a
    statement may wait for a row. `waits`: the commit is to wait for the disk, also where the connection's would not.
    `looks`: it only reads. `within_s`: how long a statement may take. When the block has ended the connection's search
    path and timeouts are as before; after an error the rollback to the savepoint does that.
    """
    session = Borrowed(connection, location, waited_s, tokens)
    statement = None if within_s is None else f"{max(int(within_s * 1000), 1)}ms"
    ((path, lock, former, *_),) = session.execute(
        ENTER,
        {
            "schema": quoted(location.schema), "lock": f"{max(int(waited_s * 1000), 1)}ms", "statement": statement,
            "waits": waits,
        },
    )  # fmt: skip
    session.looks = looks
    yield session
    session.looks = False
    session.execute(LEAVE, (path, lock, former))
