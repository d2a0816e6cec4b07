"""SQLite through apsw: one known SQLite on every platform. The default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

import apsw

from liteq.exceptions import StorageCorrupt, StorageError
from liteq.storage.driver import Params, Row
from liteq.storage.sqlite import copies
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.disk import files
from liteq.storage.sqlite.errors import translate
from liteq.storage.sqlite.session import WATCHED, Abandoned, Session

__all__ = ["ApswDriver"]


class ApswSession(Session):
    """A session on an apsw connection; apsw caches prepared statements by their text."""

    connection: apsw.Connection

    def __init__(self, path: str, *, reader: bool, busy_timeout_s: float, vfs: str | None = None) -> None:
        super().__init__(path, reader=reader, busy_timeout_s=busy_timeout_s)
        self.vfs = vfs

    def connect(self, busy_timeout_ms: int) -> None:
        try:
            path, flags = self.path, apsw.SQLITE_OPEN_READONLY if self.read_only else apsw.SQLITE_OPEN_READWRITE
            if self.hold is not None:
                path, flags = f"file:{quote(path)}?immutable=1", flags | apsw.SQLITE_OPEN_URI
            self.connection = apsw.Connection(path, flags=flags, vfs=self.vfs, statementcachesize=128)
            self.connection.set_busy_timeout(busy_timeout_ms)
            self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            # This build has STAT4: without the guarantee, binding a parameter makes SQLite plan the statement anew.
            self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        except apsw.Error as error:
            raise self.error(error) from error

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        self.work += 1
        try:
            return self.connection.execute(sql, params).fetchall()
        except apsw.Error as error:
            raise self.error(error) from error

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        connection = self.connection
        try:
            if sql.lstrip().startswith("DELETE"):  # total_changes() has what its trigger deletes as well
                changed = sum(self._change(sql, row) for row in rows)
            else:
                before = connection.total_changes()
                connection.executemany(sql, rows).fetchall()
                changed = connection.total_changes() - before
        except apsw.Error as error:
            raise self.error(error) from error
        self.work += changed
        return changed

    def _change(self, sql: str, row: Params) -> int:
        self.connection.execute(sql, row).fetchall()
        return self.connection.changes()

    def watch(self, is_over: Callable[[], bool] | None) -> None:
        self.connection.set_progress_handler(is_over, WATCHED)

    def script(self, sql: str) -> None:
        try:
            self.connection.execute(sql, can_cache=False).fetchall()
        except apsw.Error as error:
            raise self.error(error) from error

    def begin_immediate(self) -> bool:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return False
        except apsw.Error as error:
            raise self.error(error) from error
        return True

    def change(self, sql: str, params: Params) -> int | None:
        self.work += 1
        connection = self.connection
        try:
            connection.execute(sql, params)
        except apsw.BusyError:
            return None
        except apsw.Error as error:
            raise self.error(error) from error
        return connection.changes()

    def commit(self) -> None:
        try:
            self.connection.execute("COMMIT")
        except apsw.Error as error:
            raise self.error(error) from error

    def rollback(self) -> None:
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except apsw.Error as error:
                raise self.error(error) from error

    def complete(self, sql: str) -> bool:
        return apsw.complete(sql)

    def copy_to(self, target: str) -> None:
        copy = None
        try:
            copy = apsw.Connection(target, flags=apsw.SQLITE_OPEN_READWRITE)
            with copy.backup("main", self.connection, "main") as backup:
                while not backup.done:  # all pages in one step: one snapshot, which holds no writer up
                    backup.step(-1)
            verdict = copy.execute("PRAGMA integrity_check(1)").fetchall()
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        except apsw.Error as error:
            raise self.error(error) from error
        finally:
            if copy is not None:
                copy.close()
        if verdict != [("ok",)]:
            raise StorageCorrupt(f"{self.path} is damaged, and so is the copy ({verdict[0][0]}): run `liteq doctor`")

    def disconnect(self) -> None:
        with suppress(apsw.Error):
            self.connection.close(True)

    def abandon_connection(self) -> object:
        connection, self.connection = self.connection, cast("Any", Abandoned())
        return connection

    def error(self, error: apsw.Error) -> StorageError:
        code = getattr(error, "extendedresult", 0) or getattr(error, "result", 0) or 1
        return translate(code, str(error), self.path, self.busy_timeout_s)


class ApswDriver(SQLiteDriver):
    """`sqlite:///` with apsw. `vfs` names the registered VFS through which the file is reached: for fault tests."""

    library = "apsw"

    def __init__(self, url: str, path: str, *, vfs: str | None = None, **options: Any) -> None:
        super().__init__(url, path, **options)
        self.vfs = vfs

    def new_session(self, *, reader: bool) -> Session:
        return ApswSession(self.path, reader=reader, busy_timeout_s=self.busy_timeout_s, vfs=self.vfs)

    def sync_log(self) -> None:
        if self.vfs is None:
            super().sync_log()
            return
        try:  # as SQLite would: the VFS is to see it
            log = apsw.VFSFile(self.vfs, f"{self.path}-wal", [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
            try:
                log.xSync(apsw.SQLITE_SYNC_NORMAL)
            finally:
                log.xClose()
        except apsw.Error as error:
            code = getattr(error, "extendedresult", 0) or getattr(error, "result", 0) or 1
            raise translate(code, str(error), self.path, self.busy_timeout_s) from error

    def session_on(self, path: str) -> Session:
        return ApswSession(path, reader=True, busy_timeout_s=self.busy_timeout_s)

    def library_version(self) -> str:
        return apsw.apsw_version()

    def others_open(self) -> bool:
        """Whether this process has the file open other than through apsw; only Linux can tell."""
        here = any(_may_be_of(connection, self.path) for connection in apsw.connections())
        return not here and files.is_open_here(self.path, but=copies.HELD)


def _may_be_of(connection: apsw.Connection, path: str) -> bool:
    """Whether a connection has `path` open. One that another thread is using cannot tell: so it may be."""
    try:
        return connection.filename == path
    except apsw.ThreadingViolationError:
        return True
