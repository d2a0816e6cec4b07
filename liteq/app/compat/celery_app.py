"""`CeleryApp`: the part of `LiteQ` that is there for code written for Celery's app. The engine asks for none of it."""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from liteq import context
from liteq.app.registrar import Registrar
from liteq.app.settings import Settings
from liteq.clock import from_ms
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.result import AsyncResult, GroupResult, ResultSet
from liteq.settings import import_object
from liteq.signals import Signal
from liteq.utils.upward import upward

# The parts are loaded when a program asks for one: most workers never do.
if TYPE_CHECKING:
    from liteq.app.compat.amqp import AMQP
    from liteq.app.compat.backend import Backend
    from liteq.app.compat.connection import Connection, Pool
    from liteq.app.compat.loader import Loader
    from liteq.app.compat.processes import Logging

__all__ = ["CeleryApp"]


class Whole(App, Protocol):
    """`LiteQ`: the app with the parts that it owns."""

    settings: Settings
    registrar: Registrar
    selected_queues: list[str] | None

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take the settings from an object."""

    def subclass_with_self(self, Class: Any, **options: Any) -> type[Any]:  # noqa: N803 - Celery's name
        """A class below `Class` that has the app in `attribute`."""


class CeleryApp:
    """Connections, results with the app filled in, processes from code. `self` is the `LiteQ` that it is mixed into."""

    Pickler: Any = None

    selected_queues: list[str] | None = None

    # -- the current app, settings and registry

    def set_current(self: Whole) -> None:
        """Make this the app that `current_app` means in this thread."""
        context.set_current_app(self)

    def set_default(self: Whole) -> None:
        """Make this the app that `current_app` means in threads that have set none."""
        context.set_default_app(self)

    @property
    def namespace(self: Whole) -> str | None:
        """The prefix of the names that configuration objects hold for this app."""
        return self.settings.namespace

    def on_init(self) -> None:
        """Do something at the end of the app's making: for a class of apps to override."""

    @property
    def on_configure(self: Whole) -> Signal:
        """Signal: the settings are about to be gathered. A class of apps may have a method of that name instead."""
        return self.settings.on_configure

    @property
    def on_after_configure(self: Whole) -> Signal:
        """Signal: the settings have been gathered; `source` has them."""
        return self.settings.on_after_configure

    def add_defaults(self: Whole, fun: Any) -> None:
        """Set defaults that count below everything else: a mapping, or a function that returns one.

        A function is called when the settings are gathered.
        """
        self.settings.add_defaults(fun)

    def either(self: App, default_key: str, *defaults: Any) -> Any:
        """The first of `defaults` that is not None, else the setting `default_key`."""
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    def config_from_envvar(self: Whole, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """As `config_from_object`, the path being in an environment variable; whether that is set."""
        path = os.environ.get(variable_name)
        if not path:
            if silent:
                return False
            raise ImproperlyConfigured(f"the environment variable {variable_name} names the settings, and is not set")
        self.config_from_object(path, silent=silent, force=force)
        return True

    @property
    def autofinalize(self: Whole) -> bool:
        """Whether the registry is completed when it is first used."""
        return self.registrar.autofinalize

    @property
    def on_after_finalize(self: Whole) -> Signal:
        """Signal: the registry is complete."""
        return self.registrar.on_after_finalize

    def select_queues(self: Whole, queues: str | Iterable[str] | None = None) -> None:
        """Have workers that are given no queues take from these; None: from those of the settings."""
        names = queues.split(",") if isinstance(queues, str) else queues or ()
        self.selected_queues = [name.strip() for name in names if name.strip()] or None

    # -- results and queues

    @cached_property
    def AsyncResult(self: App) -> type[AsyncResult[Any]]:  # noqa: N802 - Celery's name
        """The result of a message: `app.AsyncResult(id)`."""
        from liteq.app.compat.bound_results import bound_result

        return bound_result(self)

    @cached_property
    def ResultSet(self: App) -> type[ResultSet]:  # noqa: N802 - Celery's name
        """Some results, to be waited for together: `app.ResultSet(results)`."""
        from liteq.app.compat.bound_results import bound_result_set

        return bound_result_set(self)

    @cached_property
    def GroupResult(self: App) -> type[GroupResult]:  # noqa: N802 - Celery's name
        """The results of a group: `app.GroupResult(id, results)`; `app.GroupResult.restore(id)`."""
        from liteq.app.compat.bound_results import bound_group_result

        return bound_group_result(self)

    @cached_property
    def backend(self: App) -> Backend:
        """For code that asks Celery's result backend."""
        from liteq.app.compat.backend import Backend

        return Backend(self)

    @cached_property
    def amqp(self: App) -> AMQP:
        """For code that asks Celery's app for its queues."""
        from liteq.app.compat.amqp import AMQP

        return AMQP(self)

    # -- running tasks and their modules

    def create_task_cls(self: Whole) -> type[Any]:
        """The base class of this app's tasks, from `task_cls`: a class of apps may make another one."""
        return self.subclass_with_self(self.task_cls, attribute="_app", abstract=True)

    def subclass_with_self(
        self, Class: Any, name: str | None = None, attribute: str = "app", **attributes: Any  # noqa: N803 - Celery's
    ) -> type[Any]:  # fmt: skip
        """A class below `Class`, or below that at the path `Class`, which has this app in `attribute`."""
        above = import_object(Class) if isinstance(Class, str) else Class
        of_celery = {"reverse", "keep_reduce"}  # how its classes are pickled
        own = {key: value for key, value in attributes.items() if key not in of_celery}
        return type(name or above.__name__, (above,), {attribute: self, "__module__": above.__module__, **own})

    def setup_security(self, *_args: Any, **_options: Any) -> None:
        """Raise ImproperlyConfigured: there are no messages that are signed by certificates."""
        raise ImproperlyConfigured(
            "messages are not signed by certificates: they are rows of a file, whose permissions protect them; "
            "liteq_crypt encrypts them (`payload_codec`)"
        )

    @property
    def current_task(self) -> Any:
        """The task that runs in this thread or coroutine, one called as a function too; None where none does."""
        return context.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The task that a worker runs here, below those that it calls as functions; None where none does."""
        return context.worker_task()

    @cached_property
    def loader(self: App) -> Loader:
        """For code that has the modules of tasks imported: `app.loader.import_default_modules()`."""
        from liteq.app.compat.loader import Loader

        return Loader(self)

    # -- connections

    def connection(
        self: App, url: str | None = None, *_args: Any, connect_timeout: float | None = None, **_options: Any
    ) -> Connection:
        """The app's file, or that of `url`, to be opened: `with app.connection() as c: c.ensure_connection()`.

        `connect_timeout`: seconds to wait for its lock. A broker's other options are accepted.
        """
        from liteq.app.compat.connection import Connection

        return Connection(self, url, connect_timeout=connect_timeout)

    def connection_for_read(self: App, url: str | None = None, **options: Any) -> Connection:
        """As `connection()`; readers and writers use one file."""
        made: Connection = self.connection(url, **options)
        return made

    connection_for_write = broker_connection = connection_for_read

    @contextmanager
    def connection_or_acquire(self: App, connection: Any = None, pool: bool = True, **options: Any) -> Iterator[Any]:
        """`connection`, where there is one, and it stays open; else a new one that is closed in the end."""
        if connection is not None:
            yield connection
            return
        with self.connection(**options) as made:
            yield made

    default_connection = connection_or_acquire

    @contextmanager
    def producer_or_acquire(self: App, producer: Any = None) -> Iterator[Any]:
        """A value for `apply_async(producer=...)`, which makes no use of it."""
        if producer is not None:
            yield producer
            return
        with self.connection() as made:
            yield made

    default_producer = producer_or_acquire

    @property
    def producer_pool(self: App) -> Pool:
        """As `pool`: what is acquired of it is a value for `apply_async(producer=...)`."""
        from liteq.app.compat.connection import Pool

        return Pool(self)

    @cached_property
    def pool(self: App) -> Pool:
        """For code that asks Celery's app for its pool of connections."""
        from liteq.app.compat.connection import Pool

        return Pool(self)

    # -- processes

    def worker_main(self: App, argv: list[str] | None = None) -> Any:
        """Run the command line `liteq worker ...` for this app: `app.worker_main(["worker", "--concurrency=2"])`."""
        from liteq.app.compat.processes import run_command_line

        return run_command_line(self, list(argv or ["worker"]))

    def start(self: App, argv: list[str] | None = None) -> Any:
        """As `worker_main`, for any command; without `argv`, the one of this program's own command line.

        So `python shop.py beat -l INFO` is beat, and `python shop.py` a worker.
        """
        from liteq.app.compat.processes import run_command_line

        return run_command_line(self, list(sys.argv[1:] if argv is None else argv) or ["worker"])

    def Worker(  # noqa: N802 - Celery's name
        self: App,
        *,
        app: App | None = None,
        queues: str | Iterable[str] | None = None,
        exclude_queues: str | Iterable[str] | None = None,
        include: str | Iterable[str] | None = None,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        **options: Any,
    ) -> Any:
        """A worker of this app: `app.Worker(concurrency=2, queues="mail,default").start()` works until it is stopped.

        Options as of `liteq.worker.Worker`; `include`: more modules of tasks; `loglevel` or `logfile`: set up the log;
        `app`: another app, whose worker it is. Raises TypeError for other options.
        """
        from liteq.app.compat.processes import worker_of

        return worker_of(
            app or self, queues=queues, exclude_queues=exclude_queues, include=include, loglevel=loglevel,
            logfile=logfile, options=options,
        )  # fmt: skip

    def Beat(  # noqa: N802 - Celery's name
        self: App, *, max_interval: float | None = None, loglevel: int | str | None = None, logfile: str | None = None
    ) -> Any:
        """A beat of this app: `app.Beat(max_interval=5).run()` sends what comes due, for ever."""
        from liteq.app.compat.processes import beat_of

        return beat_of(self, max_interval=max_interval, loglevel=loglevel, logfile=logfile)

    @cached_property
    def steps(self) -> defaultdict[str, set[Any]]:
        """Classes of `liteq.bootsteps` that workers of this app are made with: `app.steps["worker"].add(Step)`."""
        return defaultdict(set)

    @cached_property
    def user_options(self) -> defaultdict[str, set[Any]]:
        """Options of one's own, of click: `app.user_options["worker"].add(Option(["--site"]))`; steps get them."""
        return defaultdict(set)

    @cached_property
    def log(self: App) -> Logging:
        """The log of this process."""
        from liteq.app.compat.processes import Logging

        return Logging(self)

    def bugreport(self: App) -> str:
        """The contents of a bug report: versions, settings (secrets are hidden), names of tasks."""
        from liteq.app.compat.processes import bugreport

        return bugreport(self)

    # -- itself

    @cached_property
    def oid(self) -> str:
        """An id of this app in this process."""
        import uuid

        return str(uuid.uuid4())

    @property
    def thread_oid(self) -> str:
        """An id of this app in this thread."""
        return f"{self.oid}-{threading.get_ident()}"

    @property
    def WorkController(self) -> Any:  # noqa: N802 - Celery's name
        """The class of workers."""
        return upward("worker")

    def uses_utc_timezone(self: App) -> bool:
        """Whether schedules go by UTC."""
        return str(self.timezone) == "UTC"

    def now(self: App) -> datetime:
        """The time, aware, in the zone of the app's schedules."""
        return from_ms(self.clock.now_ms()).astimezone(self.timezone)
