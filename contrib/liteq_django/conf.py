"""The settings of liteq in Django's: `LITEQ = {...}`, with the names of its settings in either case, and two more.

DATABASE    the alias of the SQLite database in which the queue is: then there is no `broker_url` to write
OUTBOX      the alias of the database whose transactions decide about what is sent in them, where the queue is in
            another file; False: none
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "OUTBOX_INTERVAL_S",
    "installed",
    "is_sqlite",
    "liteq_settings",
    "made_urls",
    "option",
    "queue_settings",
    "url_of",
]

OWN = frozenset({"database", "outbox", "outbox_interval"})
OUTBOX_INTERVAL_S = 1.0

# What `url_of` has returned, by alias: a test runner gives a database another name later.
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
    if not is_sqlite(alias):
        raise ImproperlyConfigured(
            f"LITEQ['DATABASE'] is {alias!r}, which is not SQLite ({database.get('ENGINE')}): name a file of its own "
            "with LITEQ['BROKER_URL'] = 'sqlite:////var/lib/shop/queue.db'; tasks that are sent inside atomic() "
            "then go through the outbox"
        )
    url = f"sqlite+stdlib:///{quote(str(Path(database['NAME']).absolute()))}"
    made_urls[url] = alias
    return url


def is_sqlite(alias: str) -> bool:
    """Whether the database `alias` is Django's SQLite, or made of it (GIS, a pool)."""
    from django.db import connections

    return bool(connections[alias].vendor == "sqlite")


def installed() -> bool:
    """Whether `liteq_django` is in INSTALLED_APPS and Django is set up: only then is there a table for the outbox."""
    from django.apps import apps

    return apps.ready and apps.is_installed("liteq_django")
