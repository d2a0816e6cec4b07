"""System checks: mistakes that would lose tasks, damage a file or stop the site, told before they do.

`manage.py check` shows them, and `manage.py liteq worker` does not start on an error. Ids: liteq.E... are errors,
liteq.W... warnings.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured as DjangoImproperlyConfigured

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.storage import describe_url
from liteq.storage.sqlite.disk.mounts import UNSAFE, file_system

__all__ = ["check", "register_all"]

READ_COMMITTED = 2  # psycopg.IsolationLevel
OPTIONS = """"OPTIONS": {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
},"""

Found = Iterator[checks.CheckMessage]


def register_all() -> None:
    """Make Django run them."""
    checks.register(check)


def check(**_kwargs: Any) -> list[checks.CheckMessage]:
    """All of them. A setting that cannot be read is the only finding then."""
    from liteq_django import sharing
    from liteq_django.project import default_app

    app = default_app()
    try:
        url = app.broker_url
        place = describe_url(url, app.conf.sqlite_driver)
        alias = sharing.alias_of(url)
    except (LiteqError, DjangoImproperlyConfigured) as exc:
        hint = "LITEQ = {'DATABASE': 'default'}, or LITEQ = {'BROKER_URL': 'sqlite:////var/lib/shop/queue.db'}"
        return [checks.Error(str(exc), hint=hint, id="liteq.E001")]
    about = About(app, url, place.where, alias)
    return [message for one in (CHECKS if place.kind == "file" else OF_A_SERVER) for message in one(about)]


class About:
    """The subject of the checks."""

    def __init__(self, app: App, url: str, path: str, alias: str | None) -> None:
        self.app = app
        self.url = url
        self.path = path
        self.alias = alias

    @property
    def options(self) -> dict[str, Any]:
        """OPTIONS of the database that holds the queue."""
        found: dict[str, Any] = settings.DATABASES[self.alias].get("OPTIONS", {}) if self.alias is not None else {}
        return found

    @property
    def init_command(self) -> str:
        return "".join(str(self.options.get("init_command", "")).lower().split())


def _one_library(about: About) -> Found:
    if about.alias is not None and describe_url(about.url, "stdlib").through == "apsw":
        yield checks.Error(
            f"The queue is in the file of DATABASES[{about.alias!r}], which Django opens with Python's sqlite3 module. "
            "With apsw there would be a second SQLite library on it in this process, and each would drop the other's "
            "locks.",
            hint="Leave the driver out of the broker URL.",
            id="liteq.E002",
        )


def _immediate(about: About) -> Found:
    if about.alias is not None and str(about.options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        yield checks.Warning(
            f"DATABASES[{about.alias!r}] holds the queue, and its transactions begin by reading: one that then writes "
            "fails with 'database is locked' when anybody has written meanwhile; workers write all the time.",
            hint=f"Put this into DATABASES[{about.alias!r}]:\n{OPTIONS}",
            id="liteq.W003",
        )


def _wal(about: About) -> Found:
    if about.alias is not None and "journal_mode=wal" not in about.init_command:
        yield checks.Warning(
            f"DATABASES[{about.alias!r}] holds the queue, and does not ask for write-ahead logging: until liteq has "
            "switched it on, readers and writers hold each other up.",
            hint=f"Put this into DATABASES[{about.alias!r}]:\n{OPTIONS}",
            id="liteq.W004",
        )


def _synchronous(about: About) -> Found:
    promised = about.app.conf.durability != "relaxed"
    if about.alias is not None and promised and "synchronous=full" not in about.init_command:
        careless = any(f"synchronous={level}" in about.init_command for level in ("off", "0", "normal", "1"))
        if careless:
            yield checks.Warning(
                f"Tasks that are sent inside atomic() are committed by DATABASES[{about.alias!r}], whose connections "
                "do not wait for the disk: a power cut may take them, although durability is "
                f"{about.app.conf.durability!r}.",
                hint="PRAGMA synchronous=FULL in init_command; or LITEQ['DURABILITY'] = 'relaxed', if that is meant.",
                id="liteq.W005",
            )


def _autocheckpoint(about: About) -> Found:
    command = about.init_command
    if about.alias is not None and "wal_autocheckpoint=" in command and "wal_autocheckpoint=0" not in command:
        yield checks.Error(
            f"init_command of DATABASES[{about.alias!r}] switches automatic checkpoints on: before SQLite 3.51.3 one "
            "beside another process's commit can damage the file.",
            hint="Leave wal_autocheckpoint out: liteq sets it to 0, and folds the log itself.",
            id="liteq.E006",
        )


def _place(about: About) -> Found:
    given = about.url.partition("?")[0].partition("://")[2]
    if about.alias is None and not given.startswith("//") and os.name != "nt":
        yield checks.Warning(
            f"The queue's path in {about.url} is relative: a web process and a worker that are started in two folders "
            "each have a queue of their own.",
            hint="BASE_DIR / 'queue.db' as text: f'sqlite:///{BASE_DIR}/queue.db', which has four slashes in the end.",
            id="liteq.W007",
        )
    temporary = {os.path.realpath(folder) for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")}  # noqa: S108 - to be told apart
    if any(folder in temporary for folder in map(str, Path(os.path.realpath(about.path)).parents)):
        yield checks.Warning(
            f"The queue {about.path} is in a folder for temporary files: the system empties it.",
            hint="A folder of the service's own, such as /var/lib/shop.",
            id="liteq.W008",
        )


def _network(about: About) -> Found:
    kind = file_system(os.path.realpath(about.path))
    if kind in UNSAFE and not about.app.conf.allow_network_filesystem:
        yield checks.Error(
            f"The queue {about.path} is on a network file system ({kind}): SQLite's write-ahead log gets corrupted "
            "there.",
            hint="A local disk.",
            id="liteq.E009",
        )


def _isolation(about: About) -> Found:
    if about.alias is not None and int(about.options.get("isolation_level", READ_COMMITTED)) != READ_COMMITTED:
        yield checks.Warning(
            f"DATABASES[{about.alias!r}] holds the queue, and its transactions do not see what others commit: "
            "sending inside atomic() fails with StorageConflict where somebody else has written the same rows.",
            hint="Leave isolation_level out of OPTIONS; the default is READ COMMITTED.",
            id="liteq.W016",
        )


def _outbox(about: About) -> Found:
    from django.apps import apps

    from liteq_django.conf import option

    alias = option("outbox")
    if isinstance(alias, str) and alias not in settings.DATABASES:
        yield checks.Error(f"LITEQ['OUTBOX'] is {alias!r}, which DATABASES does not have.", id="liteq.E012")
    if alias is False and about.alias is None and any(db.get("ATOMIC_REQUESTS") for db in settings.DATABASES.values()):
        yield checks.Warning(
            "ATOMIC_REQUESTS makes a transaction of every view, and the outbox is switched off: what a view sends may "
            "run before its rows can be seen, and runs even when they are rolled back.",
            hint="Leave out LITEQ['OUTBOX']; or send with delay_on_commit().",
            id="liteq.W013",
        )
    if about.alias is None and alias is not False and not apps.is_installed("liteq_django"):
        yield checks.Warning("Without liteq_django in INSTALLED_APPS there is no outbox.", id="liteq.W014")


def _debug(about: About) -> Found:  # noqa: ARG001 - as the others
    if settings.DEBUG and not os.environ.get("RUN_MAIN") and _serves_as_worker():
        yield checks.Warning(
            "DEBUG is on: Django remembers every query of a task until it has ended, so one with very many grows.",
            hint="DEBUG = False where workers run for long.",
            id="liteq.W015",
        )


def _serves_as_worker() -> bool:
    return sys.argv[1:2] == ["liteq"] and "worker" in sys.argv[2:]


OF_A_SERVER: tuple[Callable[[About], Found], ...] = (_isolation, _outbox, _debug)
CHECKS: tuple[Callable[[About], Found], ...] = (
    _one_library, _immediate, _wal, _synchronous, _autocheckpoint, _place, _network, _outbox, _debug,
)  # fmt: skip
