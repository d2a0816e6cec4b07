"""Brings the schema to this code's version: numbered SQL files, alike with those of a file's engine.

They begin with the version that a file had when this engine came to be; each is applied once, all in one transaction.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from functools import cache
from importlib.resources import files
from typing import NamedTuple, Protocol, cast

from liteq.exceptions import SchemaTooNew, StorageError, StorageUnavailable
from liteq.storage.driver import Transaction
from liteq_postgres.names import advisory_key, quoted
from liteq_postgres.session import LOCK_NAME, Session
from liteq_postgres.url import Location

__all__ = ["Versions", "check", "look", "migrate", "migrations", "newest", "read_versions"]

HAS_SCHEMA = """
SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')
  FROM pg_catalog.pg_namespace WHERE nspname = ?
"""
HAS_META = """
SELECT has_schema_privilege(n.oid, 'USAGE')
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ? AND c.relname = 'liteq_meta'
"""
VERSIONS = "SELECT key, value FROM liteq_meta WHERE key IN ('version', 'min_reader', 'min_writer')"
SET_VERSION = "UPDATE liteq_meta SET value = ? WHERE key = 'version'"
ENCODING = "SELECT current_setting('server_encoding')"
ENCODINGS = ("UTF8", "SQL_ASCII")  # SQL_ASCII keeps bytes as they come, and they come as UTF-8 (session.py)
NAME = r"\d{4}_.+\.sql"


class Migrated(Protocol):
    """The driver, as this file needs it."""

    location: Location

    def where(self) -> str: ...
    def write(self) -> AbstractContextManager[Transaction]: ...
    def read(self) -> AbstractContextManager[Transaction]: ...


class Versions(NamedTuple):
    """The versions in a schema; (0, 0, 0) before the first migration."""

    version: int = 0
    min_reader: int = 0
    min_writer: int = 0


@cache
def migrations() -> dict[int, str]:
    """The SQL of each migration by its number, in order."""
    folder = files("liteq_postgres") / "migrations"
    found = {int(f.name[:4]): f.read_text("utf-8") for f in folder.iterdir() if re.fullmatch(NAME, f.name)}
    return dict(sorted(found.items()))


def newest() -> int:
    """The number of the last migration."""
    return max(migrations())


def read_versions(tx: Transaction, schema: str) -> Versions:
    """The versions of the schema. Raises StorageUnavailable where the role has no right to it."""
    meta = tx.execute(HAS_META, (schema,))
    if not meta:
        return Versions()
    if not meta[0][0]:  # the tables are not found then, as if nobody had made them
        raise StorageUnavailable(
            f"the schema {schema} is there, but this role may not use it: let its owner grant the rights, beginning "
            f"with GRANT USAGE ON SCHEMA {quoted(schema)}"
        )
    found: dict[str, int] = dict(tx.execute(VERSIONS))
    return Versions(found["version"], found["min_reader"], found["min_writer"])


def migrate(driver: Migrated) -> int:
    """Apply missing migrations; the version then. Only a read when none is. Raises SchemaTooNew without a write."""
    schema, known = driver.location.schema, newest()
    found = _found(driver)
    if _is_current(found, driver.where()):
        return found.version
    with driver.write() as tx:
        _take_any_text(tx, driver.where())
        tx.execute(LOCK_NAME, (advisory_key(schema, "migrate"),))
        _have_schema(tx, schema, driver.where())
        found = read_versions(tx, schema)  # again: another process may have been faster
        if _is_current(found, driver.where()):
            return found.version
        for number, sql in migrations().items():
            if number > found.version:
                _session(tx).control(sql)
                tx.execute(SET_VERSION, (number,))
    return known


def _have_schema(tx: Transaction, schema: str, where: str) -> None:
    """Make the schema where it is missing. Raises StorageError where this role may make no tables in it.

    The server would make them in the next schema of the search path, without an error.
    """
    found = tx.execute(HAS_SCHEMA, (schema,))  # CREATE SCHEMA IF NOT EXISTS takes a right, even where it is there
    if not found:
        tx.execute(f"CREATE SCHEMA {quoted(schema)}")
    elif not found[0][0]:
        raise StorageError(
            f"{where}: this role may make no tables in the schema {schema}: let its owner run `liteq migrate`, or "
            f"GRANT USAGE, CREATE ON SCHEMA {quoted(schema)}"
        )


def _take_any_text(tx: Transaction, where: str) -> None:
    """Refuse a database that lacks characters, by a StorageError: in it the end of a task could fail to be written."""
    ((encoding,),) = tx.execute(ENCODING)
    if encoding not in ENCODINGS:
        raise StorageError(
            f"{where}: the database's encoding {encoding} cannot hold all characters: make a database with UTF8 "
            "(CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0)"
        )


def look(driver: Migrated) -> int:
    """The version of a schema that is not to be changed. Raises SchemaTooNew; StorageUnavailable for an older one."""
    known, found = newest(), _found(driver)
    if found.min_reader > known:
        raise SchemaTooNew(driver.where(), found.version, known)
    if found.version < known:
        tells = f"schema version {found.version}, this liteq reads {known}" if found.version else "no queue yet"
        raise StorageUnavailable(
            f"{driver.where()} has {tells}, and it is opened to be looked at alone (?mode=ro): run `liteq migrate`, "
            "without mode=ro"
        )
    return found.version


def check(driver: Migrated) -> None:
    """Raises SchemaTooNew when this code may not write the schema any more."""
    _is_current(_found(driver), driver.where())


def _found(driver: Migrated) -> Versions:
    with driver.read() as tx:
        return read_versions(tx, driver.location.schema)


def _is_current(found: Versions, where: str) -> bool:
    if found.min_writer > newest():
        raise SchemaTooNew(where, found.version, newest())
    return found.version >= newest()


def _session(tx: Transaction) -> Session:
    """The session under `tx`, which a vault may cover (storage/sealed.py)."""
    return cast("Session", tx)
