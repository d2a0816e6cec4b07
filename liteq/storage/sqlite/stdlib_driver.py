"""SQLite through Python's own sqlite3 module: for enqueueing inside an application's transaction.

Its SQLite is the one that the interpreter was built with; `liteq doctor` shows which, and its known bugs.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

from liteq.exceptions import StorageCorrupt
from liteq.storage.driver import Params, Row
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.disk import files
from liteq.storage.sqlite.errors import BUSY, translate
from liteq.storage.sqlite.session import WATCHED, Abandoned, Session

__all__ = ["StdlibDriver"]

ONE_PAGE = 4096  # bytes of a database of which all else is in its log; another program's page may be larger than ours
NO_TEXT = "Could not decode to UTF-8"  # the words of the module, which has no code for it


def _connect(path: str, *, read_only: bool = False, copy: bool = False) -> sqlite3.Connection:
    # isolation_level=None: transactions are ours alone; mode=rw: never create a file by opening it
    uri = f"file:{quote(path)}?mode={'ro' if read_only else 'rw'}{'&immutable=1' if copy else ''}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=128)


class StdlibSession(Session):
    """A session on a connection of the standard library."""

    connection: sqlite3.Connection

    def connect(self, busy_timeout_ms: int) -> None:
        try:
            self.connection = _connect(self.path, read_only=self.read_only, copy=self.hold is not None)
            self.connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}").fetchall()
            if sys.version_info >= (3, 12):  # before it, the last close of all folds the log
                self.connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        except sqlite3.Error as error:
            raise self.error(error) from error

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        self.work += 1
        try:
            return self.connection.execute(sql, cast("Any", params)).fetchall()
        except sqlite3.Error as error:
            raise self.error(error) from error

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        try:
            # Not total_changes: that has what triggers do as well.
            changed = self.connection.executemany(sql, cast("Any", rows)).rowcount
        except sqlite3.Error as error:
            raise self.error(error) from error
        self.work += changed
        return changed

    def watch(self, is_over: Callable[[], bool] | None) -> None:
        self.connection.set_progress_handler(is_over, WATCHED)

    def script(self, sql: str) -> None:
        try:
            self.connection.executescript(sql)
        except sqlite3.Error as error:
            raise self.error(error) from error

    def begin_immediate(self) -> bool:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if _code(error) & 0xFF == BUSY:
                return False
            raise self.error(error) from error
        return True

    def change(self, sql: str, params: Params) -> int | None:
        self.work += 1
        try:
            return self.connection.execute(sql, cast("Any", params)).rowcount
        except sqlite3.Error as error:
            if _code(error) & 0xFF == BUSY:
                return None
            raise self.error(error) from error

    def commit(self) -> None:
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self.error(error) from error

    def rollback(self) -> None:
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self.error(error) from error

    def complete(self, sql: str) -> bool:
        return sqlite3.complete_statement(sql)

    def copy_to(self, target: str) -> None:
        copy = None
        try:
            copy = _connect(target)
            self.connection.backup(copy)  # all pages in one step: one snapshot, which holds no writer up
            verdict = copy.execute("PRAGMA integrity_check(1)").fetchall()
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        except sqlite3.Error as error:
            raise self.error(error) from error
        finally:
            if copy is not None:
                copy.close()
        if verdict != [("ok",)]:
            raise StorageCorrupt(f"{self.path} is damaged, and so is the copy ({verdict[0][0]}): run `liteq doctor`")

    def disconnect(self) -> None:
        with suppress(sqlite3.Error):
            self.connection.close()

    def abandon_connection(self) -> object:
        connection, self.connection = self.connection, cast("Any", Abandoned())
        return connection

    def error(self, error: sqlite3.Error) -> Exception:
        """The exception for `error`. Text that is no UTF-8 is no fault of the storage, and told as apsw tells it."""
        if NO_TEXT in str(error) and getattr(error, "sqlite_errorcode", None) is None:
            return UnicodeError(f"{self.path}: {error}")
        return translate(_code(error), str(error), self.path, self.busy_timeout_s)


def _code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 1 (a plain error) for an error that the module raised by itself."""
    return getattr(error, "sqlite_errorcode", None) or 1


class StdlibDriver(SQLiteDriver):
    """`sqlite+stdlib:///`."""

    library = "stdlib"

    def new_session(self, *, reader: bool) -> Session:
        return StdlibSession(self.path, reader=reader, busy_timeout_s=self.busy_timeout_s)

    if sys.version_info < (3, 12):

        def _look_at_file(self, session: Session) -> bool:
            # The last close of all would delete a log of which SQLite finds nothing to read.
            if files.size(self.path) <= ONE_PAGE:
                from liteq.storage.sqlite.disk.log_check import refuse_damaged_start

                refuse_damaged_start(self.path)
            return super()._look_at_file(session)

    def session_on(self, path: str) -> Session:
        return StdlibSession(path, reader=True, busy_timeout_s=self.busy_timeout_s)

    def library_version(self) -> str:
        return sqlite3.sqlite_version

    def others_open(self) -> bool:
        """An application's own sqlite3 connections are the same library's; another library's cannot be told apart."""
        return False
