"""The SQLite engine, as the table of engines knows it: which URLs it takes, and where they lead."""

from __future__ import annotations

import os

from liteq.storage.driver import Driver, Options, Place
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.disk.files import lost_database, unreachable
from liteq.storage.sqlite.url import Location, parse

__all__ = ["ENGINE", "SQLiteEngine"]


class SQLiteEngine:
    """`sqlite:///relative.db`, `sqlite:////absolute.db`; `liteq:///` means the same.

    The SQLite library is apsw unless the options, `?driver=` or the scheme (`sqlite+stdlib:///`) say "stdlib". With
    `?mode=ro` the file is only looked at.
    """

    def open(self, url: str, options: Options) -> Driver:
        location = parse(url, options.library)
        return _driver(location)(
            url,
            location.path,
            durability=options.durability,
            busy_timeout_s=options.busy_timeout_s,
            allow_network_filesystem=options.allow_network_filesystem,
            file_mode=options.file_mode,
        )

    def describe_url(self, url: str, library: str | None = None) -> Place:
        location = parse(url, library)
        path = location.path
        missing = ""
        if not os.path.lexists(path):
            new = f"there is no file {path}: the first task that is sent, or a worker, creates it"
            missing = unreachable(path) or lost_database(path) or new
        return Place("file", path, location.library, missing, location.read_only)


def _driver(location: Location) -> type[SQLiteDriver]:
    """The driver's class; only the library that is used is loaded."""
    found = _of_library(location.library)
    if not location.read_only:
        return found
    from liteq.storage.sqlite.read_only import read_only

    return read_only(found)


def _of_library(library: str) -> type[SQLiteDriver]:
    if library == "stdlib":
        from liteq.storage.sqlite.stdlib_driver import StdlibDriver

        return StdlibDriver
    from liteq.storage.sqlite.apsw_driver import ApswDriver

    return ApswDriver


ENGINE = SQLiteEngine()
