"""What is durable: the verbs of the queue over a small driver."""

from __future__ import annotations

from liteq.storage.driver import Driver, Durability
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.url import parse

__all__ = ["open_driver"]


def open_driver(
    url: str,
    *,
    driver: str | None = None,
    durability: Durability = Durability.DURABLE,
    busy_timeout_s: float = 30.0,
    allow_network_filesystem: bool = False,
) -> Driver:
    """The storage engine behind `url`; touches nothing before its first use.

    `sqlite:///relative.db`, `sqlite:////absolute.db`; `liteq:///` means the same. The SQLite library is apsw unless
    `driver`, `?driver=` or the scheme (`sqlite+stdlib:///`) says "stdlib". Raises ImproperlyConfigured.
    """
    location = parse(url, driver)
    return _engine(location.library)(
        url,
        location.path,
        durability=durability,
        busy_timeout_s=busy_timeout_s,
        allow_network_filesystem=allow_network_filesystem,
    )


def _engine(library: str) -> type[SQLiteDriver]:
    """The driver's class; only the library that is used is loaded."""
    if library == "stdlib":
        from liteq.storage.sqlite.stdlib_driver import StdlibDriver

        return StdlibDriver
    from liteq.storage.sqlite.apsw_driver import ApswDriver

    return ApswDriver
