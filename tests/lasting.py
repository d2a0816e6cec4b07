"""Queues on a PostgreSQL server of the tests' own, over connections that last from test to test."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from liteq.clock import Clock
from liteq.storage.driver import Driver, Options
from liteq.storage.storage import Storage
from liteq_postgres import ENGINE

from . import servers
from .postgresql import EMPTY, url

__all__ = ["emptied", "lasting", "somebody_waits"]


class Lasting(Storage):
    """A storage whose driver other tests use after this one: a new connection costs more than most tests do."""

    def close(self) -> None:
        self._idle.close()
        vars(self.driver).pop("write", None)  # that a test has put in place of the driver's
        vars(self.driver).pop("change", None)


@cache
def _driver(server: str, name: str) -> Driver:  # each name has its own
    try:
        import_module("psycopg")
    except ModuleNotFoundError:
        servers.missing("psycopg is not installed (pip install psycopg[binary])")
    driver = ENGINE.open(url(server), Options())
    driver.migrate()
    return driver


def lasting(server: str, name: str, clock: Clock | None = None) -> Storage:
    """A storage on the server, over connections that are there already: for the one test that uses `name` now."""
    return Lasting(_driver(server, name), clock=clock)


def emptied(server: str, clock: Clock | None = None) -> Storage:
    """As `postgresql.empty`, but a `lasting` one."""
    storage = lasting(server, "", clock)
    with storage.driver.write() as tx:
        tx.execute(EMPTY)
    return storage


_beside: dict[str, Any] = {}


def somebody_waits(server: str) -> bool:
    """Whether a transaction on the server waits for another one."""
    psycopg = import_module("psycopg")
    while True:
        if server not in _beside:
            _beside[server] = psycopg.connect(host=server, user="postgres", autocommit=True)
        try:
            (found,) = _beside[server].execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").fetchone()
        except psycopg.OperationalError:  # another test has had the server cut all connections
            _beside.pop(server).close()
        else:
            return bool(found)
