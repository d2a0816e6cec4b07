"""Opening the queue of an app in a Django process, and so how a transaction of Django's takes part in it.

| the queue is in         | what is sent inside `atomic()` is written                                               |
| ----------------------- | --------------------------------------------------------------------------------------- |
| a database of Django's  | into the queue, on Django's connection, by the transaction itself (drivers.py, server.py) |
| a place of its own      | into the outbox, a table of the models' database; from there to the queue                 |
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from liteq.app import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.storage import describe_url
from liteq.storage.driver import Driver, Durability
from liteq.storage.storage import Storage
from liteq.storage.storage import open_storage as open_plainly
from liteq_django.conf import is_postgresql, is_sqlite

__all__ = ["open_storage", "outbox_alias", "relay_for", "transaction_alias"]


def open_storage(
    app: LiteQ,
    url: str,
    *,
    driver: str | None = None,
    durability: str = "durable",
    busy_timeout_s: float = 30.0,
    allow_network_filesystem: bool = False,
    file_mode: int = 0o600,
    clock: Any = None,
    max_crashes: int = 3,
    max_reaps: int = 10,
) -> Storage:
    """As `liteq.storage.storage.open_storage`, for `app`.

    Raises ImproperlyConfigured where it would need two SQLite libraries.
    """
    from liteq_django import sharing

    alias = sharing.alias_of(url)
    options: dict[str, Any] = {
        "durability": durability,
        "busy_timeout_s": busy_timeout_s,
        "allow_network_filesystem": allow_network_filesystem,
        "file_mode": file_mode,
    }
    counts: dict[str, Any] = {"clock": clock, "max_crashes": max_crashes, "max_reaps": max_reaps}
    if describe_url(url, driver).read_only:  # nothing of it belongs to a transaction of Django's
        own = alias is None or not is_sqlite(alias)
        return open_plainly(url, driver=driver if own else "stdlib", **options, **counts)
    using = outbox_alias(alias)
    if using is None and alias is None:
        return open_plainly(url, driver=driver, **options, **counts)
    engine = _shared(url, alias, options) if alias is not None else _own(url, driver, options)
    if using is None:
        return Storage(engine, **counts)
    from liteq_django.outbox import OutboxStorage

    return OutboxStorage(engine, using=using, others=partial(_other, app), queue=_queue_of(app, url), **counts)


def _queue_of(app: LiteQ, url: str) -> str:
    """The name of the queue at `url` in rows of the outbox: "" for the app's own; a server's has no password in it."""
    with suppress(ImproperlyConfigured):  # it has none of its own
        if url == app.settings.broker_url:
            return ""
    place = describe_url(url)
    return url if place.kind == "file" else place.where


def _other(app: LiteQ, queue: str) -> Storage:
    """The storage of a file of `using`. Raises ImproperlyConfigured for a server: its password is not in the row."""
    if "://" not in queue:
        raise ImproperlyConfigured(f"only the process that sent it knows how {queue} is opened")
    return app.in_files().view(queue).storage


def _own(url: str, driver: str | None, options: dict[str, Any]) -> Driver:
    from liteq.storage import open_driver

    return open_driver(url, driver=driver, **{**options, "durability": Durability(options["durability"])})


def _shared(url: str, alias: str, options: dict[str, Any]) -> Driver:
    from liteq_django import sharing

    levels: dict[str, Any] = {**options, "durability": Durability(options["durability"])}
    if is_postgresql(alias):
        _own(url, None, options)  # it opens nothing, and raises where psycopg is missing
        from liteq_django.server import open_shared

        return open_shared(url, alias, durability=levels["durability"], busy_timeout_s=options["busy_timeout_s"])
    from liteq_django.drivers import MemoryDriver, SharedDriver

    if describe_url(url, "stdlib").through != "stdlib":
        raise ImproperlyConfigured(
            f"{url} is the file of DATABASES[{alias!r}], which Django opens with Python's sqlite3 module: a second "
            "SQLite library in the process would drop its locks. Leave out the driver: sqlite:////path/to/file"
        )
    if sharing.is_in_memory(alias):
        return MemoryDriver(url, using=alias)
    path = sharing.path_of(alias) or ""
    return SharedDriver(url, path, using=alias, **levels)


def outbox_alias(queue_in: str | None) -> str | None:
    """The database that holds the outbox; None where there is none, or needs to be none.

    LITEQ['OUTBOX'], else `default`, unless the queue is there itself.
    """
    from liteq_django.conf import installed, option

    said = option("outbox", None)
    if said is False or not installed():
        return None
    alias = "default" if said in {None, True} else str(said)
    return None if alias == queue_in else alias


def transaction_alias() -> str:
    """The database whose transactions decide about the messages sent in them: the outbox's, or the queue's own."""
    from liteq_django import sharing

    alias = sharing.queue_alias()
    return outbox_alias(alias) or alias or "default"


def relay_for(app: LiteQ, *, asked: bool = False) -> Any:
    """The relay of `app`'s outbox to its queue and to the files of `using`; None where it has none.

    A queue beside the models needs none itself: where it is `asked` for, there is one for these files.
    """
    from liteq_django import sharing

    # A look at the settings alone: a child opens the queue when its tasks send something.
    using = outbox_alias(sharing.alias_of(app.broker_url)) or (outbox_alias(None) if asked else None)
    if using is None or app.storage.driver.read_only:
        return None
    from liteq_django.outbox import OutboxStorage, Relay

    storage = app.storage
    if not isinstance(storage, OutboxStorage):
        storage = OutboxStorage(storage.driver, using=using, others=partial(_other, app))
    return Relay(storage)
