"""The settings of liteq in Django's: `LITEQ = {...}`, with the names of its settings in either case, and two more.

DATABASE    the alias of the SQLite or PostgreSQL database in which the queue is: there is no `broker_url` to write then
OUTBOX      the alias of the database whose transactions decide about what is sent in them, where the queue is
            elsewhere; False: none
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "OUTBOX_INTERVAL_S",
    "installed",
    "is_postgresql",
    "is_sqlite",
    "liteq_settings",
    "made_urls",
    "option",
    "queue_settings",
    "server_url",
    "url_of",
]

OWN = frozenset({"database", "outbox", "outbox_interval"})
OUTBOX_INTERVAL_S = 1.0
# Of a PostgreSQL database's OPTIONS, what Django or psycopg reads and the server's own library does not know.
NOT_LIBPQS = frozenset({
    "assume_role", "autocommit", "client_encoding", "context", "cursor_factory", "isolation_level", "pool",
    "prepare_threshold", "row_factory", "server_side_binding",
})  # fmt: skip

# URLs that `url_of` has returned, by alias: a test runner gives a database another name later.
made_urls: dict[str, str] = {}


def liteq_settings() -> dict[str, Any]:
    """`settings.LITEQ`, with names in lower case. Raises ImproperlyConfigured when it is no mapping."""
    given = getattr(settings, "LITEQ", None) or {}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"LITEQ is a dict of settings, such as {{'DATABASE': 'default'}}, not {given!r}")
    return {str(name).lower(): value for name, value in given.items()}


def option(name: str, default: Any = None) -> Any:
    """One of `OWN`."""
    return liteq_settings().get(name, default)


def queue_settings() -> dict[str, Any]:
    """The settings of liteq's own that Django's settings hold: `LITEQ` without what is this package's."""
    given = liteq_settings()
    found = {name: value for name, value in given.items() if name not in OWN}
    alias = given.get("database")
    if alias is not None:
        if "broker_url" in found:
            raise ImproperlyConfigured("LITEQ says DATABASE and BROKER_URL: the queue is in one of them, leave one out")
        found["broker_url"] = url_of(alias)
    return found


def url_of(alias: str) -> str:
    """The broker URL of the queue in the database `alias`. Raises ImproperlyConfigured when that cannot hold one."""
    database = settings.DATABASES.get(alias)
    if database is None:
        raise ImproperlyConfigured(f"LITEQ['DATABASE'] is {alias!r}, which DATABASES does not have")
    if is_sqlite(alias):
        url = f"sqlite+stdlib:///{quote(str(Path(database['NAME']).absolute()))}"
    elif is_postgresql(alias):
        url = server_url(database)
    else:
        raise ImproperlyConfigured(
            f"LITEQ['DATABASE'] is {alias!r}, which is neither SQLite nor PostgreSQL ({database.get('ENGINE')}): "
            "name a file of its own with LITEQ['BROKER_URL'] = 'sqlite:////var/lib/shop/queue.db'; tasks that are sent "
            "inside atomic() then go through the outbox"
        )
    made_urls[url] = alias
    return url


def server_url(database: Mapping[str, Any]) -> str:
    """The broker URL of a PostgreSQL database: an entry of DATABASES."""
    options = {name: value for name, value in database.get("OPTIONS", {}).items() if name not in NOT_LIBPQS}
    if role := database.get("OPTIONS", {}).get("assume_role"):
        role = str(role).replace("\\", "\\\\").replace(" ", "\\ ")
        options["options"] = f"{options.get('options', '')} -c role={role}".strip()
    host, port = str(database.get("HOST") or ""), str(database.get("PORT") or "")
    if not host or host.startswith("/") or "," in host:  # a socket, or several: not before the database's name
        options |= {name: value for name, value in (("host", host), ("port", port)) if value}
        host = port = ""
    user, password = (quote(str(database.get(name) or ""), safe="") for name in ("USER", "PASSWORD"))
    who = f"{user}:{password}" if password else user
    place = f"[{host}]" if ":" in host else host
    name = "postgres" if database.get("NAME", "") is None else str(database.get("NAME", ""))
    return (
        f"postgresql://{who}{'@' if who else ''}{place}{':' if port else ''}{port}/{quote(name, safe='')}"
        f"{'?' if options else ''}{urlencode({key: str(value) for key, value in options.items()}, quote_via=quote)}"
    )


def is_sqlite(alias: str) -> bool:
    """Whether the database `alias` is Django's SQLite, or made of it (GIS, a pool)."""
    return _vendor(alias) == "sqlite"


def is_postgresql(alias: str) -> bool:
    """Whether the database `alias` is Django's PostgreSQL, or made of it."""
    return _vendor(alias) == "postgresql"


def _vendor(alias: str) -> str:
    from django.db import connections

    return str(connections[alias].vendor)


def installed() -> bool:
    """Whether `liteq_django` is in INSTALLED_APPS and Django is set up: only then is there a table for the outbox."""
    from django.apps import apps

    return apps.ready and apps.is_installed("liteq_django")
