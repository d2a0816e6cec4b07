"""The engine, as the table of engines knows it: which URLs it takes, and where they lead."""

from __future__ import annotations

from liteq.exceptions import ImproperlyConfigured
from liteq.storage.driver import Driver, Options, Place
from liteq_postgres.url import parse

__all__ = ["ENGINE", "PostgresEngine"]


class PostgresEngine:
    """`postgresql://user@host/database?schema=liteq`; `postgres://` means the same. See url.py for the options."""

    def open(self, url: str, options: Options) -> Driver:
        location = parse(url)
        try:
            from psycopg import Error, conninfo

            from liteq_postgres.driver import PostgresDriver
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("psycopg"):
                raise
            raise ImproperlyConfigured(
                f"a queue at {location.where()} needs psycopg: install liteq with the extra `postgres`"
            ) from error
        try:
            conninfo.conninfo_to_dict(location.conninfo)
        except Error as error:  # an option that libpq does not have
            raise ImproperlyConfigured(f"broker URL: {str(error).strip()}") from error
        return PostgresDriver(url, location, durability=options.durability, busy_timeout_s=options.busy_timeout_s)

    def describe_url(self, url: str, library: str | None = None) -> Place:  # noqa: ARG002 - there is one
        location = parse(url)
        return Place("server", location.where(), "psycopg", read_only=location.read_only)


ENGINE = PostgresEngine()
