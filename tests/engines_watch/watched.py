"""The libraries that are watched, as engines: `libsql:///PATH` and `turso:///PATH` where this folder is on the path.

As little as lets the suite run. A library's own faults are not mended here, but for those that would hide all others:
each of these is a line of the page that docs/generate/engines_watch.py makes.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from liteq.exceptions import StorageError
from liteq.storage.driver import Driver, Options, Params, Place, Row
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.engine import SQLiteEngine
from liteq.storage.sqlite.errors import BUSY, CANTOPEN, CORRUPT, FULL, NOTADB, translate
from liteq.storage.sqlite.session import Abandoned, Session
from liteq.storage.sqlite.url import parse

__all__ = ["LIBSQL", "TURSO"]

CODES = {
    "database is locked": BUSY, "database table is locked": BUSY, "busy": BUSY, "malformed": CORRUPT,
    "not a database": NOTADB, "unable to open": CANTOPEN, "disk is full": FULL,
}  # fmt: skip
# Both know errors by their text alone.
EXPERIMENTAL = "without_rowid,autovacuum,multiprocess_wal"  # of Turso: a queue's tables, its file, several processes
AS_IT_IS = "LITEQ_WATCH_AS_IT_IS"  # in the environment: mend nothing
# What is left as it is comes first: texts, quoted names, comments.
NAMED = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | --[^\n]* | /\*.*?\*/ | \?(\d*) | (?<![\w:]):([A-Za-z_]\w*)""", re.VERBOSE | re.DOTALL
)


class WatchedSession(Session):
    """A session on a DB-API connection of `library`."""

    connection: Any

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        self.work += 1
        return self._run(sql, params)[0]

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        changed = sum(self._run(sql, row)[1] for row in rows)
        self.work += changed
        return changed

    def _run(self, sql: str, params: Params = ()) -> tuple[list[Row], int]:
        """The rows, and how many were changed."""
        try:
            cursor = self.connection.execute(*self.bound(sql, params))
            rows = [tuple(row) for row in cursor.fetchall() or ()]
            return rows, cursor.rowcount
        except StorageError:
            raise
        except Exception as error:
            raise self.error(error) from error

    def bound(self, sql: str, params: Params) -> tuple[Any, ...]:
        """The statement, and the parameters as the library takes them."""
        return sql, params

    def watch(self, is_over: Callable[[], bool] | None) -> None:
        """Nothing: no progress handler."""

    def script(self, sql: str) -> None:
        for statement in filter(None, map(str.strip, sql.split(";"))):
            self._run(statement)

    def begin_immediate(self) -> bool:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except Exception as error:
            if code_of(error) == BUSY:
                return False
            raise self.error(error) from error
        return True

    def change(self, sql: str, params: Params) -> int | None:
        self.work += 1
        try:
            cursor = self.connection.execute(*self.bound(sql, params))
            cursor.fetchall()
        except Exception as error:
            if code_of(error) == BUSY:
                return None
            raise self.error(error) from error
        return int(cursor.rowcount)

    def commit(self) -> None:
        self._run("COMMIT")

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self._run("ROLLBACK")

    def complete(self, sql: str) -> bool:
        return sqlite3.complete_statement(sql)

    def copy_to(self, target: str) -> None:
        os.unlink(target)  # which VACUUM INTO makes; neither has the backup API
        self.script("PRAGMA query_only=0")
        self._run(f"VACUUM INTO '{target}'")
        self.script("PRAGMA query_only=1")

    def disconnect(self) -> None:
        with suppress(Exception):
            self.connection.close()

    def abandon_connection(self) -> object:
        connection, self.connection = self.connection, Abandoned()
        return connection

    def error(self, error: Exception) -> StorageError:
        return translate(code_of(error), str(error), self.path, self.busy_timeout_s)


def code_of(error: Exception) -> int:
    """SQLite's result code for what an error says; 1 for all others."""
    text = str(error).lower()
    return next((code for words, code in CODES.items() if words in text), 1)


class LibsqlSession(WatchedSession):
    """libSQL takes parameters in order alone, and binds an integer as a floating-point number.

    So integers are written into the statement: above 2^53 they would be others, and fencing tokens reach that far.
    """

    def connect(self, busy_timeout_ms: int) -> None:
        import libsql

        try:
            self.connection = libsql.connect(self.path, busy_timeout_ms / 1000, None, False)
        except Exception as error:
            raise self.error(error) from error

    def bound(self, sql: str, params: Params) -> tuple[Any, ...]:
        named = params if isinstance(params, Mapping) else {}
        given = () if isinstance(params, Mapping) else tuple(params)
        values: list[object] = []
        plain = 0

        def placed(found: re.Match[str]) -> str:
            nonlocal plain
            number, name = found.groups()
            if number is None and name is None:
                return found[0]
            if name is not None:
                value = named[name]
            else:
                plain += not number
                value = given[int(number or plain) - 1]
            if isinstance(value, int):
                return f"({int(value)})" if value < 0 else str(int(value))
            values.append(bytes(value) if isinstance(value, bytearray | memoryview) else value)
            return f"?{len(values)}"

        text = NAMED.sub(placed, sql)
        return text, tuple(values)


class TursoSession(WatchedSession):
    """Turso, with the features that it calls experimental and a queue cannot do without.

    It neither updates a table WITHOUT ROWID nor makes an index on one. So tables that it makes have rows' numbers.
    """

    def connect(self, busy_timeout_ms: int) -> None:
        import turso

        try:
            self.connection = turso.connect(self.path, experimental_features=EXPERIMENTAL, isolation_level=None)
            self._run(f"PRAGMA busy_timeout={busy_timeout_ms}")
        except StorageError:
            raise
        except Exception as error:
            raise self.error(error) from error

    def bound(self, sql: str, params: Params) -> tuple[Any, ...]:
        return sql if AS_IT_IS in os.environ else sql.replace(" WITHOUT ROWID", ""), params

    def script(self, sql: str) -> None:
        super().script(sql.replace("query_only=ON", "query_only=1"))  # it knows numbers alone


class WatchedDriver(SQLiteDriver):
    """A file through one of the libraries."""

    session: type[WatchedSession]

    def new_session(self, *, reader: bool) -> Session:
        return self.session_of(self.path, reader=reader)

    def session_on(self, path: str) -> Session:
        return self.session_of(path, reader=True)

    def session_of(self, path: str, *, reader: bool) -> Session:
        return self.session(path, reader=reader, busy_timeout_s=self.busy_timeout_s)

    def library_version(self) -> str:
        with self.read() as tx:
            return str(tx.execute("SELECT sqlite_version()")[0][0])

    def others_open(self) -> bool:
        return False


class LibsqlDriver(WatchedDriver):
    library = "libsql"
    session = LibsqlSession


class TursoDriver(WatchedDriver):
    library = "turso"
    session = TursoSession

    def version(self) -> int:
        """It has no `PRAGMA data_version`: the log's size and time, which a poll may compare."""
        with suppress(FileNotFoundError):
            log = os.stat(f"{self.path}-wal")
            return log.st_mtime_ns ^ log.st_size
        return 0


class WatchedEngine(SQLiteEngine):
    """`NAME:///PATH`, with the options of a SQLite file's URL."""

    def __init__(self, driver: type[WatchedDriver]) -> None:
        self._driver = driver

    def open(self, url: str, options: Options) -> Driver:
        path = parse(self._as_sqlite(url)).path
        return self._driver(
            url, path, durability=options.durability, busy_timeout_s=options.busy_timeout_s,
            allow_network_filesystem=options.allow_network_filesystem, file_mode=options.file_mode,
        )  # fmt: skip

    def describe_url(self, url: str, library: str | None = None) -> Place:
        return super().describe_url(self._as_sqlite(url))

    def _as_sqlite(self, url: str) -> str:
        return "sqlite" + url.removeprefix(self._driver.library)


LIBSQL = WatchedEngine(LibsqlDriver)
TURSO = WatchedEngine(TursoDriver)
