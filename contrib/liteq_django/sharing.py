"""The queue in the same database as the models: which alias that is, its tables, and how connections are prepared."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.db import connections

from liteq.storage import describe_url
from liteq.storage.sqlite.disk.files import resolve
from liteq.storage.storage import Storage
from liteq_django.conf import is_postgresql, is_sqlite, made_urls, option, server_url

__all__ = ["alias_of", "create_tables", "is_in_memory", "path_of", "prepare_connection", "queue_alias"]

TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'liteq_*' AND name NOT GLOB 'liteq_django_*'"
)
TABLES_OF_A_SERVER = """
SELECT c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ? AND c.relkind = 'r' AND starts_with(c.relname, 'liteq_')
"""
# The schema's version; and the rows of workers, which live on.
KEPT = frozenset({"liteq_meta", "liteq_workers", "liteq_commands", "liteq_replies"})


def queue_alias() -> str | None:
    """The alias of the database that holds the queue; None where the queue is elsewhere."""
    from liteq_django.project import default_app

    said = option("database")
    url = default_app().conf.broker_url
    return said if said is not None and url is None else alias_of(url) if url else None


def alias_of(url: str) -> str | None:
    """The alias of the database to which the broker URL `url` leads; None when that is none of Django's.

    A test runner gives its databases other names: the one that LITEQ['DATABASE'] names is found by its alias.
    """
    if url in made_urls:
        return made_urls[url]
    place = describe_url(url)
    if place.kind == "server":
        return next((one for one in connections if is_postgresql(one) and _server_of(one) == _server(url)), None)
    if place.kind != "file":
        return None
    path = resolve(place.where)
    return next((alias for alias in connections if is_sqlite(alias) and path_of(alias) == path), None)


def _server_of(alias: str) -> tuple[str, ...]:
    return _server(server_url(connections[alias].settings_dict))


def _server(url: str) -> tuple[str, ...]:
    """The hosts, ports and database that the URL names, as they are written: another name may lead there as well."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or options.get("host", "")
    return host, options.get("port", ""), unquote(parts.path.removeprefix("/")) or options.get("dbname", "")


def is_in_memory(alias: str) -> bool:
    """Whether the database is one in memory, as a test's usually is."""
    connection: Any = connections[alias]
    return bool(connection.is_in_memory_db())


def path_of(alias: str) -> str | None:
    """The file of a SQLite database without symbolic links, None of one in memory."""
    name = str(connections[alias].settings_dict["NAME"])
    return None if is_in_memory(alias) or not name else resolve(os.path.abspath(name))  # noqa: PTH100 - as liteq has it


def prepare_connection(connection: Any, **_named: Any) -> None:
    """Each connection that Django opens on the queue's file leaves folding the log to liteq.

    By itself SQLite folds it at every thousandth page and at the last close, and before 3.51.3 a fold beside a commit
    can damage the file. liteq folds it while nobody can commit.
    """
    if connection.vendor != "sqlite" or connection.alias != _alias_for_connections():
        return
    raw: sqlite3.Connection = connection.connection
    raw.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    if sys.version_info >= (3, 12):
        raw.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def _alias_for_connections() -> str | None:
    # Mistakes in the settings are for the system checks to tell; a connection is opened all the same.
    with contextlib.suppress(Exception):
        return queue_alias()
    return None


def create_tables(using: str, **named: Any) -> None:
    """After `manage.py migrate`, also that of a test database: the queue's tables, where it is in that database.

    After `manage.py flush`, with which each TransactionTestCase ends, they are empty as the models' are: a message that
    stayed would be about rows that are gone.
    """
    if using != _alias_for_connections():
        return
    from liteq_django.project import default_app

    storage = default_app().open_storage()
    try:
        storage.migrate()
        if "plan" not in named:  # both send this signal, and only `migrate` has a plan
            _empty(storage)
    finally:
        storage.close()


def _empty(storage: Storage) -> None:
    driver: Any = storage.driver
    location = getattr(driver, "location", None)
    with driver.write() as tx:
        for (table,) in tx.execute(TABLES_OF_A_SERVER, (location.schema,)) if location else tx.execute(TABLES):
            if table not in KEPT:
                tx.execute(f'DELETE FROM "{table}"')  # noqa: S608 - a name that the file itself has
