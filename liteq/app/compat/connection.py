"""`app.connection()`: a stand-in for kombu's connection. There is no broker behind it, only a file to open."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from liteq.app.compat.channel import Channel, SimpleQueue
from liteq.app.urls import check_url
from liteq.context import App
from liteq.exceptions import StorageError
from liteq.settings.schemes import scheme_of, without_password
from liteq.utils.records import NamedTuple

if TYPE_CHECKING:
    from liteq.storage.storage import Storage

__all__ = ["Connection", "Pool"]


class Transport(NamedTuple):
    """A transport's description: `driver_type` is the scheme of the URL, "sqlite"."""

    driver_type: str

    @property
    def driver_name(self) -> str:
        """As `driver_type`."""
        return self.driver_type


class Connection:
    """The app's file, opened once more: tells whether the queue can be used at all, as health checks ask.

        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)

    Nothing is sent by it, so `send_task(connection=...)` takes one and makes no use of it.
    """

    recoverable_connection_errors = connection_errors = (StorageError,)
    recoverable_channel_errors = channel_errors = ()

    def __init__(self, app: App, url: str | None = None, *, connect_timeout: float | None = None) -> None:
        self.app = app
        self.connect_timeout = connect_timeout
        self._url = url
        self._storage: Storage | None = None

    @property
    def connected(self) -> bool:
        """Whether the file is open here."""
        return self._storage is not None

    def connect(self) -> Self:
        """Open the file, once. Raises as `ensure_connection`."""
        return self.ensure_connection(max_retries=0)

    def ensure_connection(
        self,
        errback: Callable[[Exception, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float = 2,
        interval_step: float = 2,
        interval_max: float = 30,
        callback: Callable[[], object] | None = None,
        reraise_as_library_errors: bool = True,
        timeout: float | None = None,
    ) -> Self:
        """Open the file, which is made where there is none, and read from it.

        Tries again up to `max_retries` times (None, as in Celery: for ever), after `interval_start` seconds and
        `interval_step` more each time, `interval_max` at most; `errback(exc, seconds)` is called before each pause.
        `timeout`: the seconds that all of it may take. Raises OperationalError for a file that cannot be used, and
        ImproperlyConfigured where no setting says where it is.
        """
        give_up_at = None if timeout is None else time.monotonic() + timeout
        tries, pause_s = 0, interval_start
        while True:
            try:
                self._probe(timeout)
            except StorageError as exc:
                late = give_up_at is not None and time.monotonic() + pause_s > give_up_at
                if late or (max_retries is not None and tries >= max_retries):
                    raise
                if errback is not None:
                    errback(exc, pause_s)
                if callback is not None:
                    callback()
                time.sleep(pause_s)
                tries, pause_s = tries + 1, min(pause_s + interval_step, interval_max)
            else:
                return self

    def _probe(self, timeout_s: float | None) -> None:
        storage = self._storage
        if storage is None:
            patience_s = self.connect_timeout if timeout_s is None else timeout_s
            storage = self.app.open_storage(self._url, busy_timeout_s=patience_s)
        try:
            storage.migrate()
            storage.reader.next_due_ms()
        except BaseException:
            self._storage = None
            storage.close()
            raise
        self._storage = storage

    def close(self) -> None:
        """Close the file; it can be opened again. The app's own stays open."""
        storage, self._storage = self._storage, None
        if storage is not None:
            storage.close()

    release = close

    # -- questions over it

    def channel(self) -> Channel:
        """The lengths of queues, as a channel tells them."""
        return Channel(self)

    @property
    def transport(self) -> Transport:
        """The kind of what it leads to: monitoring asks its `driver_type`."""
        return Transport(scheme_of(self._url or self.app.conf.broker_url or ""))

    @cached_property
    def default_channel(self) -> Channel:
        """As `channel()`, the same one each time."""
        return self.channel()

    def SimpleQueue(self, name: Any, *_args: Any, **_options: Any) -> SimpleQueue:  # noqa: N802 - kombu's name
        """The queue `name`, to be measured."""
        return SimpleQueue(self.default_channel, str(getattr(name, "name", name)))

    def info(self) -> dict[str, Any]:
        """Where it leads, in the words of kombu; the fields of a broker alone are None."""
        uri = self.as_uri()
        return {
            "hostname": uri, "transport": scheme_of(uri), "virtual_host": "/", "port": None, "userid": None,
            "password": None, "uri_prefix": None, "login_method": None, "ssl": False, "insist": False,
            "transport_options": {}, "connect_timeout": self.connect_timeout, "heartbeat": 0.0, "alternates": [],
            "failover_strategy": "round-robin",
        }  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """As `info()`, without secrets."""
        return {key: value for key, value in self.info().items() if key != "password"}

    def as_uri(self, include_password: bool = False, mask: str = "**") -> str:
        """Where the queue lives, with stars in the place of a password."""
        url = check_url(self._url or self.app.broker_url)
        return url if include_password else without_password(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection: {without_password(self._url or self.app.conf.broker_url or '')}>"


class Pool:
    """`app.pool`: a stand-in for a pool of connections. A file has no need of one: each is opened anew."""

    def __init__(self, app: App) -> None:
        self.app = app

    def acquire(self, block: bool = False, timeout: float | None = None) -> Connection:
        """A connection, to be closed: `with app.pool.acquire(block=True) as connection:`."""
        connection: Connection = self.app.connection()
        return connection

    def force_close_all(self) -> None:
        """Nothing: it holds no connection."""
