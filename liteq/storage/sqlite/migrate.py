"""Brings the schema to this code's version: numbered SQL files, each applied once, all in one transaction."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import cast

from liteq.exceptions import SchemaTooNew, StorageError, StorageUnavailable
from liteq.storage.driver import Driver, Transaction
from liteq.storage.sqlite.session import APPLICATION_ID, Session
from liteq.utils.records import NamedTuple

__all__ = ["Versions", "check", "look", "migrate", "migrations", "read_versions", "statements"]

# Of the schema as the connection knows it: a worker asks twice a second, and `sqlite_master` is 25 pages.
META = "SELECT name FROM pragma_table_info('liteq_meta')"
HAS_TABLES = "SELECT 1 FROM sqlite_master LIMIT 1"
VERSIONS = "SELECT key, value FROM liteq_meta WHERE key IN ('version', 'min_reader', 'min_writer')"
NAME = r"\d{4}_.+\.sql"
SET_VERSION = "UPDATE liteq_meta SET value = :version WHERE key = 'version'"


class Versions(NamedTuple):
    """The versions in a file; (0, 0, 0) before the first migration."""

    version: int = 0
    min_reader: int = 0
    min_writer: int = 0


@cache
def newest() -> int:
    """The number of the last migration. Most files are up to date, and then none of them has to be read."""
    try:
        names = os.listdir(os.path.join(os.path.dirname(__file__), "migrations"))
    except OSError:  # liteq is in an archive
        return max(migrations())
    return max(int(name[:4]) for name in names if re.fullmatch(NAME, name))


@cache
def migrations() -> dict[int, str]:
    """The SQL of each migration by its number, in order."""
    from importlib.resources import files  # with all kinds of archives

    folder = files("liteq.storage.sqlite") / "migrations"
    found = {int(f.name[:4]): f.read_text("utf-8") for f in folder.iterdir() if re.fullmatch(NAME, f.name)}
    return dict(sorted(found.items()))


def read_versions(tx: Transaction, path: str) -> Versions:
    """The versions of the open file. Raises StorageUnavailable where `liteq_meta` is somebody else's table."""
    columns = {name for (name,) in tx.execute(META)}
    if not columns:
        return Versions()
    found: dict[str, int] = dict(tx.execute(VERSIONS)) if {"key", "value"} <= columns else {}
    try:
        return Versions(found["version"], found["min_reader"], found["min_writer"])
    except KeyError as error:
        raise StorageUnavailable(
            f"{path} is the database of another application (it has a table `liteq_meta` of its own): name another file"
        ) from error


def migrate(driver: Driver, path: str) -> int:
    """Apply missing migrations; the version then. Only a read when none is. Raises SchemaTooNew without a write."""
    known = newest()
    found = _found(driver, path)
    if _is_current(found, known, path):
        return found.version
    with driver.write() as tx:
        found = read_versions(tx, path)  # again: another process may have been faster
        if _is_current(found, known, path):
            return found.version
        for number, sql in migrations().items():
            if number > found.version:
                _apply(cast("Session", tx), number, sql)
    return known


def look(driver: Driver, path: str) -> int:
    """The version of a file that is not to be changed. Raises SchemaTooNew, and StorageUnavailable for an older one."""
    known, found = newest(), _found(driver, path)
    if found.min_reader > known:
        raise SchemaTooNew(path, found.version, known)
    if found.version < known:
        older = f"has schema version {found.version}, this liteq reads {known}"
        tells = older if found.version else "has no tables yet"
        raise StorageUnavailable(
            f"{path} {tells}, and it is opened to be looked at alone (?mode=ro): start a worker of this version, or "
            "run `liteq migrate`, without mode=ro"
        )
    return found.version


def _found(driver: Driver, path: str) -> Versions:
    """The versions in the file. Raises StorageCorrupt where it seems to be empty because its log is damaged."""
    with driver.read() as tx:
        found = read_versions(tx, path)
        is_empty = not found.version and not tx.execute(HAS_TABLES)
    if is_empty:
        from liteq.storage.sqlite.disk.log_check import refuse_damaged_start  # for new files alone

        refuse_damaged_start(path)
    return found


def check(driver: Driver, path: str) -> None:
    """Raises SchemaTooNew when this code may not write the file any more."""
    with driver.read() as tx:
        _is_current(read_versions(tx, path), newest(), path)


def statements(sql: str, complete: Callable[[str], bool]) -> Iterator[str]:
    """The statements of a script one by one; `complete` is the library's own idea of where one ends."""
    text = ""
    for line in sql.splitlines(keepends=True):
        text += line
        if line.rstrip().partition("--")[0].rstrip().endswith(";") and complete(text):
            yield text.strip()
            text = ""
    if any(line and not line.startswith("--") for line in map(str.strip, text.splitlines())):
        raise StorageError(f"a migration ends inside a statement: {text.strip()[:60]!r}")


def _is_current(found: Versions, known: int, path: str) -> bool:
    if found.min_writer > known:
        raise SchemaTooNew(path, found.version, known)
    return found.version >= known


def _apply(session: Session, number: int, sql: str) -> None:
    for statement in statements(sql, session.complete):
        session.execute(statement)
    session.execute(SET_VERSION, {"version": number})
    if session.pragma("application_id") == APPLICATION_ID or _is_ours(session):
        session.execute(f"PRAGMA application_id={APPLICATION_ID}")
        session.execute(f"PRAGMA user_version={number}")


def _is_ours(session: Session) -> bool:
    """Whether nobody but liteq has tables here: in an application's own database the header is the application's."""
    others = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT IN (%s) AND name NOT LIKE 'sqlite%%'"
    ours = set(re.findall(r"^CREATE TABLE (\w+)", "\n".join(migrations().values()), re.MULTILINE))
    return session.execute(others % ", ".join(f"'{name}'" for name in sorted(ours))) == [(0,)]
